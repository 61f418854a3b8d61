package channel

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// plan is what happens on a link: messages in both directions, and faults.
type plan struct {
	messages []*planned
	closeAt  time.Duration // the link is closed then; 0: when all is done
	mute     [2]struct{ from, to time.Duration }
	peerix   bool // side 0 does not hear of windows, as if it did not know them
}

// planned is one message and its fate.
type planned struct {
	side, channel, size int
	begin               time.Duration
	sendDelay           time.Duration // before each read of the body
	readDelay           time.Duration // before each read of the message
	stopAt              int64         // bytes after which the reader stops for stopFor
	stopFor             time.Duration
	abortAt             int64 // bytes after which the reader aborts; -1 never
	failAt              int64 // bytes after which the body fails; -1 never
	cancelAt            time.Duration

	// outcome
	sendErr   error
	delivered bool
	readErr   error // nil for io.EOF
	got       int64 // bytes
	wrong     bool  // among them
	message   *Message
}

// The errors that a sender and a reader may meet.
var (
	sendErrors = []error{nil, ErrClosed, ErrAborted, ErrTimeout, ErrStalled, errBody, context.Canceled, context.DeadlineExceeded}
	readErrors = []error{nil, ErrClosed, ErrAborted, ErrStalled}
)

// drawPlan draws a plan. rapid prefers the first of several and low numbers, so
// what is worth most comes first.
func drawPlan(t *rapid.T) *plan {
	p := &plan{peerix: rapid.Bool().Draw(t, "peerix")}
	sometimes := func(name string) bool { return rapid.IntRange(0, 9).Draw(t, name) >= 5 }
	duration := func(name string, of ...time.Duration) time.Duration { return rapid.SampledFrom(of).Draw(t, name) }
	for range rapid.IntRange(3, 12).Draw(t, "messages") {
		m := &planned{
			side:    rapid.IntRange(0, 1).Draw(t, "side"),
			channel: rapid.IntRange(0, 1).Draw(t, "channel"),
			size: rapid.SampledFrom([]int{900_000, 600_000, 1_300_000, ChunkSize, 200_000, 0, 1,
				ChunkSize - 1, ChunkSize + 1}).Draw(t, "size"),
			begin:     duration("begin", 0, time.Second, 3*time.Second),
			sendDelay: duration("send delay", 20*time.Millisecond, 0, 100*time.Millisecond),
			abortAt:   -1, failAt: -1, stopAt: -1,
		}
		at := func(name string) int64 {
			return int64(float64(m.size) * rapid.SampledFrom([]float64{0.5, 0.2, 0.9, 0, 1}).Draw(t, name))
		}
		if sometimes("slow") {
			m.readDelay = duration("read delay", 20*time.Millisecond, 200*time.Millisecond, time.Millisecond)
		}
		if sometimes("stops") {
			m.stopAt, m.stopFor = at("stop at"), duration("stop for", 70*time.Second, 20*time.Second, time.Second)
		}
		if sometimes("aborts") {
			m.abortAt = at("abort at")
		}
		if sometimes("fails") {
			m.failAt = at("fail at")
		}
		if sometimes("cancelled") {
			m.cancelAt = duration("cancel at", time.Second, 5*time.Second, 20*time.Second, time.Minute, 1)
		}
		p.messages = append(p.messages, m)
	}
	if sometimes("closed") {
		p.closeAt = duration("close at", 4*time.Second, 40*time.Second, time.Second, 1)
	}
	for side := range p.mute {
		if sometimes("mute") {
			p.mute[side].from = duration("mute from", 500*time.Millisecond, 3*time.Second, 0)
			p.mute[side].to = p.mute[side].from + duration("mute for", time.Second, 15*time.Second, 8*time.Second)
		}
	}
	return p
}

// Whatever happens, a reader sees a prefix of what was sent, the end only when
// it has all of it, and every failure has a name; a sender's nil means that the
// other side has it all; and in the end nothing is left.
func TestStorm(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := drawPlan(rt)
		var problems []string
		synctest.Test(t, func(t *testing.T) { problems = p.run(t) })
		for _, problem := range problems {
			rt.Error(problem)
		}
	})
}

// run lets it happen and returns what is wrong.
func (p *plan) run(t *testing.T) (problems []string) {
	var readers, senders sync.WaitGroup
	receive := func(m *Message) {
		var i int
		if err := json.Unmarshal(m.Info, &i); err != nil {
			t.Errorf("info %s: %v", m.Info, err)
			return
		}
		x := p.messages[i]
		x.delivered, x.message = true, m
		readers.Go(func() { x.read(m) })
	}
	l := newLink(t, 2, func(side, n int) Config { return Config{Framed: true, Receive: receive, Window: 1} })
	if p.peerix {
		l.deafen(0)
	}
	for i, m := range p.messages {
		senders.Go(func() { m.send(l.sides[m.side][m.channel].sink, i) })
	}
	for side, mute := range p.mute {
		senders.Go(func() {
			after(mute.from)
			l.setMute(side, true)
			after(mute.to - mute.from)
			l.setMute(side, false)
		})
	}
	if p.closeAt > 0 {
		senders.Go(func() {
			after(p.closeAt)
			l.close()
		})
	}
	senders.Wait()
	after(time.Minute) // for messages that their sender has given up
	l.close()
	l.reader.Wait()
	readers.Wait()
	synctest.Wait()
	for i, m := range p.messages {
		if problem := m.check(); problem != "" {
			problems = append(problems, fmt.Sprintf("message %d: %s; sent with %v, read with %v", i, problem, m.sendErr, m.readErr))
		}
	}
	for _, ends := range l.sides {
		for _, e := range ends {
			if n := e.sink.unfinished(); n != 0 || e.sink.unread != 0 || e.sink.out != nil {
				problems = append(problems, fmt.Sprintf("%d messages, %d bytes left", n, e.sink.unread))
			}
			if e.peak > sendBuffer+4096 {
				problems = append(problems, fmt.Sprintf("%d bytes in the send buffer", e.peak))
			}
		}
	}
	return problems
}

func (m *planned) send(c *Channel, i int) {
	after(m.begin)
	ctx := context.Background()
	if m.cancelAt > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, m.cancelAt)
		defer cancel()
	}
	var body io.Reader = &patterned{size: int64(m.size)}
	if m.failAt >= 0 {
		body = failing(m.failAt)
	}
	if m.sendDelay > 0 {
		body = slowly{body, m.sendDelay}
	}
	m.sendErr = c.Send(ctx, Outgoing{Body: body, Info: json.RawMessage(fmt.Sprint(i))})
}

func (m *planned) read(in *Message) {
	b := make([]byte, 50_000)
	for {
		after(m.readDelay)
		if m.stopAt >= 0 && m.got >= m.stopAt {
			after(m.stopFor)
			m.stopAt = -1
		}
		if m.abortAt >= 0 && m.got >= m.abortAt {
			in.Abort()
		}
		n, err := in.Read(b)
		m.take(b[:n])
		if err == io.EOF {
			return
		}
		if err != nil {
			m.readErr = err
			return
		}
	}
}

// take compares what was read with what was sent.
func (m *planned) take(b []byte) {
	for len(b) > 0 {
		want := patternBlock[m.got%int64(len(patternBlock)):]
		n := min(len(b), len(want))
		m.wrong = m.wrong || !bytes.Equal(b[:n], want[:n])
		m.got += int64(n)
		b = b[n:]
	}
}

// check returns what is wrong with the outcome.
func (m *planned) check() string {
	is := func(err error) func(error) bool {
		return func(known error) bool { return err == known || known != nil && errors.Is(err, known) }
	}
	whole := m.delivered && m.readErr == nil
	switch {
	case !slices.ContainsFunc(sendErrors, is(m.sendErr)):
		return "the sender's error has no name"
	case !slices.ContainsFunc(readErrors, is(m.readErr)):
		return "the reader's error has no name"
	case m.wrong || m.got > int64(m.size):
		return "the content is wrong"
	case whole && m.got != int64(m.size):
		return fmt.Sprintf("%d of %d bytes are taken for all", m.got, m.size)
	case m.sendErr == nil && !m.delivered:
		return "confirmed, but never delivered"
	case m.sendErr == nil && !whole && m.abortAt < 0:
		return "confirmed, but not complete"
	case m.sendErr == nil && m.failAt >= 0:
		return "confirmed, though the body failed"
	case whole && m.sendErr != nil && errors.Is(m.sendErr, ErrAborted):
		return "complete, but the sender was told that it was refused"
	case m.message != nil && m.message.held() != 0 && m.abortAt < 0 && m.readErr == nil:
		return "something is held"
	default:
		return ""
	}
}

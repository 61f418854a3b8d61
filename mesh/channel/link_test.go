package channel

import (
	"bytes"
	"errors"
	"sync"
	"testing"
)

// pipeLimit is the send buffer of a test pipe in bytes: what is beyond it is an
// error, which no sender that looks at Buffered ever sees.
const pipeLimit = 512 * 1024

var (
	errPipeClosed = errors.New("pipe closed")
	errPipeFull   = errors.New("pipe full")
)

// link is a connection in memory with channels between two sides. All channels
// of a direction share one reading goroutine, as those of an SCTP association
// do: one that blocks holds up the others.
type link struct {
	sides  [2][]*pipe // the two ends of each channel
	lanes  [2]*lane   // lane i goes to side i
	reader sync.WaitGroup
}

// frame is a message on its way.
type frame struct {
	from *pipe
	data []byte
	text bool
}

// lane is one direction of a link.
type lane struct {
	mu     sync.Mutex
	frames []frame
	head   int // of frames
	closed bool
	mute   bool // nothing arrives
	allow  int  // frames that arrive all the same
	wake   chan struct{}
}

// pipe is one end of a channel: the Pipe of the Channel on its side.
type pipe struct {
	to    *lane
	peer  *pipe
	sink  *Channel
	close func()
	tap   func(b []byte) // sees what is sent, if not nil; set before the link starts

	mu                 sync.Mutex
	buffered, peak     int
	threshold, packets int
	low                func()
	deaf               bool // window updates to this end are lost
}

// newLink returns a link whose channels are made by configure from the side and
// the number of the channel. It is open, and closed at the end of the test.
func newLink(t testing.TB, channels int, configure func(side, n int) Config) *link {
	l := &link{}
	for side := range l.lanes {
		l.lanes[side] = &lane{wake: make(chan struct{}, 1)}
	}
	for n := range channels {
		a, b := &pipe{close: l.close}, &pipe{close: l.close}
		a.peer, b.peer = b, a
		a.to, b.to = l.lanes[1], l.lanes[0]
		for side, p := range []*pipe{a, b} {
			config := Config{}
			if configure != nil {
				config = configure(side, n)
			}
			config.Pipe = p
			p.sink = New(config)
			l.sides[side] = append(l.sides[side], p)
		}
	}
	for side, to := range l.lanes {
		l.reader.Go(func() { l.read(side, to) })
	}
	t.Cleanup(func() {
		l.close()
		l.reader.Wait()
	})
	return l
}

// framed is a link with one framed channel; its messages go to the functions.
func framed(t testing.TB, toA, toB func(*Message)) (l *link, a, b *Channel) {
	l = newLink(t, 1, func(side, _ int) Config {
		return Config{Label: "files", Framed: true, Receive: [2]func(*Message){toA, toB}[side]}
	})
	return l, l.sides[0][0].sink, l.sides[1][0].sink
}

// read is the reading goroutine of a side.
func (l *link) read(side int, from *lane) {
	for _, p := range l.sides[side] {
		p.sink.ChannelOpen()
	}
	for {
		f, ok := from.next()
		if !ok {
			break
		}
		if f.from.peer.hears(f) {
			f.from.peer.sink.ChannelMessage(f.data, f.text)
		}
		f.from.acked(len(f.data))
	}
	for _, p := range l.sides[side] {
		p.sink.ChannelClosed(nil)
	}
}

func (l *link) close() {
	for _, to := range l.lanes {
		to.mu.Lock()
		to.closed = true
		to.mu.Unlock()
		notify(to.wake)
	}
}

// setMute stops or starts what goes to a side.
func (l *link) setMute(side int, mute bool) {
	to := l.lanes[side]
	to.mu.Lock()
	to.mute = mute
	to.mu.Unlock()
	notify(to.wake)
}

// deafen makes a side that does not know of windows; before anything is sent.
func (l *link) deafen(side int) {
	for _, p := range l.sides[side] {
		p.mu.Lock()
		p.deaf = true
		p.mu.Unlock()
	}
}

// hears reports whether an end takes the packet.
func (p *pipe) hears(f frame) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.deaf {
		return true
	}
	in, err := decode(f.data)
	return err != nil || !isUpdate(in)
}

// allow lets one frame more through to a side that is mute.
func (l *link) allow(side int) {
	to := l.lanes[side]
	to.mu.Lock()
	to.allow++
	to.mu.Unlock()
	notify(to.wake)
}

func (to *lane) next() (frame, bool) {
	for {
		to.mu.Lock()
		if to.closed {
			to.mu.Unlock()
			return frame{}, false
		}
		if to.head < len(to.frames) && (!to.mute || to.allow > 0) {
			to.allow = max(to.allow-1, 0)
			f := to.frames[to.head]
			to.frames[to.head] = frame{}
			if to.head++; to.head == len(to.frames) {
				to.frames, to.head = to.frames[:0], 0
			}
			to.mu.Unlock()
			return f, true
		}
		to.mu.Unlock()
		<-to.wake
	}
}

func (p *pipe) Send(b []byte) error     { return p.send(frame{p, bytes.Clone(b), false}) }
func (p *pipe) SendText(s string) error { return p.send(frame{p, []byte(s), true}) }

func (p *pipe) send(f frame) error {
	if p.tap != nil {
		p.tap(f.data)
	}
	p.mu.Lock()
	if p.buffered+len(f.data) > pipeLimit {
		p.mu.Unlock()
		return errPipeFull
	}
	p.buffered += len(f.data)
	p.peak = max(p.peak, p.buffered)
	p.packets++
	p.mu.Unlock()
	p.to.mu.Lock()
	defer p.to.mu.Unlock()
	if p.to.closed {
		return errPipeClosed
	}
	p.to.frames = append(p.to.frames, f)
	notify(p.to.wake)
	return nil
}

// acked takes n bytes from the send buffer.
func (p *pipe) acked(n int) {
	p.mu.Lock()
	above := p.buffered > p.threshold
	p.buffered -= n
	low := p.low
	if !above || p.buffered > p.threshold {
		low = nil
	}
	p.mu.Unlock()
	if low != nil {
		low()
	}
}

func (p *pipe) Buffered() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.buffered
}

func (p *pipe) OnLow(threshold int, f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.threshold, p.low = threshold, f
}

func (p *pipe) Close() error {
	p.close()
	return nil
}

// script is a pipe to a test that plays the other side by hand.
type script struct {
	mu     sync.Mutex
	sent   [][]byte
	answer func(b []byte) // sees what is sent, on the sender's goroutine
	full   int            // what Buffered says
	forget bool           // sent stays empty
	fail   error
	closed bool
}

func (s *script) Send(b []byte) error {
	s.mu.Lock()
	if !s.forget {
		s.sent = append(s.sent, bytes.Clone(b))
	}
	err, answer := s.fail, s.answer
	s.mu.Unlock()
	if answer != nil && err == nil {
		answer(b)
	}
	return err
}

func (s *script) SendText(t string) error { return s.Send([]byte(t)) }

func (s *script) Buffered() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.full
}

func (s *script) OnLow(int, func()) {}

func (s *script) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

// packets returns what was sent, without window updates unless wanted.
func (s *script) packets(t testing.TB, updates bool) (list [][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.sent {
		p, err := decode(b)
		if err != nil {
			t.Errorf("sent %x: %v", b, err)
		}
		if updates || !isUpdate(p) {
			list = append(list, b)
		}
	}
	return list
}

func isUpdate(p packet) bool { return p.ask && !p.done && !p.abort && p.has&hasIndex != 0 }

// scripted returns an open framed channel over a script.
func scripted(receive func(*Message)) (*Channel, *script) {
	s := &script{}
	c := New(Config{Label: "script", Framed: true, Pipe: s, Receive: receive})
	c.ChannelOpen()
	return c, s
}

// acknowledging answers the last packet of each message.
func (s *script) acknowledging(c *Channel) {
	s.answer = func(b []byte) {
		if p, err := decode(b); err == nil && p.done && !p.ask {
			ack := acknowledgement(p.id)
			c.ChannelMessage(ack.append(nil), false)
		}
	}
}

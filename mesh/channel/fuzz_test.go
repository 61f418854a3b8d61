package channel

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// seeds calls add with every packet of the vectors and of the tables.
func seeds(f *testing.F, add func(b []byte)) {
	v := golden(f)
	for _, c := range v.Transfers {
		for _, p := range c.Sent {
			add(p.Packet)
		}
	}
	for _, c := range v.Acknowledgements {
		add(c.Packet)
	}
	for _, c := range v.Receiving {
		for _, p := range c.Packets {
			if b, err := hex.DecodeString(p); err == nil {
				add(b)
			}
		}
	}
	for _, c := range packetCases {
		if b, err := hex.DecodeString(c.hex); err == nil {
			add(b)
		}
	}
	for in := range malformedCases {
		if b, err := hex.DecodeString(in); err == nil {
			add(b)
		}
	}
}

// A packet that decodes can be written again and says the same.
func FuzzPacket(f *testing.F) {
	seeds(f, func(b []byte) { f.Add(b) })
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := decode(b)
		if err != nil {
			return
		}
		written := p.append(nil)
		again, err := decode(written)
		if err != nil || !reflect.DeepEqual(again, p) {
			t.Errorf("%x: %+v, then %+v, %v", b, p, again, err)
		}
		if len(written) > len(b) {
			t.Errorf("%x grew to %x", b, written)
		}
	})
}

// The steps of a script for FuzzChannel: one byte says which, the next how much
// follows or what of.
const (
	stepPacket = iota // length, packet
	stepText          // length, text
	stepChunk         // id: the next full chunk of that message, or its first
	stepRead          // which message
	stepAbort         // which message
	stepSend          // chunks of a message of ours
	stepWait          // seconds
	stepClose
	numSteps
)

// FuzzChannel drives a whole channel with what a peer may send and what an
// application may do at the same time, in any order.
func FuzzChannel(f *testing.F) {
	for _, c := range golden(f).Receiving {
		var steps []byte
		for _, p := range c.Packets {
			b, err := hex.DecodeString(p)
			kind := byte(stepPacket)
			if text, ok := strings.CutPrefix(p, "text:"); ok {
				b, err, kind = []byte(text), nil, stepText
			}
			if err == nil {
				steps = append(append(steps, kind, byte(len(b))), b...)
			}
			steps = append(steps, stepRead, 0)
		}
		f.Add(true, steps)
	}
	ack, refuse, more := acknowledgement(1), refusal(1), update(1, 3)
	for _, p := range []packet{ack, refuse, more} {
		b := p.append(nil)
		f.Add(true, append([]byte{stepSend, 5, stepPacket, byte(len(b))}, b...))
	}
	f.Add(true, append(bytes.Repeat([]byte{stepChunk, 1, stepChunk, 2}, 80), stepRead, 0, stepWait, 40, stepRead, 1, stepAbort, 1))
	f.Add(true, []byte{stepChunk, 1, stepSend, 200, stepAbort, 0, stepClose, 0, stepChunk, 1})
	f.Add(false, []byte{stepPacket, 2, 8, 1, stepText, 1, 'a', stepSend, 3})
	f.Fuzz(func(t *testing.T, framed bool, steps []byte) {
		if len(steps) > 500 {
			return
		}
		synctest.Test(t, func(t *testing.T) { fuzzChannel(t, framed, steps) })
	})
}

// fuzzer is a channel and what was seen of it.
type fuzzer struct {
	t        *testing.T
	c        *Channel
	messages []*Message
	next     map[byte]uint32
	full     []byte
	stop     context.CancelFunc
	ctx      context.Context
}

func fuzzChannel(t *testing.T, framed bool, steps []byte) {
	z := &fuzzer{t: t, next: map[byte]uint32{}, full: make([]byte, ChunkSize)}
	z.ctx, z.stop = context.WithCancel(t.Context())
	s := &script{forget: true}
	z.c = New(Config{Framed: framed, Pipe: s, Receive: func(m *Message) { z.messages = append(z.messages, m) }})
	z.c.ChannelOpen()
	for len(steps) >= 2 {
		kind, n := steps[0]%numSteps, steps[1]
		steps = steps[2:]
		var b []byte
		if kind == stepPacket || kind == stepText {
			b = bytes.Clone(steps[:min(int(n), len(steps))])
			steps = steps[len(b):]
		}
		z.step(kind, n, b)
		z.c.unfinished() // checks the account
		if limit := maxUnread * DefaultWindow; z.c.unread > limit {
			t.Fatalf("%d bytes unread", z.c.unread)
		}
	}
	z.stop()
	z.c.ChannelClosed(nil)
	synctest.Wait()
	if z.c.unfinished() != 0 || z.c.unread != 0 {
		t.Errorf("%d messages, %d bytes left", z.c.unfinished(), z.c.unread)
	}
	for _, m := range z.messages {
		n, err := io.Copy(io.Discard, m) // never blocks now
		if err == nil && !m.complete || n > m.received {
			t.Errorf("read %d of %d, %v", n, m.received, err)
		}
	}
}

func (z *fuzzer) step(kind, n byte, b []byte) {
	switch kind {
	case stepPacket, stepText:
		z.c.ChannelMessage(b, kind == stepText)
	case stepChunk:
		p := packet{has: hasID | hasIndex | hasChunk, id: uint32(n), index: z.next[n], chunk: z.full}
		if p.index == 0 {
			p.has, p.kind = p.has|hasType, uint32(Bytes)
		}
		z.next[n]++
		z.c.ChannelMessage(p.append(nil), false)
	case stepRead, stepAbort:
		if len(z.messages) == 0 {
			return
		}
		m := z.messages[int(n)%len(z.messages)]
		if kind == stepAbort {
			m.Abort()
			return
		}
		if m.c.mu.Lock(); m.chunks.empty() && !m.over() {
			m.c.mu.Unlock()
			return // it would wait
		}
		m.c.mu.Unlock()
		if k, err := m.Read(make([]byte, 1+int(n)*100)); (k == 0) != (err != nil) {
			z.t.Errorf("read %d, %v", k, err)
		}
	case stepSend:
		go func() {
			err := z.c.Send(z.ctx, Outgoing{Body: &patterned{size: int64(n%40) * ChunkSize}})
			for _, known := range []error{nil, ErrClosed, ErrAborted, ErrTimeout, ErrStalled, ErrTooLarge, context.Canceled} {
				if err == known || known != nil && errors.Is(err, known) {
					return
				}
			}
			z.t.Errorf("send: %v", err)
		}()
		synctest.Wait()
	case stepWait:
		<-time.After(time.Duration(n%64) * time.Second)
	case stepClose:
		z.c.Close()
	}
}

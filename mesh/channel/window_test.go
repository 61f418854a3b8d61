package channel

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A reader stops for a minute: it costs at most the window, ends with
// ErrStalled, and another channel of the same connection goes on meanwhile.
func TestStoppedReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		messages := make(chan *Message, 1)
		receive, got := collect()
		l := newLink(t, 2, func(side, n int) Config {
			return Config{Framed: true, Receive: []func(*Message){func(m *Message) { messages <- m }, receive}[n]}
		})
		begin, sent := time.Now(), make(chan error, 1)
		go func() { sent <- l.sides[0][0].sink.Send(t.Context(), Outgoing{Body: endless()}) }()
		m := <-messages
		if _, err := io.ReadFull(m, make([]byte, 300_000)); err != nil {
			t.Fatal(err)
		}
		for range 60 {
			before := time.Now()
			expectText(t, l.sides[0][1].sink, got)
			if d := time.Since(before); d != 0 {
				t.Errorf("the other channel was held up for %v", d)
			}
			if held := m.held(); held > DefaultWindow {
				t.Errorf("%d bytes are held", held)
			}
			if n := l.sides[0][0].Buffered(); n != 0 && time.Since(begin) > 0 {
				t.Errorf("%d bytes stay in the send buffer", n)
			}
			after(time.Second)
		}
		if n, err := m.Read(make([]byte, 1)); n != 0 || !errors.Is(err, ErrStalled) {
			t.Errorf("read %d, %v", n, err)
		}
		if err := <-sent; !errors.Is(err, ErrAborted) {
			t.Errorf("send: %v", err)
		}
		if held := m.held(); held != 0 {
			t.Errorf("%d bytes are still held", held)
		}
	})
}

// held returns what waits for the reader in bytes.
func (m *Message) held() int {
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	return m.cost
}

// Reading too slowly is not stopping, and stopping for less than the timeout is
// no failure.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 4 << 20
		messages := make(chan *Message, 1)
		l, a, _ := framed(t, nil, func(m *Message) { messages <- m })
		sent := make(chan error, 1)
		go func() { sent <- a.Send(t.Context(), Outgoing{Body: &patterned{size: size}}) }()
		m := <-messages
		var body []byte
		b := make([]byte, 200_000)
		for {
			n, err := m.Read(b)
			body = append(body, b[:n]...)
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(body)%7 == 0 {
				after(DefaultStallTimeout - time.Second)
			}
		}
		if err := <-sent; err != nil || !bytes.Equal(body, patternOf(size)) {
			t.Errorf("%d bytes, %v", len(body), err)
		}
		if n := l.sides[1][0].packets; n < 4 {
			t.Errorf("%d replies", n)
		}
	})
}

// A sender that stops exactly where the window is full is no reason to keep the
// memory either.
func TestFullWindowStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m *Message
		c, s := scripted(func(x *Message) { m = x })
		c.ChannelMessage(start(9, strings.Repeat("x", ChunkSize), false), false)
		for i := uint32(1); i < 64; i++ {
			c.ChannelMessage(chunk(9, i, make([]byte, ChunkSize), false), false)
		}
		after(DefaultStallTimeout - 1)
		if m.Err() != nil || m.held() > DefaultWindow {
			t.Fatalf("holds %d, %v", m.held(), m.Err())
		}
		if _, err := m.Read(make([]byte, 1)); err != nil { // one byte is progress
			t.Fatal(err)
		}
		m.stalled() // the watchdog may be late
		after(DefaultStallTimeout - 1)
		if m.Err() != nil {
			t.Fatal(m.Err())
		}
		after(1)
		synctest.Wait()
		if !errors.Is(m.Err(), ErrStalled) || m.held() != 0 || c.unfinished() != 0 {
			t.Errorf("holds %d, %v", m.held(), m.Err())
		}
		sent := s.packets(t, true)
		if p, _ := decode(sent[len(sent)-1]); !p.ask || !p.abort || p.id != 9 {
			t.Errorf("sent %x", sent)
		}
	})
}

// The windows that a receiver tells: at the first chunk, then by halves.
func TestWindowUpdates(t *testing.T) {
	var m *Message
	c, s := scripted(func(x *Message) { m = x })
	var limits []uint32
	s.answer = func(b []byte) {
		if p, _ := decode(b); isUpdate(p) {
			limits = append(limits, p.index)
		}
	}
	c.ChannelMessage(start(1, strings.Repeat("x", ChunkSize), false), false)
	for i := uint32(1); i < 100; i++ {
		if _, err := io.ReadFull(m, make([]byte, ChunkSize)); err != nil {
			t.Fatal(err)
		}
		c.ChannelMessage(chunk(1, i, make([]byte, ChunkSize), false), false)
	}
	if len(limits) != 4 || limits[0] != 64 || limits[1] != 96 || limits[2] != 128 || limits[3] != 160 {
		t.Errorf("limits %d", limits)
	}
	c.ChannelMessage(start(2, "whole", true), false)
	if len(limits) != 4 {
		t.Error("an update for a message that is complete")
	}
}

// A sender keeps to the window it was told, and does not wait for ever.
func TestSenderKeepsToWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := scripted(nil)
		told := false
		s.answer = func(b []byte) {
			if !told {
				told = true
				for _, limit := range []uint32{10, 5} { // it never shrinks
					p := update(1, limit)
					c.ChannelMessage(p.append(nil), false)
				}
			}
		}
		sent := make(chan error, 1)
		begin := time.Now()
		go func() { sent <- c.Send(t.Context(), Outgoing{Body: endless()}) }()
		after(20 * time.Second) // longer than any buffer may take to drain
		if n := len(s.packets(t, false)); n != 10 {
			t.Errorf("%d packets", n)
		}
		p := update(1, 12)
		c.ChannelMessage(p.append(nil), false)
		synctest.Wait()
		if n := len(s.packets(t, false)); n != 12 {
			t.Errorf("%d packets", n)
		}
		if err := <-sent; !errors.Is(err, ErrStalled) || time.Since(begin) != 20*time.Second+2*DefaultStallTimeout {
			t.Errorf("error %v after %v", err, time.Since(begin))
		}
		list := s.packets(t, false)
		if p, _ := decode(list[len(list)-1]); !p.abort || p.ask {
			t.Errorf("sent %+v at last", p)
		}
	})
}

// Transfers of several ids may be mixed, up to 16; then the oldest fails.
func TestMixedTransfers(t *testing.T) {
	var order []*Message
	c, s := scripted(func(m *Message) { order = append(order, m) })
	for id := uint32(1); id <= maxUnfinished; id++ {
		c.ChannelMessage(start(id, string(rune('a'+id)), false), false)
	}
	if n := c.unfinished(); n != maxUnfinished || len(s.packets(t, false)) != 0 {
		t.Fatalf("%d unfinished", n)
	}
	for id := uint32(20); id <= 21; id++ {
		c.ChannelMessage(start(id, string(rune('a'+id)), false), false)
	}
	for i, m := range order[:2] {
		b, err := io.ReadAll(m)
		if !errors.Is(err, ErrTooMany) || len(b) != 1 {
			t.Errorf("message %d: %q, %v", i, b, err)
		}
	}
	replies := s.packets(t, false)
	if p, _ := decode(replies[0]); len(replies) != 2 || !p.ask || !p.abort || p.id != 1 {
		t.Errorf("replies %x", replies)
	}
	for _, id := range []uint32{21, 9, 20, 3} {
		c.ChannelMessage(chunk(id, 1, []byte("!"), true), false)
	}
	for _, m := range []*Message{order[2], order[8], order[16], order[17]} {
		b, err := io.ReadAll(m)
		if err != nil || string(b) != string(rune('a'+m.id))+"!" {
			t.Errorf("id %d: %q, %v", m.id, b, err)
		}
	}
	c.Close()
}

// All unfinished messages of a channel together hold at most four windows.
func TestUnreadOfAChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var messages []*Message
		var idle *Message
		c, _ := scripted(func(m *Message) { idle = m })
		c.ChannelMessage(start(99, "", false), false) // holds nothing
		c.config.Receive = func(m *Message) { messages = append(messages, m) }
		for id := uint32(1); id < maxUnfinished; id++ {
			c.ChannelMessage(start(id, strings.Repeat("x", ChunkSize), false), false)
			for i := uint32(1); i < 60; i++ {
				c.ChannelMessage(chunk(id, i, make([]byte, ChunkSize), false), false)
			}
			c.unfinished()
			if c.unread > maxUnread*DefaultWindow {
				t.Fatalf("%d bytes unread", c.unread)
			}
		}
		if n := c.unfinished(); n != maxUnread+1 || idle.Err() != nil {
			t.Errorf("%d messages left, the oldest with %v", n, idle.Err())
		}
		for i, m := range messages {
			if stalled := errors.Is(m.Err(), ErrStalled); stalled != (i < len(messages)-maxUnread) {
				t.Errorf("message %d: %v", i, m.Err())
			}
		}
		c.Close()
	})
}

// Small chunks in large packets cost what is kept of them.
func TestSmallChunksOfLargePackets(t *testing.T) {
	var m *Message
	c, _ := scripted(func(x *Message) { m = x })
	c.ChannelMessage(start(1, "a", false), false)
	p := packet{has: hasID | hasIndex | hasInfo | hasChunk, id: 1, index: 1, info: make([]byte, 200_000), chunk: []byte("b")}
	in := p.append(nil)
	c.ChannelMessage(in, false)
	clear(in)
	if b := m.chunks.list[1]; string(b) != "b" || m.held() != 2*(1+slack) {
		t.Errorf("%q is kept of the packet, cost %d", b, m.held())
	}
	c.Close()
}

// Replies do not pile up for a peer that does not take them.
func TestRepliesAreBounded(t *testing.T) {
	c, s := scripted(nil)
	s.full = maxReplies + 1
	c.ChannelMessage(start(1, "a", true), false)
	if n := c.Dropped(DropReply); n != 1 || len(s.sent) != 0 {
		t.Errorf("%d dropped, sent %x", n, s.sent)
	}
}

// A sender does not run ahead of the first update, but for a peer that sends
// none it waits once.
func TestSenderWaitsForWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := scripted(nil)
		s.acknowledging(c)
		const size = 40 * ChunkSize
		var waited time.Duration
		send := func() {
			begin := time.Now()
			if err := c.Send(t.Context(), Outgoing{Body: &patterned{size: size}}); err != nil {
				t.Error(err)
			}
			waited = time.Since(begin)
		}
		for _, want := range []time.Duration{windowTimeout, 0} {
			if send(); waited != want {
				t.Errorf("waited for %v, want %v", waited, want)
			}
		}
		p := update(0, 0) // of no transfer, but from a Weft
		c.ChannelMessage(p.append(nil), false)
		go send()
		after(5 * time.Second)
		if n := len(s.packets(t, false)); n != 2*40+freeChunks {
			t.Errorf("%d packets", n)
		}
		p = update(3, 30)
		c.ChannelMessage(p.append(nil), false)
		after(time.Second)
		if n := len(s.packets(t, false)); n != 2*40+30 {
			t.Errorf("%d packets", n)
		}
		p = update(3, 64)
		c.ChannelMessage(p.append(nil), false)
		synctest.Wait()
		if waited != 6*time.Second {
			t.Errorf("waited for %v", waited)
		}
	})
}

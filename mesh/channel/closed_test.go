package channel

import (
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The channel ends in the middle: nobody takes a half for the whole.
func TestClosedInTheMiddle(t *testing.T) {
	for name, end := range map[string]func(l *link, a, b *Channel){
		"by the pipe":     func(l *link, _, _ *Channel) { l.close() },
		"by the sender":   func(_ *link, a, _ *Channel) { a.Close() },
		"by the receiver": func(_ *link, _, b *Channel) { b.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				receive, got := collect()
				l, a, b := framed(t, nil, receive)
				var senders sync.WaitGroup
				for range 3 { // one is on its way, the others wait for their turn
					senders.Go(func() {
						if err := a.Send(t.Context(), Outgoing{Body: slowly{endless(), 10 * time.Millisecond}}); !errors.Is(err, ErrClosed) {
							t.Errorf("send: %v", err)
						}
					})
				}
				after(time.Second)
				end(l, a, b)
				senders.Wait()
				if r := <-got; !errors.Is(r.err, ErrClosed) {
					t.Errorf("reader: %v", r.err)
				}
				if err := a.Send(t.Context(), Outgoing{}); !errors.Is(err, ErrClosed) {
					t.Errorf("send: %v", err)
				}
				if b.unfinished() != 0 {
					t.Error("messages left")
				}
			})
		})
	}
}

// What had arrived before the end can be read, and then it is an error.
func TestFailedMessageGivesWhatItHas(t *testing.T) {
	var m *Message
	c, _ := scripted(func(x *Message) { m = x })
	c.ChannelMessage(start(1, "half", false), false)
	cause := errors.New("ice failed")
	c.ChannelClosed(cause)
	b, err := io.ReadAll(m)
	if string(b) != "half" || !errors.Is(err, ErrClosed) || !errors.Is(err, cause) {
		t.Errorf("%q, %v", b, err)
	}
}

func TestOpenAndClosedAreCalledOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls []string
		s := &script{}
		c := New(Config{Pipe: s, Framed: true,
			Open:   func() { calls = append(calls, "open"); panic("open") },
			Closed: func(err error) { calls = append(calls, err.Error()); panic("closed") },
		})
		s.acknowledging(c)
		sent := make(chan error)
		go func() { sent <- c.Send(t.Context(), Outgoing{}) }()
		synctest.Wait()
		if len(s.sent) != 0 {
			t.Error("sent before the channel was open")
		}
		for range 2 {
			c.ChannelOpen()
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
		if err := c.Close(); err != nil || !s.closed {
			t.Errorf("close: %v, %v", err, s.closed)
		}
		for range 2 {
			c.ChannelClosed(io.ErrUnexpectedEOF)
		}
		if got := strings.Join(calls, ", "); got != "open, unexpected EOF" {
			t.Errorf("calls: %s", got)
		}
	})
}

func TestNeverOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(Config{Pipe: &script{}, Framed: true})
		if err := c.Send(t.Context(), Outgoing{}); !errors.Is(err, ErrTimeout) {
			t.Errorf("error %v", err)
		}
		sent := make(chan error)
		go func() { sent <- c.Send(t.Context(), Outgoing{}) }()
		synctest.Wait()
		c.ChannelClosed(nil)
		if err := <-sent; !errors.Is(err, ErrClosed) {
			t.Errorf("error %v", err)
		}
	})
}

// A function of the application that panics fails one message, nothing else.
func TestPanicInReceive(t *testing.T) {
	calls := 0
	c, s := scripted(func(m *Message) {
		if calls++; calls == 1 {
			panic("receive")
		}
	})
	c.ChannelMessage(start(1, "a", false), false)
	c.ChannelMessage(start(2, "b", true), false)
	if n := c.Dropped(DropPanic); n != 1 || calls != 2 || c.unfinished() != 0 {
		t.Errorf("%d panics, %d calls", n, calls)
	}
	sent := s.packets(t, false)
	if p, _ := decode(sent[0]); len(sent) != 2 || !p.ask || !p.abort {
		t.Errorf("sent %x", sent)
	}
}

// A panic of Body or Progress is the caller's, but does not block the channel.
func TestPanicInBody(t *testing.T) {
	c, s := scripted(nil)
	s.acknowledging(c)
	func() {
		defer func() { recover() }()
		c.Send(t.Context(), Outgoing{Body: &patterned{size: 3 * ChunkSize}, Progress: func(int64, int64) { panic("progress") }})
	}()
	last := s.sent[len(s.sent)-1]
	if p, _ := decode(last); !p.abort || p.ask {
		t.Errorf("sent %x at last", last)
	}
	if err := c.Send(t.Context(), Outgoing{}); err != nil {
		t.Error(err)
	}
}

func TestPipeError(t *testing.T) {
	c, s := scripted(nil)
	s.fail = errors.New("not connected")
	if err := c.Send(t.Context(), Outgoing{}); !errors.Is(err, ErrClosed) || !errors.Is(err, s.fail) {
		t.Errorf("error %v", err)
	}
}

// What the pipe still brings after Close is not handed over.
func TestNothingAfterClose(t *testing.T) {
	c, s := scripted(func(m *Message) { t.Errorf("message %+v", m) })
	c.Close()
	c.ChannelMessage([]byte("raw"), true)
	c.ChannelMessage(start(1, "framed", true), false)
	if len(s.sent) != 0 {
		t.Errorf("sent %x", s.sent)
	}
}

package channel

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// endless never ends.
func endless() io.Reader { return &patterned{size: 1 << 60} }

// The reader gives up in the middle: the sender stops with ErrAborted.
func TestReceiverAborts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		messages := make(chan *Message, 1)
		_, a, b := framed(t, nil, func(m *Message) { messages <- m })
		sent := make(chan error, 1)
		go func() { sent <- a.Send(t.Context(), Outgoing{Body: endless()}) }()
		m := <-messages
		if _, err := io.ReadFull(m, make([]byte, 3<<20)); err != nil {
			t.Fatal(err)
		}
		m.Abort()
		m.Abort()
		if err := <-sent; !errors.Is(err, ErrAborted) {
			t.Errorf("send: %v", err)
		}
		if n, err := m.Read(make([]byte, 1)); n != 0 || !errors.Is(err, ErrAborted) || !errors.Is(m.Err(), ErrAborted) {
			t.Errorf("read %d, %v", n, err)
		}
		go func() { sent <- a.Send(t.Context(), Outgoing{Body: strings.NewReader("next")}) }()
		if s, err := (<-messages).Text(t.Context(), 0); s != "next" || err != nil {
			t.Errorf("%q, %v", s, err)
		}
		if err := <-sent; err != nil || b.unfinished() != 0 {
			t.Error(err)
		}
	})
}

// A Read that waits is woken by Abort.
func TestAbortWakesReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m *Message
		c, _ := scripted(func(x *Message) { m = x })
		c.ChannelMessage(start(1, "a", false), false)
		read := make(chan error)
		go func() {
			_, err := io.ReadAll(m)
			read <- err
		}()
		synctest.Wait()
		m.Abort()
		if err := <-read; !errors.Is(err, ErrAborted) {
			t.Errorf("error %v", err)
		}
	})
}

// A message whose sender is told nothing more: it is complete.
func TestAbortOfCompleteMessage(t *testing.T) {
	var m *Message
	c, s := scripted(func(x *Message) { m = x })
	c.ChannelMessage(start(1, "whole", true), false)
	m.Abort()
	if _, err := m.Read(make([]byte, 1)); !errors.Is(err, ErrAborted) {
		t.Errorf("error %v", err)
	}
	if n := len(s.packets(t, true)); n != 1 {
		t.Errorf("%d replies", n)
	}
}

// A message that Receive gives up at once is refused, and not acknowledged as if
// somebody had it.
func TestAbortInReceive(t *testing.T) {
	for name, whole := range map[string]bool{"whole": true, "beginning": false} {
		c, s := scripted(func(m *Message) { m.Abort() })
		c.ChannelMessage(start(7, name, whole), false)
		want := refusal(7)
		if got := s.packets(t, true); len(got) != 1 || !bytes.Equal(got[0], want.append(nil)) {
			t.Errorf("%s: replies %x, want a refusal", name, got)
		}
	}
}

func TestContextEndsSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		receive, got := collect()
		l, a, b := framed(t, nil, receive)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		l.setMute(0, true) // the window does not get through either
		err := a.Send(ctx, Outgoing{Body: slowly{endless(), 10 * time.Millisecond}})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("send: %v", err)
		}
		if r := <-got; !errors.Is(r.err, ErrAborted) || b.unfinished() != 0 {
			t.Errorf("reader: %v", r.err)
		}
		if err := a.Send(ctx, Outgoing{Body: strings.NewReader("x")}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("send: %v", err)
		}
		l.setMute(0, false)
		expectText(t, a, got)
	})
}

// slowly waits before each Read.
type slowly struct {
	r io.Reader
	d time.Duration
}

func (r slowly) Read(b []byte) (int, error) {
	after(r.d)
	return r.r.Read(b)
}

// A context ends Send wherever it waits.
func TestContextEndsEveryWait(t *testing.T) {
	for name, prepare := range map[string]func(l *link, a *Channel){
		"turn":            func(_ *link, a *Channel) { a.turn <- struct{}{} },
		"send buffer":     func(l *link, _ *Channel) { l.sides[0][0].buffered = sendBuffer },
		"acknowledgement": func(l *link, _ *Channel) { l.setMute(0, true) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, a, _ := framed(t, nil, nil)
				synctest.Wait()
				prepare(l, a)
				ctx, cancel := context.WithCancel(t.Context())
				sent := make(chan error)
				go func() { sent <- a.Send(ctx, Outgoing{Body: strings.NewReader("x")}) }()
				synctest.Wait()
				cancel()
				if err := <-sent; !errors.Is(err, context.Canceled) {
					t.Errorf("error %v", err)
				}
			})
		})
	}
}

func TestContextEndsBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m *Message
		c, s := scripted(func(x *Message) { m = x })
		c.ChannelMessage(start(1, "a", false), false)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := m.Bytes(ctx, 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		sent := s.packets(t, false)
		if p, _ := decode(sent[0]); len(sent) != 1 || !p.abort || !p.ask {
			t.Errorf("sent %x", sent)
		}
	})
}

// start returns the first packet of a message.
func start(id uint32, chunk string, done bool) []byte {
	p := packet{
		has: hasID | hasIndex | hasType | hasDone | hasChunk,
		id:  id, kind: uint32(Text), done: done, chunk: []byte(chunk),
	}
	return p.append(nil)
}

// chunk returns a later packet of a message.
func chunk(id, index uint32, content []byte, done bool) []byte {
	p := packet{has: hasID | hasIndex | hasDone | hasChunk, id: id, index: index, done: done, chunk: content}
	return p.append(nil)
}

// A Peerix sender aborts with the packet of a receiver that refuses. It means
// the incoming message of that id if there is one, else the outgoing (WIRE 11).
func TestAskAbort(t *testing.T) {
	for name, c := range map[string]struct {
		incoming, window  bool
		given             bool // up by us before
		ends, stopsSender bool
	}{
		"of their message":         {incoming: true, ends: true},
		"of ours":                  {stopsSender: true},
		"of theirs, we gave it up": {incoming: true, given: true, ends: true},
		"of ours, both have id 1":  {incoming: true, window: true, stopsSender: true}, // a Weft says what it means
		"of ours, told of windows": {window: true, stopsSender: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var m *Message
				x, _ := scripted(func(in *Message) { m = in })
				sent := make(chan error, 1)
				go func() { sent <- x.Send(t.Context(), Outgoing{Body: strings.NewReader("x")}) }()
				synctest.Wait()
				send := func(p packet) { x.ChannelMessage(p.append(nil), false) }
				if c.incoming {
					x.ChannelMessage(start(1, "half", false), false)
				}
				if c.window {
					send(update(1, 64))
				}
				if c.given {
					m.Abort()
				}
				send(refusal(1))
				synctest.Wait()
				if ended := m != nil && errors.Is(m.Err(), ErrAborted); ended != c.ends {
					t.Errorf("incoming ended: %v", ended)
				}
				if stopped := len(sent) == 1; stopped != c.stopsSender {
					t.Errorf("outgoing stopped: %v", stopped)
				}
				if !c.stopsSender {
					send(acknowledgement(1))
				}
				if err := <-sent; errors.Is(err, ErrAborted) != c.stopsSender {
					t.Errorf("send: %v", err)
				}
			})
		})
	}
}

// Only the acknowledgement of what was sent whole counts.
func TestEarlyAcknowledgement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := scripted(nil)
		s.answer = func(b []byte) {
			if p, _ := decode(b); p.index == 0 && !p.ask && !p.abort {
				ack := acknowledgement(p.id)
				c.ChannelMessage(ack.append(nil), false)
			}
		}
		if err := c.Send(t.Context(), Outgoing{Body: &patterned{size: 3 * ChunkSize}}); !errors.Is(err, ErrTimeout) {
			t.Errorf("error %v", err)
		}
	})
}

func TestTimeouts(t *testing.T) {
	for name, prepare := range map[string]func(l *link, b *Channel){
		"acknowledgement": func(l *link, _ *Channel) { l.setMute(0, true) },
		"send buffer":     func(l *link, _ *Channel) { l.setMute(1, true) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, a, b := framed(t, nil, nil)
				synctest.Wait()
				prepare(l, b)
				begin := time.Now()
				err := a.Send(t.Context(), Outgoing{Body: &patterned{size: sendBuffer * 2}})
				if d := time.Since(begin); !errors.Is(err, ErrTimeout) || d < askTimeout || d > windowTimeout+askTimeout+lookEvery {
					t.Errorf("error %v after %v", err, time.Since(begin))
				}
				if peak := l.sides[0][0].peak; peak > sendBuffer+64 {
					t.Errorf("%d bytes in the send buffer", peak)
				}
			})
		})
	}
}

// A slow pipe is not a dead one: only a time without any progress counts.
func TestSlowPipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		receive, got := collect()
		l, a, _ := framed(t, nil, receive)
		stop := make(chan struct{})
		defer close(stop)
		l.setMute(1, true)
		go func() { // one packet in 5 s: 80 s for the send buffer
			for {
				select {
				case <-stop:
					return
				case <-time.After(5 * time.Second):
				}
				l.allow(1)
			}
		}()
		if err := a.Send(t.Context(), Outgoing{Body: &patterned{size: sendBuffer * 3 / 2}}); err != nil {
			t.Error(err)
		}
		if r := <-got; r.err != nil {
			t.Error(r.err)
		}
	})
}

// That a message was given up is forgotten when its id begins anew: an abort
// then is that of the new message, or of ours.
func TestGivenUpIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := scripted(func(m *Message) { m.Abort() })
		c.ChannelMessage(start(1, "refused", false), false)
		for id := uint32(2); id < 50; id++ {
			c.ChannelMessage(start(id, "refused", false), false)
		}
		if n := len(c.refused); n != maxUnfinished {
			t.Errorf("%d are remembered", n)
		}
		c.config.Receive = func(*Message) {}
		c.ChannelMessage(start(49, "whole", true), false)
		c.lastID = 48
		sent := make(chan error)
		go func() { sent <- c.Send(t.Context(), Outgoing{}) }()
		synctest.Wait()
		p := refusal(49)
		c.ChannelMessage(p.append(nil), false)
		if err := <-sent; !errors.Is(err, ErrAborted) {
			t.Errorf("send: %v", err)
		}
	})
}

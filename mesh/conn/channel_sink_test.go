package conn

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestSinkBlocks: a sink that does not come back holds up its own channel, and
// neither the others nor the control channel nor Close.
func TestSinkBlocks(t *testing.T) {
	inChannels(t, func(t *testing.T, w *wan, a, b *desk) {
		free := make(chan struct{})
		b.hear = func([]byte, bool) { <-free }
		x := a.open(t, ChannelOptions{Label: "x"})
		y := b.nth(t, 1)
		b.hear = nil
		for range 10 {
			if err := x.d.Send(make([]byte, 16384)); err != nil {
				t.Fatal(err)
			}
		}
		exchange(t, a.open(t, ChannelOptions{Label: "other"}), b.nth(t, 2))
		if err := a.conn.SendControl([]byte("xcontrol")); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the control channel", func() bool { return b.heard() == 1 })
		// ChannelClosed comes though ChannelMessage has not returned.
		done := make(chan struct{})
		start := time.Now()
		go func() { b.close(); close(done) }()
		eventually(t, "ChannelClosed", func() bool { _, _, n := y.count(); return n == 1 })
		if d := time.Since(start); d > closeGrace+100*time.Millisecond {
			t.Errorf("after %v", d)
		}
		close(free)
		<-done
		if n, _, _ := y.count(); n != 1 {
			t.Errorf("%d messages, want the one that blocked", n)
		}
	})
}

// TestSinkNeverReturns: one that breaks its word does not keep Close.
func TestSinkNeverReturns(t *testing.T) {
	inBubble(t, func(t *testing.T, w *wan, a, b *peer) {
		da, db := newDesk(a), newDesk(b)
		free := make(chan struct{})
		db.hear = func([]byte, bool) { <-free }
		connect(t, a, b)
		if err := da.open(t, ChannelOptions{}).d.Send(nil); err != nil {
			t.Fatal(err)
		}
		db.nth(t, 1)
		time.Sleep(time.Second)
		start := time.Now()
		b.close()
		if d := time.Since(start); d > sinkWait+time.Second {
			t.Errorf("Close took %v", d)
		}
		close(free)
		synctest.Wait()
	})
}

// TestSinkPanics: it ends its connection, in an orderly way.
func TestSinkPanics(t *testing.T) {
	for _, where := range []string{"open", "message", "closed"} {
		t.Run(where, func(t *testing.T) {
			inChannels(t, func(t *testing.T, w *wan, a, b *desk) {
				a.open(t, ChannelOptions{Label: "bystander"})
				b.nth(t, 1)
				d, err := a.conn.OpenChannel(ChannelOptions{Label: "x"})
				if err != nil {
					t.Fatal(err)
				}
				bad := &badSink{where: where}
				d.SetSink(bad)
				y := b.nth(t, 1)
				if where != "open" {
					if err := b.nth(t, 2).d.Send(nil); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(time.Second)
				d.Close()
				eventually(t, "the end", func() bool { return a.conn.Err() != nil })
				if !strings.Contains(a.conn.Err().Error(), "panic") {
					t.Error(a.conn.Err())
				}
				eventually(t, "the end on the other side", func() bool { _, _, n := y.count(); return n == 1 })
				a.conn.Close()
				if bad.closed != 1 {
					t.Errorf("ChannelClosed %d times", bad.closed)
				}
			})
		})
	}
}

type badSink struct {
	where  string
	closed int
}

func (s *badSink) at(where string) {
	if s.where == where {
		panic(where)
	}
}
func (s *badSink) ChannelOpen()                { s.at("open") }
func (s *badSink) ChannelMessage([]byte, bool) { s.at("message") }
func (s *badSink) ChannelClosed(error)         { s.closed++; s.at("closed") }

// TestSinkCloses: a sink may close its channel from within its calls, and a
// channel that nobody takes is closed.
func TestSinkCloses(t *testing.T) {
	inChannels(t, func(t *testing.T, w *wan, a, b *desk) {
		b.hear = func([]byte, bool) { b.all[0].d.Close() }
		x := a.open(t, ChannelOptions{Label: "x"})
		b.nth(t, 1)
		for range 50 {
			if err := x.d.Send([]byte{1}); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "the end", func() bool { _, _, n := x.count(); return n == 1 })
		if n, _, closed := b.all[0].count(); n != 1 || closed != 1 {
			t.Errorf("%d messages, closed %d times", n, closed)
		}
		b.peer.mu.Lock()
		b.accept = nil
		b.peer.mu.Unlock()
		y := a.open(t, ChannelOptions{Label: "y"})
		eventually(t, "the end of what nobody takes", func() bool { _, _, n := y.count(); return n == 1 })
	})
}

// TestConnectionEndsChannels: whatever ends the connection, each sink hears it.
func TestConnectionEndsChannels(t *testing.T) {
	for _, how := range []string{"close", "control channel", "abort", "fail"} {
		t.Run(how, func(t *testing.T) {
			inChannels(t, func(t *testing.T, w *wan, a, b *desk) {
				x := a.open(t, ChannelOptions{Label: "x"})
				y := b.nth(t, 1)
				late := a.open(t, ChannelOptions{Label: "late"})
				b.nth(t, 2)
				switch how {
				case "close":
					a.close()
				case "control channel":
					if err := a.conn.transport.Load().control.Close(); err != nil {
						t.Fatal(err)
					}
				case "abort":
					a.conn.transport.Load().channels.abort()
				case "fail":
					a.conn.fail(errors.New("because"))
				}
				for _, e := range []*ears{x, y, late} {
					eventually(t, "the end", func() bool { _, _, n := e.count(); return n == 1 })
					if e.why() == nil {
						t.Error("no reason given")
					}
				}
				if how == "fail" && x.why().Error() != "because" {
					t.Error(x.why())
				}
				e := &ears{d: x.d}
				d, err := b.conn.OpenChannel(ChannelOptions{})
				if err == nil {
					t.Error("a channel could be opened")
					d.SetSink(e)
				}
			})
		})
	}
}

// TestSinkLate: one that is set when all is over hears that, and only that.
func TestSinkLate(t *testing.T) {
	inChannels(t, func(t *testing.T, w *wan, a, b *desk) {
		x, err := a.conn.OpenChannel(ChannelOptions{Label: "x"})
		if err != nil {
			t.Fatal(err)
		}
		y, err := a.conn.OpenChannel(ChannelOptions{Label: "y"})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		x.Close()
		time.Sleep(time.Second)
		ex := a.attach(x)
		a.close()
		ey := a.attach(y)
		time.Sleep(time.Second)
		for _, e := range []*ears{ex, ey} {
			if _, _, n := e.count(); n != 1 || e.opened != 0 {
				t.Errorf("%s: closed %d times, opened %d times", e.d.Label(), n, e.opened)
			}
		}
	})
}

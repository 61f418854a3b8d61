package node

import (
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-rtc/weft/publish"
)

// sink is a publish.Sink made of functions, each of which may be nil.
type sink struct {
	write, close func()
}

func (s *sink) WritePacket(*publish.Packet) {
	if s.write != nil {
		s.write()
	}
}

func (s *sink) Close() error {
	if s.close != nil {
		s.close()
	}
	return nil
}

// TestDetachFromTap: an addon may detach itself from everything that a tap calls.
func TestDetachFromTap(t *testing.T) {
	for _, from := range []string{"choose", "write", "close"} {
		t.Run(from, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				defer w.close()
				p := w.peer(Config{}, false)
				closed := 0
				detach := func(at string) func() {
					if at == from {
						return func() { p.Detach("a") }
					}
					return func() {}
				}
				attach(t, p, func(s *Scope) error {
					return s.Tap(func(string, string, *publish.Track) publish.Sink {
						detach("choose")()
						return &sink{write: detach("write"), close: func() { closed++; detach("close")() }}
					})
				})
				c := newCamera()
				if err := p.Publish(publish.Stream{Label: "cam", Tracks: []*publish.Track{c.track}}); err != nil {
					t.Fatal(err)
				}
				c.run(time.Second, 1)
				p.Unpublish("cam")
				<-time.After(time.Second)
				if closed != 1 || len(p.Addons()) != 0 {
					t.Errorf("sink closed %d times, want once; addons left: %q", closed, p.Addons())
				}
			})
		})
	}
}

// attach attaches an addon "a".
func attach(t *testing.T, p *Peer, f AddonFunc) {
	t.Helper()
	if err := p.Attach("a", f); err != nil {
		t.Fatal(err)
	}
}

// TestCloseWaitsForWrite: a sink is never closed while it has a packet, and gets
// none after that.
func TestCloseWaitsForWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var writing atomic.Bool
		writes, closed := 0, 0
		s := &sink{
			write: func() { writes++; writing.Store(true); <-release; writing.Store(false) },
			close: func() {
				closed++
				if writing.Load() {
					t.Error("closed while it has a packet")
				}
			},
		}
		tp := newTap(func(string, string, *publish.Track) publish.Sink { return s }, slog.New(slog.DiscardHandler))
		c := newCamera()
		tp.follow([]row{{track: c.track}})
		go c.frame(1)
		synctest.Wait()
		tp.close()
		close(release)
		synctest.Wait()
		c.frame(1)
		if writes != 1 || closed != 1 {
			t.Errorf("%d writes, closed %d times, want one each", writes, closed)
		}
	})
}

// TestTapEnds: sinks are closed when their tracks have left, whatever ends them.
func TestTapEnds(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(a, b *Peer)
	}{
		{"own leave", func(a, _ *Peer) { a.Leave() }},
		{"their leave", func(_, b *Peer) { b.Leave() }},
		{"unpublish", func(_, b *Peer) { b.Unpublish("cam") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				defer w.close()
				a, b := w.peer(Config{}, false), w.peer(Config{}, false)
				chosen, closed := 0, 0
				attach(t, a, func(s *Scope) error {
					return s.Tap(func(peer, _ string, _ *publish.Track) publish.Sink {
						if peer == "" {
							return nil
						}
						chosen++
						return &sink{close: func() { closed++ }}
					})
				})
				c := newCamera()
				if err := b.Publish(publish.Stream{Label: "cam", Tracks: []*publish.Track{c.track}}); err != nil {
					t.Fatal(err)
				}
				c.run(3*time.Second, 1)
				tt.end(a, b)
				<-time.After(3 * time.Second)
				synctest.Wait()
				if chosen != 1 || closed != 1 {
					t.Errorf("chosen %d times, closed %d times, want once", chosen, closed)
				}
			})
		})
	}
}

// TestTapOfOne: a stream that was published to one peer leaves with that peer,
// for taps too.
func TestTapOfOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		a, b := w.peer(Config{}, false), w.peer(Config{}, false)
		<-time.After(2 * time.Second)
		closed := 0
		attach(t, a, func(s *Scope) error {
			return s.Tap(func(string, string, *publish.Track) publish.Sink { return &sink{close: func() { closed++ }} })
		})
		c := newCamera()
		if err := a.Connection(b.ID()).Publish(publish.Stream{Label: "cam", Tracks: []*publish.Track{c.track}}); err != nil {
			t.Fatal(err)
		}
		c.run(time.Second, 1)
		b.Leave()
		<-time.After(3 * time.Second)
		synctest.Wait()
		if closed != 1 {
			t.Errorf("sink closed %d times, want once", closed)
		}
	})
}

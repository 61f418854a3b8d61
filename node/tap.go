package node

import (
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/weft-rtc/weft/publish"
)

// TapFunc chooses what an addon looks at: for each track that is in the node it
// returns the sink that gets the track's packets, or nil. Peer is whose track it
// is, empty for one of the Peer's own.
type TapFunc func(peer, label string, t *publish.Track) publish.Sink

// Tap has an addon look at media: choose is called for every track that is
// published in the room and reaches this node, the Peer's own included, now and
// later, some 20 ms after it began; the sink that it returns gets every packet
// from then on, on the track's goroutine, and must not block, keep or change it.
// A video sink that needs a key picture to begin with asks the track for one.
// A sink that panics gets no more. If the sink has a Close method that is called
// when the track ends, leaves, or the addon is detached. Nothing is chosen
// outside a room.
func (s *Scope) Tap(choose TapFunc) error {
	if err := s.check(); err != nil {
		return err
	}
	p := s.peer
	p.mu.Lock()
	defer p.mu.Unlock()
	s.taps = append(s.taps, &tap{choose: choose, log: p.cfg.Logger.With("addon", s.name), on: map[*publish.Track]*tapped{}})
	p.changed()
	return nil
}

// tap is one TapFunc and the sinks that it chose.
type tap struct {
	choose TapFunc
	log    *slog.Logger

	mu     sync.Mutex // held while choose and Close of sinks run
	closed bool
	on     map[*publish.Track]*tapped
}

// tapped is a sink on a track.
type tapped struct {
	sink   publish.Sink // nil: not chosen
	track  *publish.Track
	log    *slog.Logger
	broken atomic.Bool
}

// WritePacket implements publish.Sink. A panic must not reach the connection
// that the packet came over.
func (t *tapped) WritePacket(p *publish.Packet) {
	if t.broken.Load() {
		return
	}
	defer func() {
		if v := recover(); v != nil {
			t.broken.Store(true)
			t.log.Error("sink of an addon panicked, gets no more", "track", t.track.ID(), "panic", v)
		}
	}()
	t.sink.WritePacket(p)
}

// row is a track with whose it is.
type row struct {
	peer, label string
	track       *publish.Track
}

// follow makes the sinks those of the tracks that there are now. It is called on
// the Peer's loop.
func (t *tap) follow(rows []row) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	there := make(map[*publish.Track]bool, len(rows))
	for _, r := range rows {
		there[r.track] = true
		if t.on[r.track] == nil {
			t.add(r)
		}
	}
	for track, x := range t.on {
		if !there[track] {
			t.remove(track, x)
		}
	}
}

// add asks for a sink; t.mu is held.
func (t *tap) add(r row) {
	x := &tapped{track: r.track, log: t.log}
	t.on[r.track] = x
	t.contain(func() { x.sink = t.choose(r.peer, r.label, r.track) })
	if x.sink != nil {
		r.track.Add(x)
	}
}

// remove takes a sink off; t.mu is held.
func (t *tap) remove(track *publish.Track, x *tapped) {
	delete(t.on, track)
	if x.sink == nil {
		return
	}
	track.Remove(x)
	x.broken.Store(true)
	if c, ok := x.sink.(interface{ Close() error }); ok {
		t.contain(func() {
			if err := c.Close(); err != nil {
				t.log.Warn("close sink", "track", track.ID(), "err", err)
			}
		})
	}
}

func (t *tap) contain(f func()) {
	defer func() {
		if v := recover(); v != nil {
			t.log.Error("addon panicked", "panic", v)
		}
	}()
	f()
}

// close takes all sinks off.
func (t *tap) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for track, x := range t.on {
		t.remove(track, x)
	}
}

// follow brings the taps of all addons in line with the table.
func (p *Peer) follow() {
	p.mu.Lock()
	var taps []*tap
	for _, s := range p.attached {
		taps = append(taps, s.taps...)
	}
	var rows []row
	if len(taps) > 0 {
		for _, pub := range p.table.sorted() {
			for _, s := range pub.slots {
				rows = append(rows, row{pub.origin, pub.label, s.track})
			}
		}
	}
	p.mu.Unlock()
	for _, t := range taps {
		t.follow(rows)
	}
}

package node

import (
	"log/slog"
	"sync"

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
// once, when the track is published no more or the addon is detached, and never
// while the sink has a packet. Nothing is chosen outside a room. The Peer waits
// for choose and Close: they must not block, nor call its Join, Leave or Close.
func (s *Scope) Tap(choose TapFunc) error {
	if err := s.check(); err != nil {
		return err
	}
	p := s.peer
	p.mu.Lock()
	defer p.mu.Unlock()
	s.taps = append(s.taps, newTap(choose, p.cfg.Logger.With("addon", s.name)))
	p.changed()
	return nil
}

// tap is one TapFunc and the sinks that it chose. What is the addon's is called
// without a lock: it may detach the addon.
type tap struct {
	choose TapFunc
	log    *slog.Logger

	mu     sync.Mutex
	closed bool
	on     map[*publish.Track]*tapped
}

func newTap(choose TapFunc, log *slog.Logger) *tap {
	return &tap{choose: choose, log: log, on: map[*publish.Track]*tapped{}}
}

// row is a track with whose it is.
type row struct {
	peer, label string
	track       *publish.Track
}

// follow makes the sinks those of the tracks that there are now. It is called on
// the Peer's loop, or when that has ended.
func (t *tap) follow(rows []row) {
	for _, x := range t.gone(rows) {
		x.end()
	}
	for _, r := range rows {
		if x := t.enter(r.track); x != nil {
			x.begin(r)
		}
	}
}

// gone takes out those whose tracks are not among rows.
func (t *tap) gone(rows []row) (gone []*tapped) {
	there := make(map[*publish.Track]bool, len(rows))
	for _, r := range rows {
		there[r.track] = true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for track, x := range t.on {
		if !there[track] {
			delete(t.on, track)
			gone = append(gone, x)
		}
	}
	return gone
}

// enter makes a place for a track that is new; otherwise it returns nil.
func (t *tap) enter(track *publish.Track) *tapped {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.on[track] != nil {
		return nil
	}
	x := &tapped{tap: t, track: track}
	t.on[track] = x
	return x
}

// close takes all sinks off, for good.
func (t *tap) close() {
	t.mu.Lock()
	t.closed = true
	all := t.on
	t.on = nil
	t.mu.Unlock()
	for _, x := range all {
		x.end()
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

// tapped is a track that a tap was asked for, and the sink that it chose.
type tapped struct {
	tap   *tap
	track *publish.Track

	mu     sync.Mutex
	sink   publish.Sink // nil: not chosen
	busy   bool         // it has a packet
	broken bool         // it has panicked, and gets no more
	ended  bool         // it gets no more, and is closed when it is not busy
}

// begin asks for a sink.
func (x *tapped) begin(r row) {
	var sink publish.Sink
	x.tap.contain(func() { sink = x.tap.choose(r.peer, r.label, r.track) })
	if sink == nil {
		return
	}
	x.mu.Lock()
	x.sink = sink
	ended := x.ended
	if !ended {
		x.track.Add(x)
	}
	x.mu.Unlock()
	if ended { // while it was chosen
		x.closeSink()
	}
}

// end takes the sink off the track. One that has a packet is closed after it.
func (x *tapped) end() {
	x.mu.Lock()
	x.ended = true
	x.track.Remove(x)
	idle := x.sink != nil && !x.busy
	x.mu.Unlock()
	if idle {
		x.closeSink()
	}
}

// WritePacket implements publish.Sink. A panic must not reach the connection
// that the packet came over.
func (x *tapped) WritePacket(p *publish.Packet) {
	if !x.take() {
		return
	}
	defer func() { x.leave(recover()) }()
	x.sink.WritePacket(p)
}

// take reports whether the sink gets a packet, and says that it has one.
func (x *tapped) take() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.busy = !x.ended && !x.broken
	return x.busy
}

// leave takes it that the sink is done with its packet.
func (x *tapped) leave(panicked any) {
	if panicked != nil {
		x.tap.log.Error("sink of an addon panicked, gets no more", "track", x.track.ID(), "panic", panicked)
	}
	x.mu.Lock()
	x.busy, x.broken = false, panicked != nil
	ended := x.ended
	x.mu.Unlock()
	if ended {
		x.closeSink()
	}
}

// closeSink closes the sink, if it can be.
func (x *tapped) closeSink() {
	c, ok := x.sink.(interface{ Close() error })
	if !ok {
		return
	}
	x.tap.contain(func() {
		if err := c.Close(); err != nil {
			x.tap.log.Warn("close sink", "track", x.track.ID(), "err", err)
		}
	})
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

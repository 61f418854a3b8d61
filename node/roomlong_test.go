package node

import (
	"context"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// census is what a room keeps: its hub, and all of its peers where the runtime
// does not tell them apart.
type census struct {
	offer, sections int // the longest of a hub's offers, the most sections
	ssrcs           int // most on one connection, of either side
	kept            int // entries of the maps of all peers, but for
	wants           int // what viewers have asked for
	// The memory is that of a silent moment, after a collection: a track holds its
	// last packets, so that it has the more the longer it flows.
	goroutines    int
	heap, objects uint64
}

// silent counts while nobody publishes.
func (c *census) silent() {
	runtime.GC()
	runtime.GC() // what pools keep goes with the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	c.heap, c.objects, c.goroutines = m.HeapAlloc, m.HeapObjects, runtime.NumGoroutine()
}

// full counts while as many publish as may.
func (c *census) full(hub *Peer, guests []*guest) {
	count := func(p *Peer) {
		p.mu.Lock()
		defer p.mu.Unlock()
		c.kept += len(p.table) + len(p.remotes) + len(p.speakers.spoke)
		for _, r := range p.remotes {
			c.kept += len(r.subs) + len(r.in) + len(r.wishes) + len(r.behind) + len(r.direct)
			c.wants += len(r.wants)
		}
	}
	count(hub)
	for _, s := range links(hub) {
		c.offer, c.sections = max(c.offer, s.OfferBytes), max(c.sections, s.Sections)
		c.ssrcs = max(c.ssrcs, s.SSRCs)
	}
	for _, g := range guests {
		count(g.p)
		for _, s := range links(g.p) {
			c.ssrcs = max(c.ssrcs, s.SSRCs)
		}
	}
}

// longRoom is a room in which things happen at random.
type longRoom struct {
	t       *testing.T
	hub     *Peer
	guests  []*guest
	most    int // who publish at a time
	rnd     *rand.Rand
	shows   map[*guest]bool
	away    map[*guest]bool
	changes int
}

// pass lets so many seconds go by.
func (r *longRoom) pass(seconds int) {
	for range seconds {
		<-time.After(time.Second)
		for g := range r.shows {
			g.play()
		}
	}
}

func (r *longRoom) show(g *guest, on bool) {
	switch {
	case r.shows[g] == on:
		return
	case on:
		g.publish(r.t)
		r.shows[g] = true
	default:
		g.unpublish()
		delete(r.shows, g)
	}
	r.changes++
}

func (r *longRoom) enter(g *guest, in bool) {
	switch {
	case r.away[g] != in:
		return
	case in:
		if err := g.p.Join(context.Background(), "room"); err != nil {
			r.t.Error(err)
		}
		delete(r.away, g)
	default:
		r.show(g, false)
		g.p.Leave()
		r.away[g] = true
	}
	r.changes++
}

// act changes one thing at random.
func (r *longRoom) act() {
	g := r.guests[r.rnd.IntN(len(r.guests))]
	switch n := r.rnd.IntN(10); {
	case r.away[g]:
		r.enter(g, true)
	case n == 0:
		r.enter(g, false)
	case n < 3:
		r.want(g)
	default:
		r.show(g, !r.shows[g] && len(r.shows) < r.most)
	}
}

// want makes a guest ask for a size of every picture that there is.
func (r *longRoom) want(g *guest) {
	for _, other := range g.p.Connections() {
		_ = other.Subscribe("cam", Wish{Width: 320, Height: 180})
	}
	r.changes++
}

// same brings the room into the same two states each time, and counts.
func (r *longRoom) same() (c census) {
	for _, g := range r.guests {
		r.enter(g, true)
		r.show(g, false)
	}
	for range 2 { // a change releases what has ended before, if nothing of it was late
		r.pass(15)
		r.show(r.guests[0], true)
		r.pass(3)
		r.show(r.guests[0], false)
	}
	r.pass(3)
	synctest.Wait()
	c.silent()
	for _, g := range r.guests[:r.most] {
		r.show(g, true)
	}
	r.pass(5)
	synctest.Wait()
	c.full(r.hub, r.guests)
	return c
}

// TestLongRoom: an hour in a hub's room in which streams and peers come and go.
// What is kept is what is there, not what once was. With WEFT_TEST_ROOM, which is
// a duration, it is a room of fifty for so long.
func TestLongRoom(t *testing.T) {
	size, most, long := 10, 4, time.Hour/raceFactor
	if d, err := time.ParseDuration(os.Getenv("WEFT_TEST_ROOM")); err == nil {
		size, most, long = 50, 8, d
	}
	const points, every = 4, 5 // every so many seconds something changes
	span := int(long.Seconds()) / points
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		r := &longRoom{t: t, hub: w.peer(Config{Hub: true}, false), most: most,
			rnd: rand.New(rand.NewPCG(5, 6)), shows: map[*guest]bool{}, away: map[*guest]bool{}}
		for i := range size {
			r.guests = append(r.guests, w.guest(i))
		}
		r.pass(5)
		for _, g := range r.guests { // what starts with the first track has started
			r.show(g, true)
			r.pass(2)
			r.show(g, false)
		}
		var first census
		for point := range points + 1 {
			c := r.same()
			t.Logf("after %d changes: %+v", r.changes, c)
			if point == 0 {
				first = c
			}
			r.compare(first, c)
			if point == points {
				break
			}
			for range span / every {
				r.pass(every)
				r.act()
			}
			r.bounded()
		}
	})
}

// compare fails if the room has grown since the first census.
func (r *longRoom) compare(first, now census) {
	r.t.Helper()
	// A place is free again one negotiation after its stream has gone, so that in
	// the worst case there are two for each stream of the most that there were.
	if bound := 1 + 2*2*r.most; now.sections > bound {
		r.t.Errorf("%d sections, at most %d", now.sections, bound)
	}
	// A section that is empty has some 80 bytes, one of a picture 1500.
	if now.offer > first.offer+100*2*r.most {
		r.t.Errorf("offer of %d bytes, at first %d", now.offer, first.offer)
	}
	if now.kept != first.kept || now.goroutines > first.goroutines {
		r.t.Errorf("%d entries, %d goroutines, at first %d and %d", now.kept, now.goroutines, first.kept, first.goroutines)
	}
	if most := len(r.guests) * len(r.guests); now.wants > most {
		r.t.Errorf("%d wishes, at most %d of those who are here", now.wants, most)
	}
	if now.ssrcs > 2*first.ssrcs {
		r.t.Errorf("%d SSRCs, at first %d", now.ssrcs, first.ssrcs)
	}
	if now.objects > first.objects*5/4 || now.heap > first.heap*5/4 {
		r.t.Errorf("%d objects, %d bytes, at first %d and %d", now.objects, now.heap, first.objects, first.heap)
	}
}

// bounded looks at a room in the middle of things: offers have a section for
// each stream that there is, or could have been a moment ago.
func (r *longRoom) bounded() {
	r.t.Helper()
	for id, s := range links(r.hub) {
		if bound := 1 + 2*2*r.most; s.Sections > bound {
			r.t.Errorf("%d sections to %s, at most %d", s.Sections, id, bound)
		}
		if most := 4 << 10 * r.most; s.OfferBytes > most {
			r.t.Errorf("offer of %d bytes to %s, at most %d", s.OfferBytes, id, most)
		}
	}
}

package serve

import (
	"net/netip"
	"sync"
	"time"
)

// ratesMost bounds the addresses that are remembered. Beyond it those that have
// been silent are forgotten, and if there are none, all: for a moment everybody
// may do more.
const ratesMost = 1 << 16

// rates bounds the requests of each address: so many a second, and as many at
// once.
type rates struct {
	each float64

	mu sync.Mutex
	by map[netip.Prefix]bucket
}

// bucket is what is left for an address, at a time.
type bucket struct {
	left float64
	at   time.Time
}

func newRates(each int) *rates { return &rates{each: float64(each), by: map[netip.Prefix]bucket{}} }

// allow counts a request at now, if it may be. Who is not valid is not counted.
func (r *rates) allow(who netip.Prefix, now time.Time) bool {
	if !who.IsValid() {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	b, ok := r.by[who]
	if !ok {
		r.makeRoom(now)
		b = bucket{r.each, now}
	}
	b.left, b.at = min(r.each, b.left+now.Sub(b.at).Seconds()*r.each), now
	ok = b.left >= 1
	if ok {
		b.left--
	}
	r.by[who] = b
	return ok
}

// makeRoom forgets whose buckets are full. r.mu is held.
func (r *rates) makeRoom(now time.Time) {
	if len(r.by) < ratesMost {
		return
	}
	for who, b := range r.by {
		if now.Sub(b.at) >= time.Second {
			delete(r.by, who)
		}
	}
	if len(r.by) >= ratesMost {
		clear(r.by)
	}
}

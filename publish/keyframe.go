package publish

import (
	"sync"
	"sync/atomic"
	"time"
)

// keyframeInterval is the least time between two requests to one publisher. A
// key picture costs as much as half a second of others, and 500 ms is two
// round trips of a bad path, so the answer to the last request has its chance.
const keyframeInterval = 500 * time.Millisecond

// requests coalesces the key picture requests of all subscribers. A request
// that comes too soon waits for the interval to end, and is forgotten when a
// key picture comes first.
type requests struct {
	ask     func() // nil: the publisher cannot be asked
	waiting atomic.Bool
	asked   atomic.Uint64
	open    atomic.Int64 // when the publisher was asked and has not answered since, Unix time in ns; 0: it has

	mu   sync.Mutex
	last time.Time // guarded by mu
}

// request asks now or notes the wish. Any goroutine.
func (r *requests) request(now time.Time) {
	if r.ask == nil {
		return
	}
	r.mu.Lock()
	due := r.last.IsZero() || now.Sub(r.last) >= keyframeInterval
	if due {
		r.last = now
	}
	r.waiting.Store(!due)
	r.mu.Unlock()
	if due {
		r.open.CompareAndSwap(0, now.UnixNano())
		r.asked.Add(1)
		r.ask()
	}
}

// packet is called for each packet of the track.
func (r *requests) packet(keyframe bool, now time.Time) {
	if keyframe {
		r.open.Store(0)
		r.waiting.Store(false)
	}
	if r.waiting.Load() {
		r.request(now)
	}
}

// deafAfter is how long a key picture takes at most that was asked for: two
// requests, and a round trip of a bad path.
const deafAfter = time.Second

func (r *requests) deaf(now time.Time) bool {
	open := r.open.Load()
	return open != 0 && now.UnixNano()-open >= int64(deafAfter)
}

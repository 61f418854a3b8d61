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
		r.asked.Add(1)
		r.ask()
	}
}

// packet is called for each packet of the track.
func (r *requests) packet(keyframe bool, now time.Time) {
	if !r.waiting.Load() {
		return
	}
	if keyframe {
		r.waiting.Store(false)
		return
	}
	r.request(now)
}

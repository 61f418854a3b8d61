package serve

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

var (
	errSlowReader = errors.New("serve: the reader is slower than what is published")
	errStreamOver = errors.New("serve: the stream is over")
)

// eventStream is the queue of one GET. put and end may be called from any
// goroutine, carry runs on the request's.
type eventStream struct {
	ready   chan struct{} // there is something to take, buffered
	waiting *quota        // of bytes, for all streams together
	who     netip.Prefix

	mu     sync.Mutex
	events [][]byte // oldest first, shared with other streams
	size   int      // bytes in events
	err    error    // why the stream ends
}

func newEventStream(waiting *quota, who netip.Prefix) *eventStream {
	return &eventStream{ready: make(chan struct{}, 1), waiting: waiting, who: who}
}

// put adds an event. A reader that lets too many wait loses the stream and not
// some of its events, so that it knows and announces itself again.
func (s *eventStream) put(event []byte) {
	s.mu.Lock()
	full := len(s.events) >= mercureQueueEvents || s.size+len(event) > mercureQueueBytes
	if s.err == nil && !full {
		full = !s.waiting.take(s.who, int64(len(event)))
	}
	if s.err == nil && !full {
		s.events = append(s.events, event)
		s.size += len(event)
	}
	s.mu.Unlock()
	if full {
		s.end(errSlowReader)
		return
	}
	s.wake()
}

// end drops what waits and makes carry return err.
func (s *eventStream) end(err error) {
	s.mu.Lock()
	if s.err == nil {
		s.waiting.give(s.who, int64(s.size))
		s.err, s.events, s.size = err, nil, 0
	}
	s.mu.Unlock()
	s.wake()
}

func (s *eventStream) wake() {
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

// take returns what waits. Its size is to be given back to the quota when it
// does not wait any more.
func (s *eventStream) take() (events [][]byte, size int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	events, size = s.events, s.size
	s.events, s.size = nil, 0
	return events, size, s.err
}

// carry writes events as they come, and a comment where none comes for long. It
// returns nil when the reader has gone or ctx ends, and an error when the
// stream is ended against the reader's will.
func (s *eventStream) carry(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	out := http.NewResponseController(w)
	// For the end of the response, which net/http writes.
	defer func() { _ = out.SetWriteDeadline(time.Now().Add(mercureWriteTimeout)) }()
	defer s.end(errStreamOver)
	tick := time.NewTimer(mercureKeepAlive)
	defer tick.Stop()
	events, size := [][]byte{[]byte(mercureHello)}, 0
	for {
		err := writeEvents(w, out, events)
		s.waiting.give(s.who, int64(size))
		if err != nil {
			return err
		}
		tick.Reset(mercureKeepAlive)
		select {
		case <-s.ready:
			events, size, err = s.take()
		case <-tick.C:
			events, size = [][]byte{[]byte(":\n\n")}, 0
		case <-r.Context().Done():
			return nil
		case <-ctx.Done():
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// writeEvents writes and flushes, in bounded time for each event. The deadline
// does not stay: over HTTP/2 it would end a silent stream.
func writeEvents(w http.ResponseWriter, out *http.ResponseController, events [][]byte) error {
	if len(events) == 0 {
		return nil
	}
	for _, event := range events {
		if err := out.SetWriteDeadline(time.Now().Add(mercureWriteTimeout)); err != nil {
			return err
		}
		if _, err := w.Write(event); err != nil {
			return err
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	return out.SetWriteDeadline(time.Time{})
}

package serve

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"
)

var errSlowReader = errors.New("serve: the reader is slower than what is published")

// eventStream is the queue of one GET. put and end may be called from any
// goroutine, carry runs on the request's.
type eventStream struct {
	ready chan struct{} // there is something to take, buffered

	mu     sync.Mutex
	events [][]byte // oldest first, shared with other streams
	size   int      // bytes in events
	err    error    // why the stream ends
}

func newEventStream() *eventStream { return &eventStream{ready: make(chan struct{}, 1)} }

// put adds an event. A reader that lets too many wait loses the stream and not
// some of its events, so that it knows and announces itself again.
func (s *eventStream) put(event []byte) {
	s.mu.Lock()
	full := len(s.events) >= mercureQueueEvents || s.size+len(event) > mercureQueueBytes
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

// take returns what waits.
func (s *eventStream) take() ([][]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	events := s.events
	s.events, s.size = nil, 0
	return events, s.err
}

// carry writes events as they come, and a comment where none comes for long. It
// returns nil when the reader has gone or ctx ends, and an error when the
// stream is ended against the reader's will.
func (s *eventStream) carry(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	out := http.NewResponseController(w)
	// For the end of the response, which net/http writes.
	defer func() { _ = out.SetWriteDeadline(time.Now().Add(mercureWriteTimeout)) }()
	tick := time.NewTimer(mercureKeepAlive)
	defer tick.Stop()
	events := [][]byte{[]byte(mercureHello)}
	for {
		if err := writeEvents(w, out, events); err != nil {
			return err
		}
		tick.Reset(mercureKeepAlive)
		var err error
		select {
		case <-s.ready:
			events, err = s.take()
		case <-tick.C:
			events = [][]byte{[]byte(":\n\n")}
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

// writeEvents writes and flushes, in bounded time for each event. The deadline does not stay:
// over HTTP/2 it would end a silent stream.
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

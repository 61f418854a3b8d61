package node

import (
	"encoding/json"
	"log/slog"
	"slices"
	"sync"

	"github.com/weft-rtc/weft/mesh/conn"
	"github.com/weft-rtc/weft/publish"
)

// ConnectionEvent says that a remote peer came, changed its state, or went. A
// peer that is reached in two ways, such as directly for a moment before it goes
// behind a hub, has events for each, told apart by Via.
type ConnectionEvent struct {
	ID       string
	Metadata json.RawMessage
	Via      string     // id of the hub behind which the peer is; empty if reached directly
	State    conn.State // of its connection; for a peer behind a hub Connected or Closed
	Err      error      // with StateClosed: why
}

// StreamEvent says that a remote stream was added or removed.
type StreamEvent struct {
	Peer   string // whose stream it is, also when it came through a hub
	Label  string
	Added  bool
	Tracks []*publish.Track // at the time of the event, at least one
}

// TrackEvent says that a track was added to a remote stream or removed. A track
// that its sender goes on with in another codec is removed and added as another.
type TrackEvent struct {
	Peer, Label string
	Added       bool
	Track       *publish.Track
}

// eventQueue bounds the events that wait for slow handlers; what comes beyond
// is dropped, and the dropping logged once for each run of drops.
const eventQueue = 4096

// events delivers to handlers in order, on one goroutine of its own, so that a
// handler which blocks delays other handlers but never media or signaling.
type events struct {
	log *slog.Logger
	run sync.WaitGroup // the delivering goroutine

	mu       sync.Mutex
	queue    chan any      // nil while stopped
	last     chan struct{} // closed when the delivery started last has ended; nil before the first
	handlers []*handler
	dropping bool
}

type handler struct{ call func(any) }

// start begins delivery; stop ends it. Events outside are dropped.
func (e *events) start() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.queue == nil {
		queue := make(chan any, eventQueue)
		e.queue = queue
		before, ended := e.last, make(chan struct{})
		e.last = ended
		e.run.Go(func() { // joined by wait
			defer close(ended)
			if before != nil { // a handler may still run from before stop
				<-before
			}
			e.deliverAll(queue)
		})
	}
}

// stop lets what is queued be delivered and returns at once, so that a handler
// may call it.
func (e *events) stop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.queue != nil {
		close(e.queue)
		e.queue = nil
	}
}

// wait returns when delivery has ended; not for handlers.
func (e *events) wait() { e.run.Wait() }

// on registers f for events of type E; the function returned removes it again.
func on[E any](e *events, f func(E)) (off func()) {
	h := &handler{func(v any) {
		if ev, ok := v.(E); ok {
			f(ev)
		}
	}}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.handlers = append(slices.Clone(e.handlers), h)
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.handlers = slices.DeleteFunc(slices.Clone(e.handlers), func(x *handler) bool { return x == h })
	}
}

// emit queues an event; it never blocks.
func (e *events) emit(v any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.queue == nil {
		return
	}
	select {
	case e.queue <- v:
		e.dropping = false
	default:
		if !e.dropping {
			e.log.Warn("event handlers are too slow, events dropped", "queue", eventQueue)
		}
		e.dropping = true
	}
}

func (e *events) deliverAll(queue chan any) {
	for v := range queue {
		e.mu.Lock()
		handlers := e.handlers
		e.mu.Unlock()
		for _, h := range handlers {
			e.deliver(h, v)
		}
	}
}

// deliver keeps a panic of a handler from harming anybody else.
func (e *events) deliver(h *handler, v any) {
	defer func() {
		if r := recover(); r != nil {
			e.log.Error("event handler panicked", "panic", r)
		}
	}()
	h.call(v)
}

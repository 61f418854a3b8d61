package node

import (
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// eventQueue bounds the events that wait for one slow handler; what comes
	// beyond is dropped, and the dropping logged once for each run of drops.
	eventQueue = 4096
	// handlerPatience is how long Close waits for handlers that do not return.
	handlerPatience = 5 * time.Second
)

// dispatch delivers events. Each handler has a queue and, while something is in
// it, a goroutine of its own: one that blocks or panics harms nobody else.
type dispatch struct {
	log *slog.Logger

	mu       sync.Mutex
	handlers []*handler    // replaced, never changed in place
	closed   bool          // nothing is emitted any more
	running  int           // goroutines of mailboxes
	idle     chan struct{} // closed, and made anew, when there is none left
}

// handler is one registration: a function, and the names that it is for. What is
// below call is guarded by dispatch.mu.
type handler struct {
	call func(Event)
	once bool

	names []EventName // empty: all
	gone  bool        // removed: what is queued is not delivered
	main  mailbox
	// lanes are for messages, whose reading may take long: one for each channel
	// that has some waiting.
	lanes map[*Channel]*mailbox
}

// mailbox holds what waits for one handler, in order. Guarded by dispatch.mu.
type mailbox struct {
	queue []Event
	busy  bool // a goroutine delivers
	full  bool // events are being dropped
}

func newDispatch(log *slog.Logger) *dispatch {
	return &dispatch{log: log, idle: make(chan struct{})}
}

// add registers f for names, all if there are none. off removes it again, with
// what is queued for it.
func (d *dispatch) add(f func(Event), once bool, names []EventName) (off func()) {
	h := &handler{call: f, once: once, names: slices.Clone(names), lanes: map[*Channel]*mailbox{}}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.handlers = append(slices.Clone(d.handlers), h)
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		h.gone = true
		d.drop(h)
	}
}

// drop takes h out of the list; d.mu is held.
func (d *dispatch) drop(h *handler) {
	d.handlers = slices.DeleteFunc(slices.Clone(d.handlers), func(x *handler) bool { return x == h })
}

// off takes the names away from every handler that was registered for them by
// just these names; without names it removes all handlers.
func (d *dispatch) off(names []EventName) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, h := range d.handlers {
		if len(names) > 0 && len(h.names) == 0 {
			continue // for all events, and so for none by its name
		}
		h.names = slices.DeleteFunc(h.names, func(n EventName) bool { return slices.Contains(names, n) })
		if len(names) == 0 || len(h.names) == 0 {
			h.gone = true
			d.drop(h)
		}
	}
}

// wants reports whether an event of that name is for h; dispatch.mu is held.
func (h *handler) wants(name EventName) bool {
	group, _, _ := strings.Cut(string(name), ":")
	return len(h.names) == 0 || slices.Contains(h.names, name) || slices.Contains(h.names, EventName(group))
}

// wanted reports whether there is a handler for the name.
func (d *dispatch) wanted(name EventName) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.ContainsFunc(d.handlers, func(h *handler) bool { return h.wants(name) })
}

// emit queues an event for every handler that wants it; it never blocks.
func (d *dispatch) emit(e Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		e.release()
		return
	}
	for _, h := range d.handlers {
		if h.wants(e.Name) {
			if h.once {
				d.drop(h)
			}
			d.post(h, &h.main, e)
		}
	}
	e.release() // the hold that it was made with
}

// post queues e; d.mu is held.
func (d *dispatch) post(h *handler, box *mailbox, e Event) {
	if len(box.queue) >= eventQueue {
		if !box.full {
			d.log.Warn("event handler is too slow, events dropped", "queue", eventQueue, "event", string(e.Name))
		}
		box.full = true
		return
	}
	e.hold()
	box.full = false
	box.queue = append(box.queue, e)
	if !box.busy {
		box.busy = true
		d.running++
		go d.deliver(h, box) // joined by wait
	}
}

// deliver hands on what is queued, and ends with it.
func (d *dispatch) deliver(h *handler, box *mailbox) {
	for {
		e, ok := d.next(h, box)
		if !ok {
			return
		}
		if c, is := e.Data.(ChannelEvent); is && e.Name == ChannelMessage && box == &h.main {
			d.aside(h, c.Channel, e)
		} else {
			d.handle(h, e)
		}
		e.release()
	}
}

// next takes an event out of the box. When there is none the box's goroutine is
// as good as gone.
func (d *dispatch) next(h *handler, box *mailbox) (e Event, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(box.queue) > 0 && !h.gone {
		e, box.queue[0] = box.queue[0], Event{}
		box.queue = box.queue[1:]
		if h.wants(e.Name) {
			return e, true
		}
		e.release() // the name was taken away meanwhile
	}
	for _, e := range box.queue {
		e.release()
	}
	box.busy, box.queue = false, nil
	for c, lane := range h.lanes {
		if lane == box {
			delete(h.lanes, c)
		}
	}
	if d.running--; d.running == 0 {
		close(d.idle)
		d.idle = make(chan struct{})
	}
	return Event{}, false
}

// aside puts a message into the lane of its channel.
func (d *dispatch) aside(h *handler, c *Channel, e Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	lane := h.lanes[c]
	if lane == nil {
		lane = new(mailbox)
		h.lanes[c] = lane
	}
	d.post(h, lane, e)
}

// handle calls the handler; a panic ends that one call.
func (d *dispatch) handle(h *handler, e Event) {
	defer func() {
		if r := recover(); r != nil {
			d.log.Error("event handler panicked", "event", string(e.Name), "panic", r)
		}
	}()
	h.call(e)
}

// close ends emitting, and returns when all that was emitted is handled, or
// after handlerPatience. It must not be called from a handler.
func (d *dispatch) close() {
	d.mu.Lock()
	d.closed = true
	running, idle := d.running, d.idle
	d.mu.Unlock()
	if running == 0 {
		return
	}
	timer := time.NewTimer(handlerPatience)
	defer timer.Stop()
	select {
	case <-idle:
	case <-timer.C:
		d.log.Error("event handlers do not return, left running", "handlers", running)
	}
}

package conn

import "sync"

// maxEvents bounds what waits for the handler. A peer that makes more events
// than that while the handler is busy is closed; 4096 is some hundred times
// what a connection needs to come up with 100 tracks.
const maxEvents = 4096

// maxEventBytes bounds the control messages among them.
const maxEventBytes = 8 << 20

// events calls the Handler on one goroutine, in the order of post.
type events struct {
	handler Handler

	mu     sync.Mutex
	queue  []event
	bytes  int // of control messages in queue
	closed bool
	wake   chan struct{} // capacity 1
	done   chan struct{} // closed when run returned
}

type event struct {
	call func(Handler)
	size int // bytes it holds
}

func newEvents(h Handler) *events {
	return &events{handler: h, wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// post queues a call and reports whether there was room. It never blocks; after
// close it does nothing.
func (e *events) post(size int, call func(Handler)) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return true
	}
	if len(e.queue) >= maxEvents || (size > 0 && e.bytes+size > maxEventBytes) {
		return false
	}
	e.queue = append(e.queue, event{call, size})
	e.bytes += size
	e.signal()
	return true
}

func (e *events) signal() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// run is the goroutine that calls the handler, until close. A panic in the
// handler is given to fail and ends that call alone.
func (e *events) run(fail func(any)) {
	defer close(e.done)
	for range e.wake {
		for {
			ev, ok, closed := e.take()
			if closed {
				return
			}
			if !ok {
				break
			}
			e.call(ev.call, fail)
		}
	}
}

func (e *events) take() (ev event, ok, closed bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed || len(e.queue) == 0 {
		return event{}, false, e.closed
	}
	ev = e.queue[0]
	e.queue[0] = event{}
	e.queue = e.queue[1:]
	e.bytes -= ev.size
	return ev, true, false
}

func (e *events) call(f func(Handler), fail func(any)) {
	defer func() {
		if r := recover(); r != nil {
			fail(r)
		}
	}()
	f(e.handler)
}

// close drops what waits and returns when no call is running any more.
func (e *events) close() {
	e.mu.Lock()
	e.closed = true
	e.queue = nil
	e.signal()
	e.mu.Unlock()
	<-e.done
}

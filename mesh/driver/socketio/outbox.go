package socketio

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/weft-rtc/weft/mesh/driver"
)

const (
	// ackTimeout is how long a server may take to acknowledge an event (WIRE 5).
	ackTimeout = 10 * time.Second
	// maxPublished and maxQueued bound the packets that wait to be written or
	// acknowledged, and the bytes of those that wait to be written. Beyond them
	// Publish waits. At 100 ms to the server and back the first allows for
	// 10,000 packets a second.
	maxPublished = 1024
	maxQueued    = 4 << 20
)

// outbox holds what one connection has to send, in order, and the events that
// the server has not acknowledged yet.
type outbox struct {
	wake chan struct{} // capacity 1: the writer has something to do

	mu        sync.Mutex
	queue     []outgoing // oldest first
	bytes     int        // of packets in queue
	pong      bool       // one is due
	finished  bool       // the connection ends when the queue is empty
	last      int64      // id
	waiting   map[int64]*wait
	published int           // of those in waiting
	written   []writing     // oldest first; may hold some that were acknowledged
	room      chan struct{} // not nil while somebody waits for room: closed when there may be some
}

// outgoing is an event.
type outgoing struct {
	do        action
	namespace string
	packet    []byte
	id        int64
}

// wait is an event that is not acknowledged yet.
type wait struct {
	do   action
	done chan struct{} // closed by the acknowledgement
}

// writing says when an event was written.
type writing struct {
	id int64
	at time.Time
}

func newOutbox() *outbox {
	return &outbox{wake: make(chan struct{}, 1), waiting: map[int64]*wait{}}
}

// add queues an event whatever the bounds; the channel is closed when it is
// acknowledged. It is for subscribe and unsubscribe, which the number of the
// caller's subscriptions bounds.
func (o *outbox) add(do action, namespace string) <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	w := &wait{do: do, done: make(chan struct{})}
	o.enter(outgoing{do: do, namespace: namespace}, w)
	return w.done
}

// publish queues a packet, which is kept. While there is no room it waits, at
// most until the context or the connection ends.
func (o *outbox) publish(ctx context.Context, ended <-chan struct{}, namespace string, p []byte) error {
	for {
		room := o.tryPublish(namespace, p)
		if room == nil {
			return nil
		}
		select {
		case <-room:
		case <-ctx.Done():
			return ctx.Err()
		case <-ended:
			return driver.ErrInactive
		}
	}
}

// tryPublish returns nil if the packet was queued, else a channel that is
// closed when it is worth another try.
func (o *outbox) tryPublish(namespace string, p []byte) (room <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.published < maxPublished && (o.bytes == 0 || o.bytes+len(p) <= maxQueued) {
		o.published++
		o.enter(outgoing{do: publish, namespace: namespace, packet: p}, &wait{do: publish, done: make(chan struct{})})
		return nil
	}
	if o.room == nil {
		o.room = make(chan struct{})
	}
	return o.room
}

// The outbox is locked.
func (o *outbox) enter(e outgoing, w *wait) {
	o.last++
	e.id = o.last
	o.waiting[e.id] = w
	o.queue = append(o.queue, e)
	o.bytes += len(e.packet)
	o.stir()
}

// freed says that there is more room. The outbox is locked.
func (o *outbox) freed() {
	if o.room != nil {
		close(o.room)
		o.room = nil
	}
}

func (o *outbox) stir() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// ping makes a pong due.
func (o *outbox) ping() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.pong = true
	o.stir()
}

// finish says that nothing comes any more: the writer is to end the connection
// after what is queued.
func (o *outbox) finish() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.finished = true
	o.stir()
}

// task is what the writer has to do next.
type task uint8

const (
	idle task = iota
	sendPong
	sendEvent
	endConnection
)

// next takes out what is to be done next; a pong goes before everything.
func (o *outbox) next() (task, outgoing) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.pong:
		o.pong = false
		return sendPong, outgoing{}
	case len(o.queue) > 0:
		e := o.queue[0]
		o.queue[0] = outgoing{}
		o.queue = o.queue[1:]
		o.bytes -= len(e.packet)
		o.freed()
		return sendEvent, e
	case o.finished:
		return endConnection, outgoing{}
	default:
		return idle, outgoing{}
	}
}

// sent begins the wait for an event's acknowledgement.
func (o *outbox) sent(id int64, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.written = append(o.written, writing{id, now})
}

// acknowledged ends it. It returns false if nobody waits under this id.
func (o *outbox) acknowledged(id int64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	w := o.waiting[id]
	if w == nil {
		return false
	}
	delete(o.waiting, id)
	close(w.done)
	if w.do == publish {
		o.published--
		o.freed()
	}
	if len(o.written) > 2*len(o.waiting)+64 { // one that is late keeps others behind it
		o.written = slices.DeleteFunc(o.written, func(s writing) bool { return o.waiting[s.id] == nil })
	}
	return true
}

// lost returns how many packets the server has not acknowledged.
func (o *outbox) lost() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.published
}

// overdue reports whether an acknowledgement is missing for too long, and else
// when to ask again.
func (o *outbox) overdue(now time.Time) (dead bool, again time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.written) > 0 && o.waiting[o.written[0].id] == nil {
		o.written = o.written[1:]
	}
	if len(o.written) == 0 {
		return false, ackTimeout
	}
	left := ackTimeout - now.Sub(o.written[0].at)
	return left <= 0, max(left, 0)
}

package driver

import (
	"log/slog"
	"sync"
)

// Inbox is the queue of one subscription, for drivers to keep: packets go in
// where they arrive, and out on a goroutine that runs Run. It is bounded by
// QueuePackets and QueueBytes; beyond them the newest packets are dropped. Its
// methods may be called from any goroutine.
type Inbox struct {
	mu      sync.Mutex
	change  sync.Cond // something was put, or the inbox was closed
	queue   [][]byte  // oldest first
	size    int       // bytes in queue
	dropped uint64
	closed  bool
}

// NewInbox returns an empty inbox.
func NewInbox() *Inbox {
	in := &Inbox{}
	in.change.L = &in.mu
	return in
}

// Put adds a packet at the end. If there is no room it returns how many packets
// have been dropped so far, this one included, else 0. It does not block, and
// does nothing after Close.
func (in *Inbox) Put(packet []byte) (dropped uint64) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return 0 // nobody misses it
	}
	if len(in.queue) >= QueuePackets || in.size+len(packet) > QueueBytes {
		in.dropped++
		return in.dropped
	}
	in.queue = append(in.queue, packet)
	in.size += len(packet)
	in.change.Signal()
	return 0
}

// take waits for a packet. It returns false once the inbox is closed.
func (in *Inbox) take() ([]byte, bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for len(in.queue) == 0 && !in.closed {
		in.change.Wait()
	}
	if in.closed {
		return nil, false
	}
	packet := in.queue[0]
	in.queue[0] = nil
	in.queue = in.queue[1:]
	in.size -= len(packet)
	return packet, true
}

// Close drops what waits and lets Run return. It does not wait, and is
// idempotent.
func (in *Inbox) Close() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.closed, in.queue, in.size = true, nil, 0
	in.change.Signal()
}

// Run gives packets to receive, in order, until the inbox is closed. A panic in
// receive costs that packet and no more; log is told of it.
func (in *Inbox) Run(log *slog.Logger, receive func(packet []byte)) {
	for {
		packet, ok := in.take()
		if !ok {
			return
		}
		give(log, receive, packet)
	}
}

func give(log *slog.Logger, receive func(packet []byte), packet []byte) {
	defer func() {
		if r := recover(); r != nil {
			log.Error("receive function panicked", "panic", r)
		}
	}()
	receive(packet)
}

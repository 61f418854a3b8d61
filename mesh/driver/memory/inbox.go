package memory

import (
	"sync"

	"github.com/weft-rtc/weft/mesh/driver"
)

// inbox is the queue of one subscription, bounded by driver.QueuePackets and
// driver.QueueBytes.
type inbox struct {
	owner     *client
	namespace string

	mu     sync.Mutex
	change sync.Cond // something was put, or the inbox was closed
	queue  [][]byte  // oldest first
	size   int       // bytes in queue
	closed bool
}

func newInbox(owner *client, namespace string) *inbox {
	in := &inbox{owner: owner, namespace: namespace}
	in.change.L = &in.mu
	return in
}

// put adds a packet at the end. It returns false if there is no room.
func (in *inbox) put(packet []byte) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return true // nobody misses it
	}
	if len(in.queue) >= driver.QueuePackets || in.size+len(packet) > driver.QueueBytes {
		return false
	}
	in.queue = append(in.queue, packet)
	in.size += len(packet)
	in.change.Signal()
	return true
}

// take waits for a packet. It returns false once the inbox is closed.
func (in *inbox) take() ([]byte, bool) {
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

// close drops what waits and lets run return.
func (in *inbox) close() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.closed, in.queue, in.size = true, nil, 0
	in.change.Signal()
}

// run gives packets to receive until the inbox is closed.
func (in *inbox) run(receive func(packet []byte)) {
	for {
		packet, ok := in.take()
		if !ok {
			return
		}
		receive(packet)
	}
}

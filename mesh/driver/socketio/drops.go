package socketio

import (
	"log/slog"
	"sync"
)

// What comes in and is not given to anybody, by reason.
const (
	dropBinary    = "binary"            // a binary event or acknowledgement, or its attachment
	dropLong      = "message too long"  // see maxMessage
	dropMalformed = "malformed"         // not Engine.IO, Socket.IO or the array that is expected
	dropNamespace = "other namespace"   // a packet for another namespace of Socket.IO
	dropEvent     = "other event"       // an event of another name
	dropAck       = "unexpected ack"    // nobody waits for it
	dropUnwanted  = "nobody subscribed" // a namespace that is not ours any more
	dropFull      = "queue full"        // a subscription that does not keep up
)

// drops counts what was dropped and logs it ever more rarely: the first, second,
// fourth, eighth of each reason and so on.
type drops struct {
	log *slog.Logger

	mu     sync.Mutex
	counts map[string]uint64
}

func (d *drops) add(reason string) {
	d.mu.Lock()
	if d.counts == nil {
		d.counts = make(map[string]uint64)
	}
	d.counts[reason]++
	n := d.counts[reason]
	d.mu.Unlock()
	if n&(n-1) == 0 {
		d.log.Warn("dropped", "reason", reason, "count", n)
	}
}

// count returns how many were dropped for a reason.
func (d *drops) count(reason string) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.counts[reason]
}

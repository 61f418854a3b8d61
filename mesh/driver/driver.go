// Package driver says what peers need of a messaging service to find each
// other: to publish opaque packets to a namespace and to listen on one. A
// driver is the client of some such service.
//
// On a signaling message's way it is the lowest layer: package mesh/signal
// makes and reads the packets, a backend in a folder below this one (memory,
// nats, mqtt, sse, socketio) carries them, and dial makes one out of a URL. This
// package holds the interface and what the backends share; it imports none of
// them, and no driver looks into a packet.
//
// The service may lose, repeat and reorder packets, and give a peer its own
// back: the packets of this protocol stand that.
package driver

import (
	"context"
	"errors"
	"fmt"
)

// Errors that every driver uses for what a caller may want to tell apart.
var (
	// ErrClosed reports a call on a driver after its Close.
	ErrClosed = errors.New("driver: closed")
	// ErrInactive reports a packet that was not sent because there is no
	// connection to the service. It is not kept for later either: what it says
	// would be stale by then.
	ErrInactive = errors.New("driver: not connected")
	// ErrTooLarge reports a packet that is longer than the service takes.
	ErrTooLarge = errors.New("driver: packet too large")
)

// Limits that drivers keep to where the service sets none of its own.
const (
	// MaxPacket is the longest packet in bytes. It is NATS's default.
	MaxPacket = 1 << 20
	// QueuePackets and QueueBytes bound what waits for one subscription's
	// receive function. Beyond them the newest packets are dropped. A newcomer
	// gets one invoke from every peer in the room at once, each with a few
	// packets of candidates behind it, so 4096 serves a room of a thousand.
	QueuePackets = 4096
	QueueBytes   = 16 << 20
)

// A Driver carries packets between the peers that use the same service. It is
// safe for concurrent use. One driver serves one peer of a room: whether two
// peers that share a driver hear each other is up to the service.
type Driver interface {
	// Subscribe listens on a namespace until unsubscribe is called or the
	// driver is closed, across losses of the connection. It returns when the
	// subscription is in place, or at once while the driver is not active (it
	// is then in place before the driver becomes active); ctx bounds this wait
	// only.
	//
	// Packets are given to receive in order, on one goroutine of the
	// subscription. It must not block for long: what waits is bounded, and the
	// newest packets are dropped. The packet may be kept, but not changed.
	//
	// A call of receive that is under way may still end after unsubscribe has
	// returned. Unsubscribing twice, or after Close, does nothing.
	Subscribe(ctx context.Context, namespace string, receive func(packet []byte)) (unsubscribe func() error, err error)

	// Publish sends a packet to whoever listens on a namespace. It does not
	// wait for them, and may return before the packet has left. The packet may
	// be changed afterwards. Errors are ErrInactive, ErrClosed, ErrTooLarge and
	// those of the service.
	Publish(ctx context.Context, namespace string, packet []byte) error

	// Active reports whether packets can be sent and received now.
	Active() bool

	// Watch has changed called after each change of Active, in order, one call
	// at a time, on a goroutine of the driver; it must not block. Close is not
	// reported. A call that is under way may still end after cancel has
	// returned.
	Watch(changed func(active bool)) (cancel func())

	// Close ends all subscriptions and returns when the driver's goroutines
	// have ended; so it must not be called from a receive or a changed
	// function. It is idempotent.
	Close() error
}

// CheckNamespace returns an error unless a namespace is one that the signaling
// codec makes, which every service takes in an address: letters, digits, '_'
// and '-', at least one.
func CheckNamespace(namespace string) error {
	if namespace == "" {
		return errors.New("driver: namespace is empty")
	}
	for _, r := range namespace {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '-':
		default:
			return fmt.Errorf("driver: namespace %q holds %q", namespace, r)
		}
	}
	return nil
}

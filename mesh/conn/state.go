package conn

import (
	"sync"

	"github.com/pion/webrtc/v4"
)

// State is what a connection says about itself. It follows the ICE connection
// state (WIRE 12), except that it is Connected only once DTLS is up as well:
// before that no media and no control message can pass.
//
//	New --> Connecting <--> Connected <--> Disconnected
//	            |     ICE restart |             |
//	            +-----------------+-------------+--> Failed --> Closed
type State uint32

// The states of a connection. Closed is final; Failed becomes Connecting again
// only by an ICE restart.
const (
	StateNew State = iota
	StateConnecting
	StateConnected
	StateDisconnected
	StateFailed
	StateClosed
)

// String returns the word that browsers use for the state.
func (s State) String() string {
	switch s {
	case StateNew:
		return "new"
	case StateConnecting:
		return "connecting"
	case StateConnected:
		return "connected"
	case StateDisconnected:
		return "disconnected"
	case StateFailed:
		return "failed"
	case StateClosed:
		return "closed"
	default:
		return "unknown"
	}
}

// stateOf maps what pion says.
func stateOf(ice webrtc.ICEConnectionState, dtls bool) State {
	switch ice {
	case webrtc.ICEConnectionStateChecking:
		return StateConnecting
	case webrtc.ICEConnectionStateConnected, webrtc.ICEConnectionStateCompleted:
		if !dtls {
			return StateConnecting
		}
		return StateConnected
	case webrtc.ICEConnectionStateDisconnected:
		return StateDisconnected
	case webrtc.ICEConnectionStateFailed:
		return StateFailed
	case webrtc.ICEConnectionStateClosed:
		return StateClosed
	default:
		return StateNew
	}
}

// state is a State that remembers what was reported. It is safe for concurrent
// use.
type state struct {
	mu  sync.Mutex
	now State
}

// change takes s and calls report if it differs from before and nothing final
// came before it. report runs under the lock, so that reports keep the order of
// the changes; it must not call state again.
func (t *state) change(s State, report func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now == s || t.now == StateClosed {
		return
	}
	t.now = s
	report()
}

func (t *state) set(s State) { t.change(s, func() {}) }

func (t *state) get() State {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.now
}

// State returns the current state. Any goroutine.
func (c *Conn) State() State { return c.state.get() }

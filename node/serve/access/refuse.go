package access

import (
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
)

// Reason is why somebody is turned away.
type Reason uint8

// The reasons.
const (
	ReasonNone      Reason = iota
	ReasonMissing          // there is no token
	ReasonMalformed        // the token is none
	ReasonAlgorithm        // its algorithm is not that of the key
	ReasonKey              // no key has that name
	ReasonSignature        // not signed by the key
	ReasonExpired          // its time is over
	ReasonEarly            // its time has not come
	ReasonLifetime         // it has no end, or one too far away
	ReasonRoom             // it is for another room
	ReasonAction           // it does not allow that
	ReasonRole             // it is not for a hub
	ReasonPeer             // it was given to another peer
	ReasonHook             // the application says no
	ReasonHookDown         // the application does not answer
	ReasonRate             // too many requests from one address
	ReasonFull             // a limit is reached
	ReasonTracks           // a track too many, or of somebody who may not publish
	ReasonBitrate          // a packet above the bitrate
	reasons
)

var reasonNames = [reasons]string{
	"none", "missing", "malformed", "algorithm", "key", "signature", "expired", "early", "lifetime",
	"room", "action", "role", "peer", "webhook", "webhook_down", "rate", "full", "tracks", "bitrate",
}

// String is the reason's name, as counters have it.
func (r Reason) String() string {
	if r < reasons {
		return reasonNames[r]
	}
	return fmt.Sprintf("Reason(%d)", uint8(r))
}

// Error is a refusal. Its text is for the one who is refused.
type Error struct {
	Reason Reason
	Detail string
}

// Error implements error.
func (e *Error) Error() string { return e.Detail }

// Status is the HTTP status of the refusal: 401 where another token would help,
// 403 where this one is good but not for that, 503 where nobody can tell.
func (e *Error) Status() int {
	switch e.Reason {
	case ReasonRoom, ReasonAction, ReasonRole, ReasonPeer, ReasonHook:
		return http.StatusForbidden
	case ReasonHookDown, ReasonFull:
		return http.StatusServiceUnavailable
	case ReasonRate:
		return http.StatusTooManyRequests
	}
	return http.StatusUnauthorized
}

func refuse(r Reason, format string, v ...any) *Error {
	return &Error{Reason: r, Detail: fmt.Sprintf(format, v...)}
}

// StatusOf is the HTTP status for an error of this package, 500 for others.
func StatusOf(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Status()
	}
	return http.StatusInternalServerError
}

// Counters count refusals by reason. The zero value is ready.
type Counters struct{ n [reasons]atomic.Uint64 }

// Count counts err if it is a refusal, and returns it.
func (c *Counters) Count(err error) error {
	var e *Error
	if errors.As(err, &e) && e.Reason < reasons {
		c.n[e.Reason].Add(1)
	}
	return err
}

// Add counts n more for a reason, for what is refused elsewhere.
func (c *Counters) Add(r Reason, n uint64) { c.n[r].Add(n) }

// Snapshot returns what was counted so far, by the names of the reasons.
func (c *Counters) Snapshot() map[string]uint64 {
	out := map[string]uint64{}
	for r := ReasonNone + 1; r < reasons; r++ {
		out[r.String()] = c.n[r].Load()
	}
	return out
}

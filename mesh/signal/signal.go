// Package signal is the wire codec of the signaling between peers: identities
// and keys, the packets that travel over a driver, and the messages of the
// control channel of an established connection.
//
// On a signaling message's way it stands directly above the driver (decode
// what came in) and directly below the links (encode what goes out). Everything
// in it is computation: no clock, no socket and no goroutine, so that it may be
// called from wherever a packet arrives. It does not know who is in a room, what
// a description says, or which connection a candidate belongs to; packages mesh
// and mesh/sdp do.
//
// Bytes that come in are not trusted. Malformed input yields an error that
// names the field or rule that was broken, never a panic; what a packet expands
// to and what is remembered of its sender are bounded.
package signal

import (
	"encoding/json"
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"
)

// Errors that a caller may want to tell apart.
var (
	// ErrOwnPacket reports a packet that this peer sent itself. Drivers may give
	// a peer its own packets back; they are to be dropped in silence.
	ErrOwnPacket = errors.New("signal: own packet")
	// ErrUnknownPeer reports that a message cannot be encrypted to a peer,
	// because its id is not a public key.
	ErrUnknownPeer = errors.New("signal: unknown peer")
	// ErrTooLarge reports a message or a part of one that is above a limit,
	// which the error's text names.
	ErrTooLarge = errors.New("signal: too large")
)

// Limits on what is sent and accepted, in bytes.
const (
	// DefaultMaxPayload bounds the payload of a packet after expansion. An offer
	// of 60 sections is about 200 KB, so 1 MiB leaves room.
	DefaultMaxPayload = 1 << 20
	// MaxMetadata bounds the JSON text of a peer's metadata.
	MaxMetadata = 16 << 10
	// MaxRoom bounds the UTF-8 name of a room.
	MaxRoom = 128
	// MaxCandidate bounds the three texts of a candidate together. Real ones
	// have about 200 bytes; queues of candidates are sized by it.
	MaxCandidate = 1 << 10
	// MaxControl bounds a message of the control channel. Browsers based on
	// Chromium accept no longer one.
	MaxControl = 262144
)

// PeerID is the text by which a peer is known: base62 of its public key, or of
// random bytes where signaling is not encrypted. It is ASCII, at most 45
// characters.
type PeerID string

// Polite reports whether the peer named own is the polite one toward other,
// the one that takes its offer back when two collide. Ids are compared as byte
// strings and the greater is polite, so exactly one of two peers is.
func Polite(own, other PeerID) bool { return own > other }

// Type says what a signaling packet is about.
type Type uint32

// The types of signaling packets, with their numbers on the wire.
const (
	Announce   Type = iota + 1 // to the room: a peer has arrived
	Invoke                     // to a peer: make me an offer
	Offer                      // to a peer: description and metadata
	Answer                     // to a peer: description
	Candidates                 // to a peer: one or more ICE candidates
)

// String returns the lower-case name of the type, or its number.
func (t Type) String() string {
	switch t {
	case Announce:
		return "announce"
	case Invoke:
		return "invoke"
	case Offer:
		return "offer"
	case Answer:
		return "answer"
	case Candidates:
		return "candidates"
	default:
		return fmt.Sprintf("type %d", uint32(t))
	}
}

// Description is a session description as browsers write it in JSON.
type Description struct {
	Type string `json:"type"` // "offer" or "answer"
	SDP  string `json:"sdp"`  // RFC 8866
}

// Candidate is an ICE candidate as browsers write it in JSON. Absent parts are
// nil and are written as null. Peers never use a candidate that came over a
// driver without a UsernameFragment.
type Candidate struct {
	Candidate        string  `json:"candidate"` // RFC 8839 section 5.1; empty for "no more"
	SDPMid           *string `json:"sdpMid"`
	SDPMLineIndex    *uint16 `json:"sdpMLineIndex"`
	UsernameFragment *string `json:"usernameFragment"`
}

// Ufrag returns the username fragment, or "" where there is none.
func (c Candidate) Ufrag() string {
	if c.UsernameFragment == nil {
		return ""
	}
	return *c.UsernameFragment
}

// check refuses a candidate that is longer than any real one.
func (c Candidate) check() error {
	n := len(c.Candidate) + len(c.Ufrag())
	if c.SDPMid != nil {
		n += len(*c.SDPMid)
	}
	if n > MaxCandidate {
		return fmt.Errorf("%w: candidate of %d bytes, at most %d", ErrTooLarge, n, MaxCandidate)
	}
	return nil
}

// CheckMetadata returns an error unless metadata is nil, null or a JSON object
// of at most MaxMetadata bytes.
func CheckMetadata(metadata json.RawMessage) error {
	if len(metadata) > MaxMetadata {
		return fmt.Errorf("%w: metadata of %d bytes, at most %d", ErrTooLarge, len(metadata), MaxMetadata)
	}
	if isNull(metadata) {
		return nil
	}
	if !json.Valid(metadata) {
		return errors.New("signal: metadata is not JSON")
	}
	if firstByte(metadata) != '{' {
		return errors.New("signal: metadata is not a JSON object")
	}
	return nil
}

// ValidRoom returns an error that names what is wrong with a room's name: it
// must have 1 to MaxRoom bytes of valid UTF-8 without control characters.
func ValidRoom(name string) error {
	switch {
	case name == "":
		return errors.New("signal: room name is empty")
	case len(name) > MaxRoom:
		return fmt.Errorf("signal: room name has %d bytes, at most %d", len(name), MaxRoom)
	case !utf8.ValidString(name):
		return errors.New("signal: room name is not valid UTF-8")
	}
	for _, r := range name {
		if unicode.IsControl(r) {
			return fmt.Errorf("signal: room name holds the control character %U", r)
		}
	}
	return nil
}

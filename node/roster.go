package node

import (
	"encoding/json"
	"fmt"
	"strings"
)

// roster is the payload of control event 3. A hub tells each peer who is behind
// it; a peer tells the hub whom it reaches without it.
type roster struct {
	Hub    bool         `json:"hub,omitempty"` // the sender is a hub now
	Peers  []rosterPeer `json:"peers,omitempty"`
	Direct []string     `json:"direct,omitempty"`
}

type rosterPeer struct {
	ID       string          `json:"id"`
	Metadata json.RawMessage `json:"metadata,omitempty"`
	Streams  []rosterStream  `json:"streams"`
	Speaking bool            `json:"speaking,omitempty"` // when the roster was made; event 6 tells of changes
}

type rosterStream struct {
	ID     string        `json:"id"` // stream id on this connection
	Label  string        `json:"label"`
	Tracks []rosterTrack `json:"tracks"`
}

// rosterTrack describes one track; Muted names the reason why the receiver of
// the roster does not get it, "codec" for a codec that it lacks.
type rosterTrack struct {
	Kind  string `json:"kind"`
	Codec string `json:"codec"`
	Muted string `json:"muted,omitempty"`
}

// message is the payload of control event 5: a short JSON text from one peer to
// all. A hub passes it on to the others and fills in who it is from.
type message struct {
	From  string          `json:"from,omitempty"`
	Label string          `json:"label"`
	Data  json.RawMessage `json:"data"`
}

// Bounds on what others may tell us.
const (
	maxRosterPeers = 4096
	maxMessage     = 16 << 10 // bytes of JSON
	maxLabel       = 128      // bytes
	messageRate    = 10       // messages a second that a hub relays for one peer
	messageBurst   = 50       // and at once
)

func parseRoster(payload json.RawMessage) (roster, error) {
	var r roster
	if err := json.Unmarshal(payload, &r); err != nil {
		return roster{}, fmt.Errorf("roster: %w", err)
	}
	if len(r.Peers) > maxRosterPeers || len(r.Direct) > maxRosterPeers {
		return roster{}, fmt.Errorf("roster: more than %d peers", maxRosterPeers)
	}
	return r, nil
}

func parseMessage(payload json.RawMessage) (message, error) {
	if len(payload) > maxMessage {
		return message{}, fmt.Errorf("message of %d bytes, at most %d", len(payload), maxMessage)
	}
	var m message
	if err := json.Unmarshal(payload, &m); err != nil {
		return message{}, fmt.Errorf("message: %w", err)
	}
	return m, nil
}

// splitLabel reads the label of a stream that a hub forwards, "origin/label".
// A label with a second slash has been forwarded twice and is refused.
func splitLabel(wire string) (origin, label string, ok bool) {
	origin, label, ok = strings.Cut(wire, "/")
	if !ok || origin == "" || label == "" || strings.Contains(label, "/") {
		return "", "", false
	}
	return origin, label, true
}

// isHub reports whether metadata says hub: true.
func isHub(metadata json.RawMessage) bool {
	var m struct {
		Hub any `json:"hub"`
	}
	return json.Unmarshal(metadata, &m) == nil && m.Hub == true
}

package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"time"

	"github.com/pion/stun/v4"
	"github.com/pion/webrtc/v4"

	"github.com/weft-rtc/weft/mesh/conn"
	"github.com/weft-rtc/weft/mesh/driver"
	"github.com/weft-rtc/weft/mesh/signal"
)

// DefaultRoom is the room that an empty name means, as in the library that the
// wire protocol comes from.
const DefaultRoom = "default"

// VerifyFunc decides whether to connect to a peer, before anything is set up for
// it. Metadata is what the peer says of itself, a JSON object or nil. It is
// called on the driver's goroutine, must not block, and must not call Join,
// Leave or Close; if it panics the peer is refused.
type VerifyFunc func(id string, metadata json.RawMessage) bool

// Rights are what a remote peer may not do. The zero value forbids nothing.
type Rights struct {
	NoPublish bool // its streams are not taken
	NoWatch   bool // it gets no streams, nor messages of others by a hub
	NoHub     bool // it is no hub, whatever it says
}

// RightsFunc returns the rights of a peer by what it says of itself. It must not
// block and must not use the Peer.
type RightsFunc func(id string, metadata json.RawMessage) Rights

// Config says what a Peer is made of. Its zero value works: a peer that meets
// others of the same process over memory signaling.
type Config struct {
	// Driver carries the signaling. Nil means the process-wide memory bus. A
	// driver given here is not closed by the Peer.
	Driver driver.Driver
	// Metadata is announced to others: any JSON object of at most 16 KiB. The
	// key "hub" is set by the role.
	Metadata map[string]any
	// Hub makes the Peer forward everyone's streams to everyone else.
	Hub bool
	// LastN makes a hub forward the pictures of only so many peers to each
	// viewer: those who spoke last, then those who have been here longest. 0 is
	// all. Pictures of the others are held back, and begin with a key picture when
	// their turn comes.
	LastN int
	// TopAudio makes a hub forward the sound of only so many peers: those who
	// speak now, the one in the lead first. Who begins to speak is heard after 250
	// ms at most. 0 is all.
	TopAudio int
	// Verify decides whether to connect to a peer; nil accepts everybody.
	Verify VerifyFunc
	// Rights says what a peer that Verify has let in may do; nil allows
	// everything. It is called like Verify, once for each connection.
	Rights RightsFunc
	// MaxTracks bounds the tracks that are taken of one remote peer that is no
	// hub; 0 is any number.
	MaxTracks int
	// MaxBitrate bounds each track that a peer sends, with all its layers, in bits
	// a second; what is above is dropped and counted. 0 is no bound.
	MaxBitrate int64
	// Conn makes the connections; it is not closed by the Peer. Nil means one of
	// the Peer's own, made by Join from ICEServers and RelayOnly.
	Conn *conn.API
	// ICEServers are the STUN and TURN servers of every connection; none by
	// default. Not to be given together with Conn.
	ICEServers []webrtc.ICEServer
	// RelayOnly lets everything flow through TURN, the policy "relay" of
	// browsers. It needs a TURN server among ICEServers. Not to be given
	// together with Conn.
	RelayOnly bool
	// ConnectTimeout bounds the time that a connection takes to be up, and that
	// it may stay disconnected; zero means 15 s, negative switches it off.
	ConnectTimeout time.Duration
	// Signal holds options of the signaling codec, on which all peers of a room
	// must agree. The zero value is the library's default.
	Signal signal.Config
	// Logger gets what an operator should know; nil discards.
	Logger *slog.Logger
}

// validate returns an error that names the field that is wrong.
func (c Config) validate() error {
	if _, err := marshalMetadata(c.Metadata, roleMesh); err != nil {
		return fmt.Errorf("Config.Metadata: %w", err)
	}
	if c.Conn != nil && (len(c.ICEServers) > 0 || c.RelayOnly) {
		return errors.New("Config.ICEServers and RelayOnly belong into the Config of Config.Conn when that is given")
	}
	if c.LastN < 0 {
		return fmt.Errorf("Config.LastN is %d", c.LastN)
	}
	if c.TopAudio < 0 {
		return fmt.Errorf("Config.TopAudio is %d", c.TopAudio)
	}
	if c.MaxTracks < 0 || c.MaxBitrate < 0 {
		return fmt.Errorf("Config.MaxTracks is %d, Config.MaxBitrate %d", c.MaxTracks, c.MaxBitrate)
	}
	turn := false
	for i, server := range c.ICEServers {
		relay, err := checkServer(server)
		if err != nil {
			return fmt.Errorf("Config.ICEServers[%d]: %w", i, err)
		}
		turn = turn || relay
	}
	if c.RelayOnly && !turn {
		return errors.New("Config.RelayOnly needs a TURN server in Config.ICEServers")
	}
	if c.Signal != (signal.Config{}) {
		if _, err := signal.New(c.Signal); err != nil {
			return fmt.Errorf("Config.Signal: %w", err)
		}
	}
	return nil
}

// checkServer returns an error for a server that connections would refuse, and
// whether it is a TURN server.
func checkServer(s webrtc.ICEServer) (turn bool, err error) {
	if len(s.URLs) == 0 {
		return false, errors.New("URLs is empty")
	}
	for _, text := range s.URLs {
		u, err := stun.ParseURI(text)
		if err != nil {
			return false, fmt.Errorf("URL %q: %w", text, err)
		}
		if u.Scheme != stun.SchemeTypeTURN && u.Scheme != stun.SchemeTypeTURNS {
			continue
		}
		turn = true
		if s.Username == "" || s.Credential == nil || s.Credential == "" {
			return false, fmt.Errorf("URL %q: TURN needs Username and Credential", text)
		}
	}
	return turn, nil
}

// marshalMetadata is what is announced, with the role in it; nil when there is
// nothing to say.
func marshalMetadata(metadata map[string]any, as role) (json.RawMessage, error) {
	m := maps.Clone(metadata)
	delete(m, "hub")
	if as == roleHub {
		if m == nil {
			m = map[string]any{}
		}
		m["hub"] = true
	}
	if len(m) == 0 {
		return nil, nil
	}
	b, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	if len(b) > signal.MaxMetadata {
		return nil, fmt.Errorf("%d bytes as JSON, at most %d", len(b), signal.MaxMetadata)
	}
	return b, nil
}

// Errors that callers may want to tell apart.
var (
	// ErrClosed: Close was called.
	ErrClosed = errors.New("peer is closed")
	// ErrActive: not while the Peer is in a room.
	ErrActive = errors.New("peer is in a room")
	// ErrLabel: a label is empty, too long, or has a slash, which only a hub
	// puts there.
	ErrLabel = errors.New("invalid label")
)

func checkLabel(label string) error {
	switch {
	case label == "":
		return fmt.Errorf("%w: empty", ErrLabel)
	case len(label) > maxLabel:
		return fmt.Errorf("%w: %d bytes, at most %d", ErrLabel, len(label), maxLabel)
	case strings.Contains(label, "/"):
		return fmt.Errorf("%w: %q has a slash", ErrLabel, label)
	}
	return nil
}

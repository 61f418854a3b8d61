// Package mesh is how remote parties reach a node: the membership of a room,
// and a link to each remote peer in it.
//
// A Room listens on two namespaces of a signaling driver (the room's and its
// own id's), finds others by announce and invoke, and makes a Link for each. A
// Link owns one connection (mesh/conn), negotiates over the driver until its
// control channel is open and over that channel from then on.
//
// On a packet's way mesh stands at the two ends only: it hands receivers and
// senders of RTP up to its Handler and knows nothing of publications. Packages
// below do the parts: signal is the wire codec, driver carries it, sdp decides
// what a description says, conn owns the transport.
//
// Each Link has one goroutine and one ordered queue, on which everything about
// its negotiation happens, and on which its Handler is called.
package mesh

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/weft-rtc/weft/mesh/conn"
	"github.com/weft-rtc/weft/mesh/signal"
)

// Timing of the wire protocol (the library's values, so that both ends agree
// on when a connection is dead).
const (
	// DefaultConnectTimeout is how long a connection may take to be up, and how
	// long it may stay disconnected.
	DefaultConnectTimeout = 15 * time.Second
	// candidateDebounce: local candidates are collected until this long passes
	// without a new one.
	candidateDebounce = 50 * time.Millisecond
	// rejoinDelay and rejoinJitter: after a failure a peer announces again. The
	// fixed part lets the other side finish forgetting the old connection,
	// which its library does by id a moment later.
	rejoinDelay  = 250 * time.Millisecond
	rejoinJitter = 1000 * time.Millisecond
	// rejoinBackoff is how often the time is doubled, up to 20 to 40 s, while
	// links fail and none gets ready: everybody answers each announcement.
	rejoinBackoff = 5
)

// Bounds on what the outside can make a room hold.
const (
	maxLinks      = 1024    // remote peers in one room
	linkQueue     = 1024    // tasks that wait on one link; beyond that it is closed
	linkBytes     = 8 << 20 // of messages that wait on one link; likewise
	announceBurst = 256     // announces answered at once
	announceRate  = 64      // and a second
)

// Reasons for the end of a link, beside those of package conn.
var (
	// ErrTimeout: the connection was not up, or not up again, in time.
	ErrTimeout = errors.New("connection timed out")
	// ErrUnreachable: ICE found no path to the remote peer, or lost it.
	ErrUnreachable = errors.New("remote peer is unreachable")
	// ErrLeft: the remote peer closed its control channel.
	ErrLeft = errors.New("remote peer left")
	// ErrClosed: this side closed the link or left the room.
	ErrClosed = errors.New("closed here")
	// ErrReplaced: the remote peer has begun a new connection.
	ErrReplaced = errors.New("replaced by a new connection")
	// ErrNoAnswer: an offer over the control channel was not answered in time.
	ErrNoAnswer = errors.New("offer was not answered")
	// ErrOverflow: more waited on the link than its queue holds.
	ErrOverflow = errors.New("link queue overflow")
)

// Handler learns what happens in a room. Its methods are called on goroutines
// of the link or of its connection; for one link LinkState(StateClosed) comes
// last, and before anything of a new link to the same peer. They must not block,
// and may call any method of Link, and of Room any but Leave. A panic in them
// ends the link.
type Handler interface {
	// LinkState reports a new connection state. With StateClosed, which comes
	// once and last, err says why.
	LinkState(l *Link, s conn.State, err error)
	// LinkReady says that the control channel is open: media may be negotiated.
	LinkReady(l *Link)
	// LinkTrack hands up a remote track with the label of its stream.
	LinkTrack(l *Link, r *conn.Receiver, label string)
	// LinkTrackEnded says that the remote peer took the track back.
	LinkTrackEnded(l *Link, r *conn.Receiver)
	// LinkSend hands up the writer of a local track that was negotiated; it is
	// called again when its payload types change.
	LinkSend(l *Link, s *conn.Sender)
	// LinkSendEnded says that the remote peer no longer takes the track.
	LinkSendEnded(l *Link, s *conn.Sender)
	// LinkChannel hands over a data channel that came to be, made here or there.
	// SetSink on it before returning, else it is closed if the remote peer made
	// it, and nothing of it is read if we did.
	LinkChannel(l *Link, d *conn.DataChannel)
	// LinkEvent delivers control events other than signaling and channels.
	LinkEvent(l *Link, e signal.Event, payload json.RawMessage)
	// RoomError reports what went wrong without a link to blame, such as a
	// packet that cannot be read. It has no effect on the room.
	RoomError(err error)
}

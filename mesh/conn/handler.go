package conn

import (
	"github.com/weft-rtc/weft/mesh/signal"
)

// Handler is told what happens on a connection. All its methods are called one
// after the other on one goroutine of the connection, in the order in which
// things happened. They must not block for long, must not call [Conn.Close]
// (start a goroutine for that), and are never called after Close returned.
type Handler interface {
	// ConnState reports a change of state; each is reported once.
	ConnState(State)
	// ConnCandidate hands out a local candidate, usernameFragment filled in.
	ConnCandidate(signal.Candidate)
	// ControlOpen says that SendControl works from now on.
	ControlOpen()
	// ControlMessage hands over one binary message; the slice is the handler's.
	ControlMessage([]byte)
	// ControlClosed says that the other side closed the control channel, which
	// ends the connection (WIRE 9). Not called if we closed it ourselves.
	ControlClosed()
	// ChannelOpened hands over a data channel that the other side opened in band.
	// SetSink on it before returning, else it is closed.
	ChannelOpened(*DataChannel)
	// TrackOpened announces a track that the other side sends from now on.
	// SetSink on it, or its packets are counted as dropped.
	TrackOpened(*Receiver)
	// TrackClosed says that no packet of the track comes any more.
	TrackClosed(*Receiver)
	// SendReady says that a local track is negotiated, or negotiated anew with
	// other payload types: the same *Sender then.
	SendReady(*Sender)
	// SendClosed says that the other side's description no longer has a track.
	SendClosed(*Sender)
}

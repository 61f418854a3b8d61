package conn

import "errors"

// Errors that a caller may branch on.
var (
	// ErrClosed is returned by everything on a closed connection or sender.
	ErrClosed = errors.New("conn: closed")
	// ErrNotConnected means that DTLS is not up (yet): the packet was dropped.
	ErrNotConnected = errors.New("conn: not connected")
	// ErrNotStable means that an offer of ours is still without an answer.
	ErrNotStable = errors.New("conn: an offer waits for its answer")
	// ErrNoDescription means that a candidate came before any description.
	ErrNoDescription = errors.New("conn: candidate before the first description")
	// ErrCertificate ends a connection: an offer named another certificate.
	ErrCertificate = errors.New("conn: the certificate of the other side changed")
	// ErrHandshake ends a connection: DTLS failed, most often because the other
	// side's certificate is not the one its description names.
	ErrHandshake = errors.New("conn: DTLS handshake failed")
	// ErrTooManySSRCs ends a connection whose peer sends on too many SSRCs, at
	// once without a description that names them, or in the connection's life.
	ErrTooManySSRCs = errors.New("conn: too many SSRCs")
	// ErrTooManyCandidates means that a candidate was not used because the other
	// side gave too many for one description already.
	ErrTooManyCandidates = errors.New("conn: too many candidates")
	// ErrNoAddress means that no candidate of ours was found.
	ErrNoAddress = errors.New("conn: no address of ours to be reached at")
	// ErrHandlerSlow ends a connection whose Handler does not keep up.
	ErrHandlerSlow = errors.New("conn: too many events wait for the handler")
	// ErrControlClosed means that the control channel is not open.
	ErrControlClosed = errors.New("conn: control channel is not open")
	// ErrRestarting means that ICE restarts and has no path right now: what helps
	// it to find one (candidates) has to go through the driver.
	ErrRestarting = errors.New("conn: ICE is restarting")
	// ErrControlFull means that too much unsent data waits already.
	ErrControlFull = errors.New("conn: control channel is full")
	// ErrControlTooLarge means that a message is longer than MaxControlMessage.
	ErrControlTooLarge = errors.New("conn: control message is too large")
	// ErrChannelClosed means that a data channel is closed.
	ErrChannelClosed = errors.New("conn: data channel is closed")
	// ErrChannelFull means that too much is unacknowledged already: on a data
	// channel 1 MiB, on all of a connection 8 MiB.
	ErrChannelFull = errors.New("conn: data channel is full")
	// ErrChannelTooLarge means that a message is longer than MaxChannelMessage,
	// or than what the other side takes.
	ErrChannelTooLarge = errors.New("conn: data channel message is too large")
	// ErrChannelID means that the stream id of a pre-negotiated channel is in
	// use, or not free again yet.
	ErrChannelID = errors.New("conn: data channel id is in use")
	// ErrTooManyChannels means that a connection has MaxChannels open. It ends a
	// connection whose other side begins streams and never closes them.
	ErrTooManyChannels = errors.New("conn: too many data channels")
)

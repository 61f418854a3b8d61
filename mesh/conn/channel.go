package conn

import (
	"errors"
	"fmt"
	"sync"

	"github.com/pion/sctp"
)

// Bounds of data channels.
const (
	// MaxChannels is how many data channels a connection may have open at once.
	MaxChannels = 256
	// MaxChannelMessage is the longest message in bytes, both ways.
	MaxChannelMessage = 262144
	// MaxChannelName is the longest label and the longest protocol in bytes.
	MaxChannelName = 256
	// MaxChannelID is the greatest stream id of a channel; Chromium has no more.
	MaxChannelID = 1023
	// maxChannelBuffered bounds what Send leaves unacknowledged on a channel, and
	// maxBuffered on all channels of a connection, in bytes.
	maxChannelBuffered = 1 << 20
	maxBuffered        = 8 << 20
)

// DataChannel is one data channel. Its methods may be called from any goroutine
// and do not block.
type DataChannel struct {
	// Set once, before the channel is known to anybody.
	t       *transport
	stream  *sctp.Stream
	id      uint16
	options ChannelOptions
	// greeted is closed when nobody but run reads the stream any more; nil for a
	// stream that is ours. Before that, first may be set: a message that came
	// before we opened a pre-negotiated channel.
	greeted chan struct{}
	first   *message

	done chan struct{} // closed by end
	idle chan struct{} // closed when the channel has ended and no call of the sink runs
	gone chan struct{} // closed when run has returned
	told sync.Once

	sending sync.Mutex // orders Send, which reads the buffered amount first

	// Guarded by mu.
	mu      sync.Mutex
	sink    ChannelSink
	err     error // why it ended
	ended   bool
	started bool // run was started
	busy    bool // a call of the sink is running
}

func newDataChannel(t *transport, s *sctp.Stream, o ChannelOptions) *DataChannel {
	return &DataChannel{
		t: t, stream: s, id: s.StreamIdentifier(), options: o,
		done: make(chan struct{}), idle: make(chan struct{}), gone: make(chan struct{}),
	}
}

// Label returns the channel's label.
func (d *DataChannel) Label() string { return d.options.Label }

// Options returns what the channel was opened with, by either side.
func (d *DataChannel) Options() ChannelOptions { return d.options }

// ID returns the channel's stream id.
func (d *DataChannel) ID() uint16 { return d.id }

// Done returns a channel that is closed when the data channel is.
func (d *DataChannel) Done() <-chan struct{} { return d.done }

// Released returns a channel that is closed when the other side has closed its
// end too, or the connection is gone: then a stream id is free again.
func (d *DataChannel) Released() <-chan struct{} { return d.gone }

// SetSink says who takes what comes, once; a second call does nothing. Nothing
// is read before.
func (d *DataChannel) SetSink(s ChannelSink) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sink != nil {
		return
	}
	d.sink = s
	d.start()
	if d.ended {
		go d.tell() // ends by itself; run may have told nobody already
	}
}

// Send sends a binary message, which may be empty and may be changed afterwards.
// It fails with ErrChannelFull when too much is unacknowledged already, with
// ErrChannelTooLarge, and with ErrChannelClosed.
func (d *DataChannel) Send(b []byte) error {
	return d.send(b, sctp.PayloadTypeWebRTCBinary, sctp.PayloadTypeWebRTCBinaryEmpty)
}

// SendText sends a text message, as Send does.
func (d *DataChannel) SendText(s string) error {
	return d.send([]byte(s), sctp.PayloadTypeWebRTCString, sctp.PayloadTypeWebRTCStringEmpty)
}

func (d *DataChannel) send(b []byte, kind, empty sctp.PayloadProtocolIdentifier) error {
	if len(b) > MaxChannelMessage {
		return ErrChannelTooLarge
	}
	if len(b) == 0 { // RFC 8831 section 6.6
		b, kind = []byte{0}, empty
	}
	d.sending.Lock()
	defer d.sending.Unlock()
	select {
	case <-d.done:
		return ErrChannelClosed
	default:
	}
	if d.Buffered()+len(b) > maxChannelBuffered || d.t.channels.buffered()+len(b) > maxBuffered {
		return ErrChannelFull
	}
	_, err := d.stream.WriteSCTP(b, kind)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sctp.ErrOutboundPacketTooLarge): // the other side takes less
		return fmt.Errorf("%w: %w", ErrChannelTooLarge, err)
	default:
		return fmt.Errorf("%w: %w", ErrChannelClosed, err)
	}
}

// Buffered returns how many bytes of messages the other side has not
// acknowledged yet.
func (d *DataChannel) Buffered() int { return int(d.stream.BufferedAmount()) }

// OnLow makes f be called whenever Buffered falls from above threshold to it or
// below, in place of an earlier f. It is called on the connection's SCTP
// goroutine, must not block, and may call Send. Nothing is called for what is
// low already: look at Buffered after OnLow. A panic in f ends the connection.
func (d *DataChannel) OnLow(threshold int, f func()) {
	d.stream.OnBufferedAmountLow(nil)
	d.stream.SetBufferedAmountLowThreshold(uint64(max(threshold, 0)))
	if f == nil {
		return
	}
	d.stream.OnBufferedAmountLow(func() {
		defer d.t.conn.guard("OnLow")
		f()
	})
}

// Close closes the channel: what was sent still goes out, then the stream is
// reset. The sink hears ChannelClosed, nothing more is handed to it, and a
// ChannelMessage that is running goes on. It may be called by the sink.
func (d *DataChannel) Close() error {
	d.close(nil)
	return nil
}

// close is Close with a reason.
func (d *DataChannel) close(reason error) {
	if d.end(reason) {
		d.reset()
	}
}

// reset resets our direction of the stream. What is on its way from the other
// side is read all the same, by a channel without a sink too.
func (d *DataChannel) reset() {
	if err := d.stream.Close(); err != nil {
		d.t.conn.log.Debug("reset channel", "stream", d.id, "error", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.start()
}

func (d *DataChannel) isDone() bool {
	select {
	case <-d.done:
		return true
	default:
		return false
	}
}

func (d *DataChannel) isStarted() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.started
}

func (d *DataChannel) hasSink() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sink != nil
}

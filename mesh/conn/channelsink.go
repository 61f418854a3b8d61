package conn

import (
	"errors"
	"io"
	"time"

	"github.com/pion/sctp"
)

// ChannelSink takes what comes from a data channel. ChannelOpen is called first,
// then ChannelMessage for each message in order, all on the channel's reading
// goroutine, and ChannelClosed once and last. A sink that is set when the
// channel is closed already hears ChannelClosed alone. A panic in a method ends
// the connection, and none may call [Conn.Close].
type ChannelSink interface {
	// ChannelOpen says that the channel is open; Send works even before.
	ChannelOpen()
	// ChannelMessage hands over a message; b belongs to the sink. It may block:
	// then nothing more is read from this channel, the other side may send some
	// 1 MiB more on all its channels together, and after that nothing comes in
	// on the connection, the control channel included.
	ChannelMessage(b []byte, text bool)
	// ChannelClosed says that the channel is closed: err is nil if one of the
	// sides closed it, and else says why the connection, or the channel by
	// itself, ended. It may be called on any goroutine and must not block. While
	// a ChannelMessage is running it is held back until that has returned, but
	// for 100 ms at most: a call that blocks has to end then.
	ChannelClosed(err error)
}

// start starts the reading goroutine, which ends with the stream and is joined
// by channels.wait. d.mu is held.
func (d *DataChannel) start() {
	if !d.started {
		d.started = true
		go d.run()
	}
}

// run reads the stream to its end: RFC 8831 section 6.7 has the side that sees
// the other's reset make its own. After Close it goes on, since the bytes that
// are not read would count against the window of the whole connection.
func (d *DataChannel) run() {
	defer close(d.gone)
	defer d.t.conn.guard("channel")
	if d.greeted != nil {
		<-d.greeted
		d.linger()
	}
	if d.enter() {
		d.open()
	}
	if d.first != nil {
		d.deliver(*d.first)
		d.first = nil
	}
	for {
		m, err := readMessage(d.stream)
		if err != nil {
			d.end(d.reason(err))
			break
		}
		d.deliver(m)
	}
	d.tell()
	d.t.channels.remove(d)
}

// openDelay is how long a channel that the other side has opened is kept from
// the sink, unless something comes over it. A message that we send at once would
// reach a page of Chromium before the page hears that the channel is open: it
// could not answer, and Peerix loses its acknowledgement then (seen).
const openDelay = 50 * time.Millisecond

// linger waits for the first message or for openDelay.
func (d *DataChannel) linger() {
	if d.first != nil {
		return
	}
	_ = d.stream.SetReadDeadline(time.Now().Add(openDelay))
	if m, err := readMessage(d.stream); err == nil {
		d.first = &m
	} // else there is none yet; an end is read again by run
	_ = d.stream.SetReadDeadline(time.Time{})
}

// reason says why the stream ended, and answers the reset if it was one. pion
// says EOF for the end of the association too, but then it resets nothing.
func (d *DataChannel) reason(err error) error {
	if errors.Is(err, io.EOF) && d.stream.Close() == nil {
		return nil
	}
	return d.t.channels.reason()
}

// message is one of a stream, with what it is.
type message struct {
	data []byte
	kind sctp.PayloadProtocolIdentifier
}

// readMessage reads a message into a slice of its own size: pion says how long
// the next one is when the slice is too short.
func readMessage(s *sctp.Stream) (message, error) {
	var b []byte
	for {
		n, kind, err := s.ReadSCTP(b)
		if errors.Is(err, io.ErrShortBuffer) {
			b = make([]byte, n)
			continue
		}
		if err != nil {
			return message{}, err
		}
		return message{b[:n], kind}, nil
	}
}

// deliver takes one message of the stream.
func (d *DataChannel) deliver(m message) {
	b, kind := m.data, m.kind
	text := kind == sctp.PayloadTypeWebRTCString || kind == sctp.PayloadTypeWebRTCStringEmpty
	switch kind {
	case sctp.PayloadTypeWebRTCDCEP:
		if len(b) > 0 && b[0] == dcepAck {
			d.options.apply(d.stream)
		}
		return
	case sctp.PayloadTypeWebRTCStringEmpty, sctp.PayloadTypeWebRTCBinaryEmpty:
		b = []byte{}
	case sctp.PayloadTypeWebRTCString, sctp.PayloadTypeWebRTCBinary:
	default:
		d.t.in.drop(DropChannel)
		return
	}
	if len(b) > MaxChannelMessage {
		d.t.in.drop(DropChannel)
		d.close(ErrChannelTooLarge)
		return
	}
	if d.enter() {
		d.hand(b, text)
	}
}

func (d *DataChannel) open() {
	defer d.leave()
	defer d.t.conn.guard("ChannelOpen")
	d.sink.ChannelOpen()
}

func (d *DataChannel) hand(b []byte, text bool) {
	defer d.leave()
	defer d.t.conn.guard("ChannelMessage")
	d.sink.ChannelMessage(b, text)
}

// enter reports whether the sink is to be called, and says that it is.
func (d *DataChannel) enter() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.busy = !d.ended && d.sink != nil
	return d.busy
}

func (d *DataChannel) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.busy = false
	if d.ended {
		close(d.idle)
	}
}

// closeGrace is how long ChannelClosed waits for a ChannelMessage.
const closeGrace = 100 * time.Millisecond

// end marks the channel as closed and sees to it that the sink hears of it. It
// reports whether it was open.
func (d *DataChannel) end(err error) bool {
	d.mu.Lock()
	if d.ended {
		d.mu.Unlock()
		return false
	}
	d.ended, d.err = true, err
	close(d.done)
	sink, busy := d.sink, d.busy
	if !busy {
		close(d.idle)
	}
	d.mu.Unlock()
	if sink != nil {
		d.t.conn.spawn(func() {
			if busy {
				d.await()
			}
			d.tell()
		})
	}
	return true
}

// await gives a call of the sink that is running the time to return.
func (d *DataChannel) await() {
	timer := time.NewTimer(closeGrace)
	defer timer.Stop()
	select {
	case <-d.idle:
	case <-timer.C:
	}
}

// tell calls ChannelClosed, once.
func (d *DataChannel) tell() {
	d.mu.Lock()
	sink, err := d.sink, d.err
	d.mu.Unlock()
	if sink == nil {
		return
	}
	d.told.Do(func() {
		defer d.t.conn.guard("ChannelClosed")
		sink.ChannelClosed(err)
	})
}

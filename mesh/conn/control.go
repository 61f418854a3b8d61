package conn

import (
	"bytes"
	"reflect"
	"time"

	"github.com/pion/webrtc/v4"
)

// MaxControlMessage is the longest control message in bytes, both ways: what
// Chromium announces, and enough for some 60 media sections (WIRE 9).
const MaxControlMessage = 262144

// maxControlBuffered bounds what SendControl leaves unsent, in bytes.
const maxControlBuffered = 1 << 20

// openControl makes the control channel: pre-negotiated stream 0, empty label,
// ordered and reliable (WIRE 9). Both sides make it before any description.
func (t *transport) openControl() error {
	negotiated, id := true, uint16(0)
	d, err := t.pc.CreateDataChannel("", &webrtc.DataChannelInit{Negotiated: &negotiated, ID: &id})
	if err != nil {
		return err
	}
	t.control = d
	d.OnOpen(func() {
		defer t.conn.guard("control open")
		if t.stopped.Load() {
			return
		}
		t.openedControl()
	})
	d.OnMessage(func(m webrtc.DataChannelMessage) {
		defer t.conn.guard("control message")
		t.received(m)
	})
	d.OnClose(func() {
		defer t.conn.guard("control close")
		t.open.Store(false)
		t.conn.spawn(t.closedControl)
	})
	return nil
}

// sctpEnd is how long the end of the channel waits for that of the association.
const sctpEnd = 50 * time.Millisecond

// closedControl tells the handler that the channel is closed. Most often the
// whole association is, and pion is still busy with that: closing the connection
// in that moment costs 200 ms (and time stands still in testing/synctest).
func (t *transport) closedControl() {
	if t.stopped.Load() {
		return
	}
	timer := time.NewTimer(sctpEnd)
	defer timer.Stop()
	select {
	case <-t.sctpClosed:
	case <-timer.C:
	case <-t.conn.stop:
		return
	}
	t.channels.end()
	if !t.stopped.Load() {
		t.conn.post(0, func(h Handler) { h.ControlClosed() })
	}
}

// hearClose makes the end of DTLS heard before the control channel is open. From
// then on the end of the channel is the end of the connection; before, pion says
// nothing when the other side leaves, and time would have to tell. Called when
// DTLS begins, which is after pion has put its own function there.
func (t *transport) hearClose() error {
	onClose, err := field[func()](reflect.ValueOf(t.dtls).Elem(), "internalOnCloseHandler")
	if err != nil {
		return err
	}
	*onClose = func() { // of pion's DTLS, under a lock of its own
		if !t.stopped.Load() && !t.wasOpen.Load() {
			t.conn.spawn(func() { t.conn.report(StateClosed) })
		}
	}
	return nil
}

// openedControl tells the handler once. A message may come before OnOpen is
// called, which pion does on a goroutine of its own.
func (t *transport) openedControl() {
	t.opened.Do(func() {
		t.open.Store(true)
		t.wasOpen.Store(true)
		t.conn.post(0, func(h Handler) { h.ControlOpen() })
		t.channels.start()
	})
}

// received hands a message up. Texts are not part of the protocol.
func (t *transport) received(m webrtc.DataChannelMessage) {
	if m.IsString || len(m.Data) > MaxControlMessage || t.stopped.Load() {
		t.in.drop(DropControl)
		return
	}
	t.openedControl()
	t.conn.post(len(m.Data), func(h Handler) { h.ControlMessage(m.Data) })
}

// SendControl sends one binary message on the control channel. It does not
// block: it fails with ErrControlFull when more than 1 MiB is unsent, and with
// ErrRestarting while an ICE restart has not found a path. It may be called from any goroutine; the message may be changed afterwards.
func (c *Conn) SendControl(message []byte) error {
	if len(message) > MaxControlMessage {
		return ErrControlTooLarge
	}
	t := c.transport.Load()
	if !t.open.Load() {
		return ErrControlClosed
	}
	if t.pathless.Load() {
		return ErrRestarting
	}
	c.control.Lock()
	defer c.control.Unlock()
	if t.control.BufferedAmount()+uint64(len(message)) > maxControlBuffered {
		return ErrControlFull
	}
	if err := t.control.Send(bytes.Clone(message)); err != nil {
		return err
	}
	c.sends.Add(1)
	return nil
}

// unsent returns how many bytes of messages the other side has not acknowledged.
func (t *transport) unsent() uint64 { return t.control.BufferedAmount() }

package socketio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/coder/websocket"

	"github.com/weft-rtc/weft/mesh/driver"
)

const (
	// writeTimeout bounds the writing of one message.
	writeTimeout = 10 * time.Second
	// closeGrace is how long Close may take to send what is still queued and to
	// end the connection in good order.
	closeGrace = time.Second
	// maxMessage is the longest message that is read, in bytes. It takes four
	// for one of a packet at most; the rest is for names.
	maxMessage = 4*driver.MaxPacket + 64<<10
	// keptBuffer is the largest buffer that is kept for the next message.
	keptBuffer = 64 << 10
)

var (
	errSilent = errors.New("server is silent for longer than it said")
	errNoAck  = fmt.Errorf("server acknowledged nothing within %v", ackTimeout)
	errEnded  = errors.New("server ended the connection")
)

// session is one connection to the server, from the end of the handshake. It
// has two goroutines, read and write; the first failure ends it.
type session struct {
	t     *target
	drops *drops
	ws    *websocket.Conn
	opening
	out *outbox

	ctx context.Context // ends with the session; the cause says why
	end context.CancelCauseFunc

	message func(namespace string, p []byte) // called by read

	in     []byte // the reader's buffer
	text   []byte // the writer's buffer
	silent *time.Timer
}

func newSession(t *target, ws *websocket.Conn, dropped *drops, message func(namespace string, p []byte)) *session {
	// Longer messages are dropped by receive; the library would end the
	// connection, and so give any peer a way to end those of all others.
	ws.SetReadLimit(-1)
	s := &session{t: t, drops: dropped, ws: ws, out: newOutbox(), message: message}
	s.ctx, s.end = context.WithCancelCause(context.Background())
	return s
}

// read gives what comes in to those it is for, until the session ends.
func (s *session) read() {
	s.silent = time.AfterFunc(s.wait, func() { s.end(errSilent) })
	defer s.silent.Stop()
	for {
		b, err := s.receive(s.ctx)
		if err != nil {
			s.end(err)
			return
		}
		s.silent.Reset(s.wait)
		if err := s.take(b); err != nil {
			s.end(err)
			return
		}
	}
}

// receive returns the next text message, valid until the next call, or an empty
// one in place of a message that is dropped.
func (s *session) receive(ctx context.Context) ([]byte, error) {
	kind, r, err := s.ws.Reader(ctx)
	if err != nil {
		return nil, closeReason(err)
	}
	if kind != websocket.MessageText {
		s.drops.add(dropBinary)
		return nil, discard(r)
	}
	if cap(s.in) > keptBuffer {
		s.in = nil
	}
	s.in = s.in[:0]
	for {
		if len(s.in) == cap(s.in) {
			s.in = slices.Grow(s.in, 4<<10)
		}
		n, err := r.Read(s.in[len(s.in):cap(s.in)])
		s.in = s.in[:len(s.in)+n]
		if len(s.in) > maxMessage {
			s.drops.add(dropLong)
			return nil, discard(r)
		}
		if errors.Is(err, io.EOF) {
			return s.in, nil
		}
		if err != nil {
			return nil, closeReason(err)
		}
	}
}

// discard reads the rest of a message.
func discard(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return closeReason(err)
}

// closeReason makes the end that the server chose readable.
func closeReason(err error) error {
	var closed websocket.CloseError
	if errors.As(err, &closed) {
		return fmt.Errorf("%w: status %d %q", errEnded, closed.Code, closed.Reason)
	}
	return err
}

// take acts on an Engine.IO packet. It returns an error if that ends the
// session.
func (s *session) take(b []byte) error {
	if len(b) == 0 {
		return nil // was dropped
	}
	switch b[0] {
	case enginePing:
		s.out.ping()
	case engineClose:
		return errEnded
	case engineMessage:
		return s.takePacket(b[1:])
	case enginePong, engineNoop:
	default:
		s.drops.add(dropMalformed)
	}
	return nil
}

func (s *session) takePacket(b []byte) error {
	p, err := parsePacket(b)
	switch {
	case err != nil:
		s.drops.add(dropMalformed)
	case p.namespace != s.t.namespace:
		s.drops.add(dropNamespace)
	case p.kind == typeDisconnect, p.kind == typeConnectError:
		return errEnded
	case p.kind == typeEvent:
		s.takeEvent(p.data)
	case p.kind == typeAck:
		if !s.out.acknowledged(p.id) {
			s.drops.add(dropAck)
		}
	case p.kind == typeBinaryEvent, p.kind == typeBinaryAck:
		s.drops.add(dropBinary) // as the attachments that follow
	}
	return nil
}

func (s *session) takeEvent(data []byte) {
	namespace, payload, err := parseMessage(data, s.t.message)
	switch {
	case errors.Is(err, errOther):
		s.drops.add(dropEvent)
	case errors.Is(err, errTooLarge):
		s.drops.add(dropLong)
	case err != nil:
		s.drops.add(dropMalformed)
	default:
		s.message(namespace, payload)
	}
}

// write sends what the outbox holds, in order, and sees to it that the server
// acknowledges in time, until the session ends.
func (s *session) write() {
	timer := time.NewTimer(ackTimeout)
	defer timer.Stop()
	for {
		dead, again := s.out.overdue(time.Now())
		if dead {
			s.end(errNoAck)
			return
		}
		what, e := s.out.next()
		var err error
		switch what {
		case sendPong:
			err = s.send([]byte{enginePong})
		case sendEvent:
			err = s.send(s.t.appendEvent(s.text[:0], e.do, e.id, e.namespace, e.packet))
			s.out.sent(e.id, time.Now())
		case endConnection:
			_ = s.ws.Close(websocket.StatusNormalClosure, "") // we go in any case
			s.end(driver.ErrClosed)
			return
		case idle:
			timer.Reset(again)
			select {
			case <-s.out.wake:
			case <-timer.C:
			case <-s.ctx.Done():
				return
			}
		}
		if err != nil {
			s.end(err)
			return
		}
	}
}

// send writes one message and keeps its buffer for the next.
func (s *session) send(text []byte) error {
	ctx, cancel := context.WithTimeout(s.ctx, writeTimeout)
	defer cancel()
	if cap(text) > cap(s.text) && cap(text) <= keptBuffer {
		s.text = text
	}
	return s.ws.Write(ctx, websocket.MessageText, text)
}

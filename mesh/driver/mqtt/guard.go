package mqtt

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/weft-rtc/weft/mesh/driver"
)

// maxFrame is the longest message in bytes that is let through, with its topic
// and lengths.
const maxFrame = driver.MaxPacket + maxTopic + 2

// errProtocol reports a broker that says what it must not.
var errProtocol = errors.New("mqtt: the broker breaks the protocol")

// guard is the connection as paho sees it. Of what comes in it reads the fixed
// headers (MQTT 3.1.1 section 2.2) and lets through what paho stands: paho
// makes room for as much as a header announces, up to 256 MiB, and indexes a
// slice by the answers in a SUBACK. A message that is too long is skipped, not
// a reason to end: anybody in the room can send one.
//
// Reading belongs to one goroutine; Write and Close may be called from any.
type guard struct {
	net.Conn
	log *slog.Logger

	// owned by the reader
	r       *bufio.Reader
	head    []byte // of the frame, not yet read
	left    int    // bytes of the frame's body, not yet read
	skipped uint64

	closed atomic.Bool
	hurry  atomic.Bool
}

func newGuard(conn net.Conn, log *slog.Logger) *guard {
	return &guard{Conn: conn, log: log, r: bufio.NewReader(conn)}
}

// Read implements io.Reader.
func (g *guard) Read(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(g.head) == 0 && g.left == 0 {
		if err := g.next(); err != nil {
			return 0, g.named(err)
		}
	}
	if len(g.head) > 0 {
		n = copy(p, g.head)
		g.head = g.head[n:]
		return n, nil
	}
	n, err = g.r.Read(p[:min(len(p), g.left)])
	g.left -= n
	return n, g.named(err)
}

// next reads a fixed header, and skips the frame if it is too long.
func (g *guard) next() error {
	first, err := g.r.ReadByte()
	if err != nil {
		return err
	}
	head := append(make([]byte, 0, 5), first)
	length := 0
	for shift := 0; ; shift += 7 {
		if shift > 21 {
			return fmt.Errorf("%w: a length of more than four bytes", errProtocol)
		}
		b, err := g.r.ReadByte()
		if err != nil {
			return err
		}
		head = append(head, b)
		length |= int(b&0x7f) << shift
		if b&0x80 == 0 {
			break
		}
	}
	if err := checkFrame(first, length); err != nil {
		return err
	}
	if length > maxFrame {
		g.skipped++
		if g.skipped&(g.skipped-1) == 0 {
			g.log.Warn("message too large", "bytes", length, "skipped", g.skipped)
		}
		_, err := g.r.Discard(length)
		return err
	}
	g.head, g.left = head, length
	return nil
}

// checkFrame refuses what a broker has no reason to send to a client that
// publishes and subscribes with quality of service 0, one topic at a time.
func checkFrame(first byte, length int) error {
	want := 0
	switch first >> 4 {
	case packets.Publish:
		if first&0x06 != 0 {
			return fmt.Errorf("%w: a message of quality of service %d", errProtocol, first>>1&3)
		}
		return nil
	case packets.Connack, packets.Unsuback:
		want = 2
	case packets.Suback:
		want = 3
	case packets.Pingresp:
	default:
		return fmt.Errorf("%w: a packet of type %d", errProtocol, first>>4)
	}
	if first&0x0f != 0 || length != want {
		return fmt.Errorf("%w: a packet of type %d with flags %d and %d bytes", errProtocol, first>>4, first&0x0f, length)
	}
	return nil
}

// named gives every end that we made ourselves the one error that paho knows
// for it.
func (g *guard) named(err error) error {
	if err != nil && g.closed.Load() {
		return net.ErrClosed
	}
	if err == io.EOF && (len(g.head) > 0 || g.left > 0) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Write implements io.Writer, within writeTimeout.
func (g *guard) Write(p []byte) (int, error) {
	limit := writeTimeout
	if g.hurry.Load() {
		limit = goodbyeTimeout
	}
	if err := g.Conn.SetWriteDeadline(time.Now().Add(limit)); err != nil {
		return 0, g.named(err)
	}
	n, err := g.Conn.Write(p)
	return n, g.named(err)
}

// sayGoodbye lets what is written from now on, and is being written, take
// goodbyeTimeout at most.
func (g *guard) sayGoodbye() {
	g.hurry.Store(true)
	_ = g.Conn.SetWriteDeadline(time.Now().Add(goodbyeTimeout))
}

// Close implements io.Closer. It does not block.
func (g *guard) Close() error {
	g.closed.Store(true)
	return g.Conn.Close()
}

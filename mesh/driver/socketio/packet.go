package socketio

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Engine.IO 4: each text message of the WebSocket is a packet, whose type is
// its first byte.
const (
	engineOpen    = '0'
	engineClose   = '1'
	enginePing    = '2' // from the server only
	enginePong    = '3'
	engineMessage = '4'
	engineNoop    = '6'
)

// Socket.IO 5: what stands in an Engine.IO message.
const (
	typeConnect      = '0'
	typeDisconnect   = '1'
	typeEvent        = '2'
	typeAck          = '3'
	typeConnectError = '4'
	typeBinaryEvent  = '5'
	typeBinaryAck    = '6'
)

// opening is what the server says of itself in the open packet.
type opening struct {
	wait       time.Duration // a connection that is silent for longer is dead
	maxPayload int           // bytes of one message that the server takes
}

const (
	// defaultMaxPayload is the limit of servers that do not name theirs.
	defaultMaxPayload = 1_000_000
	// maxPing bounds the times that a server may name.
	maxPing = 24 * time.Hour
)

// parseOpening reads an open packet without its type.
func parseOpening(b []byte) (opening, error) {
	var o struct {
		PingInterval int64 `json:"pingInterval"` // ms
		PingTimeout  int64 `json:"pingTimeout"`  // ms
		MaxPayload   int64 `json:"maxPayload"`
	}
	if err := json.Unmarshal(b, &o); err != nil {
		return opening{}, fmt.Errorf("open packet: %w", err)
	}
	for _, ms := range []int64{o.PingInterval, o.PingTimeout} {
		if ms < 1 || ms > maxPing.Milliseconds() {
			return opening{}, fmt.Errorf("open packet: ping after %d ms and %d ms", o.PingInterval, o.PingTimeout)
		}
	}
	if o.MaxPayload < 0 {
		return opening{}, fmt.Errorf("open packet: payload of %d bytes", o.MaxPayload)
	}
	if o.MaxPayload == 0 {
		o.MaxPayload = defaultMaxPayload
	}
	return opening{
		wait:       time.Duration(o.PingInterval+o.PingTimeout) * time.Millisecond,
		maxPayload: int(min(o.MaxPayload, 1<<30)),
	}, nil
}

// packet is one of Socket.IO.
//
//	type [attachments "-"] [namespace ","] [id] [data]
//
// The namespace is left out if it is "/", id is there if an acknowledgement is
// asked for or given, and data is JSON.
type packet struct {
	kind        byte
	attachments int // binary messages that follow, of the binary types
	namespace   string
	id          int64 // -1: none
	data        []byte
}

var errPacket = errors.New("malformed packet")

// parsePacket reads one; data stays part of b and is not looked at.
func parsePacket(b []byte) (packet, error) {
	if len(b) == 0 || b[0] < typeConnect || b[0] > typeBinaryAck {
		return packet{}, fmt.Errorf("%w: no type", errPacket)
	}
	p := packet{kind: b[0], namespace: "/"}
	b = b[1:]
	if p.kind == typeBinaryEvent || p.kind == typeBinaryAck {
		n, rest := number(b)
		if n < 1 || n > 1<<20 || !bytes.HasPrefix(rest, []byte("-")) {
			return packet{}, fmt.Errorf("%w: no number of attachments", errPacket)
		}
		p.attachments, b = int(n), rest[1:]
	}
	if bytes.HasPrefix(b, []byte("/")) {
		name, rest, _ := bytes.Cut(b, []byte(","))
		if len(name) > maxName {
			return packet{}, fmt.Errorf("%w: namespace of %d bytes", errPacket, len(name))
		}
		p.namespace, b = string(name), rest
	}
	if p.id, b = number(b); p.id == tooLong {
		return packet{}, fmt.Errorf("%w: id", errPacket)
	}
	if len(b) > 0 {
		p.data = b
	}
	return p, nil
}

// append adds the packet in its Engine.IO message. Attachments are none.
func (p packet) append(b []byte) []byte {
	b = append(b, engineMessage, p.kind)
	if p.namespace != "/" {
		b = append(b, p.namespace...)
		b = append(b, ',')
	}
	if p.id >= 0 {
		b = strconv.AppendInt(b, p.id, 10)
	}
	return append(b, p.data...)
}

// What number says of digits that are none, or are beyond 2^53, where the
// numbers of JavaScript end.
const (
	noNumber = -1
	tooLong  = -2
)

// number reads decimal digits.
func number(b []byte) (n int64, rest []byte) {
	i := 0
	for ; i < len(b) && b[i] >= '0' && b[i] <= '9'; i++ {
		if n = 10*n + int64(b[i]-'0'); n > 1<<53 {
			return tooLong, b
		}
	}
	if i == 0 {
		return noNumber, b
	}
	return n, b[i:]
}

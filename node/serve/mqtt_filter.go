package serve

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	mqttMaxPacket = busMaxPayload + 5 + 2 + 1<<16 // bytes of a publication: the bus's payload, lengths and topic
	mqttMaxSmall  = 16 << 10                      // bytes of any other packet: 64 subscriptions of 250 bytes
	mqttPeek      = 32                            // bytes of a publication that are looked at
)

// Packet types (MQTT 3.1.1 section 2.2.1).
const (
	mqttConnect     = 1
	mqttPublish     = 3
	mqttSubscribe   = 8
	mqttUnsubscribe = 10
	mqttPingReq     = 12
	mqttDisconnect  = 14
)

// CONNECT flags (section 3.1.2.3).
const (
	mqttCleanSession = 0x02
	mqttWill         = 0x04
	mqttWillQoS      = 0x18
	mqttWillRetain   = 0x20
	mqttPassword     = 0x40
	mqttUser         = 0x80
)

// errMQTT is what a client is turned away with. Its text is for that client.
type errMQTT string

func (e errMQTT) Error() string { return string(e) }

const (
	errMQTTMalformed = errMQTT("a packet that is not MQTT 3.1.1")
	errMQTTOrder     = errMQTT("the first packet, and no other, must be CONNECT")
	errMQTTSize      = errMQTT("a packet that is too long")
	errMQTTType      = errMQTT("a packet of a type that this server does not take")
	errMQTTQoS       = errMQTT("quality of service 2 is not served here")
	errMQTTReserved  = errMQTT("this topic is reserved")
)

// mqttFilter stands between a stranger and nats-server's MQTT. It carries
// packets from one to the other and sees to it that the bus keeps nothing for
// clients that are gone, and nothing for long:
//
//   - sessions are clean and wills not retained, so no session outlives its
//     connection;
//   - client ids are ours, so that nobody can throw another client out by its id;
//   - publications are never retained, and of quality of service 0 or 1;
//   - subscriptions are granted quality of service 0, so there are no consumers
//     in JetStream and no publication is stored for one;
//   - topics that begin with $, and those of Sparkplug, which nats-server
//     retains unasked, are refused.
//
// For a client this is a server that may answer so (sections 3.2.2.2, 3.3.1.3,
// 3.9.3). It puts the gate's user and password in the place of the client's.
type mqttFilter struct {
	r              *bufio.Reader
	w              *bufio.Writer
	user, password string
	// admit, if not nil, gives the bus's password for the client's.
	admit func(password string) (string, error)
}

func newMQTTFilter(r io.Reader, w io.Writer, user, password string) *mqttFilter {
	return &mqttFilter{r: bufio.NewReader(r), w: bufio.NewWriter(w), user: user, password: password}
}

// run carries packets until an error of either side, or one of errMQTT.
func (f *mqttFilter) run() error {
	for first := true; ; first = false {
		head, length, err := f.header()
		if err != nil {
			return err
		}
		if (head>>4 == mqttConnect) != first {
			return errMQTTOrder
		}
		if err := f.packet(head, length); err != nil {
			return err
		}
		if err := f.w.Flush(); err != nil {
			return err
		}
	}
}

// header reads a fixed header (section 2.2) and checks type and length.
func (f *mqttFilter) header() (head byte, length int, err error) {
	if head, err = f.r.ReadByte(); err != nil {
		return 0, 0, err
	}
	for shift := 0; ; shift += 7 {
		if shift > 21 {
			return 0, 0, errMQTTMalformed
		}
		b, err := f.r.ReadByte()
		if err != nil {
			return 0, 0, err
		}
		length |= int(b&0x7f) << shift
		if b&0x80 == 0 {
			break
		}
	}
	limit := mqttMaxSmall
	if head>>4 == mqttPublish {
		limit = mqttMaxPacket
	}
	if length > limit {
		return 0, 0, errMQTTSize
	}
	return head, length, nil
}

// packet carries one packet whose header was read.
func (f *mqttFilter) packet(head byte, length int) error {
	switch head >> 4 {
	case mqttPublish:
		return f.publish(head, length)
	case mqttConnect, mqttSubscribe:
		body := make([]byte, length)
		if _, err := io.ReadFull(f.r, body); err != nil {
			return err
		}
		rewrite := f.connect
		if head>>4 == mqttSubscribe {
			rewrite = f.subscribe
		}
		body, err := rewrite(body)
		if err != nil {
			return err
		}
		f.putHeader(head, len(body))
		_, err = f.w.Write(body)
		return err
	case mqttUnsubscribe, mqttPingReq, mqttDisconnect:
		f.putHeader(head, length)
		_, err := io.CopyN(f.w, f.r, int64(length))
		return err
	default:
		return errMQTTType
	}
}

// putHeader writes a fixed header. The writer keeps its error for Flush.
func (f *mqttFilter) putHeader(head byte, length int) {
	b := []byte{head}
	for {
		digit := byte(length & 0x7f)
		if length >>= 7; length > 0 {
			digit |= 0x80
		}
		b = append(b, digit)
		if length == 0 {
			break
		}
	}
	_, _ = f.w.Write(b)
}

// publish carries a publication (section 3.3) without holding a whole one.
func (f *mqttFilter) publish(head byte, length int) error {
	if head>>1&3 > 1 {
		return errMQTTQoS
	}
	start, err := f.r.Peek(min(length, mqttPeek))
	if err != nil {
		return err
	}
	if len(start) < 2 {
		return errMQTTMalformed
	}
	n := int(binary.BigEndian.Uint16(start))
	if n == 0 || n > length-2 {
		return errMQTTMalformed
	}
	if topic := start[2:]; mqttReserved(topic[:min(n, len(topic))]) {
		return errMQTTReserved
	}
	f.putHeader(head&^1, length) // bit 0: retain
	_, err = io.CopyN(f.w, f.r, int64(length))
	return err
}

// mqttReserved reports whether a topic is not for everybody, by its beginning.
// Topics of MQTT are case-sensitive.
func mqttReserved(topic []byte) bool {
	return bytes.HasPrefix(topic, []byte("$")) || bytes.HasPrefix(topic, []byte("spBv1.0/"))
}

// subscribe rewrites the body of a SUBSCRIBE (section 3.8.3).
func (f *mqttFilter) subscribe(body []byte) ([]byte, error) {
	p := mqttFields{rest: body}
	p.bytes(2) // packet id
	for len(p.rest) > 0 && !p.bad {
		if mqttReserved(p.field()) {
			return nil, errMQTTReserved
		}
		if qos := p.bytes(1); len(qos) == 1 && qos[0] <= 2 {
			qos[0] = 0 // in body
		} else {
			p.bad = true
		}
	}
	if p.bad {
		return nil, errMQTTMalformed
	}
	return body, nil
}

// connect rewrites the body of a CONNECT (section 3.1). That of another version
// of the protocol is passed on as it is: the bus says no to it as the client
// understands it.
func (f *mqttFilter) connect(body []byte) ([]byte, error) {
	p := mqttFields{rest: body}
	name, level := p.field(), p.bytes(1)
	if p.bad {
		return nil, errMQTTMalformed
	}
	if string(name) != "MQTT" || level[0] != 4 {
		return body, nil
	}
	flagByte, keepAlive := p.bytes(1), p.bytes(2)
	if p.bad {
		return nil, errMQTTMalformed
	}
	flags := flagByte[0]
	p.field() // client id
	out := putField(nil, name)
	out = append(out, level[0], flags&^(mqttWillQoS|mqttWillRetain)|mqttCleanSession|mqttUser|mqttPassword)
	out = append(out, keepAlive...)
	out = putField(out, []byte(rand.Text()))
	if flags&mqttWill != 0 {
		topic, message := p.field(), p.field()
		if mqttReserved(topic) {
			return nil, errMQTTReserved
		}
		out = putField(putField(out, topic), message)
	}
	if flags&mqttUser != 0 {
		p.field()
	}
	var given []byte
	if flags&mqttPassword != 0 {
		given = p.field()
	}
	if p.bad || len(p.rest) > 0 || flags&(mqttUser|mqttPassword) == mqttPassword {
		return nil, errMQTTMalformed
	}
	password := f.password
	if f.admit != nil {
		var err error
		if password, err = f.admit(string(given)); err != nil {
			return nil, err
		}
	}
	return putField(putField(out, []byte(f.user)), []byte(password)), nil
}

// mqttFields takes a body apart. What is not there is bad and nil.
type mqttFields struct {
	rest []byte
	bad  bool
}

// bytes takes n bytes.
func (p *mqttFields) bytes(n int) []byte {
	if p.bad || len(p.rest) < n {
		p.bad = true
		return nil
	}
	b := p.rest[:n]
	p.rest = p.rest[n:]
	return b
}

// field takes a text or binary field: two bytes of length in front (section
// 1.5.3).
func (p *mqttFields) field() []byte {
	n := p.bytes(2)
	if p.bad {
		return nil
	}
	return p.bytes(int(binary.BigEndian.Uint16(n)))
}

func putField(b, field []byte) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(field))), field...)
}

// asErrMQTT returns the reason that a client is told, if err is one.
func asErrMQTT(err error) (string, bool) {
	var e errMQTT
	if !errors.As(err, &e) {
		return "", false
	}
	return fmt.Sprintf("mqtt: %s", e), true
}

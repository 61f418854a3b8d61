package socketio

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/weft-rtc/weft/mesh/driver"
)

// action is an event that we send.
type action uint8

const (
	subscribe action = iota
	unsubscribe
	publish
	actions // how many there are
)

var actionNames = [actions]string{"subscribe", "unsubscribe", "publish"}

// appendEvent adds the message of an event that asks to be acknowledged under
// an id: its name, the namespace, and for publish the packet as an array of
// numbers.
func (t *target) appendEvent(b []byte, do action, id int64, namespace string, p []byte) []byte {
	b = packet{kind: typeEvent, namespace: t.namespace, id: id}.append(b)
	b = append(b, '[')
	b = append(b, t.names[do]...)
	b = append(b, `,"`...)
	b = append(b, namespace...) // CheckNamespace: nothing to escape
	b = append(b, '"')
	if do == publish {
		b = append(b, ',')
		b = appendNumbers(b, p)
	}
	return append(b, ']')
}

// eventSize is at least the length of what appendEvent adds.
func (t *target) eventSize(do action, namespace string, p []byte) int {
	const punctuation, digits = 16, 20
	return punctuation + digits + len(t.namespace) + len(t.names[do]) + len(namespace) + numbersSize(p)
}

// appendNumbers adds bytes as a JSON array of numbers.
func appendNumbers(b, p []byte) []byte {
	b = append(b, '[')
	for i, v := range p {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, uint64(v), 10)
	}
	return append(b, ']')
}

// numbersSize is at least the length of what appendNumbers adds.
func numbersSize(p []byte) int {
	n := 2 + 2*len(p)
	for _, v := range p {
		if v >= 10 {
			n++
		}
		if v >= 100 {
			n++
		}
	}
	return n
}

var (
	errEvent    = errors.New("malformed event")
	errOther    = errors.New("another event")
	errTooLarge = fmt.Errorf("packet of more than %d bytes", driver.MaxPacket)
)

// parseMessage reads the data of the event that brings a packet: its name, the
// namespace, an array of numbers. More arguments are ignored: a server that
// restores connections adds one. Of an event of another name nothing but that
// is read.
func parseMessage(data []byte, name string) (namespace string, p []byte, err error) {
	got, b, ok := stringAfter(data, '[')
	if !ok {
		return "", nil, errEvent
	}
	if got != name {
		return "", nil, errOther
	}
	namespace, b, ok = stringAfter(b, ',')
	if !ok {
		return "", nil, errEvent
	}
	if b, ok = after(b, ','); !ok {
		return "", nil, errEvent
	}
	if p, b, err = parseNumbers(b); err != nil {
		return "", nil, err
	}
	if b = blanks(b); len(b) == 0 || b[0] != ',' && b[0] != ']' || b[len(b)-1] != ']' {
		return "", nil, errEvent
	}
	return namespace, p, nil
}

// parseNumbers reads a JSON array of integers from 0 to 255. What it returns is
// a copy.
func parseNumbers(b []byte) (p, rest []byte, err error) {
	b, ok := after(b, '[')
	if !ok {
		return nil, nil, errEvent
	}
	if rest, ok := after(b, ']'); ok {
		return []byte{}, rest, nil
	}
	p = make([]byte, 0, min(len(b)/2+1, driver.MaxPacket))
	for {
		v, rest := number(blanks(b))
		if v < 0 || v > 255 {
			return nil, nil, errEvent
		}
		if len(p) == driver.MaxPacket {
			return nil, nil, errTooLarge
		}
		p = append(p, byte(v))
		if b, ok = after(rest, ','); ok {
			continue
		}
		if rest, ok = after(rest, ']'); !ok {
			return nil, nil, errEvent
		}
		// Most packets need half of what was taken, or less.
		return bytes.Clone(p), rest, nil
	}
}

// stringAfter reads a string of at most maxName bytes that follows a
// punctuation mark.
func stringAfter(b []byte, mark byte) (s string, rest []byte, ok bool) {
	if b, ok = after(b, mark); !ok {
		return "", nil, false
	}
	if b, ok = after(b, '"'); !ok {
		return "", nil, false
	}
	for i := 0; i < len(b) && i <= 6*maxName; i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			quoted := append(append([]byte{'"'}, b[:i]...), '"')
			if json.Unmarshal(quoted, &s) != nil || len(s) > maxName {
				return "", nil, false
			}
			return s, b[i+1:], true
		}
	}
	return "", nil, false
}

// after skips blanks and a mark. It returns false if the mark is not there.
func after(b []byte, mark byte) (rest []byte, ok bool) {
	if b = blanks(b); len(b) == 0 || b[0] != mark {
		return b, false
	}
	return b[1:], true
}

// blanks skips what JSON calls insignificant whitespace.
func blanks(b []byte) []byte { return bytes.TrimLeft(b, " \t\r\n") }

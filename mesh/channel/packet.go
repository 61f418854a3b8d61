package channel

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// A packet is protobuf with varints of at most 5 bytes and 32 bits, and with
// lengths; nothing is left out for being zero, because receivers tell a field
// that is 0 or false from one that is not there (WIRE 3, 11):
//
//	1 id     varint   transfer
//	2 ask    0 or 1   a reply to the sender of that transfer
//	3 index  varint   number of the chunk, from 0; in a reply: the window
//	4 type   varint   first packet only
//	5 abort  0 or 1
//	6 done   0 or 1   last chunk; in data packets always written
//	7 info   bytes    JSON, first packet only
//	8 chunk  bytes
type packet struct {
	has              fields // which of the others were on the wire
	id, index, kind  uint32
	ask, abort, done bool
	info, chunk      []byte // parts of what was decoded, not copies
}

// fields is a set of field numbers.
type fields uint16

const (
	hasID fields = 1 << (iota + 1)
	hasAsk
	hasIndex
	hasType
	hasAbort
	hasDone
	hasInfo
	hasChunk
)

// maxHeader is more than the fields around info and chunk take, in bytes.
const maxHeader = 64

var (
	errVarint = errors.New("varint is cut off or has more than 32 bits")
	errNoID   = errors.New("no transfer id")
)

// begins reports whether a data packet begins a message. One without an
// explicit index does not, which is how every receiver takes it.
func (p *packet) begins() bool { return p.kind != 0 && p.has&hasIndex != 0 && p.index == 0 }

// acknowledgement, refusal, abortion and update are the packets without content.
func acknowledgement(id uint32) packet {
	return packet{has: hasID | hasAsk | hasDone, id: id, ask: true, done: true}
}

func refusal(id uint32) packet {
	return packet{has: hasID | hasAsk | hasAbort, id: id, ask: true, abort: true}
}

// abortion is without ask: with it a receiver would take it for a refusal.
func abortion(id uint32) packet {
	return packet{has: hasID | hasAbort, id: id, abort: true}
}

func update(id, limit uint32) packet {
	return packet{has: hasID | hasAsk | hasIndex, id: id, ask: true, index: limit}
}

// append appends the fields that p has, by number.
func (p *packet) append(b []byte) []byte {
	for number := 1; number <= 8; number++ {
		if p.has&(1<<number) == 0 {
			continue
		}
		switch number {
		case 1:
			b = appendUint(b, number, p.id)
		case 2:
			b = appendBool(b, number, p.ask)
		case 3:
			b = appendUint(b, number, p.index)
		case 4:
			b = appendUint(b, number, p.kind)
		case 5:
			b = appendBool(b, number, p.abort)
		case 6:
			b = appendBool(b, number, p.done)
		case 7:
			b = appendBytes(b, number, p.info)
		case 8:
			b = appendBytes(b, number, p.chunk)
		}
	}
	return b
}

func appendUint(b []byte, number int, v uint32) []byte {
	return binary.AppendUvarint(append(b, byte(number<<3)), uint64(v))
}

func appendBool(b []byte, number int, v bool) []byte {
	if v {
		return append(b, byte(number<<3), 1)
	}
	return append(b, byte(number<<3), 0)
}

func appendBytes(b []byte, number int, v []byte) []byte {
	b = binary.AppendUvarint(append(b, byte(number<<3|2)), uint64(len(v)))
	return append(b, v...)
}

// decode reads a packet. Fields may come in any order and the last of several
// wins; unknown ones are skipped.
func decode(b []byte) (packet, error) {
	var p packet
	for len(b) > 0 {
		tag, rest, err := takeVarint(b)
		if err != nil {
			return p, fmt.Errorf("field tag: %w", err)
		}
		if tag>>3 == 0 {
			return p, errors.New("field number 0")
		}
		num, bytes, rest, err := takeValue(rest, tag&7)
		if err == nil && tag>>3 <= 8 {
			err = p.set(int(tag>>3), tag&7, num, bytes)
		}
		if err != nil {
			return p, fmt.Errorf("field %d: %w", tag>>3, err)
		}
		b = rest
	}
	if p.has&hasID == 0 {
		return p, errNoID
	}
	return p, nil
}

// set takes the value of a known field.
func (p *packet) set(number int, wire, num uint32, bytes []byte) error {
	want := uint32(0)
	if number >= 7 {
		want = 2
	}
	if wire != want {
		return fmt.Errorf("wire type %d, want %d", wire, want)
	}
	if (number == 2 || number == 5 || number == 6) && num > 1 {
		return fmt.Errorf("boolean is %d", num)
	}
	switch number {
	case 1:
		p.id = num
	case 2:
		p.ask = num == 1
	case 3:
		p.index = num
	case 4:
		p.kind = num
	case 5:
		p.abort = num == 1
	case 6:
		p.done = num == 1
	case 7:
		p.info = bytes
	case 8:
		p.chunk = bytes
	}
	p.has |= 1 << number
	return nil
}

// takeValue splits the value of a field with the given wire type from b.
func takeValue(b []byte, wire uint32) (num uint32, bytes, rest []byte, err error) {
	switch wire {
	case 0:
		num, rest, err = takeVarint(b)
		return num, nil, rest, err
	case 1, 2, 5:
		n := uint32(4)
		switch wire {
		case 1:
			n = 8
		case 2:
			if n, b, err = takeVarint(b); err != nil {
				return 0, nil, nil, fmt.Errorf("length: %w", err)
			}
		}
		if uint64(n) > uint64(len(b)) {
			return 0, nil, nil, fmt.Errorf("%d bytes wanted, but %d are left", n, len(b))
		}
		return 0, b[:n:n], b[n:], nil
	default:
		return 0, nil, nil, fmt.Errorf("wire type %d", wire)
	}
}

// takeVarint splits a varint of at most 5 bytes and 32 bits from b.
func takeVarint(b []byte) (uint32, []byte, error) {
	n, size := binary.Uvarint(b[:min(len(b), 5)])
	if size <= 0 || n > 1<<32-1 {
		return 0, nil, errVarint
	}
	return uint32(n), b[size:], nil
}

package signal

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Packed fields are the protobuf wire format with three kinds of field. Unlike
// in proto3 nothing is left out for being zero: some receivers need to see a
// field with the value 0, false or empty.
//
//	tag = number << 3 | wire type        varint, at most 5 bytes and 32 bits
//	wire type 0   varint                 fieldUint, fieldBool
//	wire type 1   8 bytes                skipped
//	wire type 2   length varint, bytes   fieldBytes
//	wire type 5   4 bytes                skipped

// fieldKind says how a known field is written.
type fieldKind uint8

const (
	fieldUint  fieldKind = iota // unsigned 32-bit varint
	fieldBool                   // varint 0 or 1
	fieldBytes                  // length-delimited
)

// wire types of protobuf
const (
	wireVarint = 0
	wire64     = 1
	wireBytes  = 2
	wire32     = 5
)

// field describes one known field; its number is its place in the schema,
// counted from 1. The name is for error messages.
type field struct {
	name string
	kind fieldKind
}

// value is what a packet says for one field of its schema.
type value struct {
	set   bool
	num   uint32 // fieldUint; 0 or 1 for fieldBool
	bytes []byte // fieldBytes; a part of the packet, not a copy
}

var errVarint = errors.New("varint is cut off or has more than 32 bits")

// appendUint appends a field of a varint, zero or not.
func appendUint(b []byte, number int, v uint32) []byte {
	b = binary.AppendUvarint(b, uint64(number)<<3|wireVarint)
	return binary.AppendUvarint(b, uint64(v))
}

// appendBool appends a field of a boolean, true or false.
func appendBool(b []byte, number int, v bool) []byte {
	if v {
		return appendUint(b, number, 1)
	}
	return appendUint(b, number, 0)
}

// appendBytes appends a field of bytes, empty or not.
func appendBytes(b []byte, number int, v []byte) []byte {
	b = binary.AppendUvarint(b, uint64(number)<<3|wireBytes)
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}

// unpack reads the fields of schema into out, which must be as long and zero.
// Fields may come in any order and the last of several wins; unknown ones are
// skipped. Bytes in out are parts of packet.
func unpack(packet []byte, schema []field, out []value) error {
	for len(packet) > 0 {
		tag, rest, err := takeVarint(packet)
		if err != nil {
			return fmt.Errorf("field tag: %w", err)
		}
		number, wire := tag>>3, tag&7
		if number == 0 {
			return errors.New("field number 0")
		}
		v, rest, err := takeValue(rest, wire)
		if number > uint32(len(schema)) {
			if err != nil {
				return fmt.Errorf("unknown field %d: %w", number, err)
			}
			packet = rest
			continue
		}
		known := schema[number-1]
		if err == nil {
			err = known.check(v, wire)
		}
		if err != nil {
			return fmt.Errorf("field %s: %w", known.name, err)
		}
		out[number-1] = v
		packet = rest
	}
	return nil
}

// check refuses a value that came with another wire type than the field has.
func (f field) check(v value, wire uint32) error {
	want := uint32(wireVarint)
	if f.kind == fieldBytes {
		want = wireBytes
	}
	if wire != want {
		return fmt.Errorf("wire type %d, want %d", wire, want)
	}
	if f.kind == fieldBool && v.num > 1 {
		return fmt.Errorf("boolean is %d", v.num)
	}
	return nil
}

// takeValue splits the value of a field with the given wire type from b.
func takeValue(b []byte, wire uint32) (value, []byte, error) {
	switch wire {
	case wireVarint:
		n, rest, err := takeVarint(b)
		return value{set: true, num: n}, rest, err
	case wireBytes:
		n, rest, err := takeVarint(b)
		if err != nil {
			return value{}, nil, fmt.Errorf("length: %w", err)
		}
		if uint64(n) > uint64(len(rest)) {
			return value{}, nil, fmt.Errorf("length %d, but %d bytes are left", n, len(rest))
		}
		return value{set: true, bytes: rest[:n:n]}, rest[n:], nil
	case wire64, wire32:
		n := 4
		if wire == wire64 {
			n = 8
		}
		if len(b) < n {
			return value{}, nil, fmt.Errorf("%d bytes wanted, but %d are left", n, len(b))
		}
		return value{set: true}, b[n:], nil
	default:
		return value{}, nil, fmt.Errorf("wire type %d", wire)
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

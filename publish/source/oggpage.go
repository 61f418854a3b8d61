package source

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// Flags of an Ogg page.
const (
	oggContinued = 1 << iota // begins in the middle of a packet
	oggBegin                 // first page of a stream
	oggEnd                   // last page of a stream
)

// oggPages reads the pages of an Ogg file (RFC 3533 section 6):
//
//	"OggS"  version:8  flags:8  granule position:64  serial:32  number:32
//	checksum:32  segments:8  then that many lacing values, then the body
//
// all numbers little-endian. The body is at most 255*255 bytes.
type oggPages struct {
	name   string
	r      *bufio.Reader
	offset int64

	// The latest page; the slices until the next read.
	flags    byte
	granule  int64
	serial   uint32
	segments []byte
	body     []byte

	raw     []byte
	numbers map[uint32]uint32 // next page number by serial, at most 64
}

const oggHeader = 27

// read reads one page; io.EOF where the file ends between two.
func (p *oggPages) read() error {
	at := p.offset
	var err error
	if p.raw, err = readInto(p.raw, p.r, oggHeader); err == io.EOF {
		return io.EOF
	} else if err != nil {
		return readError(p.name, at, "the header of an Ogg page", err)
	}
	if string(p.raw[:4]) != "OggS" || p.raw[4] != 0 {
		if at == 0 {
			return &FileError{p.name, at, "is not an Ogg file: does not begin with OggS", nil}
		}
		return &FileError{p.name, at, "is damaged: no Ogg page begins here", nil}
	}
	count := int(p.raw[26])
	raw := append(p.raw[:oggHeader:cap(p.raw)], make([]byte, count)...)
	if _, err := io.ReadFull(p.r, raw[oggHeader:]); err != nil {
		return readError(p.name, at, "an Ogg page", err)
	}
	size := 0
	for _, s := range raw[oggHeader:] {
		size += int(s)
	}
	begin := len(raw)
	raw = append(raw, make([]byte, size)...)
	if _, err := io.ReadFull(p.r, raw[begin:]); err != nil {
		return readError(p.name, at, "an Ogg page", err)
	}
	p.raw = raw
	p.segments, p.body = raw[oggHeader:begin], raw[begin:]
	p.flags = raw[5]
	p.granule = int64(binary.LittleEndian.Uint64(raw[6:]))
	p.serial = binary.LittleEndian.Uint32(raw[14:])
	p.offset += int64(len(raw))
	return p.check(at)
}

// check compares checksum and page number with what they should be.
func (p *oggPages) check(at int64) error {
	want := binary.LittleEndian.Uint32(p.raw[22:])
	clear(p.raw[22:26])
	if oggChecksum(p.raw) != want {
		return &FileError{p.name, at, "is damaged: the checksum of an Ogg page is wrong", nil}
	}
	number := binary.LittleEndian.Uint32(p.raw[18:])
	expected, known := p.numbers[p.serial]
	if known && number != expected {
		return &FileError{p.name, at, fmt.Sprintf("is damaged: Ogg page %d follows where %d should", number, expected), nil}
	}
	if !known && len(p.numbers) >= 64 {
		return &FileError{p.name, at, "has more than 64 streams", nil}
	}
	if p.numbers == nil {
		p.numbers = make(map[uint32]uint32)
	}
	p.numbers[p.serial] = number + 1
	return nil
}

// oggTable is the CRC of RFC 3533 section 6: polynomial 04c11db7, highest bit
// first, no inversion, which hash/crc32 does not offer.
var oggTable = func() (t [256]uint32) {
	for i := range t {
		c := uint32(i) << 24
		for range 8 {
			c = c<<1 ^ c>>31*0x04c11db7
		}
		t[i] = c
	}
	return t
}()

func oggChecksum(b []byte) (c uint32) {
	for _, v := range b {
		c = c<<8 ^ oggTable[byte(c>>24)^v]
	}
	return c
}

package sse

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/weft-rtc/weft/mesh/driver"
)

// maxEvent bounds a line and the data of an event in bytes: the longest packet
// in base64, and some room for line ends in it.
const maxEvent = (driver.MaxPacket+2)/3*4 + 1024

// keepBuffer is the capacity up to which a parser keeps a buffer for the next
// event: most are of some hundred bytes, few of a megabyte.
const keepBuffer = 64 << 10

var byteOrderMark = []byte("\ufeff")

// parser reads an event stream (HTML standard, section 9.2.6) that comes in
// pieces of any size. It does no input of its own, and holds no more than one
// line and the data of one event. Ids have no meaning here and are ignored.
type parser struct {
	limit int // of a line and of an event's data, in bytes

	line    []byte // the line so far
	long    bool   // it is longer than the limit; the rest is not kept
	begun   bool   // the first line, which may have a byte order mark, is over
	afterCR bool   // a line ended in CR, and an LF that follows belongs to it

	data  []byte // of the event so far, each line with an LF behind it
	large bool   // the event is larger than the limit and will be dropped
	other bool   // the event has a type that is not "message"

	retry   time.Duration // what the last retry field says, 0 for none
	dropped int           // events that were too large
}

// feed reads the next piece and gives the data of each event of the type
// "message" that ends in it to emit, which must not keep it.
func (p *parser) feed(piece []byte, emit func(data []byte)) {
	for len(piece) > 0 {
		if p.afterCR {
			p.afterCR = false
			if piece[0] == '\n' {
				piece = piece[1:]
				continue
			}
		}
		end := bytes.IndexAny(piece, "\r\n")
		if end < 0 {
			p.extend(piece)
			return
		}
		p.extend(piece[:end])
		p.afterCR = piece[end] == '\r'
		piece = piece[end+1:]
		p.endLine(emit)
	}
}

// extend adds to the line. Of a comment only the beginning is kept.
func (p *parser) extend(b []byte) {
	switch {
	case p.long, len(p.line) > 0 && p.line[0] == ':':
	case len(p.line)+len(b) > p.limit:
		p.long = true
		p.line = append(p.line, b[:p.limit-len(p.line)]...)
	default:
		p.line = append(p.line, b...)
	}
}

// endLine interprets the line.
func (p *parser) endLine(emit func(data []byte)) {
	line, long := p.line, p.long
	p.line, p.long = p.line[:0], false
	if cap(p.line) > keepBuffer {
		p.line = nil
	}
	if !p.begun {
		p.begun = true
		line = bytes.TrimPrefix(line, byteOrderMark)
	}
	switch {
	case len(line) > 0 && line[0] == ':': // comment
	case long:
		p.drop()
	case len(line) == 0:
		p.dispatch(emit)
	default:
		name, value, _ := bytes.Cut(line, []byte(":"))
		p.field(string(name), bytes.TrimPrefix(value, []byte(" ")))
	}
}

func (p *parser) field(name string, value []byte) {
	switch name {
	case "data":
		if len(p.data)+len(value)+1 > p.limit {
			p.drop()
		}
		if !p.large {
			p.data = append(append(p.data, value...), '\n')
		}
	case "event":
		p.other = len(value) > 0 && string(value) != "message"
	case "retry":
		if ms, ok := number(value); ok {
			p.retry = time.Duration(ms) * time.Millisecond
		}
	}
}

// drop gives the event up that is being read. What else belongs to it is read,
// but not kept.
func (p *parser) drop() { p.large, p.data = true, nil }

// dispatch ends an event. One without a data field is none; one with an empty
// data field is an empty packet.
func (p *parser) dispatch(emit func(data []byte)) {
	switch {
	case p.large:
		p.dropped++
	case len(p.data) > 0 && !p.other:
		emit(p.data[:len(p.data)-1])
	}
	p.data, p.large, p.other = p.data[:0], false, false
	if cap(p.data) > keepBuffer {
		p.data = nil
	}
}

// number reads decimal digits. More than nine say no number that makes sense
// here; the largest is taken for them.
func number(b []byte) (n int, ok bool) {
	if len(b) == 0 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = min(10*n+int(c-'0'), 999_999_999)
	}
	return n, true
}

var errNotBase64 = errors.New("sse: event data is not base64")

// decode reads an event's data as browsers do (atob): standard base64, with or
// without padding, white space ignored.
func decode(data []byte) ([]byte, error) {
	text := data
	if bytes.ContainsAny(data, " \t\n\f\r") {
		text = bytes.Map(func(r rune) rune {
			if strings.ContainsRune(" \t\n\f\r", r) {
				return -1
			}
			return r
		}, data)
	}
	if len(text)%4 == 0 {
		for range 2 {
			text = bytes.TrimSuffix(text, []byte("="))
		}
	}
	packet := make([]byte, base64.RawStdEncoding.DecodedLen(len(text)))
	n, err := base64.RawStdEncoding.Decode(packet, text)
	if err != nil {
		return nil, errNotBase64
	}
	return packet[:n], nil
}

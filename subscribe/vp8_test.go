package subscribe

import (
	"bytes"
	"testing"
)

// descriptors are VP8 payload descriptors, and what moving their numbers by one
// more than a byte holds and by two makes of them.
var descriptors = []struct {
	name     string
	in, want string
}{
	{"no extension", "\x10\x00\x01", "\x10\x00\x01"},
	{"nothing in the extension", "\x90\x00\x01", "\x90\x00\x01"},
	{"15 bits", "\x90\x80\x80\x05\x01", "\x90\x80\x81\x06\x01"},
	{"15 bits wrap", "\x90\x80\xff\xff\x01", "\x90\x80\x81\x00\x01"},
	{"7 bits", "\x90\x80\x7f\x01", "\x90\x80\x00\x01"},
	{"both", "\x90\xc0\x80\x05\xff\x01", "\x90\xc0\x81\x06\x01\x01"},
	{"TL0PICIDX alone", "\x90\x40\x09\x01", "\x90\x40\x0b\x01"},
	{"all four", "\x90\xf0\x80\x05\x09\x60\x01", "\x90\xf0\x81\x06\x0b\x60\x01"},
	{"cut short", "\x90\xc0\x80", "\x90\xc0\x80"},
	{"cut shorter", "\x90", "\x90"},
	{"empty", "", ""},
}

func TestMoveVP8(t *testing.T) {
	for _, c := range descriptors {
		b := []byte(c.in)
		findVP8(b).add(b, vp8Move{picture: 257, tl0: 2})
		if string(b) != c.want {
			t.Errorf("%s: %x, want %x", c.name, b, c.want)
		}
	}
}

func FuzzMoveVP8(f *testing.F) {
	for _, c := range descriptors {
		f.Add([]byte(c.in), uint16(257), uint8(2))
	}
	f.Fuzz(func(t *testing.T, payload []byte, picture uint16, tl0 uint8) {
		b := bytes.Clone(payload)
		at := findVP8(b)
		at.add(b, vp8Move{picture, tl0})
		if findVP8(b) != at {
			t.Error("moving changed the descriptor's form")
		}
		at.add(b, vp8Move{-picture, -tl0})
		if !bytes.Equal(b, payload) {
			t.Errorf("%x became %x when moved back", payload, b)
		}
	})
}

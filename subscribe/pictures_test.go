package subscribe

import (
	"bytes"
	"testing"

	"github.com/weft-rtc/weft/publish"
)

// moved are packets, and what moving their picture id and frame number by 257 and
// TL0PICIDX by 2 makes of them.
var moved = []struct {
	name             string
	format           format
	in, want         string
	frame, wantFrame string
}{
	{"no extension", formatVP8, "\x10\x00\x01", "\x10\x00\x01", "", ""},
	{"nothing in the extension", formatVP8, "\x90\x00\x01", "\x90\x00\x01", "", ""},
	{"15 bits", formatVP8, "\x90\x80\x80\x05\x01", "\x90\x80\x81\x06\x01", "", ""},
	{"15 bits wrap", formatVP8, "\x90\x80\xff\xff\x01", "\x90\x80\x81\x00\x01", "", ""},
	{"7 bits", formatVP8, "\x90\x80\x7f\x01", "\x90\x80\x00\x01", "", ""},
	{"both", formatVP8, "\x90\xc0\x80\x05\xff\x01", "\x90\xc0\x81\x06\x01\x01", "", ""},
	{"all four", formatVP8, "\x90\xf0\x80\x05\x09\x60\x01", "\x90\xf0\x81\x06\x0b\x60\x01", "", ""},
	{"cut short", formatVP8, "\x90\xc0\x80", "\x90\xc0\x80", "", ""},
	{"empty", formatVP8, "", "", "", ""},
	{"vp9 flexible", formatVP9, "\xbc\x81\x02\x04\x01", "\xbc\x82\x03\x04\x01", "", ""},
	{"vp9 with TL0PICIDX", formatVP9, "\xac\x81\x02\x04\xff\x01", "\xac\x82\x03\x04\x01\x01", "", ""},
	{"vp9 cut short", formatVP9, "\xac\x81", "\xac\x81", "", ""},
	{"frame number alone", formatNone, "\x18\x32", "\x18\x32", "\xc1\xff\xff", "\xc1\x01\x00"},
	{"the payload is not looked at then", formatVP9, "\xbc\x81\x02\x04\x01", "\xbc\x81\x02\x04\x01", "\x01\x00\x01\x80\x00", "\x01\x01\x02\x80\x00"},
	{"cut frame number", formatNone, "\x18", "\x18", "\x01\x00", ""},
}

func TestMarkApply(t *testing.T) {
	for _, c := range moved {
		m := mark{picture: 257, frame: 257, tl0: 2}
		in := []byte(c.in)
		p := publish.Packet{Payload: in, Dependency: []byte(c.frame)}
		out := &parcel{payload: in}
		m.apply(c.format, out, &p)
		if string(out.payload) != c.want || string(out.dependency) != c.wantFrame {
			t.Errorf("%s: %x %x, want %x %x", c.name, out.payload, out.dependency, c.want, c.wantFrame)
		}
		if string(in) != c.in || string(p.Dependency) != c.frame {
			t.Errorf("%s: the packet itself was changed", c.name)
		}
	}
}

// FuzzMark checks that moving numbers changes nothing else, and can be undone.
func FuzzMark(f *testing.F) {
	for _, c := range moved {
		f.Add(uint8(c.format), []byte(c.in), []byte(c.frame), uint16(257), uint8(2))
	}
	f.Fuzz(func(t *testing.T, kind uint8, payload, frame []byte, number uint16, tl0 uint8) {
		if len(payload) > publish.MaxPayload || len(frame) > publish.MaxPacket-publish.MaxPayload {
			return
		}
		if len(frame) == 1 || len(frame) == 2 { // too short to be one: it is left out, and does not come back
			return
		}
		as := format(kind % 3)
		p := publish.Packet{Payload: payload, Dependency: frame}
		var there, back parcel
		there.payload = payload
		mark{picture: number, frame: number, tl0: tl0}.apply(as, &there, &p)
		moved := publish.Packet{Payload: there.payload, Dependency: there.dependency}
		back.payload = moved.Payload
		mark{picture: -number, frame: -number, tl0: -tl0}.apply(as, &back, &moved)
		if !bytes.Equal(back.payload, payload) || len(frame) > 2 && !bytes.Equal(back.dependency, frame) {
			t.Errorf("%x %x became %x %x when moved back", payload, frame, back.payload, back.dependency)
		}
	})
}

package channel

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"
)

// packetCases are packets that decode, by what they say.
var packetCases = []struct {
	name, hex string
	want      packet
	odd       bool // we would not write it so
}{
	{"id only", "0801", packet{has: hasID, id: 1}, false},
	{"largest numbers", "08ffffffff0f18ffffffff0f20ffffffff0f", packet{has: hasID | hasIndex | hasType, id: 1<<32 - 1, index: 1<<32 - 1, kind: 1<<32 - 1}, false},
	{"falses are written", "0801100028003000", packet{has: hasID | hasAsk | hasAbort | hasDone, id: 1}, false},
	{"window update", "080110011840", packet{has: hasID | hasAsk | hasIndex, id: 1, ask: true, index: 64}, false},
	{"empty bytes", "08013a004200", packet{has: hasID | hasInfo | hasChunk, id: 1, info: []byte{}, chunk: []byte{}}, false},
	{"any order, last wins", "420161080242016208033801"[:20], packet{has: hasID | hasChunk, id: 3, chunk: []byte("b")}, true},
	{"unknown fields", "08014801510102030405060708" + "5a0162" + "6501020304", packet{has: hasID, id: 1}, true},
	{"long varint", "0881808000", packet{has: hasID, id: 1}, true},
}

func TestDecode(t *testing.T) {
	for _, c := range packetCases {
		b, err := hex.DecodeString(c.hex)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decode(b)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v, want %+v", c.name, got, err, c.want)
		}
		if again := got.append(nil); bytes.Equal(again, b) == c.odd {
			t.Errorf("%s: written as %x", c.name, again)
		}
	}
}

// malformedCases are packets that do not decode, by why.
var malformedCases = map[string]string{
	"":                     "no transfer id",
	"3001":                 "no transfer id",
	"08":                   "varint",
	"ff":                   "varint",
	"088080808010":         "varint",
	"08ffffffff1f":         "varint",
	"088080808080" + "01":  "varint",
	"0000":                 "field number 0",
	"08011002":             "boolean is 2",
	"0a0101":               "wire type 2, want 0",
	"08014001":             "wire type 0, want 2",
	"0801420561":           "5 bytes wanted",
	"080142ffffffff0f61":   "bytes wanted",
	"0801" + "4b" + "0801": "wire type 3",
	"0801" + "4c":          "wire type 4",
	"0801" + "4f" + "00":   "wire type 7",
	"0801" + "51" + "00":   "8 bytes wanted",
	"0801" + "4d" + "00":   "4 bytes wanted",
	"0801" + "5a" + "80":   "length",
}

func TestDecodeMalformed(t *testing.T) {
	c, _ := scripted(nil)
	for in, want := range malformedCases {
		b, err := hex.DecodeString(in)
		if err != nil {
			t.Fatal(err)
		}
		if p, err := decode(b); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, error %v, want %q", in, p, err, want)
		}
		c.ChannelMessage(b, false)
	}
	if n := c.Dropped(DropMalformed); n != uint64(len(malformedCases)) {
		t.Errorf("%d counted, want %d", n, len(malformedCases))
	}
}

// What carries no chunk of a message that goes on changes nothing.
func TestStrayPackets(t *testing.T) {
	c, s := scripted(func(*Message) { t.Error("message") })
	for _, in := range []string{
		"080118013000420161",           // second chunk without a first
		"08013001",                     // end without a beginning
		"08011800200042" + "0161",      // type 0 is none
		"08012801",                     // abort of nothing
		"080110013001", "080110012801", // replies to nothing
		"080110011840", "0801100118403000", // window of nothing
		"08011001", "0801",
	} {
		b, err := hex.DecodeString(in)
		if err != nil {
			t.Fatal(err)
		}
		c.ChannelMessage(b, false)
	}
	if c.unfinished() != 0 || len(s.packets(t, true)) != 0 {
		t.Errorf("sent %x", s.sent)
	}
	if n := c.Dropped(DropUnknown); n != 4 {
		t.Errorf("%d unknown", n)
	}
	if c.Dropped(numDrops) != 0 {
		t.Error("a reason too many")
	}
}

// The index counts chunks, not packets, and has to be there.
func TestIndexOfLaterChunks(t *testing.T) {
	for second, want := range map[string]error{"080118003001420161": nil, "08013001420161": ErrGap, "080118013001420161": ErrGap} {
		var m *Message
		c, _ := scripted(func(x *Message) { m = x })
		for _, in := range []string{"080118002001", second} {
			b, err := hex.DecodeString(in)
			if err != nil {
				t.Fatal(err)
			}
			c.ChannelMessage(b, false)
		}
		if b, err := m.Bytes(t.Context(), 0); !errors.Is(err, want) || want == nil && string(b) != "a" {
			t.Errorf("%s: %q, %v", second, b, err)
		}
	}
}

func TestInfoTooLong(t *testing.T) {
	for length, want := range map[int]uint64{MaxInfo: 0, MaxInfo + 1: 1} {
		var m *Message
		c, _ := scripted(func(x *Message) { m = x })
		info := []byte(`"` + strings.Repeat("x", length-2) + `"`)
		p := packet{has: hasID | hasIndex | hasType | hasDone | hasInfo, id: 1, kind: 1, done: true, info: info}
		c.ChannelMessage(p.append(nil), false)
		if c.Dropped(DropInfo) != want || (m.Info == nil) != (want == 1) {
			t.Errorf("info of %d bytes: %d dropped", length, c.Dropped(DropInfo))
		}
	}
}

func TestNames(t *testing.T) {
	var all []string
	for d := range numDrops + 1 {
		all = append(all, d.String())
	}
	for k := Text; k <= Bytes+1; k++ {
		all = append(all, k.String())
	}
	if got := strings.Join(all, ", "); got != "malformed, unknown, info, reply, panic, drop 5, text, json, blob, bytes, type 5" {
		t.Error(got)
	}
}

func TestQueue(t *testing.T) {
	var q queue
	next, want := byte(0), byte(0)
	for round := range 1000 {
		for range round % 7 {
			q.push([]byte{next, next})
			next++
		}
		for range round % 8 {
			if q.empty() {
				break
			}
			b, last := q.pop(1)
			if len(b) != 1 || last || b[0] != want {
				t.Fatalf("popped %d, %v, want %d", b, last, want)
			}
			if b, last = q.pop(5); len(b) != 1 || !last || b[0] != want {
				t.Fatalf("popped %d, %v, want %d", b, last, want)
			}
			want++
		}
	}
	if cap(q.list) > 64 {
		t.Errorf("room for %d", cap(q.list))
	}
}

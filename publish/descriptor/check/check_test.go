package check

import (
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"
)

// vp8Frame is a frame of one packet. Frames of key "K" are key frames, "Y" may be
// switched up at.
func vp8Frame(id uint16, tl0, tid uint8, kind string) Packet {
	tag, layer := byte(0x11), tid<<6
	switch kind {
	case "K":
		tag = 0x10
	case "Y":
		layer |= 0x20
	}
	return Packet{Timestamp: uint32(id) * 3000, Marker: true, Payload: []byte{0x90, 0xe0, 0x80 | byte(id>>8), byte(id), tl0, layer, tag}}
}

// vp8Plain is a frame of one packet of a stream without temporal layers.
func vp8Plain(id uint16, tag byte) Packet {
	return Packet{Timestamp: uint32(id) * 3000, Marker: true, Payload: []byte{0x90, 0x80, 0x80 | byte(id>>8), byte(id), tag}}
}

// vp9Frame is a layer frame of one packet in flexible mode. The highest spatial
// layer has the marker.
func vp9Frame(id uint16, sid, tid uint8, marker bool, diffs ...uint8) Packet {
	first := byte(0xbc)
	layers := tid<<5 | sid<<1
	if sid > 0 {
		layers |= 1
	}
	if len(diffs) > 0 {
		first |= 0x40
	}
	b := []byte{first, 0x80 | byte(id>>8), byte(id), layers}
	for i, diff := range diffs {
		more := byte(1)
		if i == len(diffs)-1 {
			more = 0
		}
		b = append(b, diff<<1|more)
	}
	return Packet{Timestamp: uint32(id) * 3000, Marker: marker, Payload: append(b, 0x82)}
}

// vp9Group is a frame of non-flexible mode with two temporal layers; key ones
// have the picture group.
func vp9Group(id uint16, tl0, tid uint8, key bool) Packet {
	first := byte(0xac)
	if key {
		first |= 0x02
	} else {
		first |= 0x40
	}
	b := []byte{first, 0x80 | byte(id>>8), byte(id), tid << 5, tl0}
	if key {
		b = append(b, 0x08, 2, 0x14, 2, 0x34, 1) // layer 0 refers 2 back, layer 1 refers 1 back
	}
	return Packet{Timestamp: uint32(id) * 3000, Marker: true, Payload: append(b, 0x82)}
}

// dependencyFrame is a frame of one packet of a structure with three temporal
// layers, by the number of its template.
func dependencyFrame(number uint16, template uint8) Packet {
	const structure = "80" + "0214eaa860414d1410208427013f00b3"
	ext := []byte{0xc0 | template, byte(number >> 8), byte(number)}
	if template == 0 {
		b, err := hex.DecodeString(structure)
		if err != nil {
			panic(err)
		}
		ext = append(ext, b...)
	}
	return Packet{Timestamp: uint32(number) * 3000, Marker: true, Payload: []byte{0x10}, Extension: ext}
}

// numbered gives sequence numbers, with a wrap.
func numbered(packets ...Packet) []Packet {
	for i := range packets {
		packets[i].Seq = uint16(65533 + i)
	}
	return packets
}

// without takes packets away, as the network does: their numbers are missing.
func without(packets []Packet, index ...int) []Packet {
	var left []Packet
	for i, p := range packets {
		if !slices.Contains(index, i) {
			left = append(left, p)
		}
	}
	return left
}

// dropped takes packets away as a forwarder does: numbers run on.
func dropped(packets []Packet, index ...int) []Packet { return numbered(without(packets, index...)...) }

// changed changes one packet.
func changed(packets []Packet, index int, change func(p *Packet)) []Packet {
	packets = slices.Clone(packets)
	packets[index].Payload = slices.Clone(packets[index].Payload)
	change(&packets[index])
	return packets
}

// The full sequences, 0-based: a key picture, then three temporal layers of VP8,
// two spatial and two temporal of VP9, a picture group of VP9, three temporal of
// AV1.
var (
	vp8Full = numbered(
		vp8Frame(126, 255, 0, "K"), vp8Frame(127, 255, 2, "Y"), vp8Frame(128, 255, 1, "Y"), vp8Frame(129, 255, 2, ""),
		vp8Frame(130, 0, 0, ""), vp8Frame(131, 0, 2, ""), vp8Frame(132, 0, 1, ""), vp8Frame(133, 0, 2, ""),
		vp8Frame(134, 1, 0, ""), vp8Frame(135, 1, 2, ""), vp8Frame(136, 1, 1, ""), vp8Frame(137, 1, 2, ""),
		vp8Frame(138, 2, 0, ""), vp8Frame(139, 2, 2, "Y"),
	)
	vp8Base = numbered(
		vp8Frame(1, 1, 0, "K"), vp8Frame(2, 2, 0, ""), vp8Frame(3, 3, 0, ""), vp8Frame(4, 4, 0, ""),
	)
	vp9Full = numbered(
		vp9Frame(32766, 0, 0, false), vp9Frame(32766, 1, 0, true),
		vp9Frame(32767, 0, 1, false, 1), vp9Frame(32767, 1, 1, true, 1),
		vp9Frame(0, 0, 0, false, 2), vp9Frame(0, 1, 0, true, 2),
		vp9Frame(1, 0, 1, false, 1), vp9Frame(1, 1, 1, true, 1),
	)
	vp9Grouped = numbered(
		vp9Group(10, 255, 0, true), vp9Group(11, 255, 1, false), vp9Group(12, 0, 0, false), vp9Group(13, 0, 1, false), vp9Group(14, 1, 0, false),
	)
	av1Full = numbered(
		dependencyFrame(65534, 0), dependencyFrame(65535, 3), dependencyFrame(0, 2), dependencyFrame(1, 4),
		dependencyFrame(2, 1), dependencyFrame(3, 3), dependencyFrame(4, 2), dependencyFrame(5, 4), dependencyFrame(6, 1),
	)
)

var checkCases = []struct {
	name    string
	check   func([]Packet) (Report, error)
	packets []Packet
	rule    error // nil: content
	index   int   // of the packet that the first problem names
	frames  int
	broken  int
}{
	{"vp8 full", VP8, vp8Full, nil, 0, 14, 0},
	{"vp8 nothing", VP8, nil, nil, 0, 0, 0},
	{"vp8 base only", VP8, vp8Base, nil, 0, 4, 0},
	{"vp8 dropped without closing the picture ids", VP8, dropped(vp8Full, 5), ErrOrder, 5, 13, 0},
	{"vp8 picture id goes back", VP8, changed(vp8Full, 5, func(p *Packet) { p.Payload[3] = 129 }), ErrOrder, 5, 14, 0},
	{"vp8 TL0PICIDX jumps", VP8, changed(vp8Base, 2, func(p *Packet) { p.Payload[4] = 4 }), ErrTL0, 2, 2, 2},
	{"vp8 TL0PICIDX of an upper layer", VP8, changed(vp8Full, 6, func(p *Packet) { p.Payload[4] = 9 }), ErrTL0, 6, 13, 1},
	{"vp8 begins without a key frame", VP8, vp8Base[1:], ErrReference, 0, 0, 3},
	{"vp8 layer 2 again where it refers to itself", VP8, numbered(
		vp8Frame(1, 1, 0, "K"), vp8Frame(2, 1, 1, ""), vp8Frame(3, 2, 0, ""), vp8Frame(4, 2, 1, ""), vp8Frame(5, 2, 2, "")), ErrSwitchUp, 4, 4, 1},
	{"vp8 layer 2 again at a sync", VP8, numbered(
		vp8Frame(1, 1, 0, "K"), vp8Frame(2, 1, 1, ""), vp8Frame(3, 2, 0, ""), vp8Frame(4, 2, 1, ""), vp8Frame(5, 2, 2, "Y")), nil, 0, 5, 0},
	{"vp8 layer 0 lost", VP8, without(vp8Full, 4), nil, 0, 4, 9},
	{"vp8 layer 2 lost", VP8, without(vp8Full, 5), nil, 0, 8, 5},
	{"vp8 layer 0 dropped", VP8, numbered(vp8Frame(1, 1, 0, "K"), vp8Frame(2, 3, 0, "")), ErrTL0, 1, 1, 1},
	{"vp8 one layer, a frame lost", VP8, without(numbered(
		vp8Plain(1, 0x10), vp8Plain(2, 0x11), vp8Plain(3, 0x11), vp8Plain(4, 0x11), vp8Plain(5, 0x11), vp8Plain(6, 0x10)), 2), nil, 0, 3, 2},
	{"vp8 the first key frame was lost", VP8, without(numbered(
		Packet{}, vp8Plain(1, 0x10), vp8Plain(2, 0x11), vp8Plain(3, 0x10)), 1), nil, 0, 1, 1},
	{"vp8 marker missing", VP8, changed(vp8Base, 1, func(p *Packet) { p.Marker = false }), ErrMarker, 1, 1, 3},
	{"vp8 malformed", VP8, changed(vp8Base, 3, func(p *Packet) { p.Payload = p.Payload[:3] }), ErrPacket, 3, 3, 0},
	{"vp8 reordered and doubled", VP8, []Packet{vp8Base[0], vp8Base[2], vp8Base[1], vp8Base[1], vp8Base[3]}, nil, 0, 4, 0},
	{"vp8 one number twice", VP8, append(slices.Clone(vp8Base), changed(vp8Base, 1, func(p *Packet) { p.Payload[6] = 0 })[1]), ErrDouble, 4, 4, 0},
	{"vp8 padding between", VP8, numbered(vp8Base[0], Packet{}, vp8Base[1]), nil, 0, 2, 0},
	{"vp8 continuation without a beginning", VP8, numbered(changed(vp8Base, 0, func(p *Packet) { p.Payload[0] = 0x80 })[0]), ErrCut, 0, 0, 1},

	{"vp9 full", VP9, vp9Full, nil, 0, 8, 0},
	{"vp9 without spatial layer 1", VP9, marked(dropped(vp9Full, 1, 3, 5, 7)), nil, 0, 4, 0},
	{"vp9 without temporal layer 1", VP9, dropped(vp9Full, 2, 3, 6, 7), nil, 0, 4, 0},
	{"vp9 marker forgotten", VP9, dropped(vp9Full, 1, 3, 5, 7), ErrMarker, 0, 4, 0},
	{"vp9 spatial layer 1 at no switch point", VP9, marked(dropped(vp9Full, 1, 3)), ErrSwitchUp, 3, 4, 2},
	{"vp9 lower spatial layer dropped", VP9, dropped(vp9Full, 4), ErrReference, 4, 4, 3},
	{"vp9 layers in the wrong order", VP9, numbered(vp9Full[0], vp9Full[1], vp9Full[3], vp9Full[2]), ErrMarker, 3, 3, 1},
	{"vp9 lost", VP9, without(vp9Full, 4), nil, 0, 4, 3},
	{"vp9 picture id goes back", VP9, numbered(vp9Full[0], vp9Full[1], vp9Full[4], vp9Full[5], vp9Full[2]), ErrOrder, 4, 5, 0},
	{"vp9 group", VP9, vp9Grouped, nil, 0, 5, 0},
	{"vp9 group without layer 1", VP9, dropped(vp9Grouped, 1, 3), nil, 0, 3, 0},
	{"vp9 group, layer 0 dropped", VP9, dropped(vp9Grouped, 2), ErrTL0, 2, 2, 2},
	{"vp9 group, TL0PICIDX jumps", VP9, changed(vp9Grouped, 2, func(p *Packet) { p.Payload[4] = 7 }), ErrTL0, 2, 5, 0},
	{"vp9 malformed", VP9, changed(vp9Full, 7, func(p *Packet) { p.Payload = p.Payload[:2] }), ErrPacket, 7, 7, 0},

	{"av1 full", Dependency, av1Full, nil, 0, 9, 0},
	{"av1 without layer 2", Dependency, dropped(av1Full, 1, 3, 5, 7), nil, 0, 5, 0},
	{"av1 without layers 1 and 2", Dependency, dropped(av1Full, 1, 2, 3, 5, 6, 7), nil, 0, 3, 0},
	{"av1 layer 2 on layer 1 that was dropped", Dependency, dropped(av1Full, 1, 2), ErrSwitchUp, 1, 6, 1},
	{"av1 layer 0 dropped", Dependency, dropped(av1Full, 4), ErrReference, 4, 4, 4},
	{"av1 layer 0 lost", Dependency, without(av1Full, 4), nil, 0, 4, 4},
	{"av1 frame number twice", Dependency, numbered(av1Full[0], av1Full[1], changed(av1Full, 1, func(p *Packet) { p.Timestamp++ })[1]), ErrOrder, 2, 3, 0},
	{"av1 frame numbers go back", Dependency, numbered(av1Full[0], av1Full[2], av1Full[1]), ErrOrder, 2, 3, 0},
	{"av1 structure lost", Dependency, without(av1Full, 0), ErrPacket, 0, 0, 0},
	{"av1 no extension", Dependency, changed(av1Full, 8, func(p *Packet) { p.Extension = nil }), ErrPacket, 8, 8, 0},
	{"av1 end of a frame dropped", Dependency, changed(av1Full, 4, func(p *Packet) { p.Extension = []byte{0x81, 0, 2} }), ErrCut, 4, 4, 5},
}

// marked sets the marker on the last packet of each timestamp.
func marked(packets []Packet) []Packet {
	packets = slices.Clone(packets)
	for i := range packets {
		packets[i].Marker = i == len(packets)-1 || packets[i+1].Timestamp != packets[i].Timestamp
	}
	return packets
}

func TestCheck(t *testing.T) {
	for _, c := range checkCases {
		t.Run(c.name, func(t *testing.T) {
			report, err := c.check(c.packets)
			if c.rule == nil {
				if err != nil {
					t.Fatal(err)
				}
			} else {
				var p *Problem
				if !errors.As(err, &p) || !errors.Is(p, c.rule) || p.Index != c.index || p.Seq != c.packets[c.index].Seq {
					t.Fatalf("got %v\nwant %v at packet %d", err, c.rule, c.index)
				}
				if !strings.Contains(err.Error(), "packet ") {
					t.Fatalf("no packet is named: %v", err)
				}
			}
			if report.Frames != c.frames || report.Broken != c.broken {
				t.Fatalf("%+v, want %d frames, %d broken: %v", report, c.frames, c.broken, err)
			}
		})
	}
}

// TestProblems is bounded, however long a bad stream is.
func TestProblems(t *testing.T) {
	packets := make([]Packet, 1000)
	for i := range packets {
		packets[i] = Packet{Seq: uint16(i), Payload: []byte{0x90}, Marker: true, Timestamp: uint32(i)}
	}
	_, err := VP8(packets)
	joined, isJoin := err.(interface{ Unwrap() []error })
	if !isJoin || len(joined.Unwrap()) != maxProblems || !errors.Is(err, ErrPacket) {
		t.Fatalf("%v", err)
	}
}

func FuzzCheck(f *testing.F) {
	for i, p := range vp8Full {
		f.Add(uint8(0), p.Payload, vp8Full[(i+1)%len(vp8Full)].Payload, p.Extension, i%2 == 0)
	}
	for _, p := range vp9Full {
		f.Add(uint8(1), p.Payload, vp9Full[0].Payload, p.Extension, true)
	}
	for _, p := range av1Full {
		f.Add(uint8(2), p.Payload, p.Payload, p.Extension, true)
	}
	f.Fuzz(func(t *testing.T, codec uint8, a, b, ext []byte, marker bool) {
		packets := []Packet{
			{Seq: 1, Payload: a, Marker: marker, Extension: ext}, {Seq: 2, Payload: b, Timestamp: 1, Extension: ext},
			{Seq: 4, Payload: a, Timestamp: 1, Marker: marker, Extension: ext}, {Seq: 3, Payload: b, Extension: ext},
		}
		report, _ := []func([]Packet) (Report, error){VP8, VP9, Dependency}[codec%3](packets)
		if report.Frames+report.Broken > len(packets) {
			t.Fatalf("%+v", report)
		}
	})
}

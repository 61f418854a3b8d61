package descriptor

import (
	"bytes"
	"testing"
)

// vp8Cases feeds the tests of parsing and rewriting, and seeds the fuzzer.
var vp8Cases = []struct {
	name      string
	payload   []byte
	want      VP8
	err       Error
	rewritten []byte // with picture id 0x4321 and TL0PICIDX 0x99; nil: as it was
}{
	{"empty", nil, VP8{}, ErrVP8Short, nil},
	{"descriptor only", []byte{0x10}, VP8{}, ErrVP8Empty, nil},
	{"key, one byte", []byte{0x10, 0x10}, VP8{Start: true, Keyframe: true, Size: 1}, ok, nil},
	{"delta, one byte", []byte{0x10, 0x11}, VP8{Start: true, Size: 1}, ok, nil},
	{"continuation", []byte{0x00, 0x10}, VP8{Size: 1}, ok, nil},
	{"second partition", []byte{0x11, 0x10}, VP8{Partition: 1, Size: 1}, ok, nil},
	{"non-reference", []byte{0x30, 0x11}, VP8{Start: true, NonReference: true, Size: 1}, ok, nil},
	{"X without anything", []byte{0x90, 0x00, 0x11}, VP8{Start: true, Size: 2}, ok, nil},
	{
		"7-bit id", []byte{0x90, 0x80, 0x7f, 0x11},
		VP8{Start: true, PictureIDBits: 7, PictureID: 0x7f, PictureIDAt: 2, Size: 3}, ok,
		[]byte{0x90, 0x80, 0x21, 0x11},
	},
	{
		"all, 15-bit id", []byte{0x90, 0xf0, 0xff, 0xfe, 0x07, 0xab, 0x10},
		VP8{
			Start: true, Keyframe: true, PictureIDBits: 15, PictureID: 0x7ffe, PictureIDAt: 2,
			HasTL0: true, TL0: 7, TL0At: 4, HasTID: true, TID: 2, LayerSync: true,
			HasKeyIndex: true, KeyIndex: 11, Size: 6,
		}, ok,
		[]byte{0x90, 0xf0, 0xc3, 0x21, 0x99, 0xab, 0x10},
	},
	{
		"TL0PICIDX without id", []byte{0x90, 0x60, 0x07, 0x40, 0x11},
		VP8{Start: true, HasTL0: true, TL0: 7, TL0At: 2, HasTID: true, TID: 1, Size: 4}, ok,
		[]byte{0x90, 0x60, 0x99, 0x40, 0x11},
	},
	{
		"KEYIDX without TID", []byte{0x90, 0x10, 0xff, 0x11},
		VP8{Start: true, HasKeyIndex: true, KeyIndex: 31, Size: 3}, ok, nil,
	},
	{"cut behind X", []byte{0x90}, VP8{}, ErrVP8Short, nil},
	{"cut before the id", []byte{0x90, 0x80}, VP8{}, ErrVP8Short, nil},
	{"cut in the id", []byte{0x90, 0x80, 0x80}, VP8{}, ErrVP8Short, nil},
	{"cut before TL0PICIDX", []byte{0x90, 0xc0, 0x01}, VP8{}, ErrVP8Short, nil},
	{"cut before TID", []byte{0x90, 0xe0, 0x01, 0x01}, VP8{}, ErrVP8Short, nil},
	{"cut before the payload", []byte{0x90, 0xe0, 0x01, 0x01, 0x20}, VP8{}, ErrVP8Empty, nil},
}

func TestVP8(t *testing.T) {
	for _, c := range vp8Cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseVP8(c.payload)
			if c.err != ok {
				if err != c.err {
					t.Fatalf("error %v, want %v", err, c.err)
				}
				return
			}
			if err != nil || got != c.want {
				t.Fatalf("got %+v, %v\nwant %+v", got, err, c.want)
			}
			b := bytes.Clone(c.payload)
			got.Rewrite(b, 0x4321, 0x99)
			want := c.rewritten
			if want == nil {
				want = c.payload
			}
			if !bytes.Equal(b, want) {
				t.Fatalf("rewritten %x, want %x", b, want)
			}
			got.Rewrite(b[:got.Size-1], 1, 1)
			if !bytes.Equal(b, want) {
				t.Fatal("a payload that is too short was rewritten")
			}
		})
	}
}

func FuzzVP8(f *testing.F) {
	for _, c := range vp8Cases {
		f.Add(c.payload, uint16(0x4321), uint8(0x99))
	}
	f.Fuzz(func(t *testing.T, b []byte, id uint16, tl0 uint8) {
		d, err := ParseVP8(b)
		if err != nil {
			return
		}
		if d.Size < 1 || d.Size >= len(b) || d.Size > 6 {
			t.Fatalf("descriptor of %d bytes in %d", d.Size, len(b))
		}
		rewritten := bytes.Clone(b)
		d.Rewrite(rewritten, id, tl0)
		want := d
		if want.PictureIDBits != 0 {
			want.PictureID = id & (1<<d.PictureIDBits - 1)
		}
		if want.HasTL0 {
			want.TL0 = tl0
		}
		if got, err := ParseVP8(rewritten); err != nil || got != want {
			t.Fatalf("%x rewritten to %x: %+v, %v, want %+v", b, rewritten, got, err, want)
		}
		if !bytes.Equal(b[d.Size:], rewritten[d.Size:]) {
			t.Fatal("payload changed")
		}
	})
}

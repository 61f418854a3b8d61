package descriptor

import (
	"bytes"
	"testing"
)

// vp9Cases feeds the tests of parsing and rewriting, and seeds the fuzzer.
var vp9Cases = []struct {
	name      string
	payload   []byte
	want      VP9
	err       Error
	rewritten []byte // with picture id 0x4321 and TL0PICIDX 0x99; nil: as it was
}{
	{"empty", nil, VP9{}, ErrVP9Short, nil},
	{"descriptor only", []byte{0x08}, VP9{}, ErrVP9Empty, nil},
	{"key, plain", []byte{0x08, 0x82}, VP9{Start: true, Size: 1}, ok, nil},
	{"delta, plain, one packet", []byte{0x4c, 0x82}, VP9{Predicted: true, Start: true, End: true, Size: 1}, ok, nil},
	{"not for upper layers", []byte{0x09, 0x82}, VP9{Start: true, NotForUpper: true, Size: 1}, ok, nil},
	{
		"7-bit id", []byte{0x88, 0x12, 0x82},
		VP9{Start: true, PictureIDBits: 7, PictureID: 0x12, PictureIDAt: 1, Size: 2}, ok,
		[]byte{0x88, 0x21, 0x82},
	},
	{
		"non-flexible, layers", []byte{0xe8, 0x81, 0x02, 0x55, 0x07, 0x82},
		VP9{
			Predicted: true, Layered: true, Start: true, PictureIDBits: 15, PictureID: 0x102, PictureIDAt: 1,
			TID: 2, SwitchUp: true, SID: 2, InterLayer: true, HasTL0: true, TL0: 7, TL0At: 4, Size: 5,
		}, ok,
		[]byte{0xe8, 0xc3, 0x21, 0x55, 0x99, 0x82},
	},
	{
		"flexible, three references", []byte{0xf4, 0x81, 0x02, 0x20, 0x03, 0x05, 0xfe, 0x82},
		VP9{
			Predicted: true, Layered: true, Flexible: true, End: true, PictureIDBits: 15, PictureID: 0x102, PictureIDAt: 1,
			TID: 1, DiffCount: 3, Diffs: [3]uint8{1, 2, 127}, Size: 7,
		}, ok,
		[]byte{0xf4, 0xc3, 0x21, 0x20, 0x03, 0x05, 0xfe, 0x82},
	},
	{
		"structure with sizes and group",
		[]byte{0x0a, 0x38, 0x00, 0xf0, 0x00, 0x87, 0x01, 0xe0, 0x01, 0x0e, 0x02, 0x10, 0x34, 0x02, 0x82},
		VP9{Start: true, HasStructure: true, StructureAt: 1, Size: 14}, ok, nil,
	},
	{"structure without anything", []byte{0x0a, 0x00, 0x82}, VP9{Start: true, HasStructure: true, StructureAt: 1, Size: 2}, ok, nil},
	{"flexible without id", []byte{0x18, 0x82}, VP9{}, ErrVP9PictureID, nil},
	{"reference to itself", []byte{0xd8, 0x01, 0x00, 0x82}, VP9{}, ErrVP9Diff, nil},
	{"four references", []byte{0xd8, 0x01, 0x03, 0x03, 0x03, 0x02, 0x82}, VP9{}, ErrVP9Diffs, nil},
	{"cut before the id", []byte{0x88}, VP9{}, ErrVP9Short, nil},
	{"cut in the id", []byte{0x88, 0x80}, VP9{}, ErrVP9Short, nil},
	{"cut before layers", []byte{0xa8, 0x01}, VP9{}, ErrVP9Short, nil},
	{"cut before TL0PICIDX", []byte{0xa8, 0x01, 0x00}, VP9{}, ErrVP9Short, nil},
	{"cut before a reference", []byte{0xd8, 0x01}, VP9{}, ErrVP9Short, nil},
	{"cut before the second reference", []byte{0xd8, 0x01, 0x03}, VP9{}, ErrVP9Short, nil},
	{"cut before the structure", []byte{0x0a}, VP9{}, ErrVP9Short, nil},
	{"cut in sizes", []byte{0x0a, 0x10, 0, 1, 0}, VP9{}, ErrVP9Short, nil},
	{"cut before the group", []byte{0x0a, 0x08}, VP9{}, ErrVP9Short, nil},
	{"cut in the group", []byte{0x0a, 0x08, 0x02, 0x00}, VP9{}, ErrVP9Short, nil},
	{"cut in a group's references", []byte{0x0a, 0x08, 0x01, 0x0c, 0x01, 0x01}, VP9{}, ErrVP9Short, nil},
	{"cut before the payload", []byte{0x0a, 0x08, 0x01, 0x04, 0x01}, VP9{}, ErrVP9Empty, nil},
}

func TestVP9(t *testing.T) {
	for _, c := range vp9Cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseVP9(c.payload)
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

func TestVP9Structure(t *testing.T) {
	payload := []byte{0x0a, 0x38, 0x00, 0xf0, 0x00, 0x87, 0x01, 0xe0, 0x01, 0x0e, 0x02, 0x10, 0x34, 0x02, 0x82}
	d, err := ParseVP9(payload)
	if err != nil {
		t.Fatal(err)
	}
	want := VP9Structure{
		SpatialLayers: 2, HasSizes: true, HasGroup: true, Pictures: 2,
		Sizes: [8]Resolution{{240, 135}, {480, 270}},
	}
	want.Group[0] = VP9GroupPicture{SwitchUp: true}
	want.Group[1] = VP9GroupPicture{TID: 1, SwitchUp: true, DiffCount: 1, Diffs: [3]uint8{2}}
	if got, found := d.Structure(payload); !found || got.Sizes != want.Sizes || got.Group[0] != want.Group[0] || got.Group[1] != want.Group[1] {
		t.Fatalf("got %+v", got.Group[:2])
	}
	if _, found := d.Structure(payload[:5]); found {
		t.Fatal("a structure in a payload that is cut")
	}
	if _, found := (&VP9{}).Structure(payload); found {
		t.Fatal("a structure where there is none")
	}
}

func TestVP9Switch(t *testing.T) {
	for _, c := range []struct {
		name         string
		d            VP9
		key, spatial bool
	}{
		{"key", VP9{Start: true}, true, true},
		{"later packet of a key", VP9{}, true, false},
		{"upper layer of a key", VP9{Start: true, SID: 1, InterLayer: true}, false, true},
		{"upper layer of another", VP9{Start: true, SID: 1, Predicted: true}, false, false},
	} {
		if c.d.Keyframe() != c.key || c.d.SpatialSwitch() != c.spatial {
			t.Errorf("%s: key %v, switch %v", c.name, c.d.Keyframe(), c.d.SpatialSwitch())
		}
	}
}

func FuzzVP9(f *testing.F) {
	for _, c := range vp9Cases {
		f.Add(c.payload, uint16(0x4321), uint8(0x99))
	}
	f.Fuzz(func(t *testing.T, b []byte, id uint16, tl0 uint8) {
		d, err := ParseVP9(b)
		if err != nil {
			return
		}
		if d.Size < 1 || d.Size >= len(b) {
			t.Fatalf("descriptor of %d bytes in %d", d.Size, len(b))
		}
		if _, found := d.Structure(b); found != d.HasStructure {
			t.Fatal("structure was told of and is not there")
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
		if got, err := ParseVP9(rewritten); err != nil || got != want {
			t.Fatalf("%x rewritten to %x: %+v, %v, want %+v", b, rewritten, got, err, want)
		}
		if !bytes.Equal(b[d.Size:], rewritten[d.Size:]) {
			t.Fatal("payload changed")
		}
	})
}

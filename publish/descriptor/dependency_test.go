package descriptor

import (
	"bytes"
	"encoding/hex"
	"testing"
)

// l1t3 is the structure of section A.10.2.1, with Chromium's order of targets.
func l1t3() Structure {
	s := Structure{
		TemplateCount: 5, TargetCount: 3, ChainCount: 1,
		HasResolutions: true, Resolutions: [MaxSpatialLayers]Resolution{{320, 180}},
	}
	for i, t := range []struct {
		temporal uint8
		dtis     string
		diff     uint16
		chain    uint8
	}{{0, "SSS", 0, 0}, {0, "SSS", 4, 4}, {1, "-DS", 2, 2}, {2, "--D", 1, 1}, {2, "--D", 1, 3}} {
		s.Templates[i] = Template{TemporalID: t.temporal, Dependencies: dependencies(t.dtis, []uint8{t.chain}, t.diff)}
	}
	s.layTargets()
	return s
}

// dependencies makes some from the symbols of table A.1. A diff of 0 is none.
func dependencies(dtis string, chains []uint8, diffs ...uint16) Dependencies {
	var d Dependencies
	for i, symbol := range dtis {
		d.DTIs[i] = DTI(bytes.IndexByte([]byte("-DSR"), byte(symbol)))
	}
	for _, diff := range diffs {
		if diff != 0 {
			d.Diffs[d.DiffCount] = diff
			d.DiffCount++
		}
	}
	copy(d.ChainDiffs[:], chains)
	return d
}

// l1t3Key is the descriptor of a key frame with frame number 1 and that structure.
const l1t3Key = "800001800214eaa860414d1410208427013f00b3"

// dependencyCases feeds the tests of parsing and writing, and seeds the fuzzer.
// All but the first come after l1t3Key; the first ID is 1<<16 above its number.
var dependencyCases = []struct {
	name string
	ext  string
	want Frame // without Structure
}{
	{"key frame with its structure", l1t3Key, Frame{
		Start: true, Number: 1, ID: 1<<16 + 1, Keyframe: true, Carried: true, Active: 7,
		Dependencies: dependencies("SSS", []uint8{0}),
	}},
	{"another packet of the key frame", "400001", Frame{
		End: true, Number: 1, ID: 1<<16 + 1, Keyframe: true, Active: 7,
		Dependencies: dependencies("SSS", []uint8{0}),
	}},
	{"template alone", "c20003", Frame{
		Start: true, End: true, Number: 3, ID: 1<<16 + 3, TemplateID: 2, Active: 7, TemporalID: 1,
		Dependencies: dependencies("-DS", []uint8{2}, 2),
	}},
	{"active targets", "c1000543", Frame{
		Start: true, End: true, Number: 5, ID: 1<<16 + 5, TemplateID: 1, Active: 3, Announced: true,
		Dependencies: dependencies("SSS", []uint8{4}, 4),
	}},
	{"indications of its own", "c2000321c0", Frame{
		Start: true, End: true, Number: 3, ID: 1<<16 + 3, TemplateID: 2, Active: 7, TemporalID: 1,
		Dependencies: dependencies("-RS", []uint8{2}, 2),
	}},
	{"references of its own", "c200031208c21895fffe00", Frame{
		Start: true, End: true, Number: 3, ID: 1<<16 + 3, TemplateID: 2, Active: 7, TemporalID: 1,
		Dependencies: dependencies("-DS", []uint8{2}, 1, 2, 17, 300, 4096),
	}},
	{"no references instead of some", "c2000310", Frame{
		Start: true, End: true, Number: 3, ID: 1<<16 + 3, TemplateID: 2, Active: 7, TemporalID: 1,
		Dependencies: dependencies("-DS", []uint8{2}),
	}},
	{"chains of its own", "c200030e40", Frame{
		Start: true, End: true, Number: 3, ID: 1<<16 + 3, TemplateID: 2, Active: 7, TemporalID: 1,
		Dependencies: dependencies("-DS", []uint8{200}, 2),
	}},
	{"everything of its own", "c200037d7924cc80", Frame{
		Start: true, End: true, Number: 3, ID: 1<<16 + 3, TemplateID: 2, Active: 5, Announced: true, TemporalID: 1,
		Dependencies: dependencies("DRS", []uint8{200}, 3, 4),
	}},
	{"structure and active targets", "800001c00214eaa860414d1410208427013f00b360", Frame{
		Start: true, Number: 1, ID: 1<<16 + 1, Keyframe: true, Carried: true, Active: 3, Announced: true,
		Dependencies: dependencies("SSS", []uint8{0}),
	}},
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// after returns a parser that has read descriptors.
func after(t testing.TB, exts ...string) *Parser {
	t.Helper()
	var p Parser
	for _, ext := range exts {
		if _, err := p.Parse(unhex(t, ext)); err != nil {
			t.Fatalf("%s: %v", ext, err)
		}
	}
	return &p
}

func TestDependency(t *testing.T) {
	for i, c := range dependencyCases {
		t.Run(c.name, func(t *testing.T) {
			var p Parser
			if i > 0 {
				p = *after(t, l1t3Key)
			}
			ext := unhex(t, c.ext)
			got, err := p.Parse(ext)
			if err != nil {
				t.Fatal(err)
			}
			if got.Structure == nil || *got.Structure != l1t3() {
				t.Fatalf("structure %+v", got.Structure)
			}
			want := c.want
			want.Structure = got.Structure
			if got != want {
				t.Fatalf("got %+v\nwant %+v", got, want)
			}
			if b, err := got.Append([]byte{0xee}); err != nil || !bytes.Equal(b, append([]byte{0xee}, ext...)) {
				t.Fatalf("written as %x, %v", b, err)
			}
			for n := range ext { // cut anywhere, it is an error or says less
				p.Parse(ext[:n])
			}
		})
	}
}

func TestDependencyErrors(t *testing.T) {
	const templates = "800001" + "80" + "02"
	for _, c := range []struct {
		name  string
		known bool
		ext   string
		want  Error
	}{
		{"empty", true, "", ErrShort},
		{"two bytes", true, "c200", ErrShort},
		{"no structure known", false, "c20003", ErrUnknownStructure},
		{"no structure known, extended", false, "c2000310", ErrUnknownStructure},
		{"template beyond the last", true, "c50003", ErrUnknownTemplate},
		{"template before the first", true, "ff0003", ErrUnknownTemplate},
		{"structure without its template", true, "850001" + l1t3Key[6:], ErrUnknownTemplate},
		{"cut in the indications", true, "c2000321", ErrShort},
		{"cut in the references", true, "c2000312", ErrShort},
		{"cut in the chains", true, "c200030e", ErrShort},
		{"structure cut at once", true, "80000180", ErrShort},
		{"structure cut in its layers", true, templates, ErrShort},
		{"structure cut in its sizes", true, l1t3Key[:len(l1t3Key)-2], ErrShort},
		{"65 templates", true, templates + "00000000000000000000000000000000000000", ErrTemplates},
		{"9 temporal layers", true, templates + "555555", ErrLayers},
		{"9 spatial layers", true, templates + "aaaaaa", ErrLayers},
		{"17 references", true, "c2000312" + "082082082082082082082082082082", ErrDiffs},
		{"17 references of a template", true, "8000018000" + "1f" + "ffffffffffffffffffffffffff", ErrDiffs},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p Parser
			if c.known {
				p = *after(t, l1t3Key)
			}
			if f, err := p.Parse(unhex(t, c.ext)); err != c.want || f != (Frame{}) {
				t.Fatalf("got %+v, %v, want %v", f, err, c.want)
			}
			if !c.known {
				return
			}
			if _, err := p.Parse(unhex(t, "c20003")); err != nil {
				t.Fatalf("afterwards: %v", err)
			}
		})
	}
}

func FuzzDependency(f *testing.F) {
	for _, c := range dependencyCases {
		f.Add(unhex(f, l1t3Key), unhex(f, c.ext))
	}
	f.Add(unhex(f, "c58009"+l1t3Key[6:]), unhex(f, "80000180020000"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		var p Parser
		for _, ext := range [][]byte{a, b, a, b} {
			frame, err := p.Parse(ext)
			if err != nil {
				if frame != (Frame{}) {
					t.Fatal("an error and a frame")
				}
				continue
			}
			written, err := frame.Append(nil)
			if err != nil {
				t.Fatalf("%x cannot be written: %v", ext, err)
			}
			again := p
			got, err := again.Parse(written)
			if err != nil {
				t.Fatalf("%x written as %x: %v", ext, written, err)
			}
			if got != frame {
				t.Fatalf("%x written as %x:\n%+v\n%+v", ext, written, frame, got)
			}
			for id := range frame.References() {
				if id >= frame.ID {
					t.Fatal("a reference ahead")
				}
			}
		}
	})
}

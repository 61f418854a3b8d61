package descriptor

import (
	"encoding/hex"
	"testing"
)

func TestRewriteDependency(t *testing.T) {
	for _, c := range []struct {
		name, ext, want string
		mask            uint32
	}{
		{"a template alone", "c10005", "c1000543", 3},
		{"targets that were told", "c1000547", "c1000541", 1},
		{"targets that there are not", "c10005", "c1000547", 0xff},
		{"a structure", l1t3Key, "800001c00214eaa860414d1410208427013f00b360", 3},
		{"before indications of its own", "c2000321c0", "c200036338", 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := after(t, l1t3Key).Parse(unhex(t, c.ext))
			if err != nil {
				t.Fatal(err)
			}
			got, err := f.AppendActive(nil, c.mask)
			if err != nil || hex.EncodeToString(got) != c.want {
				t.Fatalf("%x, %v, want %s", got, err, c.want)
			}
			SetFrameNumber(got, 0x1234)
			if again, err := after(t, l1t3Key).Parse(got); err != nil || again.Number != 0x1234 || again.Active != c.mask&7 {
				t.Fatalf("read again: %+v, %v", again, err)
			}
		})
	}
	short := []byte{1, 2}
	if SetFrameNumber(short, 0xffff); short[1] != 2 {
		t.Error("a short extension was rewritten")
	}
}

func TestUnwritable(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Frame, *Structure)
		want   Error
	}{
		{"no structure", func(f *Frame, _ *Structure) { f.Structure = nil }, ErrWriteStructure},
		{"no templates", func(_ *Frame, s *Structure) { s.TemplateCount = 0 }, ErrWriteStructure},
		{"no targets", func(_ *Frame, s *Structure) { s.TargetCount = 0 }, ErrWriteStructure},
		{"65 templates", func(_ *Frame, s *Structure) { s.TemplateCount = 65 }, ErrWriteStructure},
		{"more chains than targets", func(_ *Frame, s *Structure) { s.ChainCount = 4 }, ErrWriteStructure},
		{"a chain that is not there", func(_ *Frame, s *Structure) { s.Targets[0].Chain = 1 }, ErrWriteStructure},
		{"begins with layer 1", func(_ *Frame, s *Structure) { s.Templates[0].TemporalID = 1 }, ErrWriteStructure},
		{"layers that go down", func(_ *Frame, s *Structure) { s.Templates[4].TemporalID = 1 }, ErrWriteStructure},
		{"a template's reference of 17", func(_ *Frame, s *Structure) { s.Templates[1].Diffs[0] = 17 }, ErrWriteStructure},
		{"a size of nothing", func(_ *Frame, s *Structure) { s.Resolutions[0].Width = 0 }, ErrWriteStructure},
		{"offset", func(_ *Frame, s *Structure) { s.IDOffset = 64 }, ErrWriteStructure},
		{"template", func(f *Frame, _ *Structure) { f.TemplateID = 5 }, ErrWriteFrame},
		{"reference to itself", func(f *Frame, _ *Structure) { f.DiffCount = 2 }, ErrWriteFrame},
		{"reference too far", func(f *Frame, _ *Structure) { f.Diffs[0] = 4097 }, ErrWriteFrame},
		{"too many references", func(f *Frame, _ *Structure) { f.DiffCount = 17 }, ErrWriteFrame},
		{"indication for no target", func(f *Frame, _ *Structure) { f.DTIs[3] = Required }, ErrWriteFrame},
		{"chain that is not there", func(f *Frame, _ *Structure) { f.ChainDiffs[1] = 1 }, ErrWriteFrame},
		{"active target that is not there", func(f *Frame, _ *Structure) { f.Active = 8 }, ErrWriteFrame},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := l1t3()
			f := Frame{TemplateID: 1, Structure: &s, Dependencies: s.Templates[1].Dependencies}
			if _, err := f.Append(nil); err != nil {
				t.Fatal(err)
			}
			c.change(&f, &s)
			if b, err := f.Append([]byte{1}); err != c.want || len(b) != 1 {
				t.Fatalf("%x, %v, want %v", b, err, c.want)
			}
		})
	}
}

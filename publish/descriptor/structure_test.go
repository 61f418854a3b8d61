package descriptor

import (
	"math/rand"
	"testing"

	"pgregory.net/rapid"
)

// drawStructure makes any structure that can be written.
func drawStructure(t *rapid.T) Structure {
	s := Structure{
		IDOffset:      uint8(rapid.IntRange(0, 63).Draw(t, "offset")),
		TargetCount:   uint8(rapid.IntRange(1, MaxTargets).Draw(t, "targets")),
		TemplateCount: uint8(rapid.IntRange(1, MaxTemplates).Draw(t, "templates")),
	}
	s.ChainCount = uint8(rapid.IntRange(0, int(s.TargetCount)).Draw(t, "chains"))
	for i := range s.Templates[:s.TemplateCount] {
		if i > 0 {
			s.Templates[i].SpatialID, s.Templates[i].TemporalID = s.Templates[i-1].SpatialID, s.Templates[i-1].TemporalID
			switch step := rapid.IntRange(sameLayer, nextSpatial).Draw(t, "layer"); {
			case step == nextTemporal && s.Templates[i].TemporalID < MaxTemporalLayers-1:
				s.Templates[i].TemporalID++
			case step == nextSpatial && s.Templates[i].SpatialID < MaxSpatialLayers-1:
				s.Templates[i].SpatialID, s.Templates[i].TemporalID = s.Templates[i].SpatialID+1, 0
			}
		}
		s.Templates[i].Dependencies = drawDependencies(t, &s, 16, 15)
	}
	for i := range s.Targets[:s.TargetCount] {
		if s.ChainCount > 0 {
			s.Targets[i].Chain = uint8(rapid.IntRange(0, int(s.ChainCount)-1).Draw(t, "chain"))
		}
	}
	s.layTargets()
	if s.HasResolutions = rapid.Bool().Draw(t, "resolutions"); s.HasResolutions {
		spatial, _ := s.Layers()
		for i := range spatial {
			s.Resolutions[i] = Resolution{rapid.IntRange(1, 1<<16).Draw(t, "width"), rapid.IntRange(1, 1<<16).Draw(t, "height")}
		}
	}
	return s
}

func drawDependencies(t *rapid.T, s *Structure, diff, chain int) Dependencies {
	var d Dependencies
	r := rand.New(rand.NewSource(rapid.Int64().Draw(t, "seed"))) // a draw for each of 2,000 values is slow
	for i := range d.DTIs[:s.TargetCount] {
		d.DTIs[i] = DTI(r.Intn(4))
	}
	d.DiffCount = uint8(r.Intn(MaxDiffs + 1))
	for i := range d.Diffs[:d.DiffCount] {
		d.Diffs[i] = uint16(r.Intn(diff)) + 1
	}
	for i := range d.ChainDiffs[:s.ChainCount] {
		d.ChainDiffs[i] = uint8(r.Intn(chain + 1))
	}
	return d
}

// TestRoundTrip writes structures and frames of any kind and reads them again.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawStructure(t)
		key := Frame{Start: true, Number: 100, TemplateID: s.IDOffset, Carried: true, Structure: &s, Dependencies: s.Templates[0].Dependencies}
		var p Parser
		readBack(t, &p, key)
		for range rapid.IntRange(1, 5).Draw(t, "frames") {
			i := rapid.IntRange(0, int(s.TemplateCount)-1).Draw(t, "template")
			f := Frame{
				Start: rapid.Bool().Draw(t, "start"), End: rapid.Bool().Draw(t, "end"),
				Number: rapid.Uint16Range(101, 20000).Draw(t, "number"), TemplateID: (s.IDOffset + uint8(i)) & 63,
				Announced: rapid.Bool().Draw(t, "announced"), Structure: &s, Dependencies: s.Templates[i].Dependencies,
			}
			if f.Announced {
				f.Active = rapid.Uint32().Draw(t, "active") & s.AllTargets()
			}
			own := drawDependencies(t, &s, 1<<12, 255)
			if rapid.Bool().Draw(t, "dtis") {
				f.DTIs = own.DTIs
			}
			if rapid.Bool().Draw(t, "diffs") {
				f.Diffs, f.DiffCount = own.Diffs, own.DiffCount
			}
			if rapid.Bool().Draw(t, "chains") {
				f.ChainDiffs = own.ChainDiffs
			}
			readBack(t, &p, f)
		}
	})
}

func readBack(t *rapid.T, p *Parser, f Frame) {
	ext, err := f.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := p.Parse(ext)
	if err != nil {
		t.Fatalf("%x: %v", ext, err)
	}
	if *got.Structure != *f.Structure {
		t.Fatalf("%x: structure %+v\nwant %+v", ext, *got.Structure, *f.Structure)
	}
	t1 := f.Structure.template(f.TemplateID)
	if got.Dependencies != f.Dependencies || got.Start != f.Start || got.End != f.End || got.Number != f.Number ||
		got.SpatialID != t1.SpatialID || got.TemporalID != t1.TemporalID || got.Announced != f.Announced ||
		f.Announced && got.Active != f.Active {
		t.Fatalf("%x: %+v\nwant %+v", ext, got, f)
	}
}

// TestNumbers is ns(5) of section A.8.2.
func TestNumbers(t *testing.T) {
	w := bitWriter{}
	for v := range 5 {
		w.ns(5, v)
	}
	w.ns(1, 0) // takes nothing
	if len(w.b) != 2 || w.b[0] != 0b00011011 || w.b[1] != 0b01110000 {
		t.Fatalf("%08b", w.b)
	}
	r := bitReader{b: w.b}
	for v := range 5 {
		if got := r.ns(5); got != v {
			t.Fatalf("got %d, want %d", got, v)
		}
	}
	if r.f(4); r.short || r.at != 16 {
		t.Fatal("not at the end")
	}
	if r.f(1); !r.short {
		t.Fatal("read past the end")
	}
}

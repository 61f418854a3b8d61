package descriptor

import (
	"slices"
	"testing"
)

// shifted is l1t3Key with frame number 9 and templates from 5.
const shifted = "c5000980a214eaa860414d1410208427013f00b3"

func parse(t *testing.T, p *Parser, ext string) Frame {
	t.Helper()
	f, err := p.Parse(unhex(t, ext))
	if err != nil {
		t.Fatalf("%s: %v", ext, err)
	}
	return f
}

// TestParserOrder is what happens to structures when packets come late.
func TestParserOrder(t *testing.T) {
	t.Run("a packet of the structure before", func(t *testing.T) {
		p := after(t, l1t3Key, shifted)
		if f := parse(t, p, "c20003"); f.TemporalID != 1 || f.Structure.IDOffset != 0 {
			t.Fatalf("got %+v", f)
		}
		if f := parse(t, p, "c7000b"); f.TemporalID != 1 || f.Structure.IDOffset != 5 {
			t.Fatalf("got %+v", f)
		}
	})
	t.Run("a structure that comes late", func(t *testing.T) {
		p := after(t, shifted, l1t3Key)
		if f := parse(t, p, "c20003"); f.Structure.IDOffset != 0 {
			t.Fatalf("got %+v", f)
		}
		if f := parse(t, p, "c7000b"); f.Structure.IDOffset != 5 {
			t.Fatalf("got %+v", f)
		}
	})
	t.Run("before anything is known", func(t *testing.T) {
		p := after(t, shifted)
		if _, err := p.Parse(unhex(t, "c20003")); err != ErrUnknownStructure {
			t.Fatal(err)
		}
	})
	t.Run("a stream that began anew", func(t *testing.T) {
		p := after(t, "80f000"+l1t3Key[6:])
		again := parse(t, p, "c58000"+shifted[6:])
		if f := parse(t, p, "c78002"); f.Structure.IDOffset != 5 || f.ID != again.ID+2 {
			t.Fatalf("got %+v", f)
		}
	})
}

// TestParserMemory is what lasts from packet to packet.
func TestParserMemory(t *testing.T) {
	t.Run("the wrap", func(t *testing.T) {
		p := after(t, "80fffe"+l1t3Key[6:])
		if f := parse(t, p, "c20000"); f.ID != 1<<16+1<<16 {
			t.Fatalf("ID %d", f.ID)
		}
		if f := parse(t, p, "c3ffff"); f.ID != 1<<16+1<<16-1 {
			t.Fatalf("ID %d", f.ID)
		}
	})
	t.Run("the same structure again is the same", func(t *testing.T) {
		p := after(t, l1t3Key)
		a := parse(t, p, "c20003")
		b := parse(t, p, "800009"+l1t3Key[6:])
		if a.Structure != b.Structure || !b.Keyframe || a.Keyframe {
			t.Fatal("another structure, or no key frame")
		}
	})
	t.Run("active targets last", func(t *testing.T) {
		p := after(t, l1t3Key, "c1000543")
		if f := parse(t, p, "c10009"); f.Active != 3 || f.Announced {
			t.Fatalf("got %+v", f)
		}
		parse(t, p, "c1000341") // late
		if f := parse(t, p, "c1000d"); f.Active != 3 {
			t.Fatal("a late packet changed the active targets")
		}
		parse(t, p, "800011"+l1t3Key[6:])
		if f := parse(t, p, "c10015"); f.Active != 7 {
			t.Fatal("a new structure did not make all targets active")
		}
	})
}

func TestFrame(t *testing.T) {
	p := after(t, l1t3Key)
	f, err := p.Parse(unhex(t, "c20003"))
	if err != nil {
		t.Fatal(err)
	}
	if refs := slices.Collect(f.References()); !slices.Equal(refs, []int64{1<<16 + 1}) {
		t.Errorf("references %v", refs)
	}
	if id, needed := f.ChainBefore(0); id != 1<<16+1 || !needed {
		t.Errorf("chain before: %d, %v", id, needed)
	}
	for _, chain := range []int{-1, 1, 99} {
		if _, needed := f.ChainBefore(chain); needed || f.InChain(chain) {
			t.Errorf("chain %d", chain)
		}
	}
	if f.InChain(0) || f.For(-1) != NotPresent || f.For(1) != Discardable || f.For(99) != NotPresent || !f.SwitchesTo(2) || f.SwitchesTo(1) {
		t.Errorf("indications %v", f.DTIs[:3])
	}
	if f.Resolution() != (Resolution{320, 180}) || NotPresent.String()+Required.String() != "-R" {
		t.Errorf("resolution %v", f.Resolution())
	}
	if f, _ := p.Parse(unhex(t, "c10005")); !f.InChain(0) {
		t.Error("layer 0 is not in its chain")
	}
	s := f.Structure
	if spatial, temporal := s.Layers(); spatial != 1 || temporal != 3 || s.AllTargets() != 7 || s.TargetsWithin(0, 1) != 3 {
		t.Errorf("layers %d, %d", spatial, temporal)
	}
	for _, c := range []struct {
		mask     uint32
		temporal int
		target   int
		found    bool
	}{{7, 2, 2, true}, {7, 1, 1, true}, {5, 1, 0, true}, {4, 1, 0, false}, {0, 2, 0, false}} {
		if target, found := s.Target(c.mask, 0, c.temporal); target != c.target || found != c.found {
			t.Errorf("%+v: %d, %v", c, target, found)
		}
	}
}

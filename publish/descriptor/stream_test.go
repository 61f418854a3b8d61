package descriptor_test

import (
	"encoding/hex"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/weft-rtc/weft/publish/descriptor"
	"github.com/weft-rtc/weft/publish/descriptor/check"
)

// streams reads testdata/chromium.txt: real streams by codec and scalability mode.
func streams(t testing.TB) map[string][]check.Packet {
	t.Helper()
	file, err := os.ReadFile("testdata/chromium.txt")
	if err != nil {
		t.Fatal(err)
	}
	all, name := map[string][]check.Packet{}, ""
	for n, line := range strings.Split(strings.TrimSpace(string(file)), "\n") {
		if strings.HasPrefix(line, "#") {
			continue
		}
		if rest, found := strings.CutPrefix(line, "stream "); found {
			name = rest
			continue
		}
		field := strings.Fields(line)
		if len(field) != 5 {
			t.Fatalf("line %d: %d fields", n+1, len(field))
		}
		seq, err1 := strconv.ParseUint(field[0], 10, 16)
		timestamp, err2 := strconv.ParseUint(field[1], 10, 32)
		p := check.Packet{Seq: uint16(seq), Timestamp: uint32(timestamp), Marker: field[2] == "1"}
		var err3, err4 error
		if field[3] != "-" {
			p.Extension, err3 = hex.DecodeString(field[3])
		}
		if field[4] != "-" {
			p.Payload, err4 = hex.DecodeString(field[4])
		}
		for _, err := range []error{err1, err2, err3, err4} {
			if err != nil {
				t.Fatalf("line %d: %v", n+1, err)
			}
		}
		all[name] = append(all[name], p)
	}
	return all
}

// modes are the streams and what each has to be.
var modes = []struct {
	name              string
	spatial, temporal int
	check             func([]check.Packet) (check.Report, error)
	layers            func(t *testing.T) func(check.Packet) (sid, tid int)
}{
	{"av1 L3T3", 3, 3, check.Dependency, dependencyLayers},
	{"av1 L1T3", 1, 3, check.Dependency, dependencyLayers},
	{"av1 L3T3_KEY", 3, 3, check.Dependency, dependencyLayers},
	{"vp9 L3T3", 3, 3, check.VP9, vp9Layers},
	{"vp9 L1T3", 1, 3, check.VP9, vp9Layers},
	{"vp9 L3T3_KEY", 3, 3, check.VP9, vp9Layers},
	{"vp8 L1T3", 1, 3, check.VP8, vp8Layers},
}

func dependencyLayers(t *testing.T) func(check.Packet) (sid, tid int) {
	var parser descriptor.Parser
	return func(p check.Packet) (sid, tid int) {
		f, err := parser.Parse(p.Extension)
		if err != nil {
			t.Fatal(err)
		}
		return int(f.SpatialID), int(f.TemporalID)
	}
}

func vp9Layers(t *testing.T) func(check.Packet) (sid, tid int) {
	return func(p check.Packet) (sid, tid int) {
		d, err := descriptor.ParseVP9(p.Payload)
		if err != nil {
			t.Fatal(err)
		}
		return int(d.SID), int(d.TID)
	}
}

func vp8Layers(t *testing.T) func(check.Packet) (sid, tid int) {
	return func(p check.Packet) (sid, tid int) {
		d, err := descriptor.ParseVP8(p.Payload)
		if err != nil {
			t.Fatal(err)
		}
		return 0, int(d.TID)
	}
}

// limited returns the packets of the layers up to these, as a forwarder would
// send them: numbers without gaps, and the marker on the last of a picture.
func limited(packets []check.Packet, layers func(check.Packet) (int, int), spatial, temporal int) []check.Packet {
	var out []check.Packet
	seq := packets[0].Seq
	for _, p := range packets {
		if len(p.Payload) > 0 {
			if sid, tid := layers(p); sid > spatial || tid > temporal {
				if p.Marker && len(out) > 0 && out[len(out)-1].Timestamp == p.Timestamp {
					out[len(out)-1].Marker = true
				}
				continue
			}
		}
		p.Seq = seq
		seq++
		out = append(out, p)
	}
	return out
}

// TestStreams holds what Chromium sends against its scalability mode, and every
// legal subset against the checker.
func TestStreams(t *testing.T) {
	all := streams(t)
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			packets := all[m.name]
			layers, most, seen := m.layers(t), [2]int{}, map[[2]int]bool{}
			for _, p := range packets {
				if len(p.Payload) == 0 {
					continue
				}
				sid, tid := layers(p)
				seen[[2]int{sid, tid}] = true
				most = [2]int{max(most[0], sid), max(most[1], tid)}
			}
			if most != [2]int{m.spatial - 1, m.temporal - 1} || len(seen) != m.spatial*m.temporal {
				t.Errorf("layers %v, highest %v", seen, most)
			}
			frames := 1 << 30
			for spatial := m.spatial - 1; spatial >= 0; spatial-- {
				for temporal := m.temporal - 1; temporal >= 0; temporal-- {
					part := limited(packets, m.layers(t), spatial, temporal)
					if strings.HasPrefix(m.name, "vp8") {
						renumber(t, part)
					}
					report, err := m.check(part)
					if err != nil {
						t.Errorf("up to S%d T%d: %v", spatial, temporal, err)
					}
					if report.Keys != 2 || report.Broken > 0 || report.Gaps > 0 {
						t.Errorf("up to S%d T%d: %+v", spatial, temporal, report)
					}
					if temporal == m.temporal-1 {
						frames = 1 << 30
					}
					if report.Frames >= frames {
						t.Errorf("up to S%d T%d: %d frames, %d with one layer more", spatial, temporal, report.Frames, frames)
					}
					frames = report.Frames
				}
			}
		})
	}
}

// renumber closes the gaps of the picture ids of VP8.
func renumber(t *testing.T, packets []check.Packet) {
	id := uint16(32760) // wraps soon
	for i, p := range packets {
		d, err := descriptor.ParseVP8(p.Payload)
		if err != nil {
			t.Fatal(err)
		}
		if d.Start {
			id++
		}
		packets[i].Payload = append([]byte(nil), p.Payload...)
		d.Rewrite(packets[i].Payload, id, d.TL0)
	}
}

// TestIllegalSubsets drops what others need.
func TestIllegalSubsets(t *testing.T) {
	all := streams(t)
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			layers := m.layers(t)
			var part []check.Packet
			for i, p := range all[m.name] {
				if len(p.Payload) == 0 {
					continue
				}
				if sid, tid := layers(p); i > 30 && sid == 0 && tid == 0 { // a layer that everything needs
					continue
				}
				p.Seq = uint16(len(part))
				part = append(part, p)
			}
			if _, err := m.check(part); err == nil {
				t.Fatal("the lowest layer is missing and nothing was said")
			}
		})
	}
}

// TestFrameNumbers is what the descriptor of AV1 promises of its numbers.
func TestFrameNumbers(t *testing.T) {
	for name, packets := range streams(t) {
		if !strings.HasPrefix(name, "av1") {
			continue
		}
		var parser descriptor.Parser
		last := descriptor.Frame{End: true}
		for i, p := range packets {
			if len(p.Payload) == 0 {
				continue
			}
			f, err := parser.Parse(p.Extension)
			if err != nil {
				t.Fatalf("%s, packet %d: %v", name, i, err)
			}
			if f.Start != last.End || f.Start && f.ID <= last.ID || !f.Start && f.ID != last.ID {
				t.Fatalf("%s, packet %d: frame %d start %v after %d end %v", name, i, f.ID, f.Start, last.ID, last.End)
			}
			if b, err := f.Append(nil); err != nil || hex.EncodeToString(b) != hex.EncodeToString(p.Extension) {
				t.Fatalf("%s, packet %d: %x written as %x, %v", name, i, p.Extension, b, err)
			}
			last = f
		}
	}
}

// TestAllocations is the budget of the hot path: nothing, on real packets, with
// key frames whose structure is known among them.
func TestAllocations(t *testing.T) {
	all := streams(t)
	var parser descriptor.Parser
	buffer, sum := make([]byte, 0, 255), int64(0)
	for _, c := range []struct {
		name   string
		packet func(p check.Packet)
	}{
		{"vp8 L1T3", func(p check.Packet) {
			d, _ := descriptor.ParseVP8(p.Payload)
			d.Rewrite(p.Payload, d.PictureID, d.TL0)
		}},
		{"vp9 L3T3", func(p check.Packet) {
			d, _ := descriptor.ParseVP9(p.Payload)
			s, _ := d.Structure(p.Payload)
			sum += int64(s.Pictures)
			d.Rewrite(p.Payload, d.PictureID, d.TL0)
		}},
		{"av1 L3T3", func(p check.Packet) {
			f, _ := parser.Parse(p.Extension)
			for id := range f.References() {
				sum += id
			}
			if f.Structure != nil {
				buffer, _ = f.AppendActive(buffer[:0], 0x1ff)
			}
		}},
	} {
		run := func() {
			for _, p := range all[c.name] {
				c.packet(p)
			}
		}
		run()
		if n := testing.AllocsPerRun(10, run); n != 0 {
			t.Errorf("%s: %v allocations in %d packets", c.name, n, len(all[c.name]))
		}
	}
	if _, err := parser.Parse([]byte{1}); err == nil {
		t.Error("no error")
	}
	if n := testing.AllocsPerRun(10, func() { _, _ = parser.Parse([]byte{1}) }); n != 0 {
		t.Errorf("%v allocations for an error", n)
	}
}

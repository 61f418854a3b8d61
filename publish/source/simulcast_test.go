package source

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// triple names the layers of a fixture, from low to high.
func triple(name, ext string) (files []string) {
	for _, rid := range []string{"q", "h", "f"} {
		files = append(files, fixture("sim-"+name+"-"+rid+ext))
	}
	return files
}

// TestSimulcast plays several qualities as one track: the same instants and
// timestamps in all of them, and key pictures at the same time.
func TestSimulcast(t *testing.T) {
	for _, c := range []struct {
		name   string
		cfg    Config
		sizes  string // of the layers, where the codec says it
		frames int
		keys   int
	}{
		{"vp8", Config{Files: append(triple("vp8", ".ivf"), fixture("a.ogg"))}, "q 80x44, h 160x90, f 320x180", 150, 3},
		{"h264", Config{Files: append([]string{fixture("a.ogg")}, triple("h264", ".h264")...)}, "q 80x44, h 160x90, f 320x180", 150, 3},
		{"av1", Config{Files: triple("av1", ".ivf")}, "", 150, 3},
		{"two", Config{Files: triple("vp8", ".ivf")[1:]}, "h 160x90, f 320x180", 150, 3},
		{"four", Config{Files: append(triple("vp8", ".ivf"), "clips/pattern-vp8.ivf")}, "0 80x44, 1 160x90, 2 320x180, 3 640x360", 150, 3},
		{"pattern", Config{}, "q 160x90, h 320x180, f 640x360", 165, 3},
		{"pattern h264", Config{Pattern: "h264"}, "q 160x90, h 320x180, f 640x360", 165, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.cfg.Simulcast = true
				s := mustOpen(t, c.cfg)
				track := s.Tracks()[0]
				if len(s.Tracks()) == 2 && len(track.Layers()) == 1 {
					track = s.Tracks()[1]
				}
				var got []*collector
				for _, l := range track.Layers() {
					got = append(got, &collector{})
					l.Add(got[len(got)-1])
				}
				_ = play(t, s, 5490*time.Millisecond)
				checkLayers(t, got, c.frames, c.keys)
				var sizes []string
				for _, l := range track.Layers() {
					w, h := l.Size()
					sizes = append(sizes, fmt.Sprintf("%s %dx%d", l.RID(), w, h))
				}
				if all := strings.Join(sizes, ", "); c.sizes != "" && all != c.sizes {
					t.Errorf("layers %s, want %s", all, c.sizes)
				}
			})
		})
	}
}

func checkLayers(t *testing.T, got []*collector, frames, keys int) {
	t.Helper()
	first := got[0].starts()
	for i, c := range got {
		starts := c.starts()
		if i < 3 && len(starts) != frames {
			t.Errorf("layer %d has %d frames, want %d", i, len(starts), frames)
		}
		n := 0
		for j, p := range starts[:min(len(starts), len(first))] {
			if p.Timestamp != first[j].Timestamp || p.Keyframe != first[j].Keyframe || !p.Arrival.Equal(first[j].Arrival) {
				t.Fatalf("layer %d, frame %d: timestamp %d, key %v; the lowest: %d, %v", i, j, p.Timestamp, p.Keyframe, first[j].Timestamp, first[j].Keyframe)
			}
			if p.Keyframe {
				n++
			}
		}
		if n != keys {
			t.Errorf("layer %d has %d key pictures, want %d", i, n, keys)
		}
		checkSequence(t, c.packets)
	}
}

func TestSimulcastErrors(t *testing.T) {
	vp8, h264 := triple("vp8", ".ivf"), triple("h264", ".h264")
	nine := append(append(append([]string{}, vp8...), vp8...), vp8...)
	for name, c := range map[string]struct {
		cfg  Config
		want string
	}{
		"one":          {Config{Files: []string{vp8[0], fixture("a.ogg")}}, "simulcast of 1 video files"},
		"sound only":   {Config{Files: []string{fixture("a.ogg")}}, "simulcast of 0 video files"},
		"nine":         {Config{Files: nine}, "it takes 2 to 8"},
		"two codecs":   {Config{Files: []string{vp8[0], h264[1]}}, "sim-vp8-q.ivf: holds VP8, while"},
		"slow pattern": {Config{Pattern: "slow"}, "has one quality; h264, vp8 have three"},
	} {
		c.cfg.Simulcast = true
		if _, err := Open(c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

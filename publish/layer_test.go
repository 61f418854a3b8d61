package publish

import (
	"encoding/hex"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtp"

	"github.com/weft-rtc/weft/interceptors/codec"
)

// rids returns the names of a track's layers from low to high.
func rids(t *Track) (names []string) {
	for _, l := range t.Layers() {
		names = append(names, l.RID())
	}
	return names
}

// keyPicture writes a key picture of VP8 of this size to a layer.
func keyPicture(l *Layer, seq uint16, width, height int, at time.Time) {
	payload := []byte{0x10, 0, 0, 0, 0x9d, 0x01, 0x2a, byte(width), byte(width >> 8), byte(height), byte(height >> 8), 0}
	l.WriteRTP(&rtp.Header{Version: 2, SequenceNumber: seq, SSRC: 1, Timestamp: uint32(seq) * 3000, Marker: true}, payload, at)
}

func TestLayerOrder(t *testing.T) {
	for _, c := range []struct{ add, want []string }{
		{[]string{"f", "q", "h"}, []string{"q", "h", "f"}},
		{[]string{"2", "10", "0"}, []string{"0", "2", "10"}},
		{[]string{"hi", "lo", "mid"}, []string{"lo", "mid", "hi"}},
		{[]string{"b", "a", "x"}, []string{"a", "b", "x"}},
	} {
		track := NewTrack(TrackConfig{Codec: codec.Default(codec.Video)[0], RID: c.add[0]})
		for _, rid := range c.add {
			track.AddLayer(TrackConfig{RID: rid})
		}
		if got := rids(track); !slices.Equal(got, c.want) {
			t.Errorf("layers %q, want %q", got, c.want)
		}
	}
	track := NewTrack(TrackConfig{Codec: codec.Default(codec.Video)[0]})
	for _, rid := range "abcdefghij" {
		track.AddLayer(TrackConfig{RID: string(rid)})
	}
	if n := len(track.Layers()); n != MaxLayers {
		t.Errorf("%d layers, want at most %d", n, MaxLayers)
	}
	track.Close()
	if track.AddLayer(TrackConfig{RID: "z"}) != nil {
		t.Error("a layer of a closed track")
	}
	for _, l := range track.Layers() {
		if !l.Ended() {
			t.Errorf("layer %q goes on after its track", l.RID())
		}
	}
}

// TestLayerSize: names lie (OBS calls the largest layer 0); sizes do not.
func TestLayerSize(t *testing.T) {
	now := time.Unix(1000, 0)
	track := NewTrack(TrackConfig{Codec: codec.Default(codec.Video)[0], RID: "0"})
	low := track.AddLayer(TrackConfig{RID: "1"})
	keyPicture(track.Layer, 1, 1280, 720, now)
	keyPicture(low, 1, 320, 180, now)
	if got := rids(track); !slices.Equal(got, []string{"1", "0"}) {
		t.Errorf("layers %q, want the larger last", got)
	}
	if w, h := low.Size(); w != 320 || h != 180 {
		t.Errorf("size %dx%d", w, h)
	}
	if !low.Active(now.Add(time.Second)) || low.Active(now.Add(2*time.Second)) {
		t.Error("activity is not that of the last 1.5 s")
	}
}

func TestSizes(t *testing.T) {
	for _, c := range []struct {
		nal           string
		width, height int
	}{
		{"6742c00dda05067e7c0440000003004000000f23c50aa8", 320, 180}, // of testdata
		{"6742c00dd90141fb011000000300100000030320f142a480", 320, 240},
		{"6764000dacb20283f602d404040500000303e90000ea600f142a48", 320, 240},
		{"67640015ace405043f2e0220000003002000000f03e28549", 320, 240},
	} {
		nal, err := hex.DecodeString(c.nal)
		if err != nil {
			t.Fatal(err)
		}
		if s, ok := ParseSPS(nal); !ok || s.Width != c.width || s.Height != c.height {
			t.Errorf("%s: %dx%d, want %dx%d", c.nal, s.Width, s.Height, c.width, c.height)
		}
		if n := testing.AllocsPerRun(10, func() { ParseSPS(nal) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
		info := Look(codec.Codec{Name: codec.H264}, nal)
		if !info.Keyframe || int(info.Width) != c.width || int(info.Height) != c.height {
			t.Errorf("look says %+v", info)
		}
	}
}

package publish

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pion/rtp"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/publish/descriptor"
)

// TestTargetsWithin: a target is within another when all its templates are.
func TestTargetsWithin(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		s := &descriptor.Structure{TemplateCount: uint8(1 + r.IntN(12)), TargetCount: uint8(1 + r.IntN(descriptor.MaxTargets))}
		for i := range s.Templates[:s.TemplateCount] {
			for j := range s.TargetCount {
				s.Templates[i].DTIs[j] = descriptor.DTI(max(r.IntN(8)-4, 0))
			}
		}
		got := newTargets(s)
		for a := range got.Len() {
			for b := range got.Len() {
				want := true
				for _, template := range s.Templates[:s.TemplateCount] {
					want = want && (template.DTIs[a] == descriptor.NotPresent || template.DTIs[b] != descriptor.NotPresent)
				}
				if got.Within(a, b) != want {
					t.Fatalf("target %d within %d: %v", a, b, !want)
				}
			}
		}
	}
}

// TestManyStructures: a publisher that describes every packet otherwise makes no
// garbage beyond a bound, and is understood again a second later.
func TestManyStructures(t *testing.T) {
	track := NewTrack(TrackConfig{Codec: codec.Codec{Name: codec.AV1, ClockRate: 90000}, History: 64})
	s := &descriptor.Structure{TemplateCount: 1, TargetCount: 1, HasResolutions: true}
	s.Templates[0].DTIs[0] = descriptor.Switch
	f := descriptor.Frame{Start: true, End: true, Structure: s, Carried: true, Dependencies: s.Templates[0].Dependencies}
	h, at, ext, payload := rtp.Header{SSRC: 1, Marker: true}, epoch, make([]byte, 0, 64), []byte{0x10, 1, 2}
	packet := func() {
		h.SequenceNumber++
		h.Timestamp += 3
		f.Number++
		s.Resolutions[0] = descriptor.Resolution{Width: int(f.Number)%1000 + 1, Height: 100}
		var err error
		if ext, err = f.Append(ext[:0]); err != nil {
			t.Fatal(err)
		}
		track.WriteDescribed(&h, payload, ext, at)
	}
	for range max(maxLessons, track.Window()) {
		packet()
	}
	if n := track.Stats().Keyframes; n != maxLessons {
		t.Errorf("%d key pictures, want %d", n, maxLessons)
	}
	if n := testing.AllocsPerRun(100, packet); n != 0 {
		t.Errorf("%v allocations a packet", n)
	}
	at = at.Add(time.Second)
	h.Timestamp += 90000
	packet()
	if n := track.Stats().Keyframes; n != maxLessons+1 {
		t.Errorf("%d key pictures a second later, want one more than %d", n, maxLessons)
	}
}

package subscribe

import (
	"slices"
	"testing"
	"time"
)

// TestOneLayerOnly: a forwarder that is fixed to a layer sends that, whatever the
// wish and the other layers, and begins with a key picture after a pause.
func TestOneLayerOnly(t *testing.T) {
	s := newSimulcast(t)
	s.f.Close()
	s.f = NewForwarder(Config{Track: s.track, Layer: s.layers[1], SSRC: mainSSRC, RTXSSRC: rtxSSRC})
	s.f.Bind(s.w, Payload{Type: mainType, RTX: rtxType})
	s.f.SetWish(Wish{Layer: 1}, s.now)
	s.run(2 * time.Second)
	if got := layersOf(s.watch()); !slices.Equal(got, []int{1}) {
		t.Errorf("layers %v, want the second", got)
	}
	if want, on := s.f.Wanted(s.now); want != s.layers[1] || on[0] != want || on[1] != nil {
		t.Errorf("wants %v, is on %v", want, on)
	}
	s.f.Pause()
	s.run(time.Second)
	if got := s.watch(); got != nil {
		t.Errorf("paused, and yet %v", got)
	}
	if want, _ := s.f.Wanted(s.now); want != nil {
		t.Error("a paused forwarder wants its layer")
	}
	s.f.Resume()
	s.run(time.Second)
	if all := s.w.take(); len(all) == 0 || all[0].Payload[5] != 0 || all[0].Payload[15] != 1 {
		t.Error("does not go on with a key picture of its layer")
	}
	s.f.SetLayer(s.track, s.layers[2])
	s.run(time.Second)
	for i, p := range s.w.take() { // what the history keeps of it comes first
		if p.Payload[15] != 2 || i == 0 && p.Payload[5] != 0 {
			t.Fatalf("packet %d is of layer %d", i, p.Payload[15])
		}
	}
	if n := s.layers[1].Sinks(); n != 0 {
		t.Errorf("%d sinks are left behind", n)
	}
}

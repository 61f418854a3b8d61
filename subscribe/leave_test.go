package subscribe

import (
	"testing"
	"time"
)

// TestWaitingLeavesLayer: a forwarder that waits and wishes for one layer after the
// other is a sink of one of them at a time.
func TestWaitingLeavesLayer(t *testing.T) {
	s := newSimulcast(t)
	s.run(time.Second) // so that there are layers to choose from
	for i := range 30 {
		s.f.SetWish(Wish{Paused: true, Layer: 1 + i%3}, s.now)
	}
	s.f.Tick(s.now)
	sinks := 0
	for _, l := range s.layers {
		sinks += l.Sinks()
	}
	if sinks != 1 {
		t.Errorf("%d sinks for one forwarder", sinks)
	}
}

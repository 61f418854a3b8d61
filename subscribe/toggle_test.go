package subscribe

import (
	"testing"
	"time"
)

// TestReplaysAreBounded: a viewer that pauses and resumes without end gets what is
// kept at most once a second.
func TestReplaysAreBounded(t *testing.T) {
	s := newSimulcast(t)
	s.deaf = []bool{true, true, true}
	s.run(time.Second)
	before := s.f.Stats().Replays
	for range 30 {
		for range 20 {
			s.f.SetWish(Wish{Paused: true, Layer: 1}, s.now)
			s.f.SetWish(Wish{Layer: 1}, s.now)
			s.f.Tick(s.now)
		}
		s.run(100 * time.Millisecond)
	}
	if n := s.f.Stats().Replays - before; n < 2 || n > 4 {
		t.Errorf("%d replays in 3 s", n)
	}
}

package node

import (
	"testing"
	"time"
)

func TestMeter(t *testing.T) {
	start := time.Unix(1000, 0)
	var none meter
	if !none.pass(1<<40, start) || none.dropped.Load() != 0 {
		t.Error("no bound bounds")
	}
	m := meter{rate: 8000} // 1000 bytes a second, 2000 at once
	for i, c := range []struct {
		after time.Duration
		bytes int
		want  bool
	}{
		{0, 2000, true},
		{0, 1, false},
		{500 * time.Millisecond, 500, true},
		{500 * time.Millisecond, 1, false},
		{400 * time.Millisecond, 1, false}, // time that goes back gives nothing
		{time.Hour, 2001, false},
		{time.Hour, 2000, true},
		{time.Hour, 1, false},
	} {
		if got := m.pass(c.bytes, start.Add(c.after)); got != c.want {
			t.Errorf("packet %d: %v", i, got)
		}
	}
	if n := m.dropped.Load(); n != 5 {
		t.Errorf("%d packets dropped, want 5", n)
	}
	if n := testing.AllocsPerRun(100, func() { m.pass(100, start) }); n != 0 {
		t.Errorf("%v allocations for each packet", n)
	}
}

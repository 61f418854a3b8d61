package driver_test

import (
	"testing"
	"time"

	"github.com/weft-rtc/weft/mesh/driver"
)

func TestDelay(t *testing.T) {
	for _, c := range []struct {
		round  int
		random float64
		want   time.Duration
	}{
		{0, 0, 100 * time.Millisecond},
		{1, 0, 100 * time.Millisecond},
		{1, 0.5, 150 * time.Millisecond},
		{2, 0, 200 * time.Millisecond},
		{5, 0, 1600 * time.Millisecond},
		{6, 0, 2 * time.Second},
		{6, 0.5, 3 * time.Second},
		{1 << 40, 0.5, 3 * time.Second},
		{-1, 0, 100 * time.Millisecond},
	} {
		if got := driver.Delay(c.round, c.random); got != c.want {
			t.Errorf("Delay(%d, %v) = %v, want %v", c.round, c.random, got, c.want)
		}
	}
}

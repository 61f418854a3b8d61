package conn

import (
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"

	"github.com/weft-rtc/weft/interceptors/codec"
)

// arrivals is a sink that notes when each number came.
type arrivals struct {
	mu sync.Mutex
	at map[uint16]time.Time
}

func (a *arrivals) ReceiveRTP(p *Incoming) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.at[p.Header.SequenceNumber]; !ok {
		a.at[p.Header.SequenceNumber] = p.Arrival
	}
}
func (a *arrivals) ReceiveReport(uint32, uint64, uint32, time.Time) {}

// film is a made-up camera: some frames a second of some packets, back to back,
// the last with the marker bit. Every tenth frame loses one of its packets.
type film struct {
	rate, packets int
	lost          int // which packet of the frame
	within        time.Duration
}

// TestRepairDelay measures from the loss of a packet to its repair, over a line
// with a round trip of 20 ms. The last packet of a frame has none after it that
// would show the loss before the next frame.
func TestRepairDelay(t *testing.T) {
	for _, c := range []struct {
		name string
		film
	}{
		{"middle of a frame, 30 a second", film{30, 6, 2, 30 * time.Millisecond}},
		{"last of a frame, 30 a second", film{30, 6, 5, 64 * time.Millisecond}},
		{"last of a frame, 5 a second", film{5, 6, 5, 100 * time.Millisecond}},
		{"only one of a frame, 5 a second", film{5, 1, 0, 230 * time.Millisecond}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *wan, a, b *peer) {
				a.add("v", codec.Video)
				connect(t, a, b)
				eventually(t, "media", func() bool { return a.flowing(1) })
				worst, mean := c.play(t, a, b)
				t.Logf("repaired after %v, at worst %v", mean, worst)
				if worst > c.within {
					t.Errorf("repaired after up to %v, want %v", worst, c.within)
				}
			})
		})
	}
}

// play sends 200 frames from a to b and returns how long the repairs took.
func (f film) play(t *testing.T, a, b *peer) (worst, mean time.Duration) {
	a.mu.Lock()
	x := a.sending["v"]
	a.mu.Unlock()
	x.stop()
	seen := &arrivals{at: map[uint16]time.Time{}}
	b.mu.Lock()
	for _, tr := range b.tracks {
		tr.r.SetSink(seen)
	}
	b.mu.Unlock()
	lost := map[uint16]time.Time{}
	// 3 ms more than asked for, to be in step with no other clock.
	tick := time.NewTicker(time.Second/time.Duration(f.rate) + 3*time.Millisecond)
	defer tick.Stop()
	x.mu.Lock()
	seq := x.last
	x.mu.Unlock()
	for n := range 200 {
		<-tick.C
		for i := range f.packets {
			seq++
			h := rtp.Header{
				Version: 2, SSRC: x.s.SSRC(), SequenceNumber: seq, Timestamp: uint32(n) * 3000,
				PayloadType: x.s.Payloads()[0].Type, Marker: i == f.packets-1,
			}
			x.mu.Lock()
			x.sent[seq] = h
			x.mu.Unlock()
			if i == f.lost && n%10 == 5 {
				lost[seq] = time.Now()
			} else if err := x.s.WriteRTP(&h, payloadOf(seq), nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	time.Sleep(2 * time.Second)
	seen.mu.Lock()
	defer seen.mu.Unlock()
	var sum time.Duration
	for seq, at := range lost {
		came, ok := seen.at[seq]
		if !ok {
			t.Errorf("packet %d was not repaired", seq)
			continue
		}
		// The packet itself would have taken half a round trip.
		took := came.Sub(at) - 10*time.Millisecond
		worst, sum = max(worst, took), sum+took
	}
	return worst, sum / time.Duration(len(lost))
}

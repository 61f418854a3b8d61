package source

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-rtc/weft/publish"
)

func textLogger(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

// TestPacing plays every kind of source for 30 virtual seconds, through loops,
// and checks each frame's instant, timestamp and sequence number.
func TestPacing(t *testing.T) {
	av := func(video string) []string { return []string{fixture(video), fixture("a.ogg")} }
	for _, c := range []struct {
		name   string
		cfg    Config
		frames [2]int           // in 30 s: video, audio
		loop   [2]time.Duration // how much each track has, and the loop's length
		length time.Duration
	}{
		{"pattern vp8", Config{}, [2]int{900, 1500}, [2]time.Duration{10 * time.Second, 10 * time.Second}, 10 * time.Second},
		{"pattern h264", Config{Pattern: "h264"}, [2]int{900, 1500}, [2]time.Duration{10 * time.Second, 10 * time.Second}, 10 * time.Second},
		{"pattern slow", Config{Pattern: "slow"}, [2]int{900, 1500}, [2]time.Duration{10 * time.Second, 10 * time.Second}, 10 * time.Second},
		// The fixture's sound lasts 251 packets, so the picture waits 20 ms at
		// each turn: 30 s are five whole loops and 4.9 s.
		{"vp8", Config{Files: av("vp8.ivf"), Loop: true}, [2]int{5*150 + 147, 1500}, [2]time.Duration{5 * time.Second, 5020 * time.Millisecond}, 5020 * time.Millisecond},
		{"vp9", Config{Files: av("vp9.ivf"), Loop: true}, [2]int{5*150 + 147, 1500}, [2]time.Duration{5 * time.Second, 5020 * time.Millisecond}, 5020 * time.Millisecond},
		{"av1", Config{Files: av("av1.ivf"), Loop: true}, [2]int{5*150 + 147, 1500}, [2]time.Duration{5 * time.Second, 5020 * time.Millisecond}, 5020 * time.Millisecond},
		{"h264", Config{Files: av("a.h264"), Loop: true}, [2]int{5*150 + 147, 1500}, [2]time.Duration{5 * time.Second, 5020 * time.Millisecond}, 5020 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				s := mustOpen(t, c.cfg)
				got := collect(s)
				if err := play(t, s, 30*time.Second-time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
					t.Fatal(err)
				}
				for i, steps := range []time.Duration{time.Second / 30, 20 * time.Millisecond} {
					starts := got[i].starts()
					if len(starts) != c.frames[i] {
						t.Errorf("track %d: %d frames in 30 s, want %d", i, len(starts), c.frames[i])
					}
					perLoop := int((c.loop[i] + steps/2) / steps)
					for n, p := range starts {
						at := time.Duration(n/perLoop)*c.length + time.Duration(n%perLoop)*c.loop[i]/time.Duration(perLoop)
						checkFrame(t, s.Tracks()[i], starts[0], p, n, at, begin)
					}
					checkSequence(t, got[i].packets)
				}
				checkSync(t, s.Tracks(), got, begin)
			})
		})
	}
}

func checkFrame(t *testing.T, tr *publish.Track, first, p publish.Packet, n int, at time.Duration, begin time.Time) {
	t.Helper()
	rate := time.Duration(tr.Codec().ClockRate)
	if d := p.Arrival.Sub(begin) - at; d < -time.Microsecond || d > time.Microsecond {
		t.Fatalf("%s frame %d was sent at %v, want %v", tr.Kind(), n, p.Arrival.Sub(begin), at)
	}
	want := uint32((at*rate + time.Second/2) / time.Second)
	if d := int32(p.Timestamp - first.Timestamp - want); d < -1 || d > 1 {
		t.Fatalf("%s frame %d has timestamp +%d, want +%d", tr.Kind(), n, p.Timestamp-first.Timestamp, want)
	}
	if !p.FrameStart {
		t.Fatalf("%s frame %d does not begin with its first packet", tr.Kind(), n)
	}
}

// checkSequence wants numbers without a hole, a marker at each frame's end and
// a frame's packets at one instant.
func checkSequence(t *testing.T, packets []publish.Packet) {
	t.Helper()
	for i, p := range packets[1:] {
		before := packets[i]
		if p.Seq != before.Seq+1 || p.Index != before.Index+1 {
			t.Fatalf("packet %d has number %d after %d", i+1, p.Seq, before.Seq)
		}
		same := p.Timestamp == before.Timestamp
		if same == before.FrameEnd || same && !p.Arrival.Equal(before.Arrival) {
			t.Fatalf("packet %d: same frame %v, end before %v, %v later", i+1, same, before.FrameEnd, p.Arrival.Sub(before.Arrival))
		}
		if len(p.Payload) > maxVideoPayload {
			t.Fatalf("packet %d has %d bytes", i+1, len(p.Payload))
		}
	}
}

// checkSync asks both tracks' clocks for the wall time of their first frames,
// which began together.
func checkSync(t *testing.T, tracks []*publish.Track, got []*collector, begin time.Time) {
	t.Helper()
	for i, tr := range tracks {
		c, ok := tr.Clock()
		if !ok {
			t.Fatalf("track %s has no clock", tr.ID())
		}
		behind := time.Duration(c.RTP-got[i].packets[0].Timestamp) * time.Second / time.Duration(c.Rate)
		if d := c.Arrival.Add(-behind).Sub(begin); d < -20*time.Microsecond || d > 20*time.Microsecond {
			t.Errorf("the first frame of %s was at %v by its clock, want 0", tr.ID(), d)
		}
		if c.NTP != toNTP(c.Arrival) {
			t.Errorf("%s: NTP %x at %v", tr.ID(), c.NTP, c.Arrival)
		}
		if age := time.Since(c.Arrival); age > 1100*time.Millisecond {
			t.Errorf("%s: the latest report is %v old", tr.ID(), age)
		}
	}
}

func TestEndOfFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		s := mustOpen(t, Config{Files: []string{fixture("a.h264"), fixture("a.ogg")}})
		got := collect(s)
		if err := play(t, s, 0); err != nil {
			t.Fatal(err)
		}
		if v, a := len(got[0].starts()), len(got[1].starts()); v != 150 || a != 251 {
			t.Errorf("%d pictures and %d sounds", v, a)
		}
		if took := time.Since(begin); took != 5*time.Second {
			t.Errorf("took %v to the last packet, which is due at 5 s", took)
		}
	})
}

func TestKeyframes(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		want int // in 30 s
	}{
		{Config{Pattern: "vp8"}, 15},
		{Config{Pattern: "h264"}, 15},
		{Config{Pattern: "slow"}, 3},
		{Config{Files: []string{fixture("vp8.ivf")}, Loop: true}, 30},
		{Config{Files: []string{fixture("vp9.ivf")}, Loop: true}, 30},
		{Config{Files: []string{fixture("av1.ivf")}, Loop: true}, 30},
		{Config{Files: []string{fixture("a.h264")}, Loop: true}, 30},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := mustOpen(t, c.cfg)
			if err := play(t, s, 30*time.Second-time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			st := s.Tracks()[0].Stats()
			if int(st.Keyframes) != c.want || st.Frames != 900 || st.Lost != 0 || st.Drops.Total() != 0 {
				t.Errorf("%+v: %+v, want %d keyframes in 900 frames", c.cfg, st, c.want)
			}
		})
	}
}

func TestRestartOnRequest(t *testing.T) {
	for _, marked := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := mustOpen(t, Config{Pattern: "slow", RestartOnRequest: marked})
			got, video := collect(s), s.Tracks()[0]
			if video.Requestable() != marked || s.Tracks()[1].Requestable() {
				t.Errorf("requestable: %v", video.Requestable())
			}
			got[0].onFrame = func(n int) {
				if n == 10 || n == 100 { // too young; 3.3 s
					video.RequestKeyframe(time.Now())
				}
			}
			if err := play(t, s, 5*time.Second-time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			want := uint64(0)
			if marked {
				want = 1
			}
			if st := s.Stats(); st.Restarts != want || video.Stats().Keyframes != 1+want {
				t.Errorf("marked %v: %+v, %d keyframes", marked, st, video.Stats().Keyframes)
			}
			checkSequence(t, got[0].packets)
			checkSequence(t, got[1].packets)
			for i, p := range got[0].packets[1:] {
				if int32(p.Timestamp-got[0].packets[i].Timestamp) < 0 {
					t.Fatalf("the timestamp of packet %d goes back", i+1)
				}
			}
		})
	}
}

// TestStall blocks the source's goroutine for longer than it may catch up.
func TestStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustOpen(t, Config{})
		got := collect(s)
		got[0].onFrame = func(n int) {
			if n == 30 {
				<-time.After(5 * time.Second)
			}
		}
		if err := play(t, s, 10*time.Second-time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		if st := s.Stats(); st.Stalls != 1 {
			t.Errorf("%+v", st)
		}
		if v := len(got[0].starts()); v < 148 || v > 152 {
			t.Errorf("%d pictures in 5 s of playing", v)
		}
		v, _ := s.Tracks()[0].Clock()
		a, _ := s.Tracks()[1].Clock()
		if v.Rate != 90000 || a.Rate != 48000 {
			t.Errorf("clocks %+v %+v", v, a)
		}
		// The clocks moved, and together: media time by either is the same.
		media := func(c publish.Clock, first publish.Packet) time.Duration {
			return time.Duration(c.RTP-first.Timestamp)*time.Second/time.Duration(c.Rate) - c.Arrival.Sub(first.Arrival)
		}
		if d := media(v, got[0].packets[0]) - media(a, got[1].packets[0]); d < -20*time.Microsecond || d > 20*time.Microsecond {
			t.Errorf("picture and sound are %v apart", d)
		}
	})
}

func TestToNTPAndTicks(t *testing.T) {
	if got := toNTP(time.Unix(0, 5e8)); got != 2208988800<<32|1<<31 {
		t.Errorf("toNTP: %x", got)
	}
	for _, c := range []struct {
		d    time.Duration
		rate uint32
		want uint64
	}{
		{time.Second / 30, 90000, 3000},
		{time.Second / 30 * 2, 90000, 6000},
		{20 * time.Millisecond, 48000, 960},
		{290 * 365 * 24 * time.Hour, 90000, 290 * 365 * 24 * 3600 * 90000},
	} {
		if got := toTicks(c.d, c.rate); got != c.want {
			t.Errorf("%v at %d Hz: %d, want %d", c.d, c.rate, got, c.want)
		}
	}
	if got := ticksOf(1<<63, 1<<32-1, 1); got != 1<<63-1 {
		t.Errorf("overflow: %v", got)
	}
	if got := ticksOf(150, 1001, 30000); got != 5005*time.Millisecond {
		t.Errorf("150 frames of NTSC: %v", got)
	}
}

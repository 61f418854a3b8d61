package nack

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// line is a sender and a receiver some way apart, in steps of a millisecond.
// Every packet is lost with the same chance, NACKs and answers too.
type line struct {
	rng  *rand.Rand
	rtt  int
	loss float64
	t    *Tracker
	todo map[int][]func() // by time

	now   int
	sent  int
	there map[uint16]bool
	asked map[uint16]int // when last

	messages, tooSoon int
	waited            int // by the packets that were repaired
	repaired          int
	lostAt            map[uint16]int
}

func newLine(rtt int, loss float64) *line {
	l := &line{
		rng: rand.New(rand.NewPCG(uint64(rtt), 7)), rtt: rtt, loss: loss, t: New(Config{Frames: true}),
		todo: map[int][]func(){}, there: map[uint16]bool{}, asked: map[uint16]int{}, lostAt: map[uint16]int{},
	}
	l.t.SetRTT(time.Duration(rtt) * ms)
	return l
}

// after does f when a packet sent now is there, or never.
func (l *line) after(f func()) bool {
	if l.rng.Float64() < l.loss {
		return false
	}
	at := l.now + l.rtt/2
	l.todo[at] = append(l.todo[at], f)
	return true
}

func (l *line) time() time.Time { return epoch.Add(time.Duration(l.now) * ms) }

// send sends a packet of media.
func (l *line) send(seq uint16, last bool) {
	l.sent++
	if !l.after(func() { l.there[seq] = true; l.t.Arrived(seq, last, l.time()) }) {
		l.lostAt[seq] = l.now + l.rtt/2
	}
}

// answer sends one again, over RTX.
func (l *line) answer(seq uint16) {
	l.after(func() {
		if at, lost := l.lostAt[seq]; lost && !l.there[seq] {
			l.repaired++
			l.waited += l.now - at
		}
		l.there[seq] = true
		l.t.Repaired(seq, seq%10 == 9, l.time())
	})
}

// ask does what the timer of a connection does.
func (l *line) ask() {
	next, ok := l.t.Next()
	if !ok || l.time().Before(next) {
		return
	}
	due := l.t.Due(l.time(), nil)
	if len(due) == 0 {
		return
	}
	l.messages++
	for _, seq := range due {
		if last, ok := l.asked[seq]; ok && l.now-last < l.rtt {
			l.tooSoon++
		}
		l.asked[seq] = l.now
	}
	l.after(func() {
		for _, seq := range due {
			if int(seq) < l.sent {
				l.answer(seq)
			}
		}
	})
}

// run plays for a minute of 30 frames a second, each of ten packets that take
// some milliseconds to send.
func (l *line) run() {
	seq := uint16(0)
	for l.now = 0; l.now < 64000; l.now++ {
		for _, f := range l.todo[l.now] {
			f()
		}
		delete(l.todo, l.now)
		if frame := l.now % 33; frame%2 == 0 && frame < 20 && l.now < 60000 {
			l.send(seq, seq%10 == 9)
			seq++
		}
		l.ask()
	}
}

// TestModel: how much is repaired, and what it costs.
func TestModel(t *testing.T) {
	for _, c := range []struct {
		rtt      int
		loss     float64
		repaired float64 // at least, of the lost packets
		asks     float64 // at most, of one lost packet
	}{
		// The least that is possible, asked for until it comes: 1/(1-loss)^2.
		{20, 0.05, 1, 1.25},
		{100, 0.05, 1, 1.25},
		{400, 0.05, 0.998, 1.25},
		{20, 0.20, 1, 1.75},
		{100, 0.20, 0.995, 1.75},
		{400, 0.20, 0.94, 1.75},
	} {
		t.Run(fmt.Sprintf("rtt %d ms loss %.0f%%", c.rtt, 100*c.loss), func(t *testing.T) {
			l := newLine(c.rtt, c.loss)
			l.run()
			lost, s := len(l.lostAt), l.t.Stats()
			repaired := float64(l.repaired) / float64(lost)
			asks := float64(s.Asked+s.Repeated) / float64(lost)
			t.Logf("%d of %d lost, %.2f %% repaired after %.0f ms, asked for %.2f times in %.2f messages each",
				lost, l.sent, 100*repaired, float64(l.waited)/float64(l.repaired), asks, float64(l.messages)/float64(lost))
			if repaired < c.repaired {
				t.Errorf("repaired %.4f, want %.4f", repaired, c.repaired)
			}
			if asks > c.asks {
				t.Errorf("%.2f asked for each lost one, want at most %.2f", asks, c.asks)
			}
			if l.tooSoon > 0 {
				t.Errorf("%d asked for twice within a round trip", l.tooSoon)
			}
			if got := uint64(l.repaired) + s.GivenUp + s.Late; l.t.Missing() > 0 || s.Lost > got+20 {
				t.Errorf("%d missing at the end; %+v", l.t.Missing(), s)
			}
		})
	}
}

// TestModelReorder: packets that overtake one another by three are not asked for
// once that is known, and losses among them still are.
func TestModelReorder(t *testing.T) {
	for _, loss := range []float64{0, 0.05} {
		tr, rng := New(Config{}), rand.New(rand.NewPCG(3, 4))
		asked, lost, last := 0, 0, map[uint16]time.Time{}
		for n := uint16(0); n < 20000; n += 4 {
			now := epoch.Add(time.Duration(n) * 5 * ms)
			order := []uint16{n, n + 1, n + 2, n + 3}
			if n%16 == 8 {
				order = []uint16{n + 1, n + 2, n + 3, n}
			}
			for i, seq := range order {
				at := now.Add(time.Duration(i) * 5 * ms)
				if rng.Float64() < loss {
					lost++
				} else {
					tr.Arrived(seq, false, at)
				}
				for _, seq := range tr.Due(at, nil) {
					asked++
					last[seq] = at
				}
				for seq, asked := range last {
					if at.Sub(asked) >= 100*ms {
						tr.Repaired(seq, false, at)
						delete(last, seq)
					}
				}
			}
		}
		t.Logf("loss %.0f %%: %d lost, %d asked for, %d late", 100*loss, lost, asked, tr.Stats().Late)
		if loss == 0 && asked > 1 {
			t.Errorf("without loss %d were asked for", asked)
		}
		if loss > 0 && (float64(asked) > 1.3*float64(lost) || asked < lost*9/10) {
			t.Errorf("%d asked for, %d lost", asked, lost)
		}
	}
}

func BenchmarkTracker(b *testing.B) {
	for _, c := range []struct {
		name string
		step uint16
	}{{"no loss", 1}, {"half lost", 2}, {"jumps", 1000}} {
		b.Run(c.name, func(b *testing.B) {
			tr, seq, now := New(Config{Frames: true}), uint16(0), epoch
			out := make([]uint16, 0, MaxPackets)
			b.ReportAllocs()
			for i := range b.N {
				seq, now = seq+c.step, now.Add(ms)
				tr.Arrived(seq, i%10 == 0, now)
				if next, ok := tr.Next(); ok && !now.Before(next) {
					out = tr.Due(now, out[:0])
				}
			}
		})
	}
}

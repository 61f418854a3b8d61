package nack

import (
	"slices"
	"testing"
	"time"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

const ms = time.Millisecond

// step is one thing that happens to a Tracker at a time, in milliseconds; then
// Due is called, and must give want.
type step struct {
	at   int
	do   rune // 'a' arrived, 'e' arrived and ended its frame, 'r' repaired, 't' nothing
	seq  uint16
	want []uint16
}

type scenario struct {
	name  string
	cfg   Config
	rtt   time.Duration
	steps []step
	stats Stats
}

func seqs(first, last uint16) []uint16 {
	var out []uint16
	for n := first; n != last+1; n++ {
		out = append(out, n)
	}
	return out
}

var scenarios = []scenario{
	{"nothing lost", Config{}, 0, []step{{0, 'a', 1, nil}, {10, 'a', 2, nil}, {20, 'a', 3, nil}, {500, 't', 0, nil}}, Stats{}},
	{
		"a gap is asked for at once", Config{}, 0,
		[]step{{0, 'a', 1, nil}, {10, 'a', 4, []uint16{2, 3}}, {11, 't', 0, nil}, {90, 'r', 2, nil}, {91, 'a', 3, nil}, {400, 't', 0, nil}},
		Stats{Lost: 2, Asked: 2, Recovered: 2},
	},
	{
		"again after a round trip and some, then later and later", Config{}, 40 * ms,
		[]step{
			{0, 'a', 1, nil}, {10, 'a', 3, []uint16{2}}, {54, 't', 0, nil}, {60, 't', 0, []uint16{2}},
			{129, 't', 0, nil}, {135, 't', 0, []uint16{2}}, {240, 't', 0, nil}, {248, 't', 0, []uint16{2}}, {300, 'r', 2, nil},
		},
		Stats{Lost: 1, Asked: 1, Repeated: 3, Recovered: 1},
	},
	{
		"one that is soon due goes along", Config{}, 100 * ms,
		[]step{{0, 'a', 1, nil}, {0, 'a', 3, []uint16{2}}, {4, 'a', 5, []uint16{4}}, {113, 't', 0, []uint16{2, 4}}},
		Stats{Lost: 2, Asked: 2, Repeated: 2},
	},
	{
		"over the wrap", Config{}, 0,
		[]step{{0, 'a', 65533, nil}, {1, 'a', 2, []uint16{65534, 65535, 0, 1}}, {100, 'r', 0, nil}, {101, 'r', 65535, nil}, {130, 't', 0, []uint16{65534, 1}}},
		Stats{Lost: 4, Asked: 4, Repeated: 2, Recovered: 2},
	},
	{
		"duplicates", Config{}, 0,
		[]step{{0, 'a', 1, nil}, {0, 'a', 1, nil}, {1, 'a', 3, []uint16{2}}, {2, 'a', 3, nil}, {3, 'a', 1, nil}, {100, 'r', 2, nil}, {101, 'r', 2, nil}, {102, 'a', 2, nil}, {103, 'r', 3, nil}},
		Stats{Lost: 1, Asked: 1, Recovered: 1},
	},
	{
		"a late packet teaches patience", Config{}, 0,
		[]step{
			{0, 'a', 1, nil}, {10, 'a', 3, []uint16{2}}, {18, 'a', 2, nil}, // 8 ms late: wait for 10
			{20, 'a', 5, nil}, {28, 'a', 4, nil}, {30, 'a', 7, nil}, {39, 't', 0, nil}, {40, 't', 0, []uint16{6}},
		},
		Stats{Lost: 3, Late: 2, Asked: 2},
	},
	{
		"patience wears off", Config{}, 0,
		func() []step {
			out := []step{{0, 'a', 1, nil}, {10, 'a', 3, []uint16{2}}, {12, 'a', 2, nil}} // 2.5 ms
			for i := range uint16(10) {
				n, at := 5+2*i, 100+200*int(i)
				out = append(out, step{at, 'a', n, nil}, step{at + 3, 't', 0, []uint16{n - 1}}, step{at + 90, 'r', n - 1, nil})
				if i > 6 {
					out[len(out)-3].want, out[len(out)-2].want = []uint16{n - 1}, nil
				}
			}
			return out
		}(),
		Stats{Lost: 11, Late: 1, Asked: 11, Recovered: 10},
	},
	{
		"given up when it would come too late", Config{Window: 300 * ms}, 120 * ms,
		[]step{{0, 'a', 1, nil}, {0, 'a', 3, []uint16{2}}, {135, 't', 0, []uint16{2}}, {299, 't', 0, nil}, {300, 't', 0, nil}, {301, 'r', 2, nil}},
		Stats{Lost: 1, Asked: 1, Repeated: 1, GivenUp: 1},
	},
	{
		"never asked for if the answer takes too long", Config{Window: 300 * ms}, 400 * ms,
		[]step{{0, 'a', 1, nil}, {0, 'a', 3, nil}, {299, 'a', 2, nil}, {299, 'a', 5, nil}, {600, 't', 0, nil}},
		Stats{Lost: 2, Late: 1, GivenUp: 1},
	},
	{
		"ten times", Config{Window: 1000 * time.Second}, 10 * ms,
		func() []step {
			out := []step{{0, 'a', 1, nil}, {0, 'a', 3, []uint16{2}}}
			for i := 1; i < 10; i++ {
				out = append(out, step{2000 * i, 't', 0, []uint16{2}})
			}
			return append(out, step{20000, 't', 0, nil}, step{22000, 't', 0, nil})
		}(),
		Stats{Lost: 1, Asked: 1, Repeated: 9, GivenUp: 1},
	},
	{
		"a burst beyond the bound", Config{}, 0,
		[]step{{0, 'a', 10, nil}, {0, 'a', 2011, seqs(2011-1023, 2010)}, {1, 'a', 2012, nil}, {2, 'r', 1000, nil}, {3, 'r', 500, nil}},
		Stats{Lost: 2000, Asked: 1023, Recovered: 1, GivenUp: 978},
	},
	{
		"a jump", Config{}, 0,
		[]step{{0, 'a', 1, nil}, {1, 'a', 9000, nil}, {2, 'a', 2, nil}, {3, 'a', 9001, nil}, {4, 'a', 4, []uint16{3}}},
		Stats{Lost: 1, Asked: 1},
	},
	{
		"a restart", Config{}, 0,
		[]step{
			{0, 'a', 40000, nil}, {0, 'a', 40002, []uint16{40001}}, {1, 'a', 7, nil}, {2, 'a', 8, nil}, {3, 'a', 9, nil},
			{4, 'a', 11, []uint16{10}}, {5, 'a', 40003, nil}, {130, 't', 0, []uint16{10}},
		},
		Stats{Lost: 2, Asked: 2, Repeated: 1, GivenUp: 1},
	},
	{
		"a restart a little behind", Config{Packets: 128}, 0,
		[]step{{0, 'a', 1000, nil}, {1, 'a', 400, nil}, {2, 'a', 401, nil}, {3, 'a', 402, nil}, {4, 'a', 404, []uint16{403}}},
		Stats{Lost: 1, Asked: 1},
	},
	{
		"a repaired packet is news", Config{}, 0,
		[]step{{0, 'r', 5, nil}, {0, 'a', 1, nil}, {1, 'r', 4, []uint16{2, 3}}, {2, 'a', 5, nil}, {3, 'r', 5000, nil}},
		Stats{Lost: 2, Asked: 2},
	},
	{
		"the tail of a frame", Config{Frames: true}, 20 * ms,
		[]step{
			{0, 'a', 1, nil}, {0, 'e', 2, nil}, {200, 'a', 3, nil}, {200, 'a', 4, nil}, {230, 't', 0, nil}, {249, 't', 0, []uint16{5}},
			{280, 't', 0, []uint16{5}}, {281, 'r', 5, nil}, // it does not end the frame either
			{330, 't', 0, []uint16{6}}, {350, 'r', 6, nil},
			{400, 'e', 7, nil}, {500, 't', 0, nil},
		},
		Stats{Lost: 2, Asked: 2, Repeated: 1, Recovered: 2},
	},
	{
		"a tail that was not sent yet", Config{Frames: true}, 20 * ms,
		[]step{
			{0, 'e', 1, nil}, {200, 'a', 2, nil}, {249, 't', 0, []uint16{3}}, {255, 'a', 3, nil}, // 55 ms
			{330, 't', 0, nil}, {345, 'e', 4, nil}, {500, 't', 0, nil},
		},
		Stats{Lost: 1, Asked: 1, Late: 1},
	},
	{
		"a sender that stops within a frame", Config{Frames: true}, 20 * ms,
		[]step{
			{0, 'e', 1, nil}, {200, 'a', 2, nil}, {250, 't', 0, []uint16{3}}, {300, 't', 0, []uint16{3}}, {400, 't', 0, nil},
			{2250, 't', 0, nil}, {4000, 'a', 3, nil}, {4000, 'e', 4, nil},
		},
		Stats{Asked: 1, Repeated: 1},
	},
	{
		"the tail is lost, and more of the next frame", Config{Frames: true}, 20 * ms,
		[]step{
			{0, 'e', 1, nil}, {200, 'a', 2, nil}, {250, 't', 0, []uint16{3}}, {300, 't', 0, []uint16{3}}, {400, 't', 0, nil},
			{410, 'a', 6, []uint16{3, 4, 5}}, {430, 'r', 3, nil}, {430, 'r', 4, nil}, {430, 'r', 5, nil}, {431, 'e', 7, nil},
		},
		Stats{Lost: 3, Asked: 3, Repeated: 2, Recovered: 3},
	},
	{
		"a sender that marks nothing", Config{Frames: true}, 0,
		[]step{{0, 'a', 1, nil}, {200, 'a', 2, nil}, {400, 'a', 3, nil}, {600, 't', 0, nil}},
		Stats{},
	},
}

// play runs a scenario.
func (s scenario) play(t *testing.T) *Tracker {
	tr := New(s.cfg)
	tr.SetRTT(s.rtt)
	for i, st := range s.steps {
		now := epoch.Add(time.Duration(st.at) * ms)
		st.tell(tr, now)
		if got := tr.Due(now, nil); !slices.Equal(got, st.want) {
			t.Errorf("step %d at %d ms: asked for %v, want %v", i, st.at, got, st.want)
		}
		check(t, tr)
	}
	return tr
}

func (st step) tell(tr *Tracker, now time.Time) {
	switch st.do {
	case 'a', 'e':
		tr.Arrived(st.seq, st.do == 'e', now)
	case 'r':
		tr.Repaired(st.seq, false, now)
	}
}

// check looks at what must always be so.
func check(t *testing.T, tr *Tracker) {
	t.Helper()
	s := tr.Stats()
	if s.Lost != s.Late+s.Recovered+s.GivenUp+uint64(tr.Missing()) {
		t.Errorf("lost packets do not add up: %+v, %d missing", s, tr.Missing())
	}
	if tr.Missing() > MaxPackets {
		t.Errorf("%d missing", tr.Missing())
	}
	for i, e := range tr.missing {
		if e.seq > tr.newest || e.seq <= tr.newest-tr.behind || i > 0 && e.seq <= tr.missing[i-1].seq {
			t.Fatalf("missing %d of %d out of order or place, newest %d", e.seq, i, tr.newest)
		}
		if e.guess && (i != len(tr.missing)-1 || e.seq != tr.newest) {
			t.Fatalf("a guess in the middle")
		}
	}
	if _, ok := tr.Next(); !ok && tr.Missing() > 0 {
		t.Errorf("%d missing, and nobody looks again", tr.Missing())
	}
}

func TestTracker(t *testing.T) {
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			if got := s.play(t).Stats(); got != s.stats {
				t.Errorf("counted %+v, want %+v", got, s.stats)
			}
		})
	}
}

// TestNextIsWhenDueHasWork: whoever calls Due only when Next says so asks for
// the same as one who calls it every millisecond.
func TestNextIsWhenDueHasWork(t *testing.T) {
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			eager, lazy := New(s.cfg), New(s.cfg)
			eager.SetRTT(s.rtt)
			lazy.SetRTT(s.rtt)
			last := s.steps[len(s.steps)-1].at
			rest := s.steps
			var a, b []uint16
			for at := range last + 3000 {
				now := epoch.Add(time.Duration(at) * ms)
				for len(rest) > 0 && rest[0].at == at {
					rest[0].tell(eager, now)
					rest[0].tell(lazy, now)
					rest = rest[1:]
				}
				eager.next = 0
				a = eager.Due(now, a)
				if next, ok := lazy.Next(); ok && !now.Before(next) {
					b = lazy.Due(now, b)
				}
			}
			if !slices.Equal(a, b) {
				t.Errorf("asked for %v every millisecond, %v when told", a, b)
			}
		})
	}
}

// TestSetRTT: a shorter round trip brings what is due forward.
func TestSetRTT(t *testing.T) {
	tr := New(Config{})
	tr.Arrived(1, false, epoch)
	tr.Arrived(3, false, epoch)
	tr.Due(epoch, nil)
	tr.SetRTT(20 * ms)
	if got := tr.Due(epoch.Add(5*ms), nil); len(got) > 0 {
		t.Errorf("asked for %v after 5 ms", got)
	}
	if next, ok := tr.Next(); !ok || next.Sub(epoch) != 30*ms {
		t.Errorf("next after %v, want 30 ms", next.Sub(epoch))
	}
}

func TestNothingIsAllocatedWithoutLoss(t *testing.T) {
	tr := New(Config{Frames: true})
	seq, now := uint16(0), epoch
	if got := testing.AllocsPerRun(1000, func() {
		seq, now = seq+1, now.Add(7*ms)
		tr.Arrived(seq, seq%5 == 0, now)
		tr.Due(now, nil)
	}); got > 0 {
		t.Errorf("%v allocations a packet", got)
	}
}

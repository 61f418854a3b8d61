package nack

import (
	"math"
	"slices"
	"time"
)

const (
	// DefaultWindow is how long a lost packet of video is of use.
	DefaultWindow = 2 * time.Second
	// AudioWindow is how long one of audio is: what plays sound waits less.
	AudioWindow = 500 * time.Millisecond
	// MaxPackets is how many numbers behind the newest a Tracker looks at most,
	// and so the most packets that it can miss.
	MaxPackets = 1024

	// maxAhead is the largest jump of the numbers that is loss (RFC 3550 appendix
	// A.1, MAX_DROPOUT).
	maxAhead = 3000
	// minBehind is how far behind a number must at least be to hint at a restart.
	minBehind = 512
	// probation is how many consecutive numbers from elsewhere make a restart.
	probation = 3
	// maxRepairedAhead is how far beyond the newest packet a repaired one may be:
	// it was lost, and nothing has come since.
	maxRepairedAhead = 128
)

// never is a time that does not come.
const never = time.Duration(math.MaxInt64)

// Config says what is known of a stream. Its zero value is good for video whose
// marker bits mean nothing.
type Config struct {
	// Window is how long after its loss showed a packet is still of use; 0 means
	// DefaultWindow.
	Window time.Duration
	// Packets is how many numbers behind the newest one is; 0 means MaxPackets,
	// which is also the most.
	Packets int
	// Frames says that the marker bit ends a frame, as it does for video.
	Frames bool
}

// Stats are counters of a Tracker, or of several.
type Stats struct {
	Lost      uint64 // numbers passed over, late ones included
	Late      uint64 // of those: came without an answer to a NACK
	Asked     uint64 // packets asked for, each counted once
	Repeated  uint64 // times that one of them was asked for again
	Recovered uint64 // packets that came after they were asked for
	GivenUp   uint64 // lost packets of which nothing is hoped for any more
}

// Add adds the counters of another Tracker.
func (s *Stats) Add(o Stats) {
	s.Lost += o.Lost
	s.Late += o.Late
	s.Asked += o.Asked
	s.Repeated += o.Repeated
	s.Recovered += o.Recovered
	s.GivenUp += o.GivenUp
}

// Tracker is what one SSRC misses. It is not safe for concurrent use. It
// allocates only when packets are lost.
type Tracker struct {
	window time.Duration
	behind int64

	started bool
	epoch   time.Time // times below count from here
	newest  int64     // extended sequence number
	missing []loss    // ascending, all of the last `behind` numbers
	next    time.Duration
	rtt     time.Duration
	slack   time.Duration // learned: how long packets overtake one another
	tail    tail
	restart struct {
		expect uint16 // number that would confirm it
		seen   int
	}
	stats Stats
}

// loss is a packet that is missing.
type loss struct {
	seq   int64
	shown time.Duration // when the loss showed
	asked time.Duration // when it was asked for last
	due   time.Duration // when it is to be asked for next, or given up
	tries uint8
	guess bool // nothing has come after it: it may not have been sent
}

// New makes a Tracker that has seen no packet.
func New(cfg Config) *Tracker {
	if cfg.Window <= 0 {
		cfg.Window = DefaultWindow
	}
	if cfg.Packets <= 0 || cfg.Packets > MaxPackets {
		cfg.Packets = MaxPackets
	}
	return &Tracker{
		window: cfg.Window,
		behind: int64(cfg.Packets),
		next:   never,
		rtt:    defaultRTT,
		tail:   newTail(cfg.Frames),
	}
}

// Stats returns the counters.
func (t *Tracker) Stats() Stats { return t.stats }

// Missing returns how many packets are missing and not given up.
func (t *Tracker) Missing() int { return len(t.missing) }

// Arrived takes the number of a packet that came as it was sent, or was sent
// again in its own stream. last says that nothing of its frame comes after it:
// the marker bit, or a packet of padding only, which stands between frames.
func (t *Tracker) Arrived(seq uint16, last bool, now time.Time) {
	if !t.started {
		t.started, t.epoch = true, now
		t.begin(seq, last, 0)
		return
	}
	at := now.Sub(t.epoch)
	d := int64(int16(seq - uint16(t.newest)))
	switch {
	case d > maxAhead || d <= -max(t.behind, minBehind):
		t.doubt(seq, last, at)
		return
	case d > 0:
		t.advance(t.newest+d, last, at)
	default:
		t.late(t.newest+d, last, at)
	}
	t.restart.seen = 0
}

// Repaired takes the number of a packet that came over RTX (RFC 4588), asked for
// or not.
func (t *Tracker) Repaired(seq uint16, last bool, now time.Time) {
	if !t.started {
		return // what it repairs cannot be placed
	}
	at := now.Sub(t.epoch)
	d := int64(int16(seq - uint16(t.newest)))
	switch {
	case d > maxRepairedAhead:
	case d > 0:
		t.tail.open = false // its pause is none of the sender's
		t.advance(t.newest+d, last, at)
	default:
		t.repaired(t.newest+d, last, at)
	}
}

// begin starts at a number, the first or the first after a restart.
func (t *Tracker) begin(seq uint16, last bool, at time.Duration) {
	t.newest = 1<<16 + int64(seq)
	t.tail.reset()
	t.tail.packet(last, at)
	t.next = never
}

// doubt takes a number from elsewhere: a restart if enough follow it.
func (t *Tracker) doubt(seq uint16, last bool, at time.Duration) {
	if t.restart.seen == 0 || seq != t.restart.expect {
		t.restart.seen = 0
	}
	t.restart.seen++
	t.restart.expect = seq + 1
	if t.restart.seen < probation {
		return
	}
	t.restart.seen = 0
	t.giveUpBefore(t.newest + 1)
	t.begin(seq, last, at)
}

// advance takes a packet newer than all before it.
func (t *Tracker) advance(seq int64, last bool, at time.Duration) {
	if len(t.missing) > 0 {
		t.confirm()
		t.giveUpBefore(seq - t.behind + 1)
	}
	if seq == t.newest+1 {
		t.tail.follow(at)
	} else {
		t.lose(t.newest+1, seq, at)
	}
	t.newest = seq
	t.tail.packet(last, at)
	if t.tail.open {
		t.wake(t.tail.due())
	}
}

// lose notes the numbers from first to before end as missing, those alone that
// are near enough to be of use.
func (t *Tracker) lose(first, end int64, at time.Duration) {
	t.stats.Lost += uint64(end - first)
	if oldest := end - t.behind + 1; first < oldest {
		t.stats.GivenUp += uint64(oldest - first)
		first = oldest
	}
	due := at + t.slack
	for seq := first; seq < end; seq++ {
		t.missing = append(t.missing, loss{seq: seq, shown: at, due: due})
	}
	t.wake(due)
}

// late takes a number that is not new: one that was missing, or a duplicate.
func (t *Tracker) late(seq int64, last bool, at time.Duration) {
	e, ok := t.take(seq)
	if !ok {
		return
	}
	switch {
	case e.guess: // most likely it had not been sent
		t.stats.Late++
		t.tail.learn(at)
		t.tail.packet(last, at)
	case e.tries > 0 && at-e.asked >= t.rtt/2:
		t.recovered()
	default: // too soon for an answer
		t.stats.Late++
		t.slack = max(t.slack, min(lateBy(at-e.shown), maxSlack))
	}
}

// repaired is late for a packet that came over RTX.
func (t *Tracker) repaired(seq int64, last bool, at time.Duration) {
	e, ok := t.take(seq)
	if !ok {
		return
	}
	if e.guess {
		t.tail.packet(last, at)
	}
	if t.tail.open {
		t.wake(t.tail.due())
	}
	if e.tries > 0 {
		t.recovered()
	} else {
		t.stats.Late++
	}
}

// recovered counts an answer, and trusts the order of the packets a little more.
func (t *Tracker) recovered() {
	t.stats.Recovered++
	if t.slack -= t.slack / 8; t.slack < minSlack {
		t.slack = 0
	}
}

// confirm takes notice that a packet came after the guessed one.
func (t *Tracker) confirm() {
	if e := &t.missing[len(t.missing)-1]; e.guess {
		e.guess = false
		e.due = t.again(e)
		t.wake(e.due)
	}
}

// take removes a missing packet.
func (t *Tracker) take(seq int64) (loss, bool) {
	i, ok := slices.BinarySearchFunc(t.missing, seq, func(e loss, seq int64) int { return int(e.seq - seq) })
	if !ok {
		return loss{}, false
	}
	e := t.missing[i]
	t.missing = slices.Delete(t.missing, i, i+1)
	return e, true
}

// giveUpBefore gives up all that is missing with a lower number.
func (t *Tracker) giveUpBefore(seq int64) {
	n := 0
	for n < len(t.missing) && t.missing[n].seq < seq {
		t.stats.GivenUp++
		n++
	}
	if n > 0 {
		t.missing = slices.Delete(t.missing, 0, n)
	}
}

// wake makes sure that Due is called by then.
func (t *Tracker) wake(at time.Duration) { t.next = min(t.next, at) }

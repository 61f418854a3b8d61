package publish

import "time"

const (
	// maxAhead is the largest jump of the sequence number taken for loss: RFC
	// 3550 appendix A.1, MAX_DROPOUT, a minute of audio or some 3 s of video.
	maxAhead = 3000
	// probation is how many consecutive numbers beyond the window make a
	// restart. One more than RFC 3550's MIN_SEQUENTIAL: two old packets may be
	// repaired in a row.
	probation = 3
	// minBehind is how far behind a number must at least be to hint at a restart.
	minBehind = 512
	// staleFor is how long packets of the SSRC that a publisher has left are
	// dropped, rather than taken for another change: a network's reordering.
	staleFor = 2 * time.Second
)

// numbers extends a publisher's sequence numbers and timestamps so that they go
// on over its restarts. It belongs to the goroutine that writes the track.
type numbers struct {
	started   bool
	ssrc      uint32
	left      uint32    // the SSRC before
	leftAt    time.Time // when it changed
	hasLeft   bool
	highSeq   uint16 // sequence number of high
	high      int64  // highest index
	floor     int64  // lowest index since the last restart
	tsOffset  uint32 // added to the publisher's timestamps
	lastTS    uint32 // outgoing timestamp of high
	lastAt    time.Time
	expectSeq uint16 // of the packet that would confirm a jump
	seen      int    // consecutive numbers of a jump
}

// firstIndex is where indexes begin: 65536 keeps them positive under reordering and
// their low bits equal to the first run's sequence numbers.
const firstIndex = 1 << 16

// place returns the packet's index, or why it has none. restarted says that the
// numbers were moved and nothing earlier belongs to what comes.
func (n *numbers) place(ssrc uint32, seq uint16, ts uint32, at time.Time, window int64, rate uint32) (index int64, restarted bool, why DropReason) {
	switch {
	case !n.started:
		n.started, n.ssrc, n.high, n.highSeq = true, ssrc, firstIndex+int64(seq), seq
		n.lastTS, n.lastAt = ts, at
		return n.high, false, ReasonNone
	case ssrc != n.ssrc:
		if n.hasLeft && ssrc == n.left && at.Sub(n.leftAt) < staleFor {
			return 0, false, ReasonStale
		}
		n.left, n.leftAt, n.hasLeft, n.ssrc = n.ssrc, at, true, ssrc
		n.restart(seq, ts, at, rate)
		return n.high, true, ReasonNone
	}
	diff := int64(int16(seq - n.highSeq))
	switch {
	case diff > maxAhead || diff <= -max(window, minBehind):
		return n.doubt(seq, ts, at, rate, diff)
	case diff <= -window || n.high+diff < n.floor:
		return 0, false, ReasonOld
	}
	n.seen = 0
	if diff > 0 {
		n.high += diff
		n.highSeq, n.lastTS, n.lastAt = seq, ts+n.tsOffset, at
		return n.high, false, ReasonNone
	}
	return n.high + diff, false, ReasonNone
}

// doubt handles a number outside the window: a restart if enough follow it.
func (n *numbers) doubt(seq uint16, ts uint32, at time.Time, rate uint32, diff int64) (int64, bool, DropReason) {
	if n.seen == 0 || seq != n.expectSeq {
		n.seen = 0
	}
	n.seen++
	n.expectSeq = seq + 1
	if n.seen >= probation {
		n.restart(seq, ts, at, rate)
		return n.high, true, ReasonNone
	}
	if diff < 0 {
		return 0, false, ReasonOld
	}
	return 0, false, ReasonJump
}

// restart lets the next index follow the highest, and the timestamp what the
// arrival says has passed since.
func (n *numbers) restart(seq uint16, ts uint32, at time.Time, rate uint32) {
	n.high++
	n.floor, n.highSeq, n.seen = n.high, seq, 0
	passed := max(ticks(at.Sub(n.lastAt), rate), 1)
	n.tsOffset = n.lastTS + uint32(passed) - ts
	n.lastTS, n.lastAt = ts+n.tsOffset, at
}

// ticks converts a duration to a clock of rate Hz without overflow.
func ticks(d time.Duration, rate uint32) int64 {
	s, rest := d/time.Second, d%time.Second
	return int64(s)*int64(rate) + int64(rest)*int64(rate)/int64(time.Second)
}

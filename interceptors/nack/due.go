package nack

import "time"

const (
	// defaultRTT is the round trip until one is known.
	defaultRTT = 100 * time.Millisecond
	maxRTT     = time.Second

	// maxTries is how often a packet is asked for.
	maxTries = 10
	// An answer has minWait to maxWait to come, whatever the round trip.
	minWait = 20 * time.Millisecond
	maxWait = time.Second
	// grace is what the other side may take to answer, and half of it how much
	// sooner a packet is asked for again if another one is just now.
	grace = 10 * time.Millisecond

	// Packets that overtake one another by less than minSlack do not count; for
	// more than maxSlack nobody is waited for.
	minSlack = time.Millisecond
	maxSlack = 30 * time.Millisecond
)

// SetRTT tells the round trip time to the sender; 0 means unknown.
func (t *Tracker) SetRTT(rtt time.Duration) {
	if rtt <= 0 {
		rtt = defaultRTT
	}
	if rtt = min(rtt, maxRTT); rtt < t.rtt && len(t.missing) > 0 {
		t.wake(t.missing[0].asked) // what is due has to be worked out anew
	}
	t.rtt = rtt
}

// Next returns when Due has something to do, ok false for never as far as can be
// told. It may be too soon, if packets came meanwhile.
func (t *Tracker) Next() (at time.Time, ok bool) {
	if t.next == never {
		return time.Time{}, false
	}
	return t.epoch.Add(t.next), true
}

// Due appends the numbers that are to be asked for now, ascending, to out. It
// counts them as asked for.
func (t *Tracker) Due(now time.Time, out []uint16) []uint16 {
	at := now.Sub(t.epoch)
	if at < t.next {
		return out
	}
	t.next = never
	keep := t.missing[:0]
	for _, e := range t.missing {
		if ask := t.judge(&e, at); ask == drop {
			continue
		} else if ask == askNow {
			out = append(out, uint16(e.seq))
		}
		keep = append(keep, e)
	}
	t.missing = keep
	t.shrink()
	if t.tail.open && t.tail.usable() {
		if at < t.tail.due() {
			t.wake(t.tail.due())
		} else {
			out = append(out, t.guess(at))
		}
	}
	return out
}

// verdict on a missing packet.
type verdict uint8

const (
	wait verdict = iota
	askNow
	drop
)

// judge decides what is done about a missing packet now, and when to look at it
// again.
func (t *Tracker) judge(e *loss, at time.Duration) verdict {
	due, end := t.again(e), e.shown+t.window
	if e.tries >= maxTries {
		end = min(end, due)
	}
	if at >= end {
		t.drop(e)
		return drop
	}
	t.wake(end)
	if e.tries >= maxTries || e.guess && e.tries >= maxGuesses || at+t.rtt > e.shown+t.window {
		return wait // for an answer, or for nothing: it would come too late
	}
	if at < due && (e.tries == 0 || at < due-grace/2) {
		t.wake(due)
		return wait
	}
	if e.tries == 0 {
		t.stats.Asked++
	} else {
		t.stats.Repeated++
	}
	e.tries++
	e.asked = at
	t.wake(t.again(e))
	return askNow
}

// again is when a packet is to be asked for next: once it cannot be just late,
// then after a round trip, then 1.5 times as long each time.
func (t *Tracker) again(e *loss) time.Duration {
	if e.tries == 0 {
		return e.shown + t.slack
	}
	d := t.rtt + max(t.rtt/8, grace)
	for i := uint8(1); i < e.tries && d < maxWait; i++ {
		d += d / 2
	}
	return e.asked + min(max(d, minWait), maxWait)
}

// drop ends the wait for a packet. A guess that nothing has confirmed was no
// loss: the sender stopped there.
func (t *Tracker) drop(e *loss) {
	if !e.guess {
		t.stats.GivenUp++
		return
	}
	t.stats.Lost--
	t.newest--
}

// guess asks for the packet after the newest, which would have ended its frame.
func (t *Tracker) guess(at time.Duration) uint16 {
	t.tail.open = false
	t.newest++
	e := loss{seq: t.newest, shown: at, asked: at, tries: 1, guess: true}
	t.missing = append(t.missing, e)
	t.stats.Lost++
	t.stats.Asked++
	t.wake(t.again(&e))
	return uint16(t.newest)
}

// lateBy is how long to wait for a packet if one was late by d: a quarter more.
func lateBy(d time.Duration) time.Duration { return d + d/4 }

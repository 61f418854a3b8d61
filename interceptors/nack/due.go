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
	t.rtt = min(rtt, maxRTT)
	for i := range t.missing {
		if e := &t.missing[i]; e.tries > 0 {
			e.due = t.again(e)
			t.wake(e.due)
		}
	}
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
	for i := range t.missing {
		e := &t.missing[i]
		switch t.judge(e, at) {
		case drop:
			continue
		case askNow:
			out = append(out, uint16(e.seq))
		}
		keep = append(keep, *e)
	}
	t.missing = keep
	if len(keep) == 0 && cap(keep) > 128 {
		t.missing = nil // a storm is over
	}
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
	end := e.shown + t.window
	switch {
	case at >= end || at >= e.due && e.tries >= maxTries:
		t.giveUp(e)
		return drop
	case at < e.due && (e.tries == 0 || e.tries >= maxTries || at < e.due-grace/2):
	case at+t.rtt > end, e.guess && e.tries >= maxGuesses:
		e.due = end // an answer may still be under way, another would be of no use
	default:
		t.ask(e, at)
		t.wake(min(e.due, end))
		return askNow
	}
	t.wake(min(e.due, end))
	return wait
}

// ask counts a packet as asked for now.
func (t *Tracker) ask(e *loss, at time.Duration) {
	if e.tries == 0 {
		t.stats.Asked++
	} else {
		t.stats.Repeated++
	}
	e.tries++
	e.asked = at
	e.due = t.again(e)
}

// again is when a packet that was asked for is to be asked for next: after a
// round trip, then 1.5 times as long each time.
func (t *Tracker) again(e *loss) time.Duration {
	d := t.rtt + max(t.rtt/8, grace)
	for i := uint8(1); i < e.tries && d < maxWait; i++ {
		d += d / 2
	}
	return e.asked + min(max(d, minWait), maxWait)
}

// giveUp ends the wait for a packet. A guess that nothing has confirmed was no
// loss: the sender stopped there.
func (t *Tracker) giveUp(e *loss) {
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
	t.giveUpBefore(t.newest - t.behind + 1)
	e := loss{seq: t.newest, shown: at, guess: true}
	t.ask(&e, at)
	t.missing = append(t.missing, e)
	t.stats.Lost++
	t.wake(e.due)
	return uint16(t.newest)
}

// lateBy is how long to wait for a packet if one was late by d: a quarter more.
func lateBy(d time.Duration) time.Duration { return d + d/4 }

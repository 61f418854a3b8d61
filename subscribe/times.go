package subscribe

import (
	"math/rand/v2"
	"time"

	"github.com/weft-rtc/weft/publish"
)

// times rewrites timestamps. A track's timestamps are moved by one offset; those
// of a replayed group of pictures are old, and a subscriber that believed them
// would play seconds behind for ever, so they are stamped with the time at which
// they are sent, just before the live picture's.
type times struct {
	rate   uint32 // Hz
	offset uint32 // added to the track's timestamps
	rebase bool   // the offset does not fit the track yet
	any    bool
	last   uint32    // highest outgoing timestamp
	lastIn uint32    // the track's timestamp of the same packet
	lastAt time.Time // arrival of the same packet
}

// anchor fits the offset to a new track whose newest timestamp is ts: the first
// outgoing one is random (RFC 3550 section 5.1), a later one what the time since
// asks for.
func (t *times) anchor(ts uint32, now time.Time) {
	if !t.rebase {
		return
	}
	t.rebase = false
	if !t.any {
		t.offset = rand.Uint32() - ts
		return
	}
	passed := now.Sub(t.lastAt).Seconds() * float64(t.rate)
	t.offset = t.last + uint32(int64(max(passed, 1))) - ts
}

// change fits the offset to another layer of the same source, which goes on with
// p. Where the publisher has reported on both, p gets the timestamp that it would
// have had in the old layer, so that pictures do not jump against the sound; else
// what the arrival asks for.
func (t *times) change(from, to *publish.Layer, p *publish.Packet) {
	if !t.any {
		return
	}
	passed := int64(max(p.Arrival.Sub(t.lastAt).Seconds()*float64(t.rate), 1))
	out := t.last + uint32(passed)
	old, ok := from.Clock()
	new, okNew := to.Clock()
	if ok && okNew && old.Reported && new.Reported {
		exact := old.RTP + t.offset + uint32(since(old.NTP, new.NTP, t.rate)) + p.Timestamp - new.RTP
		// Reports of a publisher that lies, or has just restarted, are not believed.
		if off := int64(int32(exact - out)); off > -int64(t.rate) && off < int64(t.rate) {
			out = exact
		}
	}
	if int32(out-t.last) <= 0 {
		out = t.last + 1
	}
	t.offset = out - p.Timestamp
}

// since returns the ticks of a clock of rate Hz from one NTP time to another.
func since(from, to uint64, rate uint32) int64 {
	d := int64(to - from) // 32.32 fixed point seconds
	return d>>32*int64(rate) + (d&(1<<32-1))*int64(rate)>>32
}

// live rewrites the timestamp of a live packet.
func (t *times) live(ts uint32) uint32 { return ts + t.offset }

// stamp chooses the timestamp of a replayed packet; newest is the track's newest.
// Pictures get one tick each, from 10 ms before the newest on.
func (t *times) stamp(ts, newest uint32) uint32 {
	if t.any && ts == t.lastIn {
		return t.last
	}
	out := newest + t.offset
	if ts != newest {
		out -= t.rate / 100
	}
	if t.any && int32(out-t.last) <= 0 {
		if ts == newest { // so many that they reached it: the live ones follow
			t.offset += t.last + 1 - out
		}
		out = t.last + 1
	}
	return out
}

// sent notes what went out with the highest number so far.
func (t *times) sent(in, out uint32, at time.Time) {
	t.any, t.last, t.lastIn, t.lastAt = true, out, in, at
}

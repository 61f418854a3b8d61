package subscribe

import (
	"time"

	"github.com/weft-rtc/weft/publish"
)

const (
	// dripPackets go out at most for one live packet, or one tick, while a group
	// of pictures is replayed. 8 is what one GSO send takes, and catches up with a
	// group of 10 s in 1.4 s.
	dripPackets = 8
	// minDrip of them go out for a live packet even when many forwarders replay
	// and the track grants no more: one keeps pace, the second catches up.
	minDrip = 2
	// longReplay is the length, in packets, from which a fresh key picture is
	// asked for beside the replay: it would last longer than a round trip.
	longReplay = 64
	// replayInterval is the least time between two replays of the same group, to a
	// subscriber that asks for key pictures the publisher cannot make, or that
	// pauses and resumes without end.
	replayInterval = time.Second
)

// Tick drives what would otherwise wait for the next packet of the track: a
// start or a replay of a track that is silent at the moment, such as a shared
// screen on which nothing moves. Call it every 10 to 100 ms, on any goroutine.
func (f *Forwarder) Tick(now time.Time) {
	f.mu.Lock()
	f.pace.turn(now)
	if f.in == nil || f.refusal() != ReasonNone {
		f.mu.Unlock()
		return
	}
	m := f.decide(now)
	in, wantKey := f.in, false
	if f.phase == waiting && f.video() {
		wantKey = f.start(nil, now)
	}
	replay := f.phase == replaying
	f.mu.Unlock()
	f.move(m, now)
	if wantKey {
		in.layer.RequestKeyframe(now)
	}
	if replay {
		f.drip(now, dripPackets)
	}
}

// drip sends the next packets of a replay, at most limit, one lock each. One
// goroutine at a time: what another one is called for, this one finds in the
// history.
func (f *Forwarder) drip(now time.Time, limit int) {
	f.mu.Lock()
	if f.dripping {
		f.mu.Unlock()
		return
	}
	f.dripping = true
	for sent := 0; ; {
		out := f.next(sent < limit, now)
		if out == nil {
			break
		}
		f.mu.Unlock()
		f.send(out)
		sent++
	}
	f.dripping = false
	f.mu.Unlock()
}

// next plans the next packet of the replay; nil if it is over, for now (more is
// false) or for good. Callers hold mu.
func (f *Forwarder) next(more bool, now time.Time) *parcel {
	out := f.parcel()
	for f.phase == replaying && f.refusal() == ReasonNone {
		track := f.in.layer
		newest, newestTS, ok := track.Newest()
		switch {
		case !ok || f.cursor <= newest-int64(track.Window()):
			f.phase = waiting // fell out of the history, or the track has ended
		case f.cursor > newest:
			f.phase, f.liveFrom = live, f.cursor
		case !more:
			f.give(out)
			return nil
		default:
			if f.replayOne(track, newestTS, now, out) {
				return out
			}
		}
	}
	f.give(out)
	return nil
}

// replayOne moves the cursor over one packet, and reports whether it is to be
// sent. Callers hold mu.
func (f *Forwarder) replayOne(track *publish.Layer, newestTS uint32, now time.Time, out *parcel) bool {
	if f.boundary {
		if key, ok := track.LastKeyframe(); ok && key > f.cursor {
			f.stats.Drops[ReasonSkipped] += uint64(key - f.cursor)
			f.cursor = key
			f.out.jump(key)
		}
	}
	p, ok := track.Lookup(f.cursor, out.room()[:publish.MaxPacket])
	f.cursor++
	if !ok {
		f.boundary = false
		return false // lost upstream: take keeps its number
	}
	f.liveFrom = f.cursor
	f.boundary = p.FrameEnd
	out.payload = p.Payload
	p.Arrival = now
	if why := f.plan(&p, f.times.stamp(p.Timestamp, newestTS), out); why != ReasonNone {
		f.stats.Drops[why]++
		return false
	}
	f.stats.Replayed++
	return true
}

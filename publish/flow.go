package publish

import "time"

// flow is how evenly a stream comes. It is not safe for concurrent use.
type flow struct {
	any       bool
	timestamp uint32 // of the last packet that had another than the one before
	arrival   time.Time
	jitter    float64 // RFC 3550 section 6.4.1, in ticks, times 16 as appendix A.8 has it

	index    int64 // of the start of the newest picture
	started  time.Time
	interval float64 // of pictures, smoothed, in seconds
	freezes  uint64
	frozen   time.Duration
}

// A picture that is late by more than this counts as a freeze, as browsers count
// them: three intervals, or one and 150 ms (W3C webrtc-stats, freezeCount).
const (
	freezeFactor = 3
	freezeDelay  = 0.150
)

// packet takes one that is not a duplicate.
func (f *flow) packet(p *Packet, rate uint32) {
	if len(p.Payload) == 0 || rate == 0 {
		return
	}
	f.transit(p, rate)
	if p.FrameStart && p.Index > f.index {
		f.picture(p)
	}
}

// transit takes the difference of two packets' times on their way. Packets of one
// picture have one timestamp, but are sent one after the other: the first counts.
func (f *flow) transit(p *Packet, rate uint32) {
	if f.any && p.Timestamp == f.timestamp {
		return
	}
	if f.any {
		d := p.Arrival.Sub(f.arrival).Seconds()*float64(rate) - float64(int32(p.Timestamp-f.timestamp))
		d = max(d, -d)
		if d < float64(rate) { // else a pause, or a clock that was set
			f.jitter += d - f.jitter/16
		}
	}
	f.any, f.timestamp, f.arrival = true, p.Timestamp, p.Arrival
}

// picture takes the start of one.
func (f *flow) picture(p *Packet) {
	if f.index != 0 {
		passed := p.Arrival.Sub(f.started)
		gap := passed.Seconds()
		late := f.interval > 0 && gap > max(freezeFactor*f.interval, f.interval+freezeDelay)
		if late {
			f.freezes++
			f.frozen += passed
		}
		switch {
		case f.interval == 0:
			f.interval = gap
		case late: // the interval is that of a stream that flows
		default:
			f.interval += (gap - f.interval) / 16
		}
		if gap > activeFor.Seconds() { // a still screen is no measure
			f.interval = 0
		}
	}
	f.index, f.started = p.Index, p.Arrival
}

// delay returns the jitter as time.
func (f *flow) delay(rate uint32) time.Duration {
	if rate == 0 {
		return 0
	}
	return time.Duration(f.jitter / 16 / float64(rate) * float64(time.Second))
}

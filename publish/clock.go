package publish

import "time"

// ntpEpoch is 1900-01-01 in seconds before the Unix epoch (RFC 3550 section 4).
const ntpEpoch = 2208988800

// NTP returns t as 32.32 fixed point seconds since 1900, as sender reports have
// it. It wraps in 2036.
func NTP(t time.Time) uint64 {
	ns := uint64(t.UnixNano())
	s, rest := ns/uint64(time.Second), ns%uint64(time.Second)
	return (s+ntpEpoch)<<32 | (rest<<32)/uint64(time.Second)
}

// Clock ties a track's timestamps to wall time: what is captured at NTP carries
// the timestamp RTP. The NTP time is the publisher's own as soon as it has sent
// a sender report, else this node's, so tracks of one stream always agree with
// each other, and tracks of two publishers need not.
type Clock struct {
	NTP     uint64    // 32.32 fixed point (RFC 3550 section 4)
	RTP     uint32    // the track's timestamp at that time
	Arrival time.Time // when the node learnt the pair: the local end of it
	Rate    uint32    // Hz

	// Reported: NTP is the publisher's own.
	Reported bool
}

// At moves the pair to now. Pure.
func (c Clock) At(now time.Time) (ntp uint64, rtp uint32) {
	d := now.Sub(c.Arrival)
	s, rest := int64(d/time.Second), int64(d%time.Second)
	ntp = c.NTP + uint64(s<<32+rest<<32/int64(time.Second))
	return ntp, c.RTP + uint32(ticks(d, c.Rate))
}

// clock keeps a track's Clock. Without sender reports the packet that came
// earliest for its timestamp is the pair: the others waited in queues.
type clock struct {
	pair     Clock
	reported bool
	any      bool
}

// packet learns from a packet until there is a report.
func (c *clock) packet(ts uint32, arrival time.Time) {
	if c.reported {
		return
	}
	if c.any {
		_, expect := c.pair.At(arrival)
		// Later than the pair says by up to a second: queueing. Anything else is
		// a better pair or a jump of the publisher's clock.
		if late := int32(expect - ts); late >= 0 && late < int32(c.pair.Rate) {
			return
		}
	}
	c.any = true
	c.pair.NTP, c.pair.RTP, c.pair.Arrival = NTP(arrival), ts, arrival
}

// report learns from a sender report.
func (c *clock) report(ntp uint64, rtp uint32, arrival time.Time) {
	c.any, c.reported, c.pair.Reported = true, true, true
	c.pair.NTP, c.pair.RTP, c.pair.Arrival = ntp, rtp, arrival
}

// reset forgets: the publisher's timestamps have moved.
func (c *clock) reset() { c.any, c.reported, c.pair.Reported = false, false, false }

package publish

import (
	"time"

	"github.com/weft-rtc/weft/publish/descriptor"
)

// rateWindow is over how long rates are measured; they are up to as old. Half a
// second has each temporal layer of 7.5 pictures a second several times.
const rateWindow = 500 * time.Millisecond

// Rate is how much there is of something in a second.
type Rate struct {
	Bitrate   int     // bits of payload per second
	FrameRate float64 // pictures per second
}

// Rates are the rates of a stream by spatial and temporal layer. A stream that is
// not scalable has those of the first alone. Temporal layers from the fourth on
// are counted as one.
type Rates [descriptor.MaxSpatialLayers][gridTemporal]Rate

// Within returns the rate of all that a viewer gets whose highest layers these
// are, of a stream whose layers need all lower ones. Pictures are counted once for
// all spatial layers.
func (r *Rates) Within(spatial, temporal int) (sum Rate) {
	for s := 0; s <= spatial && s < len(r); s++ {
		fps := 0.0
		for t := 0; t <= temporal && t < gridTemporal; t++ {
			sum.Bitrate += r[s][t].Bitrate
			fps += r[s][t].FrameRate
		}
		sum.FrameRate = max(sum.FrameRate, fps)
	}
	return sum
}

// meter counts what comes within a window. It is not safe for concurrent use.
type meter struct {
	since time.Time
	bytes [descriptor.MaxSpatialLayers][gridTemporal]int
	count [descriptor.MaxSpatialLayers][gridTemporal]int
	rates Rates     // of the window before
	until time.Time // its end
}

// packet counts one.
func (m *meter) packet(p *Packet) {
	m.turn(p.Arrival)
	s, t := p.Spatial, min(p.Temporal, gridTemporal-1)
	m.bytes[s][t] += len(p.Payload)
	if p.LayerStart || p.Targets == nil && p.FrameStart {
		m.count[s][t]++
	}
}

// turn closes the window when it is over.
func (m *meter) turn(now time.Time) {
	passed := now.Sub(m.since)
	if passed >= 0 && passed < rateWindow {
		return
	}
	if seconds := passed.Seconds(); passed >= rateWindow && passed < 2*activeFor {
		for s := range m.rates {
			for t := range m.rates[s] {
				m.rates[s][t] = Rate{int(float64(8*m.bytes[s][t]) / seconds), float64(m.count[s][t]) / seconds}
			}
		}
	} else {
		m.rates = Rates{}
	}
	m.until, m.since = now, now
	m.bytes, m.count = [len(m.bytes)][gridTemporal]int{}, [len(m.count)][gridTemporal]int{}
}

// Rates returns what the stream takes, measured over the last half second that is
// complete; nothing if no packets have come for 1.5 s.
func (l *Layer) Rates(now time.Time) Rates {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if now.Sub(l.meter.until) >= activeFor {
		return Rates{}
	}
	return l.meter.rates
}

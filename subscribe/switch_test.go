package subscribe

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/weft-rtc/weft/publish"
	"github.com/weft-rtc/weft/publish/descriptor/check"
)

// calm is how many packets come through at first, so that every call begins.
const calm = 20

// path is a network that loses, doubles and delays, on which time passes by calls
// of step. What is lost may be asked for again.
type path[T any] struct {
	rng       *rand.Rand
	loss      int // per cent
	reorder   int // packets by which some come late
	duplicate int // per cent
	n         int
	waiting   []delayedBy[T]
}

type delayedBy[T any] struct {
	due int
	v   T
}

// send hands v to take, now or within the next calls, or never.
func (p *path[T]) send(v T, take func(T)) {
	p.n++
	switch r := p.rng.IntN(100); {
	case p.n <= calm:
		take(v)
	case r < p.loss:
	case p.reorder > 0 && r < p.loss+5:
		p.waiting = append(p.waiting, delayedBy[T]{p.n + 1 + p.rng.IntN(p.reorder), v})
	default:
		take(v)
		if p.rng.IntN(100) < p.duplicate {
			take(v)
		}
	}
	p.waiting = slices.DeleteFunc(p.waiting, func(l delayedBy[T]) bool {
		if l.due <= p.n {
			take(l.v)
		}
		return l.due <= p.n
	})
}

// call is a publisher of one mode, a forwarder, and a viewer who asks again for
// what it misses, with a bad path between each two.
type call struct {
	t        *testing.T
	mode     mode
	track    *publish.Track
	layers   []*publish.Layer
	encoders []*encoder
	f        *Forwarder
	w        *wire
	up       path[unit]
	down     path[rtp.Packet]
	lost     []unit // to be repaired by the publisher
	n        int    // pictures made
	paused   []bool // layers that the publisher does not send

	got     []check.Packet // in the order of arrival
	have    map[uint16]bool
	high    uint16
	any     bool
	missing []uint16
	fillers int
	begged  int // picture of the last PLI
	shown   []sight
}

// sight is one packet as the viewer saw it.
type sight struct {
	at             time.Time
	rank, sid, tid int
	picture        int
}

func newCall(t *testing.T, m mode, seed uint64, loss int) *call {
	rng := rand.New(rand.NewPCG(seed, 11))
	c := &call{t: t, mode: m, w: newWire(t), have: map[uint16]bool{}, paused: make([]bool, m.simulcast)}
	c.track, c.layers, c.encoders = newLayers(m, rng)
	c.f = NewForwarder(Config{Track: c.track, SSRC: mainSSRC, RTXSSRC: rtxSSRC})
	c.f.Bind(c.w, Payload{Type: mainType, RTX: rtxType})
	c.up, c.down = path[unit]{rng: rng}, path[rtp.Packet]{rng: rng}
	if loss > 0 {
		c.up = path[unit]{rng: rng, loss: loss, reorder: 3, duplicate: 2}
		c.down = path[rtp.Packet]{rng: rng, loss: loss, reorder: 3, duplicate: 2}
	}
	return c
}

// run plays pictures for d.
func (c *call) run(d time.Duration) {
	for end := clockOf(c.n).Add(d); clockOf(c.n).Before(end); c.n++ {
		now := clockOf(c.n)
		for i, e := range c.encoders {
			if c.n%30 == 0 {
				c.layers[i].Report(publish.NTP(now), e.start+uint32(c.n)*2970, now)
			}
			for _, u := range e.picture(c.n) {
				if c.paused[i] {
					continue
				}
				came := false
				c.up.send(u, func(u unit) { came = true; c.write(u, now) })
				if !came && c.up.loss > 0 {
					c.lost = append(c.lost, u)
				}
			}
		}
		c.repair(now)
		c.f.Tick(now)
		c.view(now)
		if c.n%2 == 0 && len(c.missing) > 0 {
			c.f.HandleRTCP(nackOf(c.missing), now)
			c.view(now)
		}
		if len(c.missing) > 0 && c.high-c.missing[0] > 40 && c.n-c.begged > 15 { // it will not come
			c.begged, c.missing = c.n, c.missing[:0]
			c.f.HandleRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: mainSSRC}}, now)
		}
	}
}

// repair brings what was lost, two pictures later as a rule, or never.
func (c *call) repair(now time.Time) {
	c.lost = slices.DeleteFunc(c.lost, func(u unit) bool {
		e := c.encoders[u.h.SSRC-1]
		if age := uint32(c.n)*2970 + e.start - u.h.Timestamp; age < 2*2970 {
			return false
		}
		if c.up.rng.IntN(100) < 97 {
			c.write(u, now)
		}
		return true
	})
}

func (c *call) write(u unit, now time.Time) {
	c.layers[u.h.SSRC-1].WriteDescribed(&u.h, u.payload, u.dependency, now)
}

// view takes what is on the wire to the viewer.
func (c *call) view(now time.Time) {
	for _, p := range c.w.take() {
		if p.SSRC == rtxSSRC {
			p.SSRC, p.SequenceNumber = mainSSRC, uint16(p.Payload[0])<<8|uint16(p.Payload[1])
			p.Payload = p.Payload[osnSize:]
		}
		c.down.send(p, func(p rtp.Packet) { c.arrive(p, now) })
	}
}

func (c *call) arrive(p rtp.Packet, now time.Time) {
	if !c.any {
		c.any, c.high = true, p.SequenceNumber
	}
	for c.high != p.SequenceNumber && int16(p.SequenceNumber-c.high) > 0 {
		c.high++
		c.missing = append(c.missing, c.high)
	}
	c.missing = slices.DeleteFunc(c.missing, func(n uint16) bool { return n == p.SequenceNumber || c.high-n > 500 })
	if len(p.Payload) == 0 {
		c.fillers++
		return // in the place of what was lost before the forwarder: a loss it is
	}
	packet := check.Packet{Seq: p.SequenceNumber, Timestamp: p.Timestamp, Marker: p.Marker, Payload: p.Payload}
	if p.Extension {
		packet.Extension = p.GetExtension(wireDependency)
	}
	c.got = append(c.got, packet)
	s := sight{at: now}
	s.rank, s.sid, s.tid, s.picture = told(p.Payload)
	c.shown = append(c.shown, s)
}

// level is how high a choice of options a packet is: of simulcast, or of spatial
// layers.
func (s sight) level() int { return s.rank + s.sid }

// judge lets the checker look at all that came.
func (c *call) judge() check.Report {
	c.t.Helper()
	judge := check.Dependency
	switch {
	case c.mode.described:
	case c.mode.codec.Name == vp8.Name:
		judge = check.VP8
	default:
		judge = check.VP9
	}
	report, err := judge(c.got)
	if err != nil {
		c.t.Errorf("%v", err)
	}
	return report
}

// since returns what was shown from a moment on: the highest layers, the pictures,
// and the longest time without one.
func (c *call) since(from, to time.Time) (level, tid, pictures int, gap time.Duration) {
	last, seen := from, map[int]bool{}
	for _, s := range c.shown {
		if s.at.Before(from) {
			continue
		}
		level, tid = max(level, s.level()), max(tid, s.tid)
		if !seen[s.picture] {
			seen[s.picture] = true
			gap, last = max(gap, s.at.Sub(last)), s.at
		}
	}
	return level, tid, len(seen), max(gap, to.Sub(last))
}

// TestSwitchCases leads viewers through every layer up and down, temporal ones as
// well, over good and bad paths; what they were sent is looked at as a decoder
// would.
func TestSwitchCases(t *testing.T) {
	for _, m := range modes {
		for _, loss := range []int{0, 5} {
			t.Run(fmt.Sprintf("%s, %d %% loss", m.name, loss), func(t *testing.T) {
				for seed := range uint64(6) {
					c := newCall(t, m, seed, loss)
					c.run(2 * time.Second)
					for _, w := range wishes(m, seed) {
						c.wish(w, loss)
					}
					report := c.judge()
					if loss == 0 && (report.Gaps > 0 || report.Broken > 0) {
						t.Errorf("seed %d: %+v without loss", seed, report)
					}
					if whole := float64(report.Frames) / float64(report.Frames+report.Broken); whole < 0.6 {
						t.Errorf("seed %d: %.0f %% of the frames could be decoded: %+v", seed, 100*whole, report)
					}
					c.f.Close()
				}
			})
		}
	}
}

// wishes goes through every layer up and down and both at once.
func wishes(m mode, seed uint64) (all []Wish) {
	n := m.options()
	for i := 1; i <= n; i++ {
		all = append(all, Wish{Layer: i})
	}
	for i := n - 1; i > 0; i-- {
		all = append(all, Wish{Layer: i})
	}
	for _, i := range []int{1, 2, 3, 2, 1, 3} {
		all = append(all, Wish{Temporal: i})
	}
	rng := rand.New(rand.NewPCG(seed, 5))
	for range 6 {
		all = append(all, Wish{Layer: 1 + rng.IntN(n), Temporal: 1 + rng.IntN(3)})
	}
	return all
}

// wish changes what is wanted, holds it for 2 s, and looks at the last second: the
// layers are those, and pictures went on all the time.
func (c *call) wish(w Wish, loss int) {
	c.t.Helper()
	from := clockOf(c.n)
	c.f.SetWish(w, from)
	c.run(2 * time.Second)
	to := clockOf(c.n)
	_, _, _, gap := c.since(from, to)
	level, tid, pictures, _ := c.since(to.Add(-time.Second), to)
	wantLevel, wantTID := c.mode.options()-1, c.mode.temporal-1
	if w.Layer > 0 {
		wantLevel = w.Layer - 1
	}
	if w.Temporal > 0 {
		wantTID = w.Temporal - 1
	}
	if loss > 0 { // the key picture may be lost, and asked for again
		wantLevel, level = max(wantLevel, level), max(wantLevel, level)
	}
	if level != wantLevel || tid != wantTID {
		c.t.Errorf("%+v: layers %d, %d, want %d, %d", w, level, tid, wantLevel, wantTID)
	}
	longest := 200 * time.Millisecond
	if loss > 0 { // three intervals of the lowest temporal layer, and a repair
		longest = 500 * time.Millisecond
	}
	if gap > longest {
		c.t.Errorf("%+v: %v without a picture", w, gap)
	}
	if least := []int{6, 13, 27}[wantTID]; pictures < least && loss == 0 {
		c.t.Errorf("%+v: %d pictures in a second", w, pictures)
	}
}

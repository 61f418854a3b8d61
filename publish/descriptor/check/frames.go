package check

import "fmt"

// name is how frames are told apart: by picture id without its wrap (with the
// dependency descriptor: frame number), and spatial layer (there: 0).
type name struct {
	picture int64
	layer   uint8
}

func (n name) String() string { return fmt.Sprintf("%d layer %d", n.picture, n.layer) }

// part is what a packet is of a frame.
type part struct {
	name       name
	start, end bool
	key        bool
	sid, tid   uint8
	detail     any // of the codec
}

// frame is the packets of one frame.
type frame struct {
	part         // of its first packet
	first        arrival
	begun, ended bool
	gap          bool // packets are missing within
	gapBefore    bool // or before
}

// span is a range of pictures within which packets are missing.
type span struct{ from, to int64 }

// checker puts packets together and keeps what was found.
type checker struct {
	codec    codec
	report   Report
	problems []error

	last     *arrival // the last packet, padding included
	media    *arrival // the last one that was no padding
	gap      bool     // packets are missing since media
	current  *frame
	gaps     []span
	verdicts map[name]bool // of every frame seen: can it be decoded
	shown    []part        // of what could be decoded, the last 32
}

func (c *checker) problem(at arrival, rule error, format string, args ...any) {
	if len(c.problems) < maxProblems {
		c.problems = append(c.problems, &Problem{at.index, at.Seq, rule, fmt.Sprintf(format, args...)})
	}
}

// packet takes the next packet by sequence number.
func (c *checker) packet(p arrival) {
	if c.last != nil && p.seq != c.last.seq+1 {
		c.gap = true
		c.report.Gaps++
	}
	c.last = &p
	if len(p.Payload) == 0 {
		return
	}
	c.report.Packets++
	c.marker(p)
	if is, err := c.codec.read(p.Packet); err != nil {
		c.problem(p, ErrPacket, "%v", err)
	} else {
		c.part(p, is)
	}
	c.media, c.gap = &p, false
}

// marker holds the marker against the timestamp.
func (c *checker) marker(p arrival) {
	if c.media == nil || c.gap {
		return
	}
	switch same := c.media.Timestamp == p.Timestamp; {
	case same && c.media.Marker:
		c.problem(p, ErrMarker, "the picture goes on behind it")
	case !same && !c.media.Marker:
		c.problem(*c.media, ErrMarker, "the picture ends without it")
	}
}

// part adds a packet to its frame.
func (c *checker) part(p arrival, is part) {
	f := c.current
	if f == nil || f.name != is.name || is.start {
		if f != nil && c.gap {
			c.gaps = append(c.gaps, span{f.name.picture, is.name.picture})
		} else if f != nil && !f.ended && !f.gap {
			c.problem(f.first, ErrCut, "frame %v has no end", f.name)
		}
		c.finish()
		f = &frame{part: is, first: p, begun: is.start, gapBefore: c.gap}
		c.current = f
		if !is.start && !c.gap {
			c.problem(p, ErrCut, "frame %v has no beginning", is.name)
		}
		f.gap = !is.start
	} else if c.gap {
		f.gap = true
		c.gaps = append(c.gaps, span{is.name.picture, is.name.picture})
	}
	if c.gap {
		c.codec.lost(f)
	}
	if f.ended && !c.gap {
		c.problem(p, ErrCut, "frame %v goes on behind its end", is.name)
	}
	f.ended = is.end
}

// finish judges the frame that is over, as the next one begins. The very last may
// still be on its way.
func (c *checker) finish() {
	f := c.current
	if f == nil {
		return
	}
	c.current = nil
	whole := f.begun && f.ended && !f.gap
	can := whole && c.codec.judge(c, f)
	c.verdicts[f.name] = can
	switch {
	case !can:
		c.report.Broken++
		return
	case f.key:
		c.report.Keys++
	}
	c.report.Frames++
	if c.shown = append(c.shown, f.part); len(c.shown) > 32 {
		c.shown = c.shown[1:]
	}
}

// excused reports whether a frame that is missing may be one of those lost.
func (c *checker) excused(n name) bool {
	if _, seen := c.verdicts[n]; seen {
		return true // it came, and was broken by a loss or told of already
	}
	for _, g := range c.gaps {
		if g.from <= n.picture && n.picture <= g.to {
			return true
		}
	}
	return false
}

// refers reports whether a frame that f refers to is there, and tells if it
// should be.
func (c *checker) refers(f *frame, to name) bool {
	if c.verdicts[to] {
		return true
	}
	if !c.excused(to) {
		rule := ErrReference
		if c.rises(f) {
			rule = ErrSwitchUp
		}
		c.problem(f.first, rule, "frame %v (S%d T%d) refers to %v", f.name, f.sid, f.tid, to)
	}
	return false
}

// rises reports whether f is of a higher layer than all of the last pictures: 4,
// as three temporal layers come within that many.
func (c *checker) rises(f *frame) bool {
	var sid, tid uint8
	pictures, last := 0, int64(-1)
	for i := len(c.shown) - 1; i >= 0; i-- {
		s := c.shown[i]
		if s.name.picture != last {
			last = s.name.picture
			if pictures++; pictures > 4*int(max(1, f.sid+1)) {
				break
			}
		}
		sid, tid = max(sid, s.sid), max(tid, s.tid)
	}
	return f.sid > sid || f.tid > tid
}

// wrap counts on numbers of some bits.
type wrap struct {
	last    int64
	started bool
}

// on returns a number without its wrap: the one nearest to the last.
func (w *wrap) on(v uint16, bits uint8) int64 {
	if !w.started {
		w.started, w.last = true, int64(v)+1<<bits
		return w.last
	}
	size := int64(1) << bits
	diff := (int64(v) - w.last) & (size - 1)
	if diff >= size/2 {
		diff -= size
	}
	w.last += diff
	return w.last
}

package check

import "github.com/weft-rtc/weft/publish/descriptor"

// vp8 keeps what is needed to tell the references of VP8, which its descriptor
// says by layers only (RFC 7741 section 4.2): a frame of temporal layer 0 refers
// to the one before, one with Y to the last of layer 0, any other also to its own
// layer since it was entered. A layer of which nothing came from one frame of
// layer 0 to the next is taken to have been left. What layer a lost packet was of
// cannot be known, so a loss takes all layers but the lowest until they are
// entered again: Report may count more frames as broken than a decoder would.
type vp8 struct {
	pictures wrap
	count    int64 // names frames that have no picture id

	last    *frame // that ended
	base    name   // last of layer 0
	tl0     uint8  // its TL0PICIDX
	hasBase bool

	layers [4]state
	seen   [4]bool // since base
}

// state is how a viewer stands to a temporal layer.
type state uint8

const (
	out    state = iota // never entered, or left
	in                  // gets it
	behind              // gets it, but lost some
)

func (v *vp8) read(p *Packet) (part, error) {
	d, err := descriptor.ParseVP8(p.Payload)
	if err != nil {
		return part{}, err
	}
	if d.PictureIDBits != 0 {
		v.count = v.pictures.on(d.PictureID, d.PictureIDBits)
	} else if d.Start {
		v.count++
	}
	return part{
		name:  name{picture: v.count},
		start: d.Start, end: p.Marker, key: d.Keyframe,
		tid: d.TID, detail: d,
	}, nil
}

func (v *vp8) lost(*frame) {
	for i := range v.layers {
		if v.layers[i] == in {
			v.layers[i] = behind
		}
	}
}

func (v *vp8) judge(c *checker, f *frame) bool {
	d := f.detail.(descriptor.VP8)
	defer func() { v.last = f }()
	if v.last != nil && d.PictureIDBits != 0 {
		if step := f.name.picture - v.last.name.picture; step < 1 || step > 1 && !c.lostBetween(v.last.name.picture, f.name.picture) {
			c.problem(f.first, ErrOrder, "%d after %d", f.name.picture, v.last.name.picture)
		}
	}
	if f.tid == 0 {
		return v.judgeBase(c, f, d)
	}
	v.seen[f.tid&3] = true
	return v.judgeUpper(c, f, d)
}

// judgeBase judges a frame of temporal layer 0.
func (v *vp8) judgeBase(c *checker, f *frame, d descriptor.VP8) bool {
	can := true
	excused := v.hasBase && c.lostBetween(v.base.picture, f.name.picture)
	if v.hasBase && d.HasTL0 && d.TL0 != v.tl0+1 && !excused {
		c.problem(f.first, ErrTL0, "%d after %d at a frame of layer 0", d.TL0, v.tl0)
	}
	switch {
	case d.Keyframe:
	case !v.hasBase:
		c.keyless(f)
		can = false
	case d.HasTL0 && d.TL0 != v.tl0+1:
		can = false
	case !d.HasTL0 && !d.HasTID && d.PictureIDBits != 0 && f.name.picture != v.base.picture+1:
		can = false // one layer only: it refers to the frame that is missing
	default:
		can = c.refers(f, v.base)
	}
	for i := range v.layers {
		switch {
		case d.Keyframe:
			v.layers[i] = in
		case v.hasBase && !v.seen[i] && v.layers[i] == in:
			v.layers[i] = out
		}
	}
	v.base, v.tl0, v.hasBase, v.seen = f.name, d.TL0, true, [4]bool{}
	return can
}

// judgeUpper judges a frame of a higher layer.
func (v *vp8) judgeUpper(c *checker, f *frame, d descriptor.VP8) bool {
	if !v.hasBase {
		c.keyless(f)
		return false
	}
	if d.HasTL0 && d.TL0 != v.tl0 {
		if !c.lostBetween(v.base.picture, f.name.picture) {
			c.problem(f.first, ErrTL0, "%d at layer %d, %d at layer 0", d.TL0, f.tid, v.tl0)
		}
		return false
	}
	layer := &v.layers[f.tid&3]
	switch {
	case d.LayerSync:
		*layer = in
	case *layer == out && c.lostBetween(v.base.picture, f.name.picture):
		return false // where it was entered may be what was lost
	case *layer == out:
		c.problem(f.first, ErrSwitchUp, "frame %v of layer %d refers to frames of that layer", f.name, f.tid)
		return false
	case *layer == behind:
		return false
	}
	return c.refers(f, v.base)
}

// keyless tells of a frame before the first key frame, which may have been lost.
func (c *checker) keyless(f *frame) {
	if c.report.Gaps == 0 {
		c.problem(f.first, ErrReference, "frame %v comes before any key frame", f.name)
	}
}

// lostBetween reports whether packets are missing behind the first and up to the
// second of two pictures.
func (c *checker) lostBetween(from, to int64) bool {
	for _, g := range c.gaps {
		if g.from <= to && g.to > from {
			return true
		}
	}
	return false
}

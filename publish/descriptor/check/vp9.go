package check

import "github.com/weft-rtc/weft/publish/descriptor"

// vp9 tells the references of VP9 (RFC 9628 section 4.2): in flexible mode the
// descriptor has them, else the picture group, by the place of the picture in it.
// Without either, a picture refers to the one before.
type vp9 struct {
	pictures wrap
	count    int64 // names pictures that have no id

	last     *frame // that was judged
	tl0      uint8  // of the last picture of temporal layer 0
	base     int64  // that picture
	hasTL0   bool
	group    descriptor.VP9Structure
	groupAt  int64 // picture with which the group begins
	hasGroup bool
	strayed  bool // pictures do not follow the group: the structure of another was lost
	tail     *Packet
}

// vp9Part is what judge needs of a first packet.
type vp9Part struct {
	descriptor.VP9
	structure *descriptor.VP9Structure
}

func (v *vp9) read(p *Packet) (part, error) {
	d, err := descriptor.ParseVP9(p.Payload)
	if err != nil {
		return part{}, err
	}
	switch {
	case d.PictureIDBits != 0:
		v.count = v.pictures.on(d.PictureID, d.PictureIDBits)
	case v.tail == nil || v.tail.Timestamp != p.Timestamp:
		v.count++
	}
	v.tail = p
	is := part{
		name:  name{v.count, d.SID},
		start: d.Start, end: d.End, key: d.Keyframe(),
		sid: d.SID, tid: d.TID,
	}
	detail := vp9Part{VP9: d}
	if s, found := d.Structure(p.Payload); found {
		detail.structure = &s
	}
	is.detail = detail
	return is, nil
}

func (v *vp9) lost(*frame) {}

func (v *vp9) judge(c *checker, f *frame) bool {
	d := f.detail.(vp9Part)
	first := v.last == nil || v.last.name.picture != f.name.picture
	v.order(c, f)
	if d.HasTL0 {
		v.judgeTL0(c, f, d.TL0, first)
	}
	if s := d.structure; s != nil && s.HasGroup {
		v.group, v.groupAt, v.hasGroup = *s, f.name.picture, s.Pictures > 0
		v.strayed = false
	}
	can := !v.strays(c, f, d)
	for _, diff := range v.diffs(f, d) {
		if !can {
			break
		}
		can = c.refers(f, name{f.name.picture - int64(diff), f.sid}) && can
	}
	if d.InterLayer && f.sid > 0 {
		can = c.refers(f, name{f.name.picture, f.sid - 1}) && can
	}
	if f.sid == 0 && !d.Predicted && d.InterLayer {
		c.problem(f.first, ErrReference, "the lowest layer of %v refers to a lower one", f.name)
		can = false
	}
	v.last = f
	return can
}

// strays reports whether the references of f cannot be told, since it does not
// have the place in the picture group that its picture id says.
func (v *vp9) strays(c *checker, f *frame, d vp9Part) bool {
	if !d.Predicted || d.Flexible || !v.hasGroup || v.strayed {
		return v.strayed && d.Predicted && !d.Flexible
	}
	at := (f.name.picture - v.groupAt) % int64(v.group.Pictures)
	if at >= 0 && v.group.Group[at].TID == d.TID {
		return false
	}
	v.strayed = true
	if !c.lostBetween(v.groupAt, f.name.picture) {
		c.problem(f.first, ErrReference, "frame %v is of temporal layer %d, not what the group says", f.name, d.TID)
	}
	return true
}

// order holds picture id and spatial layer against the frame before.
func (v *vp9) order(c *checker, f *frame) {
	if v.last == nil {
		return
	}
	a, b := v.last.name, f.name
	switch {
	case b.picture < a.picture, b.picture == a.picture && b.layer <= a.layer:
		c.problem(f.first, ErrOrder, "frame %v after %v", b, a)
	case b.picture == a.picture && v.last.first.Timestamp != f.first.Timestamp:
		c.problem(f.first, ErrOrder, "frame %v has another timestamp than %v", b, a)
	}
}

// judgeTL0 holds TL0PICIDX against the last picture of temporal layer 0.
func (v *vp9) judgeTL0(c *checker, f *frame, tl0 uint8, first bool) {
	want := v.tl0
	if f.tid == 0 && first {
		want++
	}
	if v.hasTL0 && tl0 != want && !c.lostBetween(v.base, f.name.picture) {
		c.problem(f.first, ErrTL0, "%d at layer %d, %d expected", tl0, f.tid, want)
	}
	if f.tid == 0 {
		v.tl0, v.base, v.hasTL0 = tl0, f.name.picture, true
	}
}

// diffs returns how many pictures back the references of f are.
func (v *vp9) diffs(f *frame, d vp9Part) []uint8 {
	switch {
	case !d.Predicted:
		return nil
	case d.Flexible:
		return d.Diffs[:d.DiffCount]
	case v.hasGroup:
		at := (f.name.picture - v.groupAt) % int64(v.group.Pictures)
		if at < 0 {
			return nil
		}
		p := &v.group.Group[at]
		return p.Diffs[:p.DiffCount]
	default:
		return []uint8{1}
	}
}

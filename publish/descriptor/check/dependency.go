package check

import "github.com/weft-rtc/weft/publish/descriptor"

// dependency tells the references by dependency descriptors, which have them all
// (AV1 RTP specification section A.8).
type dependency struct {
	parser descriptor.Parser
	last   *frame
}

func (v *dependency) read(p *Packet) (part, error) {
	f, err := v.parser.Parse(p.Extension)
	if err != nil {
		return part{}, err
	}
	return part{
		name:  name{picture: f.ID},
		start: f.Start, end: f.End, key: f.Keyframe,
		sid: f.SpatialID, tid: f.TemporalID, detail: f,
	}, nil
}

func (v *dependency) lost(*frame) {}

func (v *dependency) judge(c *checker, f *frame) bool {
	if v.last != nil && f.name.picture <= v.last.name.picture {
		c.problem(f.first, ErrOrder, "frame number %d after %d", f.name.picture, v.last.name.picture)
	}
	v.last = f
	d := f.detail.(descriptor.Frame)
	can := true
	for id := range d.References() {
		can = c.refers(f, name{picture: id}) && can
	}
	return can
}

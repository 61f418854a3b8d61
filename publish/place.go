package publish

import "github.com/weft-rtc/weft/publish/descriptor"

// Place says where in a scalable stream a packet stands, whatever descriptor it
// was that told so.
type Place struct {
	Targets *Targets // nil: the stream is not scalable, as far as the packet tells
	Roles   uint64   // what the frame is to each target, two bits for each; see Role
	Active  uint32   // a bit for each target that can be had now

	Spatial, Temporal    uint8
	LayerStart, LayerEnd bool // first, last packet of the frame; a picture has one for each spatial layer

	// What the codec's own descriptor says, in VP8 and VP9, if there is no dependency
	// descriptor; modulo 1<<7 or 1<<15.
	HasPicture bool
	TL0        uint8  // TL0PICIDX, 0 if there is none
	Picture    uint16 // picture id

	// Sync: who has all lower temporal layers can decode the frame, whatever they
	// have of its own. A role of Switch counts for them too.
	Sync bool
}

// Role returns what the packet's frame is to a target.
func (p *Place) Role(target int) descriptor.DTI {
	return descriptor.DTI(p.Roles >> (2 * target) & 3)
}

// The targets of the codecs that number layers only.
var (
	vp8Targets = newGrid(1)
	vp9Targets = newGrid(descriptor.MaxSpatialLayers)
)

// turn is what can be done at a frame of a grid.
type turn uint8

const (
	turnNone turn = iota // nothing but to leave out layers
	turnOwn              // to come to more temporal layers, on its own spatial layer
	turnSync             // to come to its own layers
	turnAll              // to come to any layers: a key picture
	turns
)

// gridRoles are the roles of a frame of a grid, by what it is a turn for and by
// its layers.
var gridRoles = func() (roles [turns][descriptor.MaxSpatialLayers][gridTemporal]uint64) {
	for turn := range roles {
		for s := range roles[turn] {
			for t := range roles[turn][s] {
				roles[turn][s][t] = gridRole(vp9Targets, uint8(turn), s, t)
			}
		}
	}
	return roles
}()

func gridRole(g *Targets, what uint8, spatial, temporal int) (roles uint64) {
	for i := range g.count {
		s, t := g.Layers(i)
		if s < spatial || t < temporal {
			continue // not present
		}
		role := descriptor.Required
		switch turn(what) {
		case turnAll:
			role = descriptor.Switch
		case turnOwn:
			if s == spatial {
				role = descriptor.Switch
			}
		case turnSync:
			if s == spatial && t == temporal {
				role = descriptor.Switch
			}
		}
		roles |= uint64(role) << (2 * i)
	}
	return roles
}

// placeVP8 places a packet by its descriptor, of which temporal layers are all
// that it knows. Y says that a frame depends on layer 0 only (RFC 7741 section
// 4.2), so that a viewer may come to its layer here, to no higher one.
func placeVP8(d *descriptor.VP8, marker bool) Place {
	p := Place{HasPicture: d.PictureIDBits != 0, Picture: d.PictureID, TL0: d.TL0}
	if !d.HasTID {
		return p
	}
	what := turnNone
	switch {
	case d.Keyframe:
		what = turnAll
	case d.LayerSync && d.TID > 0:
		what = turnSync
	}
	p.Targets, p.Active, p.Roles = vp8Targets, vp8Targets.all(), gridRoles[what][0][d.TID]
	p.Temporal, p.LayerStart, p.LayerEnd, p.Sync = d.TID, d.Start, marker, what == turnSync
	return p
}

// placeVP9 places a packet by its descriptor (RFC 9628 section 4.2). Spatial
// layers are come to at key pictures only: at a frame of an upper layer that
// refers to no other picture it would be allowed as well, but then the picture's
// end has been marked on the layer below already.
func placeVP9(d *descriptor.VP9) Place {
	p := Place{HasPicture: d.PictureIDBits != 0, Picture: d.PictureID, TL0: d.TL0}
	if !d.Layered {
		return p
	}
	what := turnNone
	switch {
	case d.Keyframe():
		what = turnAll
	case d.SwitchUp:
		what = turnOwn
	}
	t := min(d.TID, gridTemporal-1)
	p.Targets, p.Active, p.Roles = vp9Targets, vp9Targets.all(), gridRoles[what][d.SID][t]
	p.Spatial, p.Temporal, p.LayerStart, p.LayerEnd = d.SID, t, d.Start, d.End
	return p
}

// placeFrame places a packet by its dependency descriptor, whose structure has
// these targets.
func placeFrame(f *descriptor.Frame, t *Targets) Place {
	p := Place{
		Targets: t, Active: f.Active, Spatial: f.SpatialID, Temporal: f.TemporalID,
		LayerStart: f.Start, LayerEnd: f.End,
	}
	for i, role := range f.DTIs[:t.count] {
		p.Roles |= uint64(role) << (2 * i)
	}
	return p
}

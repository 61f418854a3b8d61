package publish

import "github.com/weft-rtc/weft/publish/descriptor"

// Targets are the qualities that viewers can be given of one scalable RTP stream:
// its decode targets, in the words of the AV1 RTP specification, section A.4. A
// stream whose descriptors number layers only (VP8, VP9) has one for each pair of
// spatial and temporal layer. Nothing changes one once it is made.
type Targets struct {
	count  int
	layers [descriptor.MaxTargets]targetLayers
	within [descriptor.MaxTargets]uint32 // by target: those that need no other frames than it
}

type targetLayers struct{ spatial, temporal uint8 }

// Len returns how many targets there are, at most descriptor.MaxTargets.
func (t *Targets) Len() int { return t.count }

// Layers returns the highest spatial and temporal layer of a target, from 0.
func (t *Targets) Layers(target int) (spatial, temporal int) {
	l := t.layers[target]
	return int(l.spatial), int(l.temporal)
}

// Within reports whether all frames of target a are frames of target b, so that a
// viewer of b can be given a from any frame on.
func (t *Targets) Within(a, b int) bool { return t.within[b]>>a&1 != 0 }

// Best returns the target of a mask with the highest spatial layer, and among
// these the highest temporal one, that needs no higher layers than these. It
// reports false when there is none.
func (t *Targets) Best(mask uint32, spatial, temporal int) (target int, found bool) {
	var best targetLayers
	for i, l := range t.layers[:t.count] {
		if mask>>i&1 == 0 || int(l.spatial) > spatial || int(l.temporal) > temporal {
			continue
		}
		if !found || l.spatial > best.spatial || l.spatial == best.spatial && l.temporal > best.temporal {
			target, best, found = i, l, true
		}
	}
	return target, found
}

// all is the mask of all targets.
func (t *Targets) all() uint32 { return uint32(1<<t.count - 1) }

// gridTemporal is how many temporal layers a grid tells apart: VP8 has no more,
// and what else has is taken for the highest of these.
const gridTemporal = 4

// newGrid makes the targets of a stream whose layers need all lower ones: target
// s*gridTemporal+t has spatial layers up to s and temporal layers up to t.
func newGrid(spatial int) *Targets {
	t := &Targets{count: spatial * gridTemporal}
	for i := range t.count {
		t.layers[i] = targetLayers{uint8(i / gridTemporal), uint8(i % gridTemporal)}
		for j := range t.count {
			if j/gridTemporal <= i/gridTemporal && j%gridTemporal <= i%gridTemporal {
				t.within[i] |= 1 << j
			}
		}
	}
	return t
}

// newTargets makes the targets of a template structure.
func newTargets(s *descriptor.Structure) *Targets {
	t := &Targets{count: int(s.TargetCount)}
	for i, of := range s.Targets[:t.count] {
		t.layers[i] = targetLayers{of.SpatialID, of.TemporalID}
		t.within[i] = t.all()
	}
	for i := range s.Templates[:s.TemplateCount] {
		d := &s.Templates[i].DTIs
		var present uint32
		for target := range t.count {
			if d[target] != descriptor.NotPresent {
				present |= 1 << target
			}
		}
		for target := range t.count {
			if present>>target&1 == 0 { // so it has no part of those that need the template
				t.within[target] &^= present
			}
		}
	}
	return t
}

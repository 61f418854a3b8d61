package subscribe

import (
	"github.com/weft-rtc/weft/publish"
	"github.com/weft-rtc/weft/publish/descriptor"
)

// anyLayer is as good as no limit to spatial or temporal layers.
const anyLayer = 7

// aim is which decode target of a scalable stream is forwarded, and how much is
// wanted. It changes at the first packets of frames, in order: to what needs no
// more frames than the present target from any frame on, to more where the
// descriptor allows it, so that nothing is sent that refers to what was not. It is
// not safe for concurrent use.
type aim struct {
	targets           *publish.Targets // of the newest frame; nil: the stream is not scalable
	current           int              // target that is forwarded
	spatial, temporal int              // at most wanted, from 0
}

// begin makes the next frame set the target, whatever was before.
func (a *aim) begin() { a.targets = nil }

// layers returns the spatial and temporal layer that are forwarded.
func (a *aim) layers() (spatial, temporal int) {
	if a.targets == nil {
		return anyLayer, anyLayer
	}
	return a.targets.Layers(a.current)
}

// admits reports whether a packet that comes in order is part of the target, which
// changes here if it should and can.
func (a *aim) admits(p *publish.Packet) bool {
	if p.Targets == nil {
		return true
	}
	switch {
	case a.targets == nil:
		a.targets, a.current = p.Targets, a.want(p, a.spatial, a.temporal)
	case a.targets != p.Targets: // another structure, which comes with a key picture
		spatial, temporal := a.layers()
		if p.Keyframe {
			spatial, temporal = a.spatial, a.temporal
		}
		a.targets, a.current = p.Targets, a.want(p, spatial, temporal)
	case p.LayerStart:
		a.current = a.next(p)
	}
	return p.Role(a.current) != descriptor.NotPresent
}

// want returns the best of the targets that can be had now within these layers,
// the lowest of all if there is none.
func (a *aim) want(p *publish.Packet, spatial, temporal int) int {
	if t, ok := p.Targets.Best(p.Active, spatial, temporal); ok {
		return t
	}
	for limit := range anyLayer + 1 {
		if t, ok := p.Targets.Best(^uint32(0), limit, 0); ok {
			return t
		}
	}
	return 0
}

// next returns the target from the frame on that p begins.
func (a *aim) next(p *publish.Packet) int {
	want := a.want(p, a.spatial, a.temporal)
	if want == a.current || a.reachable(p, want) {
		return want
	}
	// Not to be had here, but perhaps one that is nearer to it.
	best, from := a.current, a.current
	for t := range a.targets.Len() {
		if t == from || !a.targets.Within(t, want) || !a.better(t, best) || !a.reachable(p, t) {
			continue
		}
		best = t
	}
	return best
}

// better reports whether target a has more layers than b.
func (a *aim) better(x, y int) bool {
	xs, xt := a.targets.Layers(x)
	ys, yt := a.targets.Layers(y)
	return xs > ys || xs == ys && xt > yt
}

// reachable reports whether a viewer of the current target can be given another
// one from the frame on that p begins.
func (a *aim) reachable(p *publish.Packet, target int) bool {
	switch p.Role(target) {
	case descriptor.NotPresent: // then the picture might lack its end
		return false
	case descriptor.Switch:
		if p.Keyframe || p.Role(a.current) != descriptor.NotPresent || p.Sync && a.above(target) {
			return true
		}
	}
	return a.targets.Within(target, a.current)
}

// above reports whether a target has one temporal layer more than the current one.
func (a *aim) above(target int) bool {
	s, t := a.targets.Layers(target)
	cs, ct := a.targets.Layers(a.current)
	return s == cs && t == ct+1
}

// filler stands for a target of which nothing is sent: the packet only fills its
// hole.
const filler = 0xff

// part reports whether a packet is part of a target, and whether it ends the
// picture for who gets that target.
func part(p *publish.Packet, target uint8) (sent, marker bool) {
	if target == filler {
		return false, false
	}
	if p.Targets == nil {
		return true, p.Marker
	}
	if int(target) >= p.Targets.Len() || p.Role(int(target)) == descriptor.NotPresent {
		return false, false
	}
	top, _ := p.Targets.Layers(int(target))
	return true, p.Marker || p.LayerEnd && int(p.Spatial) == top
}

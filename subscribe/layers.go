package subscribe

import (
	"time"

	"github.com/weft-rtc/weft/publish"
)

const (
	// switchPatience is how long a change of layers waits for the key picture of
	// the new one. The old one goes on meanwhile.
	switchPatience = 4 * time.Second
	// downPatience is how long a change to a lower spatial layer waits for a frame
	// at which it can be done without a key picture: at the next one, as a rule.
	downPatience = 300 * time.Millisecond
	// avoidFor is how long a layer that did not bring one is not tried again.
	avoidFor = 5 * time.Second
)

// moves is what is to be done about a track's layers once mu is given back.
type moves struct {
	leave, enter *input
	ask          *publish.Layer // for a key picture
}

// move does it. mu is not held.
func (f *Forwarder) move(m moves, now time.Time) {
	if m.leave != nil {
		m.leave.layer.Remove(m.leave)
	}
	if m.enter != nil {
		m.enter.layer.Add(m.enter)
		f.dropOutdated(m.enter)
	}
	if m.ask != nil {
		m.ask.RequestKeyframe(now)
	}
}

// SetWish says what the subscriber wants from now on.
func (f *Forwarder) SetWish(w Wish, now time.Time) {
	f.mu.Lock()
	if f.paused != w.Paused {
		f.paused, f.phase = w.Paused, waiting
	}
	f.wish = w
	m := f.decide(now)
	f.mu.Unlock()
	f.move(m, now)
}

// Layer returns the layer that is forwarded, and the one that it is changing to;
// nil for none.
func (f *Forwarder) Layer() (current, target *publish.Layer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.in != nil {
		current = f.in.layer
	}
	if f.coming != nil {
		target = f.coming.layer
	}
	return current, target
}

// Quality is what a subscriber gets, or is to get, of a track.
type Quality struct {
	RID               string // layer of simulcast, empty if there is but one
	Spatial, Temporal int    // highest layer within it, from 0; negative: it has none
	Width, Height     int    // in pixels; 0: not known
}

// Quality returns what is sent, and what is waited for: the same if nothing is.
// Not ok without a track.
func (f *Forwarder) Quality(now time.Time) (current, target Quality, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.in == nil {
		return current, target, false
	}
	spatial, temporal := f.aim.layers()
	current = describe(quality{f.in.layer, spatial}, temporal, now)
	target = current
	if f.target.layer != nil {
		target = describe(f.target, temporal, now)
	}
	return current, target, true
}

func describe(q quality, temporal int, now time.Time) Quality {
	d := Quality{RID: q.layer.RID(), Spatial: -1, Temporal: -1}
	d.Width, d.Height = q.layer.Size()
	if n := q.layer.SpatialLayers(); n > 1 && q.spatial < n {
		d.Spatial = q.spatial
		d.Width, d.Height, _ = q.layer.Spatial(q.spatial, now)
	}
	if temporal < anyLayer {
		d.Temporal = temporal
	}
	return d
}

// Wanted returns the layer that would be sent if all were there, nil for none, and
// the layers that the forwarder is a sink of now.
func (f *Forwarder) Wanted(now time.Time) (want *publish.Layer, on [2]*publish.Layer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.in == nil {
		return nil, on
	}
	on[0] = f.in.layer
	if f.coming != nil {
		on[1] = f.coming.layer
	}
	if f.paused || f.muted != ReasonNone {
		return nil, on
	}
	if f.only != nil {
		return f.only, on
	}
	var room [maxOptions]option
	options := appendOptions(room[:0], f.track.Layers(), now)
	for i := range options {
		options[i].usable = true
	}
	return options[choose(options, f.wish, 0)].layer, on
}

// decide sees to it that what is sent is what it should be: it begins a change,
// waits for one, or gives it up. Callers hold mu.
func (f *Forwarder) decide(now time.Time) (m moves) {
	if f.in == nil || f.only != nil {
		return m
	}
	layers := f.track.Layers()
	if len(layers) == 1 && f.in.layer.SpatialLayers() < 2 {
		f.aimAt(whole(f.in.layer), now)
		f.target = quality{}
		return m
	}
	want := f.best(layers, now)
	if f.phase == waiting && want.layer != f.in.layer { // nothing flows that could go on meanwhile
		m.leave, m.enter = f.in, f.enter(want.layer)
		f.forgetNext(&m)
		f.in, f.target = m.enter, quality{}
		f.times.rebase = true
	} else if want.layer == f.in.layer {
		m.leave, f.coming = f.coming, nil
	}
	if want.layer == f.in.layer {
		f.aimAt(want, now)
	}
	spatial, _ := f.aim.layers()
	if want.layer != f.in.layer {
		f.aim.temporal = f.temporal(quality{f.in.layer, spatial}, now)
	}
	down := want.layer == f.in.layer && spatial > want.spatial
	switch {
	case want.layer == f.in.layer && (spatial == want.spatial || want.spatial == anyLayer || f.phase == waiting):
		f.target = quality{}
	case f.target != want:
		f.target, f.since = want, now
		if want.layer != f.in.layer && (f.coming == nil || f.coming.layer != want.layer) {
			m.leave, m.enter = f.coming, f.enter(want.layer)
			f.coming = m.enter
		}
		if !down {
			m.ask = want.layer
		}
	case down && now.Sub(f.since) < downPatience:
	case now.Sub(f.since) < switchPatience:
		m.ask = want.layer // again, which the layer limits
	default:
		f.avoid, f.avoidUntil = want, now.Add(avoidFor)
		m.leave, f.coming, f.target = f.coming, nil, quality{}
	}
	return m
}

// reconsider aims anew at a key picture, from which all can be had. Callers hold mu.
func (f *Forwarder) reconsider(now time.Time) {
	if f.only != nil {
		return
	}
	if want := f.best(f.track.Layers(), now); want.layer == f.in.layer {
		f.aimAt(want, now)
	}
}

// aimAt limits what is sent of the present stream. Callers hold mu.
func (f *Forwarder) aimAt(q quality, now time.Time) {
	f.aim.spatial, f.aim.temporal = q.spatial, f.temporal(q, now)
}

// temporal returns the highest temporal layer to be sent of a quality.
func (f *Forwarder) temporal(q quality, now time.Time) int {
	var rates publish.Rates
	if f.wish.FrameRate > 0 {
		rates = q.layer.Rates(now)
	}
	return temporalLimit(f.wish, &rates, q.spatial)
}

// best chooses, with what holds now. Callers hold mu.
func (f *Forwarder) best(layers []*publish.Layer, now time.Time) quality {
	var room [maxOptions]option
	options := appendOptions(room[:0], layers, now)
	spatial, _ := f.aim.layers()
	current := 0
	for i := range options {
		o := &options[i]
		if o.quality == f.avoid && now.Before(f.avoidUntil) {
			o.usable = false
		}
		if o.layer == f.in.layer && o.spatial <= spatial {
			current = i
		}
	}
	return options[choose(options, f.wish, current)].quality
}

// forgetNext drops a change under way when the track is entered anew. There are
// then two inputs to leave; the one that waits is left at once.
func (f *Forwarder) forgetNext(m *moves) {
	if f.coming != nil {
		next := f.coming
		f.coming = nil
		next.layer.Remove(next)
	}
}

func (f *Forwarder) enter(l *publish.Layer) *input { return &input{f: f, layer: l} }

// change moves to the layer of f.coming, whose key picture p begins. It returns
// the input that is left. Callers hold mu.
func (f *Forwarder) change(p *publish.Packet) (left *input) {
	left = f.in
	f.times.change(left.layer, f.coming.layer, p)
	f.in, f.coming = f.coming, nil
	f.begin(f.in.layer, p.Index)
	f.aimAt(f.target, p.Arrival)
	f.target = quality{}
	f.phase, f.liveFrom = live, p.Index
	f.stats.Switches++
	return left
}

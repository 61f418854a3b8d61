package subscribe

import (
	"time"

	"github.com/weft-rtc/weft/publish"
)

const (
	// switchPatience is how long a change of layers waits for the key picture of
	// the new one. The old one goes on meanwhile.
	switchPatience = 4 * time.Second
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

// Wanted returns the layer that would be sent if all were there, nil for none, and
// the layers that the forwarder is a sink of now.
func (f *Forwarder) Wanted() (want *publish.Layer, on [2]*publish.Layer) {
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
	layers := f.track.Layers()
	options := make([]option, len(layers))
	for i, l := range layers {
		options[i] = option{layer: l, usable: true}
		options[i].width, options[i].height = l.Size()
	}
	return layers[choose(options, f.wish, 0)], on
}

// decide sees to it that the layer is the one that it should be: it begins a
// change, waits for one, or gives it up. Callers hold mu.
func (f *Forwarder) decide(now time.Time) (m moves) {
	if f.in == nil {
		return m
	}
	layers := f.track.Layers()
	if len(layers) == 1 {
		return m
	}
	want := layers[choose(f.options(layers, now))]
	switch {
	case want == f.in.layer:
		m.leave, f.coming = f.coming, nil
	case f.phase == waiting: // nothing flows that could go on meanwhile
		m.leave, m.enter = f.in, f.enter(want)
		f.forgetNext(&m)
		f.in = m.enter
		f.times.rebase = true
	case f.coming == nil || f.coming.layer != want:
		m.leave, m.enter, m.ask = f.coming, f.enter(want), want
		f.coming, f.comingSince = m.enter, now
	case now.Sub(f.comingSince) < switchPatience:
		m.ask = want // again, which the layer limits
	default:
		f.avoid, f.avoidUntil = want, now.Add(avoidFor)
		m.leave, f.coming = f.coming, nil
	}
	return m
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

// options lists what may be chosen, with what holds now.
func (f *Forwarder) options(layers []*publish.Layer, now time.Time) (options []option, w Wish, current int) {
	options = make([]option, len(layers))
	for i, l := range layers {
		avoided := l == f.avoid && now.Before(f.avoidUntil)
		options[i] = option{layer: l, usable: l.Active(now) && !avoided}
		options[i].width, options[i].height = l.Size()
		if l == f.in.layer {
			current = i
		}
	}
	return options, f.wish, current
}

// change moves to the layer of f.coming, whose key picture p begins. It returns
// the input that is left. Callers hold mu.
func (f *Forwarder) change(p *publish.Packet) (left *input) {
	left = f.in
	f.times.change(left.layer, f.coming.layer, p)
	f.in, f.coming = f.coming, nil
	f.begin(f.in.layer, p.Index)
	f.phase, f.liveFrom = live, p.Index
	f.stats.Switches++
	return left
}

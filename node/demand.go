package node

import (
	"slices"
	"time"

	"github.com/weft-rtc/weft/mesh/signal"
	"github.com/weft-rtc/weft/publish"
	"github.com/weft-rtc/weft/subscribe"
)

// idleFor is how long a layer stays wanted after the last viewer of it: one who
// has just made a picture small may make it large again.
const idleFor = 5 * time.Second

// demand is which layers of a track the publisher was told to send. It belongs to
// the Peer's loop.
type demand struct {
	wanted map[string]time.Time // when a layer was wanted last, by RID
	told   []string             // sorted; nil: nothing, it sends all
}

// update takes which layers are wanted now, of those that have come, and returns
// what to tell the publisher, if that is news. The lowest layer is always wanted:
// whoever comes sees at once. So are announced ones that have yet to come. Pure
// but for the receiver.
func (d *demand) update(announced []string, layers []*publish.Layer, now time.Time, wants func(*publish.Layer) bool) (rids []string, news bool) {
	if d.wanted == nil {
		d.wanted = map[string]time.Time{}
	}
	rids = slices.DeleteFunc(slices.Clone(announced), func(rid string) bool {
		return slices.ContainsFunc(layers, func(l *publish.Layer) bool { return l.RID() == rid })
	})
	for i, l := range layers {
		last, known := d.wanted[l.RID()]
		if i == 0 || !known || wants(l) {
			last = now
			d.wanted[l.RID()] = now
		}
		if now.Sub(last) < idleFor {
			rids = append(rids, l.RID())
		}
	}
	slices.Sort(rids)
	if d.told != nil && slices.Equal(rids, d.told) || len(announced) < 2 && len(layers) < 2 {
		return nil, false
	}
	d.told = rids
	return rids, true
}

// tellLayers tells publishers which of their layers somebody wants, so that they
// need not make the others. Only the loop calls it.
func (p *Peer) tellLayers(now time.Time) {
	type letter struct {
		to   *remote
		wish streamWish
	}
	var letters []letter
	p.mu.Lock()
	wanted, ours := p.wantedLayers(now)
	for _, r := range p.remotes {
		if !r.ready {
			continue
		}
		for _, in := range r.in {
			t := in.track.Load()
			if t == nil || len(t.Layers()) < 2 {
				continue
			}
			rids, news := in.demand.update(in.recv.RIDs(), t.Layers(), now, func(l *publish.Layer) bool {
				return wanted[l] || l.Sinks() > ours[l] // a recorder, say
			})
			if news {
				letters = append(letters, letter{r, streamWish{Label: in.label, RIDs: rids}})
			}
		}
	}
	p.mu.Unlock()
	for _, l := range letters {
		l.to.send(signal.EventSubscribe, subscribeEvent{[]streamWish{l.wish}})
	}
}

// wantedLayers returns the layers that viewers want, and of how many viewers each
// layer has a sink. Peer.mu is held.
func (p *Peer) wantedLayers(now time.Time) (wanted map[*publish.Layer]bool, ours map[*publish.Layer]int) {
	wanted, ours = map[*publish.Layer]bool{}, map[*publish.Layer]int{}
	for _, r := range p.remotes {
		for _, s := range r.subs {
			s.each(func(f *subscribe.Forwarder) {
				want, on := f.Wanted(now)
				if want != nil {
					wanted[want] = true
				}
				for _, l := range on {
					if l != nil {
						ours[l]++
					}
				}
			})
		}
	}
	return wanted, ours
}

package node

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/mesh/conn"
	"github.com/weft-rtc/weft/mesh/sdp"
	"github.com/weft-rtc/weft/publish"
	"github.com/weft-rtc/weft/subscribe"
)

// view is what a guest that watches gets: one audio and one video at most, whose
// tracks are switched without signaling. Guarded by Peer.mu.
type view struct {
	guest    *Guest
	stream   string
	whole    bool
	shown    map[codec.Kind]*subscription
	wish     Wish // what the guest chose
	throttle throttle
	limit    int          // layers at most by throttle; 0: any
	remb     atomic.Int64 // bit/s that the guest last said it can take; 0: it has not
}

// viewStream is the stream that a view is in the guest's description.
const viewStream = "weft"

// newView makes a view with the kinds of media that the guest offers.
func newView(g *Guest, kinds []codec.Kind) *view {
	v := &view{guest: g, stream: g.cfg.Watch.Stream, whole: g.cfg.Watch.Stream == "", shown: map[codec.Kind]*subscription{}}
	for _, kind := range kinds {
		s := &subscription{
			label: kind.String(),
			send:  sdp.Send{ID: kind.String(), Kind: kind, StreamID: viewStream, SSRC: newSSRC()},
		}
		if kind == codec.Video {
			s.send.RTXSSRC = newSSRC()
		}
		s.forward = subscribe.NewForwarder(subscribe.Config{
			SSRC: s.send.SSRC, RTXSSRC: s.send.RTXSSRC, CNAME: viewStream, Logger: g.log.With("view", s.label),
		})
		v.shown[kind] = s
		g.r.subs[s.send.ID] = s
	}
	return v
}

// sends is what the guest is to be sent.
func (v *view) sends() (all []sdp.Send) {
	for _, kind := range []codec.Kind{codec.Audio, codec.Video} {
		if s := v.shown[kind]; s != nil {
			all = append(all, s.send)
		}
	}
	return all
}

// bind gives a track its way out.
func (v *view) bind(sender *conn.Sender) {
	s := v.guest.r.subs[sender.ID()]
	if s == nil {
		return
	}
	s.bind(sender)
	forward := s.forward
	sender.SetFeedback(func(pkts []rtcp.Packet, now time.Time) {
		for _, p := range pkts {
			if remb, ok := p.(*rtcp.ReceiverEstimatedMaximumBitrate); ok {
				v.remb.Store(int64(min(remb.Bitrate, 1<<40)))
			}
		}
		forward.HandleRTCP(pkts, now)
	})
}

// sources lists what the view may show, who is here longest first.
func (v *view) sources() (all []source) {
	p := v.guest.peer
	for _, pub := range p.table.sorted() {
		r := p.remotes[pub.via]
		switch {
		case !p.role.forwards(pub, v.guest.r.audience), pub.only != "":
			continue
		case v.whole:
		case pub.origin == "" && pub.label != v.stream, pub.origin != "" && (r == nil || !r.called(v.stream)):
			continue
		}
		s := source{peer: pub.origin}
		if r != nil {
			s.since = r.since
		}
		for _, slot := range pub.slots {
			switch t := slot.track; {
			case t.Ended(): // its publisher is about to come back
			case t.Kind() == codec.Video && s.video == nil:
				s.video = t
			case t.Kind() == codec.Audio && s.audio == nil:
				s.audio = t
			}
		}
		if s.video != nil || s.audio != nil {
			all = append(all, s)
		}
	}
	slices.SortStableFunc(all, func(a, b source) int { return a.since.Compare(b.since) })
	return all
}

// follow shows what is to be seen now. Peer.mu is held. Of a guest that publishes
// it does nothing.
func (g *Guest) follow() {
	v := g.view
	if v == nil || g.r.state == conn.StateClosed {
		return
	}
	sources := v.sources()
	var order []string
	if v.whole {
		order = g.peer.speakers.order
	}
	for kind, s := range v.shown {
		if t := pickTrack(kind, sources, order, s.track); t != nil {
			s.show(t)
		}
	}
}

// show puts a track into a view's subscription.
func (s *subscription) show(t *publish.Track) {
	if s.track != t {
		s.replace(t)
	}
}

// followSpeakers lets the views of the whole room follow who speaks. Peer.mu is
// held.
func (p *Peer) followSpeakers() {
	for g := range p.guests {
		if g.view != nil && g.view.whole {
			g.follow()
		}
	}
}

// throttleViews limits the layers of guests by what they report of loss, until
// there is an estimate of their bandwidth. Only the loop calls it.
func (p *Peer) throttleViews(now time.Time) {
	type letter struct {
		to   *subscribe.Forwarder
		wish Wish
	}
	var letters []letter
	p.mu.Lock()
	for g := range p.guests {
		if g.view == nil {
			continue
		}
		s := g.view.shown[codec.Video]
		if s == nil || s.track == nil || s.sender == nil || !g.r.ready {
			continue
		}
		if limit := g.view.throttle.update(g.view.observe(s, now), now); limit != g.view.limit {
			g.view.limit = limit
			letters = append(letters, letter{s.forward, g.view.effective()})
		}
	}
	p.mu.Unlock()
	for _, l := range letters { // it may ask a publisher for a key picture
		l.to.SetWish(l.wish, now)
	}
}

// observe makes what throttle goes by.
func (v *view) observe(s *subscription, now time.Time) observation {
	stats := s.forward.Stats()
	o := observation{lost: stats.FractionLost, sent: stats.Bitrate, can: int(v.remb.Load())}
	for i, l := range layersOf(s, now) {
		o.layers++
		if l.Current {
			o.current = i + 1
		}
	}
	return o
}

// effective is the wish with the limit of throttle.
func (v *view) effective() Wish {
	w := v.wish
	if v.limit > 0 && (w.Layer == 0 || w.Layer > v.limit) {
		w.Layer = v.limit
	}
	return w
}

// GuestLayer is one of the qualities that a guest who watches can have.
type GuestLayer struct {
	Name          string // of the layer; those of one stream share it
	Spatial       int    // spatial layer within it, from 0
	Width, Height int    // in pixels; 0: not known
	Bitrate       int    // bit/s of payload, with what it needs of lower ones
	Active        bool   // it is being published
	Current       bool   // it is what the guest gets
}

// layersOf lists what can be chosen of the track of a subscription, as
// subscribe.Wish.Layer counts it.
func layersOf(s *subscription, now time.Time) (all []GuestLayer) {
	if s == nil || s.track == nil || s.send.Kind != codec.Video {
		return nil
	}
	got, _, ok := s.forward.Quality(now)
	for _, l := range s.track.Layers() {
		rates := l.Rates(now)
		x := GuestLayer{Name: wireRID(l), Active: l.Active(now), Bitrate: rates.All().Bitrate}
		x.Width, x.Height = l.Size()
		here := ok && got.RID == l.RID()
		n := l.SpatialLayers()
		if n < 2 {
			x.Current = here
			all = append(all, x)
			continue
		}
		for i := range n {
			x.Spatial, x.Bitrate = i, rates.Within(i, 7).Bitrate
			x.Width, x.Height, x.Active = l.Spatial(i, now)
			x.Current = here && (got.Spatial == i || got.Spatial < 0 && i == n-1)
			all = append(all, x)
		}
	}
	return all
}

// ErrNoLayer: what is watched has no such layer now.
var ErrNoLayer = errors.New("no such layer")

// GuestChoice is what a guest who watches wants of the pictures. The zero value
// leaves it to us.
type GuestChoice struct {
	Name              string // of the layer; empty: any
	Spatial, Temporal *int   // layers at most, from 0; nil: any
}

// Choose takes a choice: a layer, or less where the guest loses packets.
func (g *Guest) Choose(c GuestChoice) error {
	now := time.Now()
	p := g.peer
	p.mu.Lock()
	if g.view == nil || g.view.shown[codec.Video] == nil {
		p.mu.Unlock()
		return ErrNoLayer
	}
	s := g.view.shown[codec.Video]
	w := Wish{}
	if c.Temporal != nil {
		w.Temporal = max(*c.Temporal, 0) + 1
	}
	for i, l := range layersOf(s, now) {
		if (c.Name == "" || strings.EqualFold(l.Name, c.Name)) && (c.Spatial == nil || l.Spatial <= *c.Spatial) {
			w.Layer = i + 1
		}
	}
	if w.Layer == 0 && (c.Name != "" || c.Spatial != nil) {
		p.mu.Unlock()
		return ErrNoLayer
	}
	if c.Name == "" && c.Spatial == nil {
		w.Layer = 0
	}
	g.view.wish = w
	wish := g.view.effective()
	p.mu.Unlock()
	s.forward.SetWish(wish, now)
	return nil
}

// GuestStatus is what a guest who watches sees at the moment.
type GuestStatus struct {
	Active  bool   // something comes
	Viewers int    // guests that watch the same
	Mid     string // of the video section; empty: not negotiated
	Layers  []GuestLayer
}

// Status returns what a guest who watches sees at the moment.
func (g *Guest) Status() GuestStatus {
	now := time.Now()
	p := g.peer
	p.mu.Lock()
	defer p.mu.Unlock()
	if g.view == nil {
		return GuestStatus{}
	}
	st := GuestStatus{Active: len(g.view.sources()) > 0}
	for other := range p.guests {
		if other.view != nil && other.view.stream == g.view.stream && other.r.ready {
			st.Viewers++
		}
	}
	if s := g.view.shown[codec.Video]; s != nil {
		if s.sender != nil {
			st.Mid = s.sender.Mid()
		}
		st.Layers = layersOf(s, now)
	}
	return st
}

// sent lists what goes to the guest; Peer.mu is held.
func (g *Guest) sent(now time.Time) (all []SentStats) {
	for _, s := range g.r.subs {
		if s.track == nil {
			continue
		}
		x := SentStats{Label: s.label, Kind: s.send.Kind, Codec: s.track.Codec().Name, Stats: s.forward.Stats()}
		x.Current, x.Target, _ = s.forward.Quality(now)
		if s.send.Kind == codec.Video {
			x.Wish = g.view.wish
		}
		all = append(all, x)
	}
	slices.SortFunc(all, func(a, b SentStats) int { return strings.Compare(a.Label, b.Label) })
	return all
}

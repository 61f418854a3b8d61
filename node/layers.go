package node

import (
	"slices"
	"time"

	"github.com/pion/rtcp"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/mesh/conn"
	"github.com/weft-rtc/weft/mesh/sdp"
	"github.com/weft-rtc/weft/publish"
	"github.com/weft-rtc/weft/subscribe"
)

// onlyRID is the name on the wire of a layer that has none of its own.
const onlyRID = "0"

// sentLayer is one layer of a track on its way to a hub, which gets them all at
// once and chooses among them for its viewers. Guarded by Peer.mu.
type sentLayer struct {
	send    sdp.Layer
	forward *subscribe.Forwarder
	sender  *conn.Sender // nil until negotiated
}

// layout makes the layers of a subscription those of its track, if the remote peer
// is a hub. Those that stay keep their place and their numbers. Peer.mu is held.
func (r *remote) layout(s *subscription) {
	if s.send.Kind != codec.Video {
		return
	}
	named := r.layersFor(s.track)
	var all []*sentLayer
	for _, l := range s.layers {
		if named[l.send.RID] != nil {
			all = append(all, l)
		} else {
			l.forward.Close()
		}
	}
	for _, pl := range s.track.Layers() { // from low to high
		rid := wireRID(pl)
		if named[rid] == nil {
			continue
		}
		i := slices.IndexFunc(all, func(l *sentLayer) bool { return l.send.RID == rid })
		if i < 0 {
			all = append(all, r.newLayer(s, rid))
			i = len(all) - 1
		}
		all[i].forward.SetLayer(s.track, named[rid])
	}
	if len(all) > 0 && len(s.layers) == 0 && s.sender != nil {
		// The hub forgets the SSRC of the one stream, and what protects it: should
		// the track ever go as one stream again, it has to be another.
		s.forward.Close()
		r.begin(s)
	}
	s.layers, s.send.Layers = all, nil
	for _, l := range all {
		s.send.Layers = append(s.send.Layers, l.send)
	}
	s.applyLimit()
}

// layersFor returns the layers of a track that the remote peer gets, by their names
// on the wire, none if it gets the track as one stream.
func (r *remote) layersFor(t *publish.Track) map[string]*publish.Layer {
	layers := t.Layers()
	if !r.hub || len(layers) == 1 && layers[0].RID() == "" {
		return nil
	}
	named := make(map[string]*publish.Layer, len(layers))
	for _, l := range layers {
		if rid := wireRID(l); named[rid] == nil {
			named[rid] = l
		}
	}
	return named
}

func wireRID(l *publish.Layer) string {
	if l.RID() == "" {
		return onlyRID
	}
	return l.RID()
}

func (r *remote) newLayer(s *subscription, rid string) *sentLayer {
	l := &sentLayer{send: sdp.Layer{RID: rid, SSRC: newSSRC(), RTXSSRC: newSSRC()}}
	l.forward = subscribe.NewForwarder(subscribe.Config{
		SSRC:    l.send.SSRC,
		RTXSSRC: l.send.RTXSSRC,
		Hub:     true,
		CNAME:   s.send.StreamID,
		Logger:  r.log.With("stream", s.label, "layer", rid),
	})
	return l
}

// layered reports whether the track goes in layers now, as the hub agreed.
func (s *subscription) layered() bool { return s.sender != nil && len(s.sender.Layers()) > 0 }

// bindLayers gives the layers the senders that were negotiated for them.
func (s *subscription) bindLayers(senders []*conn.Sender) {
	for _, l := range s.layers {
		i := slices.IndexFunc(senders, func(c *conn.Sender) bool { return c.SSRC() == l.send.SSRC })
		if i < 0 {
			l.sender = nil
			l.forward.Unbind()
			continue
		}
		l.sender = senders[i]
		forward := l.forward
		l.sender.SetFeedback(func(pkts []rtcp.Packet, now time.Time) { forward.HandleRTCP(pkts, now) })
	}
}

// sendLayers lets the layers that are negotiated flow.
func (s *subscription) sendLayers(p subscribe.Payload) {
	for _, l := range s.layers {
		if l.sender == nil {
			continue
		}
		own := p
		if l.sender.RTXSSRC() == 0 { // no extension to tell what a retransmission repairs
			own.RTX = 0
		}
		l.forward.Bind(l.sender, own)
	}
}

// each calls f for the forwarders that are in use.
func (s *subscription) each(f func(*subscribe.Forwarder)) {
	if !s.layered() {
		f(s.forward)
		return
	}
	for _, l := range s.layers {
		f(l.forward)
	}
}

// limit takes which layers of a stream the peer wants at all. Peer.mu is held.
func (r *remote) limit(label string, rids []string) {
	for _, s := range r.subs {
		if s.label == label {
			s.limit = rids
			s.applyLimit()
		}
	}
}

// applyLimit pauses the layers that the peer does not want; one that it wants again
// starts with a key picture.
func (s *subscription) applyLimit() {
	for _, l := range s.layers {
		if s.limit != nil && !slices.Contains(s.limit, l.send.RID) {
			l.forward.Pause()
		} else {
			l.forward.Resume()
		}
	}
}

// followLayers negotiates layers that tracks have got since.
func (p *Peer) followLayers() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.remotes {
		if !r.hub {
			continue
		}
		for _, s := range r.subs {
			if s.send.Kind == codec.Video && len(r.layersFor(s.track)) != len(s.layers) {
				r.reconcile()
				break
			}
		}
	}
}

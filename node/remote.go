package node

import (
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/pion/rtcp"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/mesh/conn"
	"github.com/weft-rtc/weft/mesh/sdp"
	"github.com/weft-rtc/weft/mesh/signal"
	"github.com/weft-rtc/weft/publish"
	"github.com/weft-rtc/weft/subscribe"
)

// remote is another member of the room that is reached directly: its link, and
// what goes over it. Its fields are guarded by the Peer's mu.
type remote struct {
	peer  *Peer
	link  party
	guest *Guest // nil: it came by a link
	log   *slog.Logger

	since time.Time // when the link was made
	hub   bool      // says hub: true of itself
	ready bool      // control channel open
	state conn.State
	subs  map[string]*subscription // by id of the send
	in    map[*conn.Receiver]*inbound
	talk  *rate.Limiter // messages relayed for the peer

	channels []*Channel
	wishes   map[channelKey]bool // channels that the link was asked to open and has not yet
	changed  chan struct{}       // closed, and made anew, when channels or state change

	wants map[string]Wish // what the peer wants of streams, by wire label

	behind map[string]*rosterPeer // whom this hub says it stands for, by id
	told   role                   // our role as the peer knows it; of the loop
	shown  shown

	refused uint64 // tracks that were not taken
	dropped uint64 // packets of tracks that have ended, above the bitrate

	audience
}

// subscription is one remote peer's copy of one slot of a publication.
type subscription struct {
	label   string // of the stream, as on the wire
	send    sdp.Send
	track   *publish.Track
	forward *subscribe.Forwarder
	sender  *conn.Sender // nil until negotiated
	layers  []*sentLayer // what a hub gets at once; nil: the track goes as one stream
	muted   string       // reason, empty while the track flows
	origin  string       // whose stream it is
	held    bool         // the hub's policy keeps it back
	limit   []string     // the layers alone that the peer wants, by RID; nil: it has not said
}

// reconcile makes the subscriptions of r what the table and the rule say, and
// tells the link. Peer.mu is held.
func (r *remote) reconcile() {
	if r.guest != nil {
		r.guest.follow()
		return
	}
	if !r.ready {
		return
	}
	wanted := map[string]bool{}
	labels := map[string]string{}
	var sends []sdp.Send
	for _, pub := range r.peer.table.sorted() {
		if !r.peer.role.forwards(pub, r.audience) || r.peer.table.overrides(pub, r.id) {
			continue
		}
		labels[pub.streamID] = pub.wireLabel()
		for _, s := range pub.slots {
			id := pub.streamID + "/" + s.name
			wanted[id] = true
			sub := r.subscribe(id, pub, s)
			r.layout(sub)
			sends = append(sends, sub.send)
		}
	}
	for id, sub := range r.subs {
		if !wanted[id] {
			sub.close()
			delete(r.subs, id)
		}
	}
	r.link.SetSends(sends, labels)
}

// subscribe returns the subscription of a slot, made anew or brought over to
// the track that is in the slot now.
func (r *remote) subscribe(id string, pub *publication, s slot) *subscription {
	if sub := r.subs[id]; sub != nil {
		if sub.track != s.track {
			sub.replace(s.track)
		}
		return sub
	}
	sub := &subscription{
		label:  pub.wireLabel(),
		origin: pub.origin,
		track:  s.track,
		send: sdp.Send{
			ID:       id,
			Kind:     s.track.Kind(),
			StreamID: pub.streamID,
			TrackID:  id,
		},
	}
	r.begin(sub)
	r.subs[id] = sub
	return sub
}

// begin gives a subscription a forwarder for the track as one stream, with SSRCs of
// its own.
func (r *remote) begin(s *subscription) {
	s.send.SSRC = newSSRC()
	if s.send.Kind == codec.Video {
		s.send.RTXSSRC = newSSRC()
	}
	s.forward = subscribe.NewForwarder(subscribe.Config{
		Track:   s.track,
		SSRC:    s.send.SSRC,
		RTXSSRC: s.send.RTXSSRC,
		Hub:     r.hub,
		CNAME:   s.send.StreamID,
		Logger:  r.log.With("stream", s.label),
	})
	if w, ok := r.wants[s.label]; ok && s.send.Kind == codec.Video {
		s.forward.SetWish(w, time.Now())
	}
}

// newSSRC returns an SSRC; small ones stay free for the transport. The sequence
// begins at random and goes through all numbers before it repeats one: what was
// encrypted under an SSRC must be the last of it (RFC 3711 section 9.1), and no
// connection lives for so long.
func newSSRC() uint32 {
	const step = 0x9e3779b9 // odd
	for {
		if n := lastSSRC.Add(step); n >= 1<<16 {
			return n
		}
	}
}

var lastSSRC = func() *atomic.Uint32 {
	n := new(atomic.Uint32)
	n.Store(rand.Uint32())
	return n
}()

// bind connects the forwarder to its writer once the track was negotiated. A
// receiver that lacks the codec gets nothing and is told so.
func (s *subscription) bind(sender *conn.Sender) {
	s.sender = sender
	s.bindLayers(sender.Layers())
	s.choose()
	forward := s.forward // another one may come
	sender.SetFeedback(func(pkts []rtcp.Packet, now time.Time) { forward.HandleRTCP(pkts, now) })
}

func (s *subscription) choose() {
	if s.sender == nil || s.track == nil {
		return
	}
	i := slices.IndexFunc(s.sender.Payloads(), func(p sdp.Payload) bool { return p.Codec.Matches(s.track.Codec()) })
	if i < 0 {
		s.mute(subscribe.ReasonCodec)
		return
	}
	if s.held {
		s.mute(subscribe.ReasonPolicy)
		return
	}
	s.mute(subscribe.ReasonNone)
	p := s.sender.Payloads()[i]
	payload := subscribe.Payload{Type: p.Type, RTX: p.RTX}
	if s.layered() {
		s.forward.Unbind()
		s.forward.SetTrack(nil)
		s.sendLayers(payload)
		return
	}
	s.forward.SetTrack(s.track)
	s.forward.Bind(s.sender, payload)
}

// mute keeps the track back for a reason, or lets it go for ReasonNone.
func (s *subscription) mute(why subscribe.DropReason) {
	s.muted = ""
	if why != subscribe.ReasonNone {
		s.muted = why.String()
	}
	s.forward.Mute(why)
	for _, l := range s.layers {
		l.forward.Mute(why)
	}
}

// replace puts another track of the same kind in, without signaling.
func (s *subscription) replace(t *publish.Track) {
	s.track = t
	if s.layered() {
		s.each(func(f *subscribe.Forwarder) { f.SetTrack(nil) }) // until layout
	} else {
		s.forward.SetTrack(t)
	}
	s.choose()
}

// unbind takes the way out: the section was closed.
func (s *subscription) unbind() {
	s.sender = nil
	s.bindLayers(nil)
	s.forward.Unbind()
}

func (s *subscription) close() {
	s.forward.Close()
	for _, l := range s.layers {
		l.forward.Close()
	}
}

// rosterFor lists for r who is behind this hub. Peer.mu is held.
func (r *remote) rosterFor() roster {
	out := roster{Hub: true, Peers: []rosterPeer{}}
	streams := map[string][]rosterStream{}
	for _, pub := range r.peer.table.sorted() {
		if pub.via != "" && r.peer.role.forwards(pub, r.audience) {
			streams[pub.via] = append(streams[pub.via], r.rosterStream(pub))
		}
	}
	for id, other := range r.peer.remotes {
		if other == r || !other.ready || other.guest.unlisted() {
			continue
		}
		rp := rosterPeer{
			ID: id, Metadata: other.metadata(), Streams: streams[id],
			Speaking: slices.Contains(r.peer.speakers.speaking, id),
		}
		if rp.Streams == nil {
			rp.Streams = []rosterStream{} // [] and not null in JSON
		}
		out.Peers = append(out.Peers, rp)
	}
	slices.SortFunc(out.Peers, func(a, b rosterPeer) int { return strings.Compare(a.ID, b.ID) })
	return out
}

func (r *remote) rosterStream(pub *publication) rosterStream {
	rs := rosterStream{ID: pub.streamID, Label: pub.label}
	for _, s := range pub.slots {
		t := rosterTrack{Kind: s.track.Kind().String(), Codec: s.track.Codec().Name}
		if sub := r.subs[pub.streamID+"/"+s.name]; sub != nil {
			t.Muted = sub.muted
		}
		rs.Tracks = append(rs.Tracks, t)
	}
	return rs
}

// send sends a control event and reports whether it has to be sent again: the
// channel has no path while ICE restarts, or is full. Other failures mean that
// the peer is going anyway. Peer.mu need not be held, and better is not.
func (r *remote) send(e signal.Event, payload any) (again bool) {
	err := r.link.SendEvent(e, payload)
	if err != nil {
		r.log.Debug("control event not sent", "event", e.String(), "err", err)
	}
	return errors.Is(err, conn.ErrRestarting) || errors.Is(err, conn.ErrControlFull)
}

package node

import (
	"cmp"
	"slices"
	"time"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/mesh/conn"
	"github.com/weft-rtc/weft/publish"
	"github.com/weft-rtc/weft/subscribe"
)

// Stats are the numbers of a Peer at one moment. Counters rise from the start of
// what they count; a rate is that of the last half second.
type Stats struct {
	Streams []TrackStats // what the Peer publishes itself
	Peers   []PeerStats  // who is reached directly, by id
	Refused RefusedStats // what was not taken of them, and of those who have gone
}

// PeerStats are the numbers of the connection with one remote peer.
type PeerStats struct {
	ID   string
	Hub  bool
	Conn conn.Stats
	In   []TrackStats // tracks that come from it
	Out  []SentStats  // tracks that go to it
	// Refused counts what was not taken of it.
	Refused RefusedStats
}

// TrackStats are the numbers of a track as it is in the node.
type TrackStats struct {
	Origin string // id of the peer whose stream it is; empty for the Peer itself
	Label  string // of the stream
	Kind   codec.Kind
	Codec  string
	Layers []LayerStats // one, or those of simulcast from low to high
}

// LayerStats are the numbers of one RTP stream.
type LayerStats struct {
	RID           string // empty without simulcast
	Width, Height int    // in pixels; 0: not known
	Spatial       int    // spatial layers within it; 0: it does not number them
	Active        bool   // packets came within the last 1.5 s
	publish.Rate         // of all that is in it
	publish.LayerStats
}

// SentStats are the numbers of a track that one remote peer gets; of a track in
// layers there is one for each.
type SentStats struct {
	Origin, Label string // as in TrackStats
	Kind          codec.Kind
	Codec         string
	Current       subscribe.Quality // what it gets
	Target        subscribe.Quality // what it is to get; other than Current while a key picture is waited for
	Wish          Wish              // what it asked for
	subscribe.Stats
}

// Stats returns the numbers of the Peer and of all its connections. It may be
// called from any goroutine; it takes some microseconds for each track.
func (p *Peer) Stats() Stats {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Stats{Streams: []TrackStats{}, Peers: []PeerStats{}}
	in := map[string][]TrackStats{} // by the peer that they come from
	pubs := p.table.sorted()
	for _, pub := range pubs {
		for _, slot := range pub.slots {
			t := trackStats(pub, slot.track, now)
			if pub.origin == "" {
				s.Streams = append(s.Streams, t)
			} else {
				in[pub.via] = append(in[pub.via], t)
			}
		}
	}
	for id, r := range p.remotes {
		s.Peers = append(s.Peers, PeerStats{ID: id, Hub: r.hub, Conn: r.link.Conn().Stats(), In: in[id], Out: r.sent(pubs, now), Refused: r.refusals()})
	}
	s.Refused = p.gone
	for _, r := range p.remotes {
		s.Refused.add(r.refusals())
	}
	slices.SortFunc(s.Peers, func(a, b PeerStats) int { return cmp.Compare(a.ID, b.ID) })
	return s
}

func trackStats(pub *publication, track *publish.Track, now time.Time) TrackStats {
	t := TrackStats{Origin: pub.origin, Label: pub.label, Kind: track.Kind(), Codec: track.Codec().Name}
	for _, l := range track.Layers() {
		rates := l.Rates(now)
		s := LayerStats{
			RID: l.RID(), Spatial: l.SpatialLayers(), Active: l.Active(now),
			Rate: rates.All(), LayerStats: l.Stats(),
		}
		s.Width, s.Height = l.Size()
		t.Layers = append(t.Layers, s)
	}
	return t
}

// sent lists what of pubs goes to r; Peer.mu is held.
func (r *remote) sent(pubs []*publication, now time.Time) (all []SentStats) {
	if r.guest != nil {
		return r.guest.sent(now)
	}
	for _, pub := range pubs {
		for _, slot := range pub.slots {
			sub := r.subs[pub.streamID+"/"+slot.name]
			if sub == nil {
				continue
			}
			sub.each(func(f *subscribe.Forwarder) {
				s := SentStats{
					Origin: pub.origin, Label: pub.label, Kind: sub.send.Kind, Codec: sub.track.Codec().Name,
					Wish: r.wants[sub.label], Stats: f.Stats(),
				}
				s.Current, s.Target, _ = f.Quality(now)
				all = append(all, s)
			})
		}
	}
	return all
}

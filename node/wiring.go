package node

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"golang.org/x/time/rate"

	"github.com/weft-rtc/weft/mesh"
	"github.com/weft-rtc/weft/mesh/conn"
	"github.com/weft-rtc/weft/mesh/sdp"
	"github.com/weft-rtc/weft/mesh/signal"
	"github.com/weft-rtc/weft/publish"
)

// wiring is what the room calls: it keeps the table and the remote peers in
// line with the links. The methods run on the links' goroutines.
type wiring Peer

func (w *wiring) peer() *Peer { return (*Peer)(w) }

// party is how a remote peer is reached: a *mesh.Link, or what a *Guest has in its
// place.
type party interface {
	ID() signal.PeerID
	Metadata() json.RawMessage
	Conn() *conn.Conn
	SetSends(sends []sdp.Send, labels map[string]string)
	SendEvent(e signal.Event, payload any) error
	OpenChannel(o ChannelOptions)
	ForgetChannel(o ChannelOptions)
	Close()
}

// remote returns the remote peer of a link, made when the link is new. p.mu is
// held.
func (p *Peer) remote(l *mesh.Link) *remote {
	id := string(l.ID())
	if r := p.remotes[id]; r != nil && r.link == l {
		return r
	}
	r := p.newRemote(l)
	r.rights = p.rights(id, l.Metadata())
	r.hub = r.saysHub()
	p.remotes[id] = r
	p.emit(ConnectionEvent{ID: id, Metadata: l.Metadata(), State: conn.StateNew})
	for _, o := range p.channels {
		r.open(o)
	}
	return r
}

// newRemote makes the remote peer of a party. p.mu is held.
func (p *Peer) newRemote(l party) *remote {
	id := string(l.ID())
	return &remote{
		peer:     p,
		link:     l,
		log:      p.log.With("peer", id),
		since:    time.Now(),
		subs:     map[string]*subscription{},
		in:       map[*conn.Receiver]*inbound{},
		told:     p.role,
		talk:     rate.NewLimiter(messageRate, messageBurst),
		wishes:   map[channelKey]bool{},
		wants:    map[string]Wish{},
		changed:  make(chan struct{}),
		audience: audience{id: id},
	}
}

func (w *wiring) LinkState(l *mesh.Link, s conn.State, err error) {
	p := w.peer()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.became(p.remote(l), s, err)
}

// became takes it that a connection is in another state; p.mu is held.
func (p *Peer) became(r *remote, s conn.State, err error) {
	r.state = s
	if s == conn.StateClosed {
		p.lost(r)
	}
	r.tell()
	p.emit(ConnectionEvent{ID: r.id, Metadata: r.link.Metadata(), State: s, Err: err})
}

// lost removes a remote peer whose connection ended; p.mu is held.
func (p *Peer) lost(r *remote) {
	p.gone.add(r.refusals())
	for _, in := range r.in {
		in.close()
	}
	for _, s := range r.subs {
		s.close()
	}
	if p.remotes[r.id] != r {
		p.succeeded(r)
		return
	}
	delete(p.remotes, r.id)
	p.unwish(r.id)
	for k := range p.table {
		if k.only == r.id {
			delete(p.table, k)
			p.changed() // for taps
		}
	}
	if pubs := p.table.from(r.id); len(pubs) > 0 {
		for _, pub := range pubs {
			p.remove(pub)
		}
		p.changed()
	}
	if r.hub && r.ready {
		p.hubGone(r)
	}
	r.ready = false
	p.touch()
}

// hubGone drops who was behind r, which was a hub that is gone or is none any
// more, and sees to it that they are reached without it. p.mu is held.
func (p *Peer) hubGone(r *remote) {
	for id, b := range r.behind {
		p.emit(ConnectionEvent{ID: id, Metadata: b.Metadata, Via: r.id, State: conn.StateClosed})
	}
	r.behind = nil
	if p.role == roleMesh && p.hub() == nil && p.room != nil {
		p.room.Rejoin()
	}
}

// remove takes a remote publication out of the table; p.mu is held.
func (p *Peer) remove(pub *publication) {
	delete(p.table, pub.key())
	tracks := make([]*publish.Track, 0, len(pub.slots))
	for _, s := range pub.slots {
		tracks = append(tracks, s.track)
		p.emit(TrackEvent{Peer: pub.origin, Label: pub.label, Track: s.track})
	}
	p.emit(StreamEvent{Peer: pub.origin, Label: pub.label, Tracks: tracks})
}

func (w *wiring) LinkReady(l *mesh.Link) {
	p := w.peer()
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.remote(l)
	r.hub = r.saysHub()
	r.ready = true
	p.keepToHub()
	r.reconcile()
	p.touch()
}

// keepToHub closes the links that a hub makes needless; p.mu is held.
func (p *Peer) keepToHub() {
	if p.role == roleHub || p.hub() == nil {
		return
	}
	for _, r := range p.remotes {
		if !r.hub {
			r.link.Close()
		}
	}
}

// LinkTrack takes a remote track in. It is in the table from its first packet
// on, when its codec is known.
func (w *wiring) LinkTrack(l *mesh.Link, recv *conn.Receiver, label string) {
	p := w.peer()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.opened(p.remote(l), &inbound{recv: recv, label: label})
}

// opened takes a track in that a remote peer sends from now on; p.mu is held.
func (p *Peer) opened(r *remote, in *inbound) {
	label := in.label
	pub := publication{origin: r.id, via: r.id, fromHub: r.hub, label: label}
	if origin, inner, ok := splitLabel(label); ok && r.hub {
		pub.origin, pub.label = origin, inner
	}
	if err := checkLabel(pub.label); err != nil {
		r.log.Warn("remote stream refused", "err", err)
		return
	}
	if r.rights.NoPublish {
		r.refused++
		r.log.Warn("remote stream refused: the peer may not publish", "label", in.label)
		return
	}
	if p.cfg.MaxTracks > 0 && !r.hub && len(r.in) >= p.cfg.MaxTracks {
		if r.refused++; r.refused == 1 {
			p.emit(fmt.Errorf("peer %s: %w (%d)", r.id, ErrTracks, p.cfg.MaxTracks))
		}
		return
	}
	in.meter.rate = p.cfg.MaxBitrate
	in.began = func(t *publish.Track) bool {
		select {
		case p.begun <- func() { p.begin(r, in, pub, t) }:
			return true
		default: // the loop has others to begin first
			return false
		}
	}
	r.in[in.recv] = in
	in.recv.SetSink(in)
}

// begin puts a track into the table, on the Peer's goroutine.
func (p *Peer) begin(r *remote, in *inbound, like publication, t *publish.Track) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if in.done.Load() || r.in[in.recv] != in || !p.present(r) {
		return
	}
	pub := p.table[like.key()]
	if pub != nil && pub.via != like.via {
		r.log.Debug("stream that came another way already is not taken", "label", pub.wireLabel())
		return
	}
	added := pub == nil
	if added {
		pub = &like
		pub.streamID = rand.Text()
		p.table[pub.key()] = pub
	}
	name := in.name()
	if i := pub.find(name); i >= 0 {
		p.emit(TrackEvent{Peer: pub.origin, Label: pub.label, Track: pub.slots[i].track})
		pub.slots[i].track = t
	} else {
		pub.slots = append(pub.slots, slot{name: name, track: t})
	}
	if added {
		p.emit(StreamEvent{Peer: pub.origin, Label: pub.label, Added: true, Tracks: []*publish.Track{t}})
	}
	p.emit(TrackEvent{Peer: pub.origin, Label: pub.label, Added: true, Track: t})
	p.changed()
}

func (w *wiring) LinkTrackEnded(l *mesh.Link, recv *conn.Receiver) {
	p := w.peer()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trackEnded(p.remote(l), recv)
}

// trackEnded takes it that no more comes of a track; p.mu is held.
func (p *Peer) trackEnded(r *remote, recv *conn.Receiver) {
	in := r.in[recv]
	if in == nil {
		return
	}
	delete(r.in, recv)
	r.dropped += in.meter.dropped.Load()
	in.close()
	p.vacate(r, in)
}

// vacate takes a track that ended out of its publication; p.mu is held.
func (p *Peer) vacate(r *remote, in *inbound) {
	for _, pub := range p.table.from(r.id) {
		i := pub.find(in.name())
		if i < 0 || pub.slots[i].track != in.track.Load() {
			continue
		}
		if len(pub.slots) == 1 {
			p.remove(pub)
		} else {
			t := pub.slots[i].track
			pub.slots = append(pub.slots[:i:i], pub.slots[i+1:]...)
			p.emit(TrackEvent{Peer: pub.origin, Label: pub.label, Track: t})
		}
		p.changed()
		return
	}
}

func (w *wiring) LinkSend(l *mesh.Link, s *conn.Sender) {
	p := w.peer()
	p.mu.Lock()
	defer p.mu.Unlock()
	if sub := p.remote(l).subs[s.ID()]; sub != nil {
		sub.bind(s)
		p.touch()
	}
}

func (w *wiring) LinkSendEnded(l *mesh.Link, s *conn.Sender) {
	p := w.peer()
	p.mu.Lock()
	defer p.mu.Unlock()
	if sub := p.remote(l).subs[s.ID()]; sub != nil {
		sub.unbind()
	}
}

func (w *wiring) RoomError(err error) { w.peer().emit(err) }

// LinkEvent takes rosters and messages. They are read before the lock is taken:
// one may be long.
func (w *wiring) LinkEvent(l *mesh.Link, e signal.Event, payload json.RawMessage) {
	p := w.peer()
	var err error
	switch e {
	case signal.EventRoster:
		var ro roster
		if ro, err = parseRoster(payload); err == nil {
			p.takeRoster(l, ro)
		}
	case signal.EventSubscribe:
		var ws []streamWish
		if ws, err = parseWishes(payload); err == nil {
			p.takeWishes(l, ws, time.Now())
		}
	case signal.EventSpeakers:
		var e speakersEvent
		if e, err = parseSpeakers(payload); err == nil {
			p.takeSpeakers(l, e)
		}
	case signal.EventMessage:
		var m message
		if m, err = parseMessage(payload); err == nil {
			p.relay(l, m, time.Now())
		}
	}
	if err != nil {
		p.emit(fmt.Errorf("peer %s: %w", l.ID(), err))
	}
}

// takeRoster learns from a hub who is behind it, or from a peer whom it reaches
// by itself.
func (p *Peer) takeRoster(l *mesh.Link, ro roster) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.remote(l)
	ro.Hub = ro.Hub && !r.rights.NoHub
	if ro.Hub != r.hub {
		r.hub = ro.Hub
		if r.hub {
			p.keepToHub()
		} else {
			p.hubGone(r)
		}
		r.reconcile() // layers are for hubs
	}
	if !r.hub {
		direct := make(map[string]bool, len(ro.Direct))
		for _, id := range ro.Direct {
			direct[id] = true
		}
		if !maps.Equal(direct, r.direct) {
			r.direct = direct
			r.reconcile()
			p.touch()
		}
		return
	}
	if r.behind == nil {
		p.tellSpeaking(ro)
	}
	now := make(map[string]*rosterPeer, len(ro.Peers))
	for i := range ro.Peers {
		now[ro.Peers[i].ID] = &ro.Peers[i]
	}
	for id, b := range now {
		if r.behind[id] == nil {
			p.emit(ConnectionEvent{ID: id, Metadata: b.Metadata, Via: r.id, State: conn.StateConnected})
		}
	}
	for id, b := range r.behind {
		if now[id] == nil {
			p.emit(ConnectionEvent{ID: id, Metadata: b.Metadata, Via: r.id, State: conn.StateClosed})
		}
	}
	r.behind = now
}

// relay passes a message on to the others, as a hub.
func (p *Peer) relay(l *mesh.Link, m message, now time.Time) {
	from, to := p.relays(l, now)
	m.From = from
	for _, r := range to {
		r.send(signal.EventMessage, m)
	}
}

// relays returns the peers that a message of l's peer is passed on to now.
func (p *Peer) relays(l *mesh.Link, now time.Time) (from string, to []*remote) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.remote(l)
	if p.role != roleHub || r.hub {
		return r.id, nil
	}
	if !r.talk.AllowN(now, 1) {
		r.log.Debug("message over the rate limit dropped")
		return r.id, nil
	}
	for _, other := range p.remotes {
		if other != r && other.ready && !other.hub && !other.rights.NoWatch && !other.direct[r.id] {
			to = append(to, other)
		}
	}
	return r.id, to
}

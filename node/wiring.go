package node

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	"golang.org/x/time/rate"

	"github.com/weft-rtc/weft/mesh"
	"github.com/weft-rtc/weft/mesh/conn"
	"github.com/weft-rtc/weft/mesh/signal"
	"github.com/weft-rtc/weft/publish"
)

// wiring is what the room calls: it keeps the table and the remote peers in
// line with the links. The methods run on the links' goroutines.
type wiring Peer

func (w *wiring) peer() *Peer { return (*Peer)(w) }

// remote returns the remote peer of a link, made when the link is new. p.mu is
// held.
func (p *Peer) remote(l *mesh.Link) *RemotePeer {
	id := string(l.ID())
	if r := p.remotes[id]; r != nil && r.link == l {
		return r
	}
	r := &RemotePeer{
		peer:     p,
		link:     l,
		log:      p.log.With("peer", id),
		hub:      isHub(l.Metadata()),
		subs:     map[string]*subscription{},
		in:       map[*conn.Receiver]*inbound{},
		talk:     rate.NewLimiter(messageRate, messageBurst),
		audience: audience{id: id},
	}
	p.remotes[id] = r
	return r
}

func (w *wiring) LinkState(l *mesh.Link, s conn.State, err error) {
	p := w.peer()
	p.mu.Lock()
	r := p.remote(l)
	r.state = s
	if s == conn.StateClosed {
		p.lost(r)
	}
	p.mu.Unlock()
	p.events.emit(ConnectionEvent{ID: r.id, Metadata: l.Metadata(), State: s, Err: err})
}

// lost removes a remote peer whose link ended; p.mu is held.
func (p *Peer) lost(r *RemotePeer) {
	if p.remotes[r.id] == r {
		delete(p.remotes, r.id)
	}
	for _, in := range r.in {
		in.close()
	}
	for _, s := range r.subs {
		s.close()
	}
	for _, pub := range p.table.from(r.id) {
		p.remove(pub)
	}
	if r.hub && r.ready && p.role == roleMesh && p.hub() == nil {
		p.forgetBehind()
		if p.room != nil {
			p.room.Rejoin() // reach the others without the hub
		}
	}
	r.ready = false
	p.reconcileAll()
}

// remove takes a remote publication out of the table; p.mu is held.
func (p *Peer) remove(pub *publication) {
	delete(p.table, pub.key())
	tracks := make([]*publish.Track, 0, len(pub.slots))
	for _, s := range pub.slots {
		tracks = append(tracks, s.track)
		p.events.emit(TrackEvent{Peer: pub.origin, Label: pub.label, Track: s.track})
	}
	p.events.emit(StreamEvent{Peer: pub.origin, Label: pub.label, Tracks: tracks})
}

func (w *wiring) LinkReady(l *mesh.Link) {
	p := w.peer()
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.remote(l)
	r.hub = isHub(l.Metadata())
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
	r := p.remote(l)
	pub := publication{origin: r.id, via: r.id, fromHub: r.hub, label: label}
	if origin, inner, ok := splitLabel(label); ok && r.hub {
		pub.origin, pub.label = origin, inner
	}
	if err := checkLabel(pub.label); err != nil {
		p.drops["label"]++
		r.log.Warn("remote stream refused", "err", err)
		return
	}
	in := &inbound{recv: recv}
	in.began = func(t *publish.Track) {
		begin := func() { p.begin(r, in, pub, t) }
		select {
		case p.begun <- begin:
		default:
			p.log.Warn("too many tracks begin at once, one dropped", "peer", r.id)
		}
	}
	r.in[recv] = in
	recv.SetSink(in)
}

// begin puts a track into the table, on the Peer's goroutine.
func (p *Peer) begin(r *RemotePeer, in *inbound, like publication, t *publish.Track) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if in.done.Load() || r.in[in.recv] != in || p.remotes[r.id] != r {
		return
	}
	pub := p.table[like.key()]
	if pub != nil && pub.via != like.via {
		p.drops["duplicate"]++
		return
	}
	added := pub == nil
	if added {
		pub = &like
		pub.streamID = rand.Text()
		p.table[pub.key()] = pub
	}
	name := in.recv.Kind().String() + "-" + in.recv.Mid()
	if i := pub.find(name); i >= 0 {
		p.events.emit(TrackEvent{Peer: pub.origin, Label: pub.label, Track: pub.slots[i].track})
		pub.slots[i].track = t
	} else {
		pub.slots = append(pub.slots, slot{name: name, track: t})
	}
	if added {
		p.events.emit(StreamEvent{Peer: pub.origin, Label: pub.label, Added: true, Tracks: []*publish.Track{t}})
	}
	p.events.emit(TrackEvent{Peer: pub.origin, Label: pub.label, Added: true, Track: t})
	p.reconcileAll()
}

func (w *wiring) LinkTrackEnded(l *mesh.Link, recv *conn.Receiver) {
	p := w.peer()
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.remote(l)
	in := r.in[recv]
	if in == nil {
		return
	}
	delete(r.in, recv)
	in.close()
	t := in.track.Load()
	if t == nil {
		return
	}
	for _, pub := range p.table.from(r.id) {
		for i, s := range pub.slots {
			if s.track != t {
				continue
			}
			if len(pub.slots) == 1 {
				p.remove(pub)
			} else {
				pub.slots = append(pub.slots[:i:i], pub.slots[i+1:]...)
				p.events.emit(TrackEvent{Peer: pub.origin, Label: pub.label, Track: t})
			}
			p.reconcileAll()
			return
		}
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
		sub.sender = nil
		sub.forward.Unbind()
	}
}

func (w *wiring) RoomError(err error) { w.peer().events.emit(err) }

// LinkEvent takes rosters and messages.
func (w *wiring) LinkEvent(l *mesh.Link, e signal.Event, payload json.RawMessage) {
	p := w.peer()
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.remote(l)
	var err error
	switch e {
	case signal.EventRoster:
		err = p.takeRoster(r, payload)
	case signal.EventMessage:
		err = p.relay(r, payload, time.Now())
	}
	if err != nil {
		p.events.emit(fmt.Errorf("peer %s: %w", r.id, err))
	}
}

// takeRoster learns from a hub who is behind it, or from a peer whom it reaches
// by itself. p.mu is held.
func (p *Peer) takeRoster(r *RemotePeer, payload json.RawMessage) error {
	ro, err := parseRoster(payload)
	if err != nil {
		return err
	}
	if ro.Hub != r.hub {
		r.hub = ro.Hub
		p.keepToHub()
		if !r.hub {
			p.forgetBehind()
		}
	}
	if !r.hub {
		r.direct = make(map[string]bool, len(ro.Direct))
		for _, id := range ro.Direct {
			r.direct[id] = true
		}
		r.reconcile()
		p.touch()
		return nil
	}
	now := make(map[string]*rosterPeer, len(ro.Peers))
	for i := range ro.Peers {
		now[ro.Peers[i].ID] = &ro.Peers[i]
	}
	for id, b := range now {
		if p.behind[id] == nil {
			p.events.emit(ConnectionEvent{ID: id, Metadata: b.Metadata, Via: r.id, State: conn.StateConnected})
		}
	}
	for id, b := range p.behind {
		if now[id] == nil {
			p.events.emit(ConnectionEvent{ID: id, Metadata: b.Metadata, Via: r.id, State: conn.StateClosed})
		}
	}
	p.behind = now
	return nil
}

// forgetBehind drops who was behind a hub that is gone; p.mu is held.
func (p *Peer) forgetBehind() {
	for id, b := range p.behind {
		p.events.emit(ConnectionEvent{ID: id, Metadata: b.Metadata, State: conn.StateClosed})
	}
	clear(p.behind)
}

// relay passes a message on to the others, as a hub. p.mu is held.
func (p *Peer) relay(r *RemotePeer, payload json.RawMessage, now time.Time) error {
	m, err := parseMessage(payload)
	if err != nil {
		return err
	}
	if p.role != roleHub || r.hub {
		return nil
	}
	if !r.talk.AllowN(now, 1) {
		p.drops["message rate"]++
		return nil
	}
	m.From = r.id
	for _, other := range p.remotes {
		if other != r && other.ready && !other.hub && !other.direct[r.id] {
			other.send(signal.EventMessage, m)
		}
	}
	return nil
}

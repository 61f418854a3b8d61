package node

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/weft-rtc/weft/mesh/conn"
	"github.com/weft-rtc/weft/publish"
)

// RemotePeer is another member of the room, reached directly or through a hub.
// Its methods may be called from any goroutine, also when the peer has gone: it
// is StateClosed then, and has nothing any more.
type RemotePeer struct {
	peer *Peer
	id   string
	via  string  // id of the hub; empty if reached directly
	r    *remote // nil behind a hub
}

// Connections returns the remote peers, those behind a hub included, by their
// ids. A peer that is reached directly as well is listed as that.
func (p *Peer) Connections() []*RemotePeer {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]*RemotePeer, 0, len(p.remotes))
	for id, r := range p.remotes {
		all = append(all, &RemotePeer{peer: p, id: id, r: r})
	}
	listed := map[string]bool{}
	for _, hub := range p.remotes {
		for id := range hub.behind {
			if p.remotes[id] == nil && !listed[id] {
				listed[id] = true
				all = append(all, &RemotePeer{peer: p, id: id, via: hub.id})
			}
		}
	}
	slices.SortFunc(all, func(a, b *RemotePeer) int { return cmp.Compare(a.id, b.id) })
	return all
}

// Connection returns the remote peer of that id, nil if there is none.
func (p *Peer) Connection(id string) *RemotePeer {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.remotes[id]; r != nil {
		return &RemotePeer{peer: p, id: id, r: r}
	}
	for _, hub := range p.remotes {
		if hub.behind[id] != nil {
			return &RemotePeer{peer: p, id: id, via: hub.id}
		}
	}
	return nil
}

// ID returns the peer's id.
func (r *RemotePeer) ID() string { return r.id }

// Via returns the id of the hub behind which the peer is, empty for a peer that
// is reached directly.
func (r *RemotePeer) Via() string { return r.via }

// Metadata returns what the peer says of itself: a JSON object, or nil.
func (r *RemotePeer) Metadata() json.RawMessage {
	if r.r != nil {
		return r.r.link.Metadata()
	}
	r.peer.mu.Lock()
	defer r.peer.mu.Unlock()
	if b := r.behind(); b != nil {
		return b.Metadata
	}
	return nil
}

// State returns the state of the connection; of a peer behind a hub it is
// Connected or Closed.
func (r *RemotePeer) State() conn.State {
	r.peer.mu.Lock()
	defer r.peer.mu.Unlock()
	switch {
	case r.r != nil:
		return r.r.state
	case r.behind() != nil:
		return conn.StateConnected
	}
	return conn.StateClosed
}

// behind returns what the hub says of the peer; Peer.mu is held.
func (r *RemotePeer) behind() *rosterPeer {
	if hub := r.peer.remotes[r.via]; hub != nil {
		return hub.behind[r.id]
	}
	return nil
}

// Hub reports whether the peer says that it is a hub.
func (r *RemotePeer) Hub() bool {
	r.peer.mu.Lock()
	defer r.peer.mu.Unlock()
	return r.r != nil && r.r.hub
}

// Streams returns the streams of the peer that have come in, by their labels.
// Label and Tracks of each are set.
func (r *RemotePeer) Streams() []publish.Stream {
	r.peer.mu.Lock()
	defer r.peer.mu.Unlock()
	all := []publish.Stream{}
	for _, pub := range r.peer.table.sorted() {
		if pub.origin == r.id {
			all = append(all, pub.stream())
		}
	}
	return all
}

// Channels returns the data channels to the peer, opened by either side.
func (r *RemotePeer) Channels() []*Channel {
	r.peer.mu.Lock()
	defer r.peer.mu.Unlock()
	if r.r == nil {
		return nil
	}
	return slices.Clone(r.r.channels)
}

// Stats returns the counters of the connection since its start; of a peer behind
// a hub they are zero.
func (r *RemotePeer) Stats() conn.Stats {
	if r.r == nil {
		return conn.Stats{State: r.State()}
	}
	return r.r.link.Conn().Stats()
}

// Publish shares a stream with this peer alone, as Peer.Publish does with all. It
// takes the place of a stream that is published to all under the same label. It
// ends with the connection.
func (r *RemotePeer) Publish(s publish.Stream) error {
	if r.r == nil {
		return fmt.Errorf("publish to %s: %w", r.id, ErrBehindHub)
	}
	if r.r.guest != nil {
		return fmt.Errorf("publish to %s: %w", r.id, ErrGuest)
	}
	_, err := r.peer.publish(s, r.r)
	return err
}

// Unpublish takes back what was published to this peer alone. A stream that is
// published to all under that label comes into its place.
func (r *RemotePeer) Unpublish(label string) { r.peer.unpublish(key{label: label, only: r.id}) }

// Open opens a data channel with this peer alone. It does not wait.
func (r *RemotePeer) Open(o ChannelOptions) error {
	o, err := normal(o)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	if r.r == nil {
		return fmt.Errorf("open %s: %w", keyOf(o), ErrBehindHub)
	}
	if r.r.guest != nil {
		return fmt.Errorf("open %s: %w", keyOf(o), ErrGuest)
	}
	r.peer.mu.Lock()
	defer r.peer.mu.Unlock()
	if r.r.state == conn.StateClosed {
		return fmt.Errorf("open %s: %w", keyOf(o), ErrUnknownPeer)
	}
	if c := r.r.channel(keyOf(o)); c != nil {
		if !sameOptions(c.Options(), o) {
			return fmt.Errorf("open %s: %w", keyOf(o), ErrChannelExists)
		}
		return nil
	}
	r.r.open(o)
	return nil
}

// CloseChannel closes the data channel of that label with this peer. An unknown
// one is no error.
func (r *RemotePeer) CloseChannel(label string) {
	if r.r == nil {
		return
	}
	r.peer.mu.Lock()
	c := r.r.unwish(channelKey{label: cmp.Or(label, DefaultChannel)})
	r.peer.mu.Unlock()
	if c != nil {
		c.Close()
	}
}

// Send is Peer.Send to this peer; m.To is not looked at.
func (r *RemotePeer) Send(ctx context.Context, m Outgoing) error {
	m.To = []string{r.id}
	return r.peer.Send(ctx, m)
}

// Close ends the connection with a peer that is reached directly. It does not
// wait. The peer may come again.
func (r *RemotePeer) Close() {
	if r.r != nil {
		r.r.link.Close()
	}
}

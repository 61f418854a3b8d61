package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/mesh"
	"github.com/weft-rtc/weft/mesh/signal"
	"github.com/weft-rtc/weft/subscribe"
)

// Wish is what a viewer wants of the pictures of a stream: a size, a layer at most,
// or nothing for the moment. The zero value is the best there is. Sound comes all
// the time.
type Wish = subscribe.Wish

// subscribeEvent is the payload of control event 4, from a viewer to whoever sends
// it streams. Streams that it does not name stay as they are.
type subscribeEvent struct {
	Streams []streamWish `json:"streams"`
}

// streamWish says what is wanted of a stream from now on.
type streamWish struct {
	Label  string `json:"label"` // as on the wire: "origin/label" of a stream that a hub forwards
	Paused bool   `json:"paused,omitempty"`
	Width  int    `json:"width,omitempty"`  // pixels at which it is shown
	Height int    `json:"height,omitempty"` // likewise
	Layer  int    `json:"layer,omitempty"`  // at most the n-th from below
	// FrameRate is how many pictures a second are enough.
	FrameRate float64 `json:"frameRate,omitempty"`
	Temporal  int     `json:"temporal,omitempty"` // at most the n-th temporal layer from below
	// RIDs are the layers that are wanted at all, from a hub to the publisher of
	// the stream, which may leave out the others; nothing else is said then. Nil:
	// not said.
	RIDs []string `json:"rids,omitempty"`
}

// Bounds on what a viewer may want.
const (
	maxWishes  = 256  // in one event
	maxWanted  = 1024 // streams that a viewer may have a wish about
	maxWishLen = 2*maxLabel + 1
	maxRIDs    = 16 // of one stream
	maxRIDLen  = 64
)

func parseWishes(payload json.RawMessage) ([]streamWish, error) {
	var e subscribeEvent
	if err := json.Unmarshal(payload, &e); err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	if len(e.Streams) > maxWishes {
		return nil, fmt.Errorf("subscribe: %d streams, at most %d", len(e.Streams), maxWishes)
	}
	for _, w := range e.Streams {
		if w.Label == "" || len(w.Label) > maxWishLen {
			return nil, errors.New("subscribe: a label that is empty or too long")
		}
		if len(w.RIDs) > maxRIDs {
			return nil, fmt.Errorf("subscribe: %d layers of a stream, at most %d", len(w.RIDs), maxRIDs)
		}
		if slices.ContainsFunc(w.RIDs, func(rid string) bool { return len(rid) > maxRIDLen }) {
			return nil, errors.New("subscribe: the name of a layer is too long")
		}
	}
	return e.Streams, nil
}

// wish reads it; what makes no sense is no wish.
func (w streamWish) wish() Wish {
	return Wish{
		Paused: w.Paused, Width: max(w.Width, 0), Height: max(w.Height, 0), FrameRate: max(w.FrameRate, 0),
		Layer: max(w.Layer, 0), Temporal: max(w.Temporal, 0),
	}
}

// takeWishes does what a viewer wants, at once and for streams to come.
func (p *Peer) takeWishes(l *mesh.Link, wishes []streamWish, now time.Time) {
	var told []func() // a wish may ask a publisher for a key picture: not under the lock
	defer func() {
		for _, f := range told {
			f()
		}
	}()
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.remote(l)
	if !r.talk.AllowN(now, 1) {
		r.log.Debug("wish over the rate limit dropped")
		return
	}
	for _, w := range wishes {
		if w.RIDs != nil {
			r.limit(w.Label, w.RIDs)
			continue
		}
		wish := w.wish()
		if wish == (Wish{}) {
			delete(r.wants, w.Label)
		} else if _, ok := r.wants[w.Label]; ok || len(r.wants) < maxWanted {
			r.wants[w.Label] = wish
		}
		for _, sub := range r.subs {
			if sub.label == w.Label && sub.send.Kind == codec.Video {
				forward := sub.forward
				told = append(told, func() { forward.SetWish(wish, now) })
			}
		}
	}
}

// unwish forgets what is wanted of the streams of a peer that is gone: nobody has
// its id again. Peer.mu is held.
func (p *Peer) unwish(origin string) {
	for _, r := range p.remotes {
		maps.DeleteFunc(r.wants, func(label string, _ Wish) bool { return strings.HasPrefix(label, origin+"/") })
	}
}

// Subscribe says what is wanted of a stream of the peer from now on: of a peer
// that is reached directly this is told to itself, else to the hub. Peers that do
// not know Weft ignore it. It fails only if it cannot be sent.
func (r *RemotePeer) Subscribe(label string, w Wish) error {
	to, wire := r.r, label
	if to == nil {
		r.peer.mu.Lock()
		to, wire = r.peer.remotes[r.via], r.id+"/"+label
		r.peer.mu.Unlock()
		if to == nil {
			return fmt.Errorf("subscribe to %s of %s: %w", label, r.id, ErrUnknownPeer)
		}
	}
	err := to.link.SendEvent(signal.EventSubscribe, subscribeEvent{[]streamWish{
		{Label: wire, Paused: w.Paused, Width: w.Width, Height: w.Height, FrameRate: w.FrameRate, Layer: w.Layer, Temporal: w.Temporal},
	}})
	if err != nil {
		return fmt.Errorf("subscribe to %s of %s: %w", label, r.id, err)
	}
	return nil
}

package node

import (
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/mesh/conn"
	"github.com/weft-rtc/weft/publish"
)

// Publish shares a stream with the room, now and with everyone who comes later.
// A stream under a label that is published already replaces it: tracks of the
// same kind take over without signaling, others are added or removed. It does
// not wait: the others are told within some 20 ms, and when they connect. The
// caller feeds the tracks, before and after, and closes them. What the stream's
// Audio and Video say is asked of the tracks' sources; those that cannot follow
// go on as they are.
func (p *Peer) Publish(s publish.Stream) error {
	_, err := p.publish(s, nil)
	return err
}

// publish is Publish, to one remote peer only if it is not nil.
func (p *Peer) publish(s publish.Stream, to *remote) (*publication, error) {
	pub, err := newPublication(s)
	if err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	p.encode(s)
	p.mu.Lock()
	defer p.mu.Unlock()
	if to != nil {
		if to.state == conn.StateClosed {
			return nil, fmt.Errorf("publish to %s: %w", to.id, ErrUnknownPeer)
		}
		pub.only = to.id
	}
	if old := p.table[pub.key()]; old != nil {
		pub.streamID = old.streamID
	}
	p.table[pub.key()] = pub
	p.changed()
	return pub, nil
}

// newPublication makes the row of the table for a stream of the Peer's own.
func newPublication(s publish.Stream) (*publication, error) {
	if err := checkLabel(s.Label); err != nil {
		return nil, err
	}
	if len(s.Tracks) == 0 {
		return nil, errors.New("stream has no tracks")
	}
	for _, e := range []publish.Encoding{s.Audio, s.Video} {
		if err := e.Validate(); err != nil {
			return nil, err
		}
	}
	pub := &publication{label: s.Label, streamID: rand.Text()}
	counts := map[string]int{}
	for _, t := range s.Tracks {
		if t == nil {
			return nil, errors.New("nil track")
		}
		kind := t.Kind().String()
		pub.slots = append(pub.slots, slot{name: fmt.Sprint(kind, counts[kind]), track: t})
		counts[kind]++
	}
	return pub, nil
}

// encode asks the sources for what the stream wants.
func (p *Peer) encode(s publish.Stream) {
	for _, t := range s.Tracks {
		e := s.Audio
		if t.Kind() == codec.Video {
			e = s.Video
		}
		if e == (publish.Encoding{}) {
			continue
		}
		if err := t.Encode(e); err != nil {
			p.cfg.Logger.Debug("encoding not followed", "label", s.Label, "track", t.ID(), "err", err)
		}
	}
}

// Unpublish takes a stream of the Peer's own back; an unknown label is no error.
func (p *Peer) Unpublish(label string) { p.unpublish(key{label: label}) }

func (p *Peer) unpublish(k key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.table[k] != nil {
		delete(p.table, k)
		p.changed()
	}
}

// withdraw is Unpublish unless another stream has taken pub's place.
func (p *Peer) withdraw(pub *publication) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.table[pub.key()] == pub {
		delete(p.table, pub.key())
		p.changed()
	}
}

// Streams returns what the Peer publishes to all, by label.
func (p *Peer) Streams() map[string]publish.Stream {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := map[string]publish.Stream{}
	for k, pub := range p.table {
		if k.origin == "" && k.only == "" {
			all[k.label] = pub.stream()
		}
	}
	return all
}

// changed makes the loop bring every remote peer's subscriptions in line with
// the table and the rule; p.mu is held.
func (p *Peer) changed() {
	p.stale = true
	p.touch()
}

// touch makes the loop send rosters; p.mu is held.
func (p *Peer) touch() {
	p.dirty = true
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

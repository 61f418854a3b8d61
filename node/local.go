package node

import (
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/weft-rtc/weft/publish"
)

// Publish shares a stream with the room, now and with everyone who comes later.
// A stream under a label that is published already replaces it: tracks of the
// same kind take over without signaling, others are added or removed. The
// caller feeds and closes the tracks.
func (p *Peer) Publish(s publish.Stream) error {
	if err := checkLabel(s.Label); err != nil {
		return err
	}
	if len(s.Tracks) == 0 {
		return errors.New("publish: stream has no tracks")
	}
	pub := &publication{label: s.Label, streamID: rand.Text()}
	counts := map[string]int{}
	for _, t := range s.Tracks {
		if t == nil {
			return errors.New("publish: nil track")
		}
		kind := t.Kind().String()
		pub.slots = append(pub.slots, slot{name: fmt.Sprint(kind, counts[kind]), track: t})
		counts[kind]++
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if old := p.table[pub.key()]; old != nil {
		pub.streamID = old.streamID
	}
	p.table[pub.key()] = pub
	p.reconcileAll()
	return nil
}

// Unpublish takes a stream of the Peer's own back; an unknown label is no error.
func (p *Peer) Unpublish(label string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.table[key{label: label}] != nil {
		delete(p.table, key{label: label})
		p.reconcileAll()
	}
}

// reconcileAll brings every remote peer's subscriptions in line with the table
// and the rule; p.mu is held.
func (p *Peer) reconcileAll() {
	for _, r := range p.remotes {
		r.reconcile()
	}
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

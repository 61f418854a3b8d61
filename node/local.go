package node

import (
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/weft-rtc/weft/publish"
)

// Publish shares a stream with the room, now and with everyone who comes later.
// A stream under a label that is published already replaces it: tracks of the
// same kind take over without signaling, others are added or removed. It does
// not wait: the others are told within some 20 ms, and when they connect. The
// caller feeds the tracks, before and after, and closes them.
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
	p.changed()
	return nil
}

// Unpublish takes a stream of the Peer's own back; an unknown label is no error.
func (p *Peer) Unpublish(label string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.table[key{label: label}] != nil {
		delete(p.table, key{label: label})
		p.changed()
	}
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

package node

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/mesh"
	"github.com/weft-rtc/weft/mesh/signal"
)

// speakersEvent is the payload of control event 6, from a hub to those who hear
// others through it.
type speakersEvent struct {
	Speaking []string `json:"speaking"` // peer ids, the one in the lead first
}

func parseSpeakers(payload json.RawMessage) (speakersEvent, error) {
	var e speakersEvent
	if err := json.Unmarshal(payload, &e); err != nil {
		return e, fmt.Errorf("speakers: %w", err)
	}
	if len(e.Speaking) > maxRosterPeers {
		return e, fmt.Errorf("speakers: more than %d peers", maxRosterPeers)
	}
	return e, nil
}

// takeSpeakers hands on what a hub says of who speaks behind it.
func (p *Peer) takeSpeakers(l *mesh.Link, e speakersEvent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.remote(l).hub {
		p.emit(SpeakersEvent{e.Speaking})
	}
}

// tellSpeaking tells who speaks already, by the first roster of a hub. p.mu is held.
func (p *Peer) tellSpeaking(ro roster) {
	var ids []string
	for _, rp := range ro.Peers {
		if rp.Speaking {
			ids = append(ids, rp.ID)
		}
	}
	if ids != nil {
		p.emit(SpeakersEvent{ids})
	}
}

// rank finds out who speaks and tells of it; as a hub it also tells those behind
// it, and holds back whose turn it is not. Only the loop calls it.
func (p *Peer) rank(now time.Time) {
	p.mu.Lock()
	var voices []voice
	ids := make([]string, 0, len(p.remotes))
	for id, r := range p.remotes {
		if r.hub || !r.ready {
			continue
		}
		ids = append(ids, id)
		v := voice{peer: id}
		for _, in := range r.in {
			v.level = max(v.level, in.loud.read(now))
		}
		voices = append(voices, v)
	}
	slices.SortFunc(voices, func(a, b voice) int { return b.level - a.level })
	speaking, news := p.speakers.update(voices, now)
	p.followSpeakers()
	var told []*remote
	if p.role == roleHub {
		if p.cfg.LastN > 0 || p.cfg.TopAudio > 0 {
			slices.SortFunc(ids, func(a, b string) int { return p.remotes[a].since.Compare(p.remotes[b].since) })
			p.hold(ids)
		}
		for _, r := range p.remotes {
			if r.ready && !r.hub {
				told = append(told, r)
			}
		}
	}
	p.mu.Unlock()
	if !news {
		return
	}
	p.emit(SpeakersEvent{speaking})
	for _, r := range told {
		r.send(signal.EventSpeakers, speakersEvent{speaking})
	}
}

// hold keeps back the streams whose turn it is not; ids are the peers that there
// are, who has been here longest first. Peer.mu is held.
func (p *Peer) hold(ids []string) {
	seen := slices.Concat(p.speakers.order, slices.DeleteFunc(ids, func(id string) bool {
		return slices.Contains(p.speakers.order, id)
	}))
	changed := false
	for _, r := range p.remotes {
		pictures, sounds := p.cfg.LastN, p.cfg.TopAudio
		for _, s := range r.subs {
			held := false
			switch {
			case s.origin == "": // our own
			case s.send.Kind == codec.Video && pictures > 0:
				held = !among(seen, pictures, s.origin, r.id)
			case s.send.Kind == codec.Audio && sounds > 0:
				held = !among(p.speakers.speaking, sounds, s.origin, r.id)
			}
			if held != s.held {
				s.held, changed = held, true
				s.choose()
			}
		}
	}
	if changed {
		p.touch() // rosters say why a stream is not there
	}
}

// among reports whether id is one of the first n of order, own apart: nobody
// needs a place for the streams that are their own.
func among(order []string, n int, id, own string) bool {
	for _, o := range order {
		if o == own {
			continue
		}
		if n == 0 {
			return false
		}
		if n--; o == id {
			return true
		}
	}
	return false
}

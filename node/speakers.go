package node

import (
	"slices"
	"sync/atomic"
	"time"
)

const (
	// speechLevel is the loudness from which a voice counts as speech: -50 dBov,
	// above a quiet room and below a soft voice.
	speechLevel = 127 - 50
	// speechHold is how long somebody counts as speaking after the last loud
	// moment: pauses between words are no end.
	speechHold = 1200 * time.Millisecond
	// speechLead is by how many dB, and speechTime for how long, somebody must be
	// louder than who leads to take the lead.
	speechLead = 3
	speechTime = 700 * time.Millisecond
	// speakersInterval is the time between two rankings.
	speakersInterval = 250 * time.Millisecond
)

// loudness is the smoothed level of a voice, by RFC 6464. observe belongs to the
// goroutine that reads RTP, read may be called on any.
type loudness struct {
	smooth float64 // 0 silent to 127; of the reading goroutine
	level  atomic.Int32
	at     atomic.Int64 // arrival of the last packet, Unix time in ns
}

// observe takes the level of one packet: -dBov, 0 loudest to 127 silent. With 20
// ms packets it follows within some 200 ms.
func (l *loudness) observe(dbov uint8, arrival time.Time) {
	l.smooth += (float64(127-min(dbov, 127)) - l.smooth) / 8
	l.level.Store(int32(l.smooth))
	l.at.Store(arrival.UnixNano())
}

// read returns the level now: a voice that sends nothing is silent.
func (l *loudness) read(now time.Time) int {
	if now.UnixNano()-l.at.Load() > int64(speechHold) {
		return 0
	}
	return int(l.level.Load())
}

// voice is how loud a peer is.
type voice struct {
	peer  string
	level int
}

// speakers ranks who speaks, without flapping. It belongs to one goroutine.
type speakers struct {
	order    []string             // everyone who has spoken, the one in the lead first
	spoke    map[string]time.Time // when they were loud last
	rival    string               // louder than the lead
	since    time.Time            // how long that is so
	speaking []string             // those of order who speak now
}

// update takes the voices of all who are in the room, and returns who speaks, the
// one in the lead first, if that is news. Pure but for the receiver.
func (s *speakers) update(voices []voice, now time.Time) (speaking []string, news bool) {
	if s.spoke == nil {
		s.spoke = map[string]time.Time{}
	}
	level := map[string]int{}
	for _, v := range voices {
		level[v.peer] = max(level[v.peer], v.level)
	}
	for _, v := range voices {
		if v.level < speechLevel {
			continue
		}
		s.spoke[v.peer] = now
		if !slices.Contains(s.order, v.peer) {
			s.order = append(s.order, v.peer)
		}
	}
	gone := func(id string) bool { _, here := level[id]; return !here }
	s.order = slices.DeleteFunc(s.order, gone)
	for id := range s.spoke {
		if gone(id) {
			delete(s.spoke, id)
		}
	}
	s.rank(level, now)
	speaking = []string{}
	for _, id := range s.order {
		if now.Sub(s.spoke[id]) < speechHold {
			speaking = append(speaking, id)
		}
	}
	if slices.Equal(speaking, s.speaking) {
		return nil, false
	}
	s.speaking = speaking
	return speaking, true
}

// rank keeps the lead where it is until somebody else has deserved it; the others
// are in the order in which they spoke last.
func (s *speakers) rank(level map[string]int, now time.Time) {
	if len(s.order) == 0 {
		return
	}
	lead, rest := s.order[0], s.order[1:]
	slices.SortStableFunc(rest, func(a, b string) int {
		return s.spoke[b].Compare(s.spoke[a])
	})
	rival := ""
	for _, id := range rest {
		if level[id] >= speechLevel && (rival == "" || level[id] > level[rival]) {
			rival = id
		}
	}
	silent := now.Sub(s.spoke[lead]) >= speechHold
	switch {
	case rival == "" || !silent && level[rival] < level[lead]+speechLead:
		s.rival = ""
	case s.rival != rival && !silent:
		s.rival, s.since = rival, now
	case silent || now.Sub(s.since) >= speechTime:
		i := slices.Index(s.order, rival)
		s.order = slices.Insert(slices.Delete(s.order, i, i+1), 0, rival)
		s.rival = ""
	}
}

// recent returns the n peers who spoke last, the one in the lead first; those who
// never spoke are not among them.
func (s *speakers) recent(n int) []string { return s.order[:min(n, len(s.order))] }

package sdp

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/weft-rtc/weft/interceptors/codec"
)

// Errors about the order of things and about descriptions that fit no state.
var (
	ErrState    = errors.New("wrong signaling state")                // an offer or answer at the wrong moment
	ErrMismatch = errors.New("description does not fit the session") // sections other than those agreed or offered
	ErrNoLocal  = errors.New("no local transport parameters")        // SetLocal was not called
)

const defaultMaxSections = 256

// Session negotiates one connection. Its methods must be called from one
// goroutine at a time; none of them blocks.
type Session struct {
	cfg     Config
	local   Local
	wishes  []Send
	refused map[string]bool // wishes that the remote side rejected, by ID
	crowded map[string]bool // likewise those that had no room, until some is free

	id, version uint64
	lastMid     uint64 // highest number in a mid of our form, from either side
	state       State
	current     table
	pending     table // what our offer would make of it, in HaveLocalOffer
}

// NewSession returns a session in state Stable without any section.
func NewSession(c Config) *Session {
	if c.Codecs == nil {
		c.Codecs = codec.Default
	}
	if c.MaxSections <= 0 {
		c.MaxSections = defaultMaxSections
	}
	s := &Session{cfg: c, id: c.SessionID, refused: map[string]bool{}, crowded: map[string]bool{}, current: table{registry: newRegistry()}}
	if s.id == 0 {
		s.id = rand.Uint64() >> 1 // 63 bits (RFC 8829 section 5.2.1)
	}
	return s
}

// SetLocal takes our transport's parameters for the next descriptions. Another
// Ufrag than the one last negotiated makes Needed true: the next offer restarts
// ICE. To restart on a remote offer's behalf, call it before HandleOffer.
func (s *Session) SetLocal(l Local) {
	l.Candidates = slices.Clone(l.Candidates)
	s.local = l
}

// SetSends replaces all wishes. Nothing changes until an Offer, or until a
// remote offer asks for media (recvonly). A wish that the remote side refused
// stays refused until it was left out here once; a wish without kind and a second
// one of the same ID are left out.
func (s *Session) SetSends(sends []Send) {
	s.wishes = make([]Send, 0, len(sends))
	keep := map[string]bool{}
	for _, w := range sends {
		if keep[w.ID] || w.Kind != codec.Audio && w.Kind != codec.Video {
			continue
		}
		keep[w.ID] = true
		if w.StreamID == "" {
			w.StreamID = w.ID
		}
		if w.TrackID == "" {
			w.TrackID = w.ID
		}
		w.Layers = fitLayers(w.Layers)
		s.wishes = append(s.wishes, w)
	}
	gone := func(id string, _ bool) bool { return !keep[id] }
	maps.DeleteFunc(s.refused, gone)
	maps.DeleteFunc(s.crowded, gone)
}

// Refused reports whether the remote side rejected the wish of that ID, or there
// was no room for it.
func (s *Session) Refused(id string) bool { return s.refused[id] || s.crowded[id] }

// State returns where the session stands.
func (s *Session) State() State { return s.state }

// Remote returns the remote transport as last negotiated.
func (s *Session) Remote() Remote { return s.current.remote }

// Rollback forgets our pending offer, if there is one; wishes stay.
func (s *Session) Rollback() {
	s.state, s.pending = Stable, table{}
}

// commit makes a table the agreed one and says what that changes. refused are
// wishes that the exchange rejected.
func (s *Session) commit(t *table, refused []string) Changes {
	c := changes(&s.current, t)
	for _, id := range refused {
		s.refused[id] = true
		if !slices.Contains(c.Stopped, id) {
			c.Stopped = append(c.Stopped, id)
		}
	}
	if len(c.Stopped)+len(c.Closed) > 0 { // there may be room again
		clear(s.crowded)
	}
	for _, x := range t.sections {
		s.noteMid(x.mid)
	}
	s.current, s.pending, s.state = *t, table{}, Stable
	return c
}

// wish returns the wish of an ID, unless it is gone or refused.
func (s *Session) wish(id string) (Send, bool) {
	i := slices.IndexFunc(s.wishes, func(w Send) bool { return w.ID == id })
	if i < 0 || s.Refused(id) {
		return Send{}, false
	}
	return s.wishes[i], true
}

// Our mids are a letter and a number in base 36 with two digits or more, such as
// "w07". Browsers count in plain decimal, so only another Weft can name one like
// it; taking the highest number that either side used keeps them apart.
const midPrefix = "w"

func (s *Session) newMid(t *table) string {
	for {
		s.lastMid++
		n := strconv.FormatUint(s.lastMid, 36)
		if len(n) < 2 {
			n = "0" + n
		}
		if mid := midPrefix + n; !t.inUse(mid) {
			return mid
		}
	}
}

func (s *Session) noteMid(mid string) {
	digits, ok := strings.CutPrefix(mid, midPrefix)
	const most = 36 * 36 * 36 * 36 // so that nobody makes our mids long
	if n, err := strconv.ParseUint(digits, 36, 64); ok && err == nil && n < most {
		s.lastMid = max(s.lastMid, n)
	}
}

// Bootstrap reads the data-only first exchange that pion made, and starts anew
// from it: sections and refusals are forgotten, wishes stay. It learns our
// transport parameters, the DTLS role included, as SetLocal would.
func (s *Session) Bootstrap(offer, answer string, localIsOfferer bool) error {
	o, err := parse(offer, s.cfg.MaxSections)
	if err != nil {
		return fmt.Errorf("first offer: %w", err)
	}
	a, err := parse(answer, s.cfg.MaxSections)
	if err != nil {
		return fmt.Errorf("first answer: %w", err)
	}
	if len(o.media) != 1 || len(a.media) != 1 || !isData(o.media[0]) || !isData(a.media[0]) || o.media[0].mid != a.media[0].mid {
		return fmt.Errorf("first exchange: %w: not one application section", ErrMismatch)
	}
	ours, theirs := a, o
	if localIsOfferer {
		ours, theirs = o, a
	}
	local, err := ours.transport()
	if err != nil {
		return fmt.Errorf("our first description: %w", err)
	}
	t := table{registry: newRegistry(), localUfrag: local.Ufrag}
	if t.remote, err = theirs.transport(); err != nil {
		return fmt.Errorf("their first description: %w", err)
	}
	t.mixed, t.registry.twoByte = theirs.head.mixed, theirs.twoByte()
	m := o.media[0]
	t.sections = []section{{mid: m.mid, kind: m.kind, proto: m.proto, format: m.fmts[0], live: true}}
	t.bundle = []string{m.mid}
	if setup := a.setup(); localIsOfferer {
		t.role = opposite(setup)
	} else {
		t.role = setup
	}
	s.cfg.Application = true
	clear(s.refused)
	clear(s.crowded)
	s.id, s.version = ours.id, ours.version
	s.local = Local{Ufrag: local.Ufrag, Pwd: local.Pwd, Fingerprint: local.Fingerprint, Setup: t.role}
	s.commit(&t, nil)
	return nil
}

// opposite returns the DTLS role that the other side has (RFC 8842 section 5).
func opposite(setup string) string {
	switch setup {
	case "active":
		return "passive"
	case "passive":
		return "active"
	default:
		return ""
	}
}

package sdp

import (
	"fmt"
	"slices"

	"github.com/weft-rtc/weft/interceptors/codec"
)

const rtpProto = "UDP/TLS/RTP/SAVPF" // RFC 5764 section 8

// maxOffer is in bytes. As JSON, with two bytes more a line, it must fit into one
// control message of 262,144 bytes (WIRE section 9).
const maxOffer = 224 << 10

// Needed reports whether the state is Stable and an Offer would change something:
// a wish without a section, a section whose wish is gone or different, or an ICE
// restart that SetLocal began.
func (s *Session) Needed() bool {
	if s.state != Stable {
		return false
	}
	if s.local.Ufrag != "" && s.current.localUfrag != "" && s.local.Ufrag != s.current.localUfrag {
		return true
	}
	for i := range s.current.sections {
		if x := &s.current.sections[i]; x.live && x.send != nil {
			if w, ok := s.wish(x.send.ID); !ok || !sameSend(w, *x.send) {
				return true
			}
		}
	}
	return len(s.unplaced(&s.current)) > 0
}

// unplaced returns the wishes that no section of t carries.
func (s *Session) unplaced(t *table) []Send {
	carried := map[string]bool{}
	for _, x := range t.sections {
		if x.live && x.send != nil {
			carried[x.send.ID] = true
		}
	}
	var all []Send
	for _, w := range s.wishes {
		if !carried[w.ID] && !s.Refused(w.ID) {
			all = append(all, w)
		}
	}
	return all
}

// Offer returns a full description of ours and makes the state HaveLocalOffer.
// Sections whose wish is gone get port 0; their places are free from the next
// offer on. Wishes for which there is no room make an error that wraps ErrTooLarge
// and names the first; they count as refused until something has ended, so that a
// second call succeeds without them.
func (s *Session) Offer() (string, error) {
	if s.state != Stable {
		return "", fmt.Errorf("sdp: offer in %v: %w", s.state, ErrState)
	}
	if s.local.Ufrag == "" || s.local.Pwd == "" || s.local.Fingerprint == "" {
		return "", fmt.Errorf("sdp: offer: %w", ErrNoLocal)
	}
	t := s.current.clone()
	s.dismiss(&t)
	added, err := s.place(&t)
	if err != nil {
		return "", err
	}
	for i := range t.sections {
		t.refresh(&t.sections[i], s.cfg.Codecs)
	}
	t.order(s.current.bundle)
	t.localUfrag = s.local.Ufrag
	w := writer{local: s.local, setup: "actpass", offering: true}
	text := w.describe(&t, t.bundle, s.id, s.version+1)
	if over := len(text) - maxOffer; over > 0 && len(added) > 0 {
		return "", s.refuseLast(added, 1+over*len(t.sections)/len(text))
	}
	s.version++
	s.pending, s.state = t, HaveLocalOffer
	return text, nil
}

// refuseLast refuses the last n of the sends that an offer would have added.
func (s *Session) refuseLast(added []string, n int) error {
	added = added[max(0, len(added)-n):]
	for _, id := range added {
		s.crowded[id] = true
	}
	return fmt.Errorf("sdp: no room in the offer for send %q and %d more: %w: at most %d bytes", added[0], len(added)-1, ErrTooLarge, maxOffer)
}

// dismiss removes the sends whose wish is gone and renews those that differ. A
// section in which the remote side sends too must live on without ours.
func (s *Session) dismiss(t *table) {
	for i := range t.sections {
		x := &t.sections[i]
		if !x.live || x.send == nil {
			continue
		}
		w, ok := s.wish(x.send.ID)
		switch {
		case ok && w.Kind.String() == x.kind:
			x.send = &w
		case x.recv != nil:
			x.send, x.sending = nil, false
		default:
			x.bury()
		}
	}
}

// place gives every wish without a section the first place that was dead before
// this offer, or a new one at the end.
func (s *Session) place(t *table) (added []string, err error) {
	free := 0
	unplaced := s.unplaced(t)
	for i, w := range unplaced {
		for free < len(s.current.sections) && !s.current.sections[free].reusable() {
			free++
		}
		if free == len(s.current.sections) && len(t.sections) >= s.cfg.MaxSections {
			for _, w := range unplaced[i:] {
				s.crowded[w.ID] = true
			}
			return nil, fmt.Errorf("sdp: no place for send %q and %d more: %w: %d sections", w.ID, len(unplaced)-i-1, ErrTooLarge, len(t.sections))
		}
		x := section{mid: s.newMid(t), kind: w.Kind.String(), proto: rtpProto, live: true, send: &w, rsize: true}
		x.exts = t.registry.ownExtensions(&w)
		if free < len(s.current.sections) {
			t.sections[free] = x
			free++
		} else {
			t.sections = append(t.sections, x)
		}
		added = append(added, w.ID)
	}
	return added, nil
}

// reusable reports whether an agreed section is a stub whose place media may take.
func (x *section) reusable() bool { return !x.live && x.kind != dataKind }

// refresh gives a section in which we send the codecs that its list lacks: a
// description of the remote side may have had fewer than we have. Their payload
// types must not mean something else in this section.
func (t *table) refresh(x *section, codecs func(codec.Kind) []codec.Codec) {
	if !x.live || x.send == nil {
		return
	}
	list := slices.Clone(x.offer)
	uses := func(pt uint8) bool {
		return pt != 0 && slices.ContainsFunc(list, func(p Payload) bool { return p.Type == pt || p.RTX == pt })
	}
	for _, p := range t.registry.own(codecs(x.send.Kind)) {
		has := slices.ContainsFunc(list, func(q Payload) bool { return p.Codec.Matches(q.Codec) })
		if !has && !uses(p.Type) && !uses(p.RTX) {
			list = append(list, p)
		}
	}
	x.offer = list
	if len(x.send.Layers) > 0 {
		x.name(&t.registry)
	}
}

// name lets the packets of a section say which layer they belong to, for a wish
// that had no layers when the section was made.
func (x *section) name(r *registry) {
	exts := slices.Clone(x.exts)
	for _, own := range r.ownExtensions(x.send) {
		layered := own.uri == ExtRID || own.uri == ExtRepairedRID
		if layered && !slices.ContainsFunc(exts, func(e extmap) bool { return e.uri == own.uri || e.id == own.id }) {
			exts = append(exts, own)
		}
	}
	x.exts = exts
}

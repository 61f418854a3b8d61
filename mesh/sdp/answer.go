package sdp

import (
	"fmt"
	"slices"
)

// HandleAnswer takes the answer to our offer. Text that cannot be read changes
// nothing, and the offer stays open; an answer that does not fit the offer
// (ErrMismatch) forgets the offer too, so that the state is Stable. Without an
// open offer the error is ErrState.
func (s *Session) HandleAnswer(sdp string) (Changes, error) {
	if s.state != HaveLocalOffer {
		return Changes{}, fmt.Errorf("sdp: answer in %v: %w", s.state, ErrState)
	}
	d, err := parse(sdp, s.cfg.MaxSections)
	if err != nil {
		return Changes{}, err
	}
	t := s.pending.clone()
	refused, err := s.takeAnswer(&t, d)
	if err != nil {
		s.Rollback()
		return Changes{}, err
	}
	return s.commit(&t, refused), nil
}

func mismatch(m *media, what string) error {
	return &Error{Line: m.line, Section: m.index, What: what, Err: ErrMismatch}
}

func (s *Session) takeAnswer(t *table, d *description) (refused []string, err error) {
	if len(d.media) != len(t.sections) {
		return nil, fmt.Errorf("sdp: answer has %d sections, the offer %d: %w", len(d.media), len(t.sections), ErrMismatch)
	}
	for i, m := range d.media {
		x := &t.sections[i]
		if err := fits(x, m, d); err != nil {
			return nil, err
		}
		id := ""
		if x.send != nil {
			id = x.send.ID
		}
		if !s.takeSection(t, x, m, d) && id != "" {
			refused = append(refused, id)
		}
	}
	t.order(t.bundle)
	t.mixed = t.mixed || d.head.mixed
	t.registry.twoByte = t.registry.twoByte || d.twoByte()
	if d.tagged() == nil {
		return refused, nil // everything was rejected: the transport stays
	}
	if t.remote, err = d.transport(); err != nil {
		return nil, err
	}
	switch t.remote.Setup {
	case "active", "passive":
		t.role = opposite(t.remote.Setup)
	case "actpass": // RFC 8842 section 5.3 wants a decision
		return nil, mismatch(d.tagged(), "answer with setup actpass")
	}
	return refused, nil
}

// fits checks that an answer's section is that of our offer (RFC 3264 section 6).
func fits(x *section, m *media, d *description) error {
	switch {
	case m.kind != x.kind:
		return mismatch(m, "kind "+quote(m.kind)+" answers "+quote(x.kind))
	case m.dead():
		return nil
	case !x.live:
		return mismatch(m, "live answer to a removed section")
	case m.mid != x.mid:
		return mismatch(m, "mid "+quote(m.mid)+" answers "+quote(x.mid))
	case !d.bundled(m):
		return mismatch(m, "mid "+quote(m.mid)+" is not in the bundle")
	}
	return nil
}

// takeSection applies one section of an answer and reports false if our wish in
// it was refused: rejected by port 0, or accepted without any codec of ours.
func (s *Session) takeSection(t *table, x *section, m *media, d *description) bool {
	if m.dead() {
		x.bury()
		return false
	}
	if !x.live || x.kind == dataKind {
		return true
	}
	t.registry.learn(m, d.extensions(m), s.codecs(x.kind))
	sends, receives := d.direction(m)
	x.accept, x.mixed = narrow(x.offer, m), d.mixed(m)
	x.agreed = x.agreed[:0:0]
	for _, e := range d.extensions(m) {
		if slices.ContainsFunc(x.exts, func(o extmap) bool { return o.id == e.id && o.uri == e.uri }) {
			x.agreed = append(x.agreed, extmap{e.id, reverse(e.dir), e.uri})
		}
	}
	usable := len(x.accept) > 0
	x.sending = x.send != nil && receives && usable
	x.agree(m)
	if x.recv != nil { // else the remote side may not send here (RFC 3264 section 6.1)
		was := x.recv
		x.recv = nil
		if sends && usable {
			x.recv = x.receiveOf(m)
			x.keepIdentity(was, m)
		}
	}
	return usable
}

// keepIdentity fills in what an answer need not repeat: the track of the
// section and its layers.
func (x *section) keepIdentity(was *Receive, m *media) {
	if !m.msid {
		x.recv.StreamID, x.recv.TrackID = was.StreamID, was.TrackID
	}
	if x.recv.RIDs == nil && was.RIDs != nil {
		x.recv.RIDs, x.recv.SSRC, x.recv.RTXSSRC = was.RIDs, 0, 0
	}
	if x.recv.RIDs == nil && x.recv.SSRC == 0 {
		x.recv.SSRC, x.recv.RTXSSRC = was.SSRC, was.RTXSSRC
	}
}

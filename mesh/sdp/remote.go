package sdp

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weft-rtc/weft/interceptors/codec"
)

func (s *Session) codecs(kind string) []codec.Codec {
	k := codec.ParseKind(kind)
	if k == 0 {
		return nil
	}
	return s.cfg.Codecs(k)
}

// HandleOffer answers a remote offer. On an error nothing has changed: not even
// an offer of ours that it crossed is forgotten.
func (s *Session) HandleOffer(sdp string) (Outcome, error) {
	collided := s.state == HaveLocalOffer
	if collided && !s.cfg.Polite {
		return Outcome{Ignored: true, Collided: true, Changes: Changes{Remote: s.current.remote}}, nil
	}
	if s.local.Ufrag == "" || s.local.Pwd == "" || s.local.Fingerprint == "" {
		return Outcome{}, fmt.Errorf("sdp: answer: %w", ErrNoLocal)
	}
	d, err := parse(sdp, s.cfg.MaxSections)
	if err != nil {
		return Outcome{}, err
	}
	t := s.current.clone()
	refused, err := s.takeOffer(&t, d)
	if err != nil {
		return Outcome{}, err
	}
	bundle := t.bundle
	if !d.hasBundle {
		bundle = nil
	}
	s.version++
	w := writer{local: s.local, setup: t.role}
	text := w.describe(&t, bundle, s.id, s.version)
	return Outcome{Collided: collided, Answer: text, Changes: s.commit(&t, refused)}, nil
}

func (s *Session) takeOffer(t *table, d *description) (refused []string, err error) {
	if len(d.media) < len(t.sections) {
		return nil, fmt.Errorf("sdp: offer has %d sections, %d are agreed: %w", len(d.media), len(t.sections), ErrMismatch)
	}
	for i, m := range d.media {
		if i == len(t.sections) {
			t.sections = append(t.sections, section{})
		}
		x := t.sections[i]
		same := x.live && (m.dead() || m.mid == x.mid)
		if same && x.kind != m.kind {
			return nil, mismatch(m, "kind "+quote(m.kind)+" under a mid that is "+quote(x.kind))
		}
		t.sections[i] = s.offered(t, i, m, d)
		if same && x.send != nil && !t.sections[i].live {
			refused = append(refused, x.send.ID)
		}
	}
	t.order(d.bundle)
	t.registry.twoByte = t.registry.twoByte || d.twoByte()
	t.mixed = t.mixed || d.head.mixed || slices.ContainsFunc(d.media, func(m *media) bool { return m.mixed })
	t.localUfrag = s.local.Ufrag
	if d.tagged() != nil {
		if t.remote, err = d.transport(); err != nil {
			return nil, err
		}
	}
	t.role = s.answerRole(t)
	return refused, nil
}

// answerRole decides our side of DTLS: the role in force, at first that of the
// server, since pion then chooses AES-GCM; only one who insists on being the
// server itself gets a client.
func (s *Session) answerRole(t *table) string {
	switch {
	case s.local.Setup == "active" || s.local.Setup == "passive":
		return s.local.Setup
	case t.role != "":
		return t.role
	case t.remote.Setup == "passive":
		return "active"
	default:
		return "passive"
	}
}

// offered makes the section at place i of a remote offer.
func (s *Session) offered(t *table, i int, m *media, d *description) section {
	prior := t.sections[i]
	x := section{mid: m.mid, kind: m.kind, proto: m.proto, rsize: m.rtcpRsize}
	if isToken(m.fmts[0]) {
		x.format = m.fmts[0]
	}
	if m.dead() {
		if x.mid == "" {
			x.mid = prior.mid
		}
		return x
	}
	if !prior.live || prior.mid != m.mid {
		prior = section{} // another use of the place
	}
	if !d.bundled(m) {
		return x
	}
	if m.kind == dataKind {
		x.live = s.takesData(t, i, m)
		return x
	}
	x.offer = shared(m, s.codecs(m.kind))
	if len(x.offer) == 0 || !m.rtcpMux || !strings.Contains(m.proto, "RTP/SAVP") {
		x.offer = nil
		return x
	}
	x.live, x.accept = true, x.offer
	exts := d.extensions(m)
	x.exts = t.registry.mirror(exts, codec.ParseKind(m.kind))
	x.agreed, x.mixed = x.exts, d.mixed(m)
	t.registry.learn(m, exts, s.codecs(m.kind))
	s.assign(t, i, &x, &prior, m, d)
	return x
}

// assign decides what a live media section carries in either direction.
func (s *Session) assign(t *table, i int, x, prior *section, m *media, d *description) {
	sends, receives := d.direction(m)
	sends = sends && !s.cfg.SendOnly
	x.send = prior.send
	if x.send == nil && receives && !sends {
		t.sections[i] = section{} // what stood here does not carry its wish any more
		for _, w := range s.unplaced(t) {
			if w.Kind.String() == m.kind {
				x.send = &w
				break
			}
		}
	}
	x.sending = x.send != nil && receives
	if sends {
		x.recv = x.receiveOf(m)
		x.simulcast = m.simulcastSend != ""
	}
	x.agree(m)
}

// takesData reports whether an application section is the one we can have: that
// of the first exchange, or the first one where the configuration expects it.
func (s *Session) takesData(t *table, i int, m *media) bool {
	other := slices.IndexFunc(t.sections, func(x section) bool { return x.live && x.kind == dataKind })
	return s.cfg.Application && isData(m) && m.sctpPort != 0 && (other < 0 || other == i)
}

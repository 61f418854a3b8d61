package sdp

import (
	"math"
	"slices"
	"strings"
)

// ReadRemote reads the transport of a description without taking it, for a
// transport that must know it before it can answer: a first offer of WHIP or
// WHEP, or one whose Ufrag differs from Session.Remote, an ICE restart. All
// sections share one transport, that of the first in the bundle group.
func ReadRemote(sdp string) (Remote, error) {
	d, err := parse(sdp, math.MaxInt)
	if err != nil {
		return Remote{}, err
	}
	return d.transport()
}

// tagged returns the section that owns the transport: the first of the bundle
// group (RFC 9143 section 7.2), without a group the first that lives, or nil.
func (d *description) tagged() *media {
	live := func(mid string) *media {
		i := slices.IndexFunc(d.media, func(m *media) bool { return !m.dead() && m.mid == mid })
		if i < 0 {
			return nil
		}
		return d.media[i]
	}
	for _, mid := range d.bundle {
		if m := live(mid); m != nil {
			return m
		}
	}
	if i := slices.IndexFunc(d.media, func(m *media) bool { return !m.dead() }); i >= 0 {
		return d.media[i]
	}
	return nil
}

// transport returns ICE and DTLS parameters. Each may stand in the section or
// before the first one (RFC 8839 section 5.4, RFC 8122 section 5).
func (d *description) transport() (Remote, error) {
	m := d.tagged()
	if m == nil {
		return Remote{}, &Error{Section: -1, What: "no live section"}
	}
	or := func(a, b string) string {
		if a != "" {
			return a
		}
		return b
	}
	r := Remote{
		Ufrag: or(m.ufrag, d.head.ufrag), Pwd: or(m.pwd, d.head.pwd),
		Fingerprint: or(m.fingerprint, d.head.fingerprint), Setup: or(m.setup, d.head.setup),
		Lite: d.lite,
	}
	for _, need := range []struct{ name, value string }{{"ice-ufrag", r.Ufrag}, {"ice-pwd", r.Pwd}, {"fingerprint", r.Fingerprint}} {
		if need.value == "" {
			return Remote{}, &Error{Line: m.line, Section: m.index, What: m.kind + " without a=" + need.name}
		}
	}
	for _, c := range slices.Concat(d.head.candidates, m.candidates) {
		r.Candidates = append(r.Candidates, strings.TrimSpace(c))
	}
	return r, nil
}

func (d *description) setup() string {
	if m := d.tagged(); m != nil && m.setup != "" {
		return m.setup
	}
	return d.head.setup
}

// bundled reports whether a live section shares the transport.
func (d *description) bundled(m *media) bool {
	if d.hasBundle {
		return slices.Contains(d.bundle, m.mid)
	}
	return d.tagged() == m
}

// direction returns what the remote side does in a section (RFC 8866 section 6.7).
func (d *description) direction(m *media) (sends, receives bool) {
	dir := m.dir
	if dir == "" {
		dir = d.head.dir
	}
	switch dir {
	case "sendonly":
		return true, false
	case "recvonly":
		return false, true
	case "inactive":
		return false, false
	default:
		return true, true
	}
}

// twoByte reports whether the remote side takes extension ids above 14 (RFC 8285
// section 6). Firefox's answers repeat the attribute of the offer, and yet it
// refuses such ids.
func (d *description) twoByte() bool { return d.head.mixed && !d.mozilla }

// mixed reports whether the remote side takes header extensions in the two-byte
// form in a section (RFC 8285 section 6). Firefox does, under ids up to 14.
func (d *description) mixed(m *media) bool { return d.head.mixed || m.mixed }

// extensions returns the header extensions of a section, with those that the
// whole description has.
func (d *description) extensions(m *media) []extmap {
	return slices.Concat(m.extmaps, d.head.extmaps)
}

// isData reports whether a section carries data channels (RFC 8841 section 7).
func isData(m *media) bool {
	return m.kind == dataKind && strings.Contains(m.proto, "DTLS/SCTP") && !m.dead()
}

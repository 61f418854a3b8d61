package sdp

import (
	"strconv"
	"strings"
)

// attribute reads one a= line. Unknown attributes say nothing to us
// (RFC 8866 section 5.13).
func (p *parser) attribute(v string) error {
	key, value, _ := strings.Cut(v, ":")
	m := p.m
	switch key {
	case "mid":
		return p.token(&m.mid, key, value)
	case "ice-ufrag":
		return p.token(&m.ufrag, key, value)
	case "ice-pwd":
		return p.token(&m.pwd, key, value)
	case "fingerprint":
		return p.fingerprint(value)
	case "setup":
		return p.oneOf(&m.setup, key, value, "actpass", "active", "passive", "holdconn")
	case "sendrecv", "sendonly", "recvonly", "inactive":
		m.dir = key
	case "ice-lite":
		p.d.lite = true
	case "bundle-only":
		m.bundleOnly = true
	case "rtcp-mux":
		m.rtcpMux = true
	case "rtcp-rsize":
		m.rtcpRsize = true
	case "extmap-allow-mixed":
		m.mixed = true
	case "group":
		return p.group(value)
	case "candidate":
		return p.candidate(v)
	default:
		return p.mediaAttribute(key, value)
	}
	return nil
}

// mediaAttribute reads what has a meaning within RTP and SCTP sections only.
func (p *parser) mediaAttribute(key, value string) error {
	switch key {
	case "extmap":
		return p.extmap(value)
	case "rtpmap":
		return p.rtpmap(value)
	case "fmtp":
		return p.fmtp(value)
	case "rtcp-fb":
		return p.feedback(value)
	case "msid":
		return p.msid(value)
	case "ssrc":
		return p.ssrc(value)
	case "ssrc-group":
		return p.ssrcGroup(value)
	case "rid":
		return p.rid(value)
	case "simulcast":
		return p.simulcast(value)
	case "sctp-port":
		n, err := strconv.ParseUint(value, 10, 16)
		if err != nil {
			return p.fail("sctp-port " + quote(value))
		}
		p.m.sctpPort = int(n)
	}
	return nil
}

func (p *parser) token(to *string, key, value string) error {
	value = strings.TrimSpace(value)
	if !isToken(value) {
		return p.fail(key + " " + quote(value))
	}
	*to = value
	return nil
}

func (p *parser) oneOf(to *string, key, value string, words ...string) error {
	for _, w := range words {
		if value == w {
			*to = w
			return nil
		}
	}
	return p.fail(key + " " + quote(value))
}

func (p *parser) fingerprint(v string) error {
	hash, rest := next(v)
	digits, rest := next(rest)
	if !isToken(hash) || !isToken(digits) || rest != "" {
		return p.fail("fingerprint " + quote(v))
	}
	p.m.fingerprint = hash + " " + digits
	return nil
}

// group keeps the first BUNDLE group; a second transport is more than we have.
func (p *parser) group(v string) error {
	semantics, rest := next(v)
	if semantics != "BUNDLE" || p.d.hasBundle {
		return nil
	}
	p.d.hasBundle = true
	for mid := range strings.FieldsSeq(rest) {
		if len(p.d.bundle) >= p.most {
			return p.large("more than " + strconv.Itoa(p.most) + " mids in BUNDLE")
		}
		p.d.bundle = append(p.d.bundle, mid)
	}
	return nil
}

func (p *parser) candidate(v string) error {
	if p.d.candidates++; p.d.candidates > maxCandidates {
		return p.large("more than " + strconv.Itoa(maxCandidates) + " candidates")
	}
	p.m.candidates = append(p.m.candidates, v)
	return nil
}

// extmap reads "<id>[/<direction>] <uri> ..." (RFC 8285 section 5). Ids above 255
// only promise an extension without using it; they are skipped.
func (p *parser) extmap(v string) error {
	word, rest := next(v)
	uri, _ := next(rest)
	number, dir, _ := strings.Cut(word, "/")
	id, err := strconv.ParseUint(number, 10, 16)
	if err != nil || id == 0 || !isToken(uri) {
		return p.fail("extmap " + quote(v))
	}
	if dir != "" {
		if err := p.oneOf(&dir, "extmap direction", dir, "sendrecv", "sendonly", "recvonly", "inactive"); err != nil {
			return err
		}
	}
	if len(p.m.extmaps) >= maxExtensions {
		return p.large("more than " + strconv.Itoa(maxExtensions) + " header extensions")
	}
	if id <= 255 {
		p.m.extmaps = append(p.m.extmaps, extmap{int(id), dir, uri})
	}
	return nil
}

// rtpmap reads "<payload type> <name>/<clock>[/<channels>]" (RFC 8866 section 6.6).
func (p *parser) rtpmap(v string) error {
	word, rest := next(v)
	pt, ok := payloadType(word)
	name, rest, _ := strings.Cut(strings.TrimSpace(rest), "/")
	rate, channels, _ := strings.Cut(rest, "/")
	clock, err := strconv.ParseUint(rate, 10, 32)
	if !ok || err != nil || !isToken(name) {
		return p.fail("rtpmap " + quote(v))
	}
	r := rtpmap{pt: pt, name: name, clock: uint32(clock)}
	if channels != "" {
		n, err := strconv.ParseUint(channels, 10, 16)
		if err != nil {
			return p.fail("rtpmap " + quote(v))
		}
		r.channels = uint16(n)
	}
	if len(p.m.rtpmaps) >= 128 {
		return p.large("more than 128 rtpmaps")
	}
	p.m.rtpmaps = append(p.m.rtpmaps, r)
	return nil
}

func (p *parser) fmtp(v string) error {
	word, rest := next(v)
	pt, ok := payloadType(word)
	if !ok {
		return p.fail("fmtp " + quote(v))
	}
	if p.m.fmtp == nil {
		p.m.fmtp = make(map[uint8]string)
	}
	p.m.fmtp[pt] = strings.TrimSpace(rest)
	return nil
}

// feedback reads "<payload type or *> <value>" (RFC 4585 section 4.2).
func (p *parser) feedback(v string) error {
	word, rest := next(v)
	f := feedback{all: word == "*", value: strings.TrimSpace(rest)}
	if pt, ok := payloadType(word); ok {
		f.pt = pt
	} else if !f.all {
		return p.fail("rtcp-fb " + quote(v))
	}
	if len(p.m.feedback) >= maxFeedback {
		return p.large("more than " + strconv.Itoa(maxFeedback) + " rtcp-fb lines")
	}
	p.m.feedback = append(p.m.feedback, f)
	return nil
}

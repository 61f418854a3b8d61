package sdp

import (
	"slices"
	"strconv"
	"strings"
)

// This file reads which streams a section carries: msid, SSRCs and layers.

// msid reads "<stream> [<track>]" (RFC 8830 section 2). A track in several
// streams has several lines; the first one counts.
func (p *parser) msid(v string) error {
	if p.m.msid {
		return nil
	}
	stream, rest := next(v)
	track, _ := next(rest)
	if !isToken(stream) || track != "" && !isToken(track) {
		return p.fail("msid " + quote(v))
	}
	if stream == "-" {
		stream = ""
	}
	p.m.msid, p.m.streamID, p.m.trackID = true, stream, track
	return nil
}

// ssrc reads "<ssrc> <attribute>[:<value>]" (RFC 5576 section 4.1). The msid of
// older descriptions stands there.
func (p *parser) ssrc(v string) error {
	word, rest := next(v)
	n, err := strconv.ParseUint(word, 10, 32)
	if err != nil {
		return p.fail("ssrc " + quote(v))
	}
	if err := p.addSSRC(uint32(n)); err != nil {
		return err
	}
	if value, ok := strings.CutPrefix(strings.TrimLeft(rest, " "), "msid:"); ok {
		return p.msid(value)
	}
	return nil
}

func (p *parser) addSSRC(ssrc uint32) error {
	m := p.m
	if ssrc == 0 || slices.Contains(m.ssrcs, ssrc) {
		return nil // 0 is "not declared" here, and no sender draws it
	}
	if len(m.ssrcs) >= maxSSRCs {
		return p.large("more than " + strconv.Itoa(maxSSRCs) + " SSRCs")
	}
	m.ssrcs = append(m.ssrcs, ssrc)
	return nil
}

// ssrcGroup reads "<semantics> <ssrc> ..." (RFC 5576 section 4.2). FID joins a
// stream with its retransmissions (RFC 4588), FEC-FR with its repair packets.
func (p *parser) ssrcGroup(v string) error {
	semantics, rest := next(v)
	var ssrcs []uint32
	for word := range strings.FieldsSeq(rest) {
		n, err := strconv.ParseUint(word, 10, 32)
		if err != nil {
			return p.fail("ssrc-group " + quote(v))
		}
		if len(ssrcs) >= maxSSRCs {
			return p.large("more than " + strconv.Itoa(maxSSRCs) + " SSRCs in a group")
		}
		ssrcs = append(ssrcs, uint32(n))
	}
	fid := semantics == "FID"
	if !fid && semantics != "FEC-FR" && semantics != "FEC" || len(ssrcs) < 2 {
		return nil
	}
	m := p.m
	if m.repairs == nil {
		m.repairs = make(map[uint32]bool)
	}
	if len(m.repairs) >= maxSSRCs {
		return p.large("more than " + strconv.Itoa(maxSSRCs) + " SSRC groups")
	}
	m.repairs[ssrcs[1]] = true
	if fid {
		m.fid = append(m.fid, [2]uint32{ssrcs[0], ssrcs[1]})
	}
	return nil
}

// mainSSRC returns the declared SSRC of the media and of its retransmissions.
func (m *media) mainSSRC() (ssrc, rtx uint32) {
	for _, s := range m.ssrcs {
		if !m.repairs[s] {
			ssrc = s
			break
		}
	}
	if ssrc == 0 && len(m.fid) > 0 {
		ssrc = m.fid[0][0] // a group without a=ssrc lines
	}
	for _, f := range m.fid {
		if f[0] == ssrc && f[1] != ssrc {
			return ssrc, f[1]
		}
	}
	return ssrc, 0
}

// rid reads "<id> send|recv [restrictions]" (RFC 8851 section 10).
func (p *parser) rid(v string) error {
	id, rest := next(v)
	dir, _ := next(rest)
	if !isRID(id) || dir != "send" && dir != "recv" {
		return p.fail("rid " + quote(v))
	}
	if len(p.m.rids) >= maxRIDs {
		return p.large("more than " + strconv.Itoa(maxRIDs) + " rids")
	}
	p.m.rids = append(p.m.rids, rid{id, dir})
	return nil
}

// isRID follows RFC 8851 section 10 with the errata that browsers follow: letters,
// digits, and also - and _.
func isRID(s string) bool {
	if s == "" || len(s) > maxToken {
		return false
	}
	for _, c := range s {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}

// simulcast reads "send <list> [recv <list>]" in either order (RFC 8853 section 5.1).
func (p *parser) simulcast(v string) error {
	for v = strings.TrimSpace(v); v != ""; {
		var dir, list string
		dir, v = next(v)
		list, v = next(v)
		if dir != "send" && dir != "recv" || list == "" {
			return p.fail("simulcast " + quote(dir+" "+list))
		}
		if dir == "send" {
			p.m.simulcastSend = list
		} else {
			p.m.simulcastRecv = list
		}
	}
	return nil
}

// layers returns the RIDs that the remote side sends, in the order of its
// simulcast list, or nil. Alternatives of one layer ("1,4") all count, and so do
// layers that begin paused ("~2").
func (m *media) layers() []string {
	sends := func(id string) bool { return slices.Contains(m.rids, rid{id, "send"}) }
	var ids []string
	if m.simulcastSend == "" {
		for _, r := range m.rids {
			if r.dir == "send" && !slices.Contains(ids, r.id) {
				ids = append(ids, r.id)
			}
		}
		return ids
	}
	for _, id := range strings.FieldsFunc(m.simulcastSend, func(c rune) bool { return c == ';' || c == ',' }) {
		id = strings.TrimPrefix(id, "~")
		if sends(id) && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

package sdp

import (
	"fmt"
	"strconv"
	"strings"
)

// A writer makes the text of one description of ours.
type writer struct {
	strings.Builder
	local    Local
	setup    string
	offering bool
	first    bool // no live section was written yet
}

func (w *writer) line(format string, args ...any) {
	fmt.Fprintf(w, format+"\r\n", args...)
}

// describe writes a table. bundle is the group's mids; an answer to an offer
// without a group has none (RFC 9143 section 7.3).
func (w *writer) describe(t *table, bundle []string, id, version uint64) string {
	w.line("v=0")
	w.line("o=- %d %d IN IP4 127.0.0.1", id, version)
	w.line("s=-")
	w.line("t=0 0")
	if bundle != nil {
		w.line("a=group:%s", strings.Join(append([]string{"BUNDLE"}, bundle...), " "))
	}
	if w.offering || t.mixed {
		w.line("a=extmap-allow-mixed")
	}
	w.line("a=msid-semantic: WMS *")
	w.first = true
	for i := range t.sections {
		w.section(&t.sections[i])
	}
	return w.String()
}

func (w *writer) section(x *section) {
	switch {
	case !x.live:
		w.stub(x)
	case x.kind == dataKind:
		w.line("m=application 9 %s webrtc-datachannel", x.proto)
		w.transport(x)
		// 5000 is what everybody says (RFC 8841 section 6); 262,144 is what a
		// description of some 60 sections needs (WIRE section 9).
		w.line("a=sctp-port:5000")
		w.line("a=max-message-size:262144")
	default:
		w.rtp(x)
	}
}

// stub writes a dead section: it keeps its place and says nothing (RFC 8829
// section 5.2.2).
func (w *writer) stub(x *section) {
	format := "0"
	if !strings.Contains(x.proto, "RTP/") && x.format != "" {
		format = x.format
	}
	w.line("m=%s 0 %s %s", x.kind, x.proto, format)
	w.line("c=IN IP4 0.0.0.0")
	if x.mid != "" {
		w.line("a=mid:%s", x.mid)
	}
	w.line("a=inactive")
}

func (w *writer) transport(x *section) {
	w.line("c=IN IP4 0.0.0.0")
	w.line("a=ice-ufrag:%s", w.local.Ufrag)
	w.line("a=ice-pwd:%s", w.local.Pwd)
	if w.local.Complete {
		w.line("a=ice-options:trickle")
	}
	w.line("a=fingerprint:%s", w.local.Fingerprint)
	w.line("a=setup:%s", w.setup)
	w.line("a=mid:%s", x.mid)
	if !w.first {
		return
	}
	w.first = false
	for _, c := range w.local.Candidates {
		w.line("a=%s", strings.TrimPrefix(c, "a="))
	}
	if w.local.Complete {
		w.line("a=end-of-candidates")
	}
}

// direction returns ours. An offer asks for all that the section carries, an
// answer follows what the offer allowed.
func (w *writer) direction(x *section) (dir string, sends bool) {
	sends = x.sending || w.offering && x.send != nil
	switch {
	case sends && x.recv != nil:
		return "sendrecv", sends
	case sends:
		return "sendonly", sends
	case x.recv != nil:
		return "recvonly", sends
	default:
		return "inactive", sends
	}
}

func (w *writer) rtp(x *section) {
	types := make([]string, 0, 2*len(x.offer))
	for _, p := range x.offer {
		types = append(types, strconv.Itoa(int(p.Type)))
		if p.RTX != 0 {
			types = append(types, strconv.Itoa(int(p.RTX)))
		}
	}
	w.line("m=%s 9 %s %s", x.kind, x.proto, strings.Join(types, " "))
	w.transport(x)
	dir, sends := w.direction(x)
	w.line("a=%s", dir)
	if sends {
		w.line("a=msid:%s %s", word(x.send.StreamID), word(x.send.TrackID))
	}
	w.line("a=rtcp-mux")
	if x.rsize {
		w.line("a=rtcp-rsize")
	}
	for _, p := range x.offer {
		w.payload(p)
	}
	for _, e := range x.exts {
		if e.dir != "" {
			e.dir = "/" + e.dir
		}
		w.line("a=extmap:%d%s %s", e.id, e.dir, e.uri)
	}
	if x.recv != nil && x.recv.RIDs != nil {
		w.layers(x.recv.RIDs, x.simulcast)
	}
	layers := x.layers
	if w.offering {
		layers = x.offeredLayers()
	}
	switch {
	case sends && len(layers) > 0:
		w.sendLayers(layers)
	case sends:
		w.sources(x)
	}
}

func (w *writer) payload(p Payload) {
	channels := ""
	if p.Codec.Channels != 0 {
		channels = "/" + strconv.Itoa(int(p.Codec.Channels))
	}
	w.line("a=rtpmap:%d %s/%d%s", p.Type, p.Codec.Name, p.Codec.ClockRate, channels)
	for _, f := range p.Feedback {
		w.line("a=rtcp-fb:%d %s", p.Type, f)
	}
	if fmtp := receiving(p.Codec.Fmtp); fmtp != "" {
		w.line("a=fmtp:%d %s", p.Type, fmtp)
	}
	if p.RTX != 0 {
		w.line("a=rtpmap:%d rtx/%d", p.RTX, p.Codec.ClockRate)
		w.line("a=fmtp:%d apt=%d", p.RTX, p.Type)
	}
}

// layers takes all of a remote simulcast (RFC 8853 section 5.2).
func (w *writer) layers(rids []string, simulcast bool) {
	for _, r := range rids {
		w.line("a=rid:%s recv", r)
	}
	if simulcast {
		w.line("a=simulcast:recv %s", strings.Join(rids, ";"))
	}
}

// sources declares our SSRCs (RFC 5576). The canonical name joins what belongs to
// one stream, which is what RFC 8834 section 4.9 makes of it for synchronisation.
func (w *writer) sources(x *section) {
	cname := word(x.send.StreamID)
	rtx := x.send.RTXSSRC
	if !hasRTX(x.offer) {
		rtx = 0
	}
	if rtx != 0 {
		w.line("a=ssrc-group:FID %d %d", x.send.SSRC, rtx)
	}
	w.line("a=ssrc:%d cname:%s", x.send.SSRC, cname)
	if rtx != 0 {
		w.line("a=ssrc:%d cname:%s", rtx, cname)
	}
}

// word makes a token of an id (RFC 8830 section 2), so that a name from elsewhere
// cannot write lines into our description. Ids should be tokens already.
func word(s string) string {
	const most = 64 // bytes, RFC 8830 section 2
	if len(s) > most {
		s = s[:most]
	}
	s = strings.Map(func(c rune) rune {
		if c <= ' ' || c > '~' {
			return '_'
		}
		return c
	}, s)
	if s == "" || s == "-" {
		return "_"
	}
	return s
}

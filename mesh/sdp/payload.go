package sdp

import (
	"slices"
	"strconv"
	"strings"

	"github.com/weft-rtc/weft/interceptors/codec"
)

// videoFeedback is what we understand of a=rtcp-fb, in the order of our offers;
// goog-remb is answered where it is offered and not offered ourselves.
var videoFeedback = []string{"nack", "nack pli", "ccm fir", "transport-cc", "goog-remb"}

func ownFeedback(k codec.Kind) []string {
	if k == codec.Audio {
		return []string{"nack", "transport-cc"}
	}
	return videoFeedback[:4:4]
}

// feedbackOf returns the known feedback values of one payload type.
func (m *media) feedbackOf(pt uint8) []string {
	var all []string
	for _, value := range videoFeedback {
		if slices.ContainsFunc(m.feedback, func(f feedback) bool {
			return (f.all || f.pt == pt) && strings.EqualFold(f.value, value)
		}) {
			all = append(all, value)
		}
	}
	return all
}

// rtpmapOf finds the codec of a payload type among the section's formats.
func (m *media) rtpmapOf(pt uint8) (rtpmap, bool) {
	i := slices.IndexFunc(m.rtpmaps, func(r rtpmap) bool { return r.pt == pt })
	if i < 0 {
		return rtpmap{}, false
	}
	return m.rtpmaps[i], true
}

// retransmissions maps payload types to those of their RTX (RFC 4588 section 8.1).
func (m *media) retransmissions() map[uint8]uint8 {
	all := map[uint8]uint8{}
	for _, r := range m.rtpmaps {
		if !strings.EqualFold(r.name, "rtx") || !slices.Contains(m.fmts, strconv.Itoa(int(r.pt))) {
			continue
		}
		apt, ok := payloadType(codec.Codec{Fmtp: m.fmtp[r.pt]}.Param("apt"))
		if _, twice := all[apt]; ok && !twice {
			all[apt] = r.pt
		}
	}
	return all
}

// shared returns the payloads of a remote section that we can forward, in its order.
func shared(m *media, codecs []codec.Codec) []Payload {
	var all []Payload
	rtx := m.retransmissions()
	for _, f := range m.fmts {
		pt, ok := payloadType(f)
		if !ok || slices.ContainsFunc(all, func(p Payload) bool { return p.Type == pt }) {
			continue
		}
		r, ok := m.rtpmapOf(pt)
		if !ok {
			continue
		}
		name, ok := codec.Canonical(r.name)
		c := codec.Codec{Name: name, ClockRate: r.clock, Channels: r.channels, Fmtp: m.fmtp[pt]}
		if !ok || !slices.ContainsFunc(codecs, func(o codec.Codec) bool { return o.Matches(c) }) {
			continue
		}
		all = append(all, Payload{Codec: c, Type: pt, RTX: rtx[pt], Feedback: m.feedbackOf(pt)})
	}
	return all
}

// narrow returns the payloads of an answer that were offered. An answer keeps the
// offer's payload types (RFC 3264 section 6.1).
func narrow(offered []Payload, m *media) []Payload {
	var all []Payload
	rtx := m.retransmissions()
	for _, f := range m.fmts {
		pt, ok := payloadType(f)
		i := slices.IndexFunc(offered, func(p Payload) bool { return p.Type == pt })
		r, mapped := m.rtpmapOf(pt)
		if !ok || !mapped || i < 0 || !strings.EqualFold(offered[i].Codec.Name, r.name) {
			continue
		}
		if slices.ContainsFunc(all, func(p Payload) bool { return p.Type == pt }) {
			continue
		}
		p := Payload{Codec: offered[i].Codec, Type: pt}
		if fmtp, ok := m.fmtp[pt]; ok {
			p.Codec.Fmtp = fmtp
		}
		if n := rtx[pt]; n == offered[i].RTX {
			p.RTX = n
		}
		for _, v := range m.feedbackOf(pt) {
			if slices.Contains(offered[i].Feedback, v) {
				p.Feedback = append(p.Feedback, v)
			}
		}
		all = append(all, p)
	}
	return all
}

// receiving returns the parameters that say what we take of a codec whose sender
// described it by fmtp: the same, without what describes its stream only (sprop-)
// and without the picture size and rate that it decodes itself (RFC 7741 section
// 6.1), which as our answer would be a limit for what it publishes. A sender of
// stereo Opus is told that stereo is welcome (RFC 7587 section 7.1).
func receiving(fmtp string) string {
	if !strings.Contains(fmtp, "sprop-") && !strings.Contains(fmtp, "max-f") {
		return fmtp
	}
	var keep []string
	stereo := false
	for kv := range strings.SplitSeq(fmtp, ";") {
		kv = strings.TrimSpace(kv)
		name, value, _ := strings.Cut(kv, "=")
		switch {
		case name == "sprop-stereo":
			stereo = value == "1"
		case strings.HasPrefix(name, "sprop-"), name == "max-fs", name == "max-fr", name == "":
		default:
			keep = append(keep, kv)
		}
	}
	if stereo && !slices.Contains(keep, "stereo=1") {
		keep = append(keep, "stereo=1")
	}
	return strings.Join(keep, ";")
}

func equalPayload(a, b Payload) bool {
	return a.Codec == b.Codec && a.Type == b.Type && a.RTX == b.RTX && slices.Equal(a.Feedback, b.Feedback)
}

// samePayloads compares without order: browsers put what was agreed first.
func samePayloads(a, b []Payload) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(p Payload) bool {
		return !slices.ContainsFunc(b, func(q Payload) bool { return equalPayload(p, q) })
	})
}

func hasRTX(all []Payload) bool {
	return slices.ContainsFunc(all, func(p Payload) bool { return p.RTX != 0 })
}

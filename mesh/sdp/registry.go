package sdp

import (
	"maps"
	"slices"
	"strings"

	"github.com/weft-rtc/weft/interceptors/codec"
)

// A registry is what numbers mean on this connection. Since all sections share
// one transport, payload types (RFC 9143 section 9.1) and extension ids (RFC 8285
// section 5) have one meaning there, and Chromium never forgets one: "RTP
// extension ID reassignment not supported".
type registry struct {
	payloads map[codec.Codec]Payload // what our offers say, by our codec
	taken    [128]bool               // payload types in use, by whom and for what ever
	extID    map[string]int          // what our offers say, by URI
	extURI   map[int]string          // agreed or seen in an offer, by id
	twoByte  bool                    // the remote side takes ids above 14
}

func newRegistry() registry {
	return registry{payloads: map[codec.Codec]Payload{}, extID: map[string]int{}, extURI: map[int]string{}}
}

func (r registry) clone() registry {
	r.payloads, r.extID, r.extURI = maps.Clone(r.payloads), maps.Clone(r.extID), maps.Clone(r.extURI)
	return r
}

// What Weft offers as long as the remote side has not offered the codec itself:
// Chromium 156's numbers, so that both mostly say the same.
var favourites = []struct {
	name    string
	pt, rtx uint8
}{{codec.Opus, 111, 0}, {codec.VP8, 96, 97}, {codec.VP9, 98, 99}, {codec.H264, 108, 109}, {codec.AV1, 45, 46}}

// Extension ids of our own choice, for what the remote side has not offered yet.
// They must not be what a browser's withdrawn offer used for something else (WIRE
// section 8). Chromium's numbers are not fixed; it takes ids above 15, which it
// says by a=extmap-allow-mixed before the first section, in data-only descriptions
// too. Firefox 153 refuses a description with such an id ("unsupported until
// 2-byte rtp header extensions are supported"), whatever the attributes of its own
// descriptions say; but its numbers are fixed, and these are they.
var ownIDs = []struct {
	uri              string
	twoByte, firefox int
}{{ExtMID, 16, 3}, {ExtTransportCC, 17, 7}, {ExtAudioLevel, 18, 1}, {ExtDependencyDescriptor, 19, 8}, {ExtRID, 20, 9}, {ExtRepairedRID, 21, 10}}

// ofKind reports whether an extension has a meaning in sections of a kind.
func ofKind(uri string, k codec.Kind) bool {
	switch uri {
	case ExtAudioLevel:
		return k == codec.Audio
	case ExtDependencyDescriptor:
		return k == codec.Video
	default:
		return true
	}
}

// learn notes what a live section of the remote side says. The first meaning
// that our offers gave or took stays.
func (r *registry) learn(m *media, exts []extmap, codecs []codec.Codec) {
	for _, m := range m.rtpmaps {
		r.taken[m.pt] = true
	}
	shared := shared(m, codecs)
	for _, c := range codecs {
		if _, ok := r.payloads[c]; ok {
			continue
		}
		if p, ok := closest(c, shared); ok && !r.assigned(p.Type) && (p.RTX == 0 || !r.assigned(p.RTX)) {
			p.Feedback = ownFeedback(c.Kind())
			if p.RTX == 0 && c.Kind() == codec.Video {
				p.RTX = r.free(0)
			}
			r.assign(c, p)
		}
	}
	for _, e := range exts {
		if _, ok := r.extURI[e.id]; !ok {
			r.extURI[e.id] = e.uri
		}
		if _, ok := r.extID[e.uri]; !ok && r.extURI[e.id] == e.uri {
			r.extID[e.uri] = e.id
		}
	}
}

// closest finds the payload for our codec c: one with the very parameters if
// there is, because Chromium has constrained baseline beside baseline.
func closest(c codec.Codec, from []Payload) (Payload, bool) {
	found := -1
	for i, p := range from {
		if !c.Matches(p.Codec) {
			continue
		}
		if strings.EqualFold(p.Codec.Fmtp, c.Fmtp) {
			return p, true
		}
		if found < 0 {
			found = i
		}
	}
	if found < 0 {
		return Payload{}, false
	}
	return from[found], true
}

func (r *registry) assigned(pt uint8) bool {
	for _, p := range r.payloads {
		if p.Type == pt || p.RTX == pt {
			return true
		}
	}
	return false
}

func (r *registry) assign(c codec.Codec, p Payload) {
	r.payloads[c] = p
	r.taken[p.Type] = true
	if p.RTX != 0 {
		r.taken[p.RTX] = true
	}
}

// free returns want if nobody uses it, else the first free dynamic payload type
// (RFC 3551 section 3: 96..127, then what RFC 5761 leaves of 35..63), else 0.
func (r *registry) free(want uint8) uint8 {
	if want != 0 && !r.taken[want] {
		return want
	}
	for pt := uint8(96); pt < 128; pt++ {
		if !r.taken[pt] && !favoured(pt) {
			return pt
		}
	}
	for pt := uint8(35); pt < 64; pt++ {
		if !r.taken[pt] && !favoured(pt) {
			return pt
		}
	}
	return 0
}

func favoured(pt uint8) bool {
	for _, f := range favourites {
		if f.pt == pt || f.rtx == pt {
			return true
		}
	}
	return false
}

// own returns the payloads of our offers: every codec, under numbers that stay.
// A codec for which no payload type is left is not offered.
func (r *registry) own(codecs []codec.Codec) []Payload {
	var all []Payload
	for _, c := range codecs {
		p, ok := r.payloads[c]
		if !ok {
			if p = r.choose(c); p.Type == 0 {
				continue
			}
			r.assign(c, p)
		}
		all = append(all, p)
	}
	return all
}

func (r *registry) choose(c codec.Codec) Payload {
	p := Payload{Codec: c, Feedback: ownFeedback(c.Kind())}
	var pt, rtx uint8
	for _, f := range favourites {
		if strings.EqualFold(f.name, c.Name) {
			pt, rtx = f.pt, f.rtx
		}
	}
	if p.Type = r.free(pt); p.Type == 0 || c.Kind() != codec.Video {
		return p
	}
	r.taken[p.Type] = true // so that free does not return it again
	p.RTX = r.free(rtx)
	return p
}

// ownExtensions returns the header extensions of a section in which we send.
func (r *registry) ownExtensions(s *Send) []extmap {
	var all []extmap
	for _, own := range ownIDs {
		layered := own.uri == ExtRID || own.uri == ExtRepairedRID
		if !ofKind(own.uri, s.Kind) || layered && len(s.Layers) == 0 {
			continue
		}
		id, ok := r.extID[own.uri]
		if !ok {
			if id = r.freeID(own.twoByte, own.firefox); id == 0 {
				continue
			}
			r.extID[own.uri], r.extURI[id] = id, own.uri
		}
		all = append(all, extmap{id: id, uri: own.uri})
	}
	return all
}

// freeID returns an id that nothing uses, by preference one of the two, or 0.
// Id 15 is reserved (RFC 8285 section 4.2).
func (r *registry) freeID(twoByte, firefox int) int {
	from, first, last := firefox, 1, 14
	if r.twoByte {
		from, first, last = twoByte, 22, 255
	}
	if r.extURI[from] == "" {
		return from
	}
	for id := first; id <= last; id++ {
		if r.extURI[id] == "" {
			return id
		}
	}
	return 0
}

// known are the extensions that answers take.
var known = []string{ExtMID, ExtTransportCC, ExtAudioLevel, ExtRID, ExtRepairedRID, ExtDependencyDescriptor}

// mirror returns the extensions of a remote section that we take, under its ids
// and with directions reversed: Firefox sends no RID otherwise. An id that means
// something else on this connection is left out.
func (r *registry) mirror(exts []extmap, k codec.Kind) []extmap {
	var all []extmap
	for _, e := range exts {
		if !slices.Contains(known, e.uri) || !ofKind(e.uri, k) {
			continue
		}
		if slices.ContainsFunc(all, func(o extmap) bool { return o.uri == e.uri || o.id == e.id }) {
			continue
		}
		if uri, ok := r.extURI[e.id]; ok && uri != e.uri {
			continue
		}
		e.dir = reverse(e.dir)
		all = append(all, e)
	}
	return all
}

func reverse(dir string) string {
	switch dir {
	case "sendonly":
		return "recvonly"
	case "recvonly":
		return "sendonly"
	default:
		return dir
	}
}

// ids returns extensions as a map, those that flow in direction dir or in both.
func ids(exts []extmap, dir string) map[string]int {
	all := make(map[string]int, len(exts))
	for _, e := range exts {
		if e.dir == "" || e.dir == "sendrecv" || e.dir == dir {
			all[e.uri] = e.id
		}
	}
	return all
}

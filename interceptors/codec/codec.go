// Package codec names the media formats that Weft negotiates and forwards, so
// that the session descriptions (mesh/sdp), the publications (publish) and the
// forwarders (subscribe) speak of the same thing without importing one another.
//
// It stands beside a packet's way, not on it: everything here is read when a
// session is negotiated or a track is made. It does not look into payloads;
// package publish does.
package codec

import (
	"strconv"
	"strings"
)

// Kind says whether a track carries sound or pictures.
type Kind uint8

// The two kinds of media, numbered so that the zero value is neither.
const (
	Audio Kind = iota + 1
	Video
)

// String returns the word that an SDP media line uses (RFC 8866 section 5.14).
func (k Kind) String() string {
	switch k {
	case Audio:
		return "audio"
	case Video:
		return "video"
	default:
		return "unknown"
	}
}

// ParseKind reads the word of an SDP media line; anything else is 0.
func ParseKind(s string) Kind {
	switch s {
	case "audio":
		return Audio
	case "video":
		return Video
	default:
		return 0
	}
}

// Canonical codec names, as Weft spells them. SDP compares names without case
// (RFC 8866 section 6.6); GStreamer, for one, writes OPUS.
const (
	VP8  = "VP8"
	VP9  = "VP9"
	H264 = "H264"
	AV1  = "AV1"
	Opus = "opus"
)

// Codec is one media format: what an rtpmap and its fmtp say, without the
// payload type, which belongs to a connection. It is comparable.
type Codec struct {
	Name      string // canonical spelling, see the constants
	ClockRate uint32 // Hz
	Channels  uint16 // audio only, 0 where the rtpmap names none
	Fmtp      string // parameters as in a=fmtp, perhaps empty
}

// Kind returns the kind of media the codec carries.
func (c Codec) Kind() Kind {
	if strings.EqualFold(c.Name, Opus) {
		return Audio
	}
	return Video
}

// String returns a short form for logs and messages, such as "H264 42e01f".
func (c Codec) String() string {
	if p := c.Param("profile-level-id"); p != "" {
		return c.Name + " " + p
	}
	if p := c.Param("profile-id"); p != "" && p != "0" {
		return c.Name + " profile " + p
	}
	return c.Name
}

// Param returns a parameter of the fmtp line, or "".
func (c Codec) Param(name string) string {
	for kv := range strings.SplitSeq(c.Fmtp, ";") {
		k, v, _ := strings.Cut(strings.TrimSpace(kv), "=")
		if strings.EqualFold(k, name) {
			return v
		}
	}
	return ""
}

// Matches reports whether a packet of codec o can be handed to someone who
// negotiated c: same name and clock, and for H264 (RFC 6184 section 8.2.2) the
// same packetization mode and profile, whatever the level; for VP9 the same
// profile. A missing parameter has its default.
func (c Codec) Matches(o Codec) bool {
	if !strings.EqualFold(c.Name, o.Name) || c.ClockRate != o.ClockRate {
		return false
	}
	switch {
	case strings.EqualFold(c.Name, H264):
		return c.mode() == o.mode() && c.h264Profile() == o.h264Profile()
	case strings.EqualFold(c.Name, VP9):
		return c.number("profile-id") == o.number("profile-id")
	case strings.EqualFold(c.Name, AV1):
		return c.number("profile") == o.number("profile")
	default:
		return true
	}
}

func (c Codec) mode() int { return c.number("packetization-mode") }

func (c Codec) number(name string) int {
	n, _ := strconv.Atoi(c.Param(name))
	return n
}

// h264Profile folds profile_idc and the constraint bits that matter into the
// profile family: 42e0.. and 4200.. differ (constrained baseline and baseline)
// only in tools that no WebRTC encoder uses, so both are "baseline".
func (c Codec) h264Profile() string {
	id := strings.ToLower(c.Param("profile-level-id"))
	if len(id) != 6 {
		return "42" // RFC 6184 section 8.1: Baseline when absent
	}
	if id[:2] == "58" || id[:2] == "42" {
		return "42"
	}
	return id[:2]
}

// Canonical returns name in Weft's spelling and whether Weft forwards it.
func Canonical(name string) (string, bool) {
	for _, n := range []string{VP8, VP9, H264, AV1, Opus} {
		if strings.EqualFold(n, name) {
			return n, true
		}
	}
	return name, false
}

// Default lists the codecs of every section that Weft offers, in order of
// preference: what every browser decodes comes first.
func Default(k Kind) []Codec {
	if k == Audio {
		return []Codec{{Name: Opus, ClockRate: 48000, Channels: 2, Fmtp: "minptime=10;useinbandfec=1"}}
	}
	return []Codec{
		{Name: VP8, ClockRate: 90000},
		{Name: VP9, ClockRate: 90000, Fmtp: "profile-id=0"},
		{Name: H264, ClockRate: 90000, Fmtp: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"},
		{Name: AV1, ClockRate: 90000, Fmtp: "level-idx=5;profile=0;tier=0"},
	}
}

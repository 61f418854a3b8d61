package source

import (
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/publish"
)

// maxVideoPayload is the longest RTP payload made of a picture, in bytes: a
// packet of 1200 with 12 of header and 28 for what is added on the way, which
// are header extensions and the two bytes of RTX. With SRTP's tag, UDP and IPv6
// it is then below the 1280 that every path carries.
const maxVideoPayload = 1200 - 12 - 28

// packetizer splits frames into RTP payloads. It keeps what counts over frames,
// such as picture ids, so a track has one for all its passes.
type packetizer struct {
	payloader rtp.Payloader
	h264      *codecs.H264Payloader // the same, if it is one
	audio     bool
}

func newPacketizer(c codec.Codec) packetizer {
	switch c.Name {
	case codec.VP8:
		return packetizer{payloader: &codecs.VP8Payloader{EnablePictureID: true}}
	case codec.VP9:
		return packetizer{payloader: &codecs.VP9Payloader{}}
	case codec.H264:
		h := &codecs.H264Payloader{}
		return packetizer{payloader: h, h264: h}
	case codec.AV1:
		return packetizer{payloader: &codecs.AV1Payloader{}}
	default:
		return packetizer{payloader: &codecs.OpusPayloader{}, audio: true}
	}
}

// split returns the payloads of a frame, none when it cannot be sent.
func (p packetizer) split(f frame) [][]byte {
	if p.audio {
		// Opus is never split (RFC 7587 section 4.2).
		if len(f.data) > publish.MaxPayload-64 {
			return nil
		}
		return p.payloader.Payload(publish.MaxPayload, f.data)
	}
	if p.h264 != nil {
		// pion puts one SPS and one PPS into one STAP-A (RFC 6184 section
		// 5.7.1) and forgets others; then they go as they are.
		p.h264.DisableStapA = f.single
	}
	return p.payloader.Payload(maxVideoPayload, f.data)
}

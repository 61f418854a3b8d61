package publish

import (
	"strings"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/publish/descriptor"
)

// Info is what one look at a payload tells, without regard to its neighbours.
type Info struct {
	Keyframe   bool // a decoder can start at this packet, as far as it alone tells
	FrameStart bool // begins a picture, as far as it alone tells

	// NoParameters says of a Keyframe of H264 that it has no parameter sets: they
	// are in a packet before, or the decoder was told of them elsewhere.
	NoParameters bool

	// Width and Height are the picture's, in pixels, where a Keyframe says them:
	// VP8, and H264 with its parameter sets. 0: not said. What a scalable stream
	// says of its layers is in Layer.Spatial.
	Width, Height uint16
}

// Look reads the codec's payload header. It never fails: what is cut short or
// makes no sense is no keyframe and starts nothing. Audio, and a codec that it
// does not know, is taken to start at every packet. Safe for concurrent use.
func Look(c codec.Codec, payload []byte) Info { return looker(c)(payload) }

// looker picks the function once, so that no packet compares names.
func looker(c codec.Codec) func(payload []byte) Info {
	switch name := c.Name; {
	case strings.EqualFold(name, codec.VP8):
		return lookVP8
	case strings.EqualFold(name, codec.VP9):
		return lookVP9
	case strings.EqualFold(name, codec.H264):
		return lookH264
	case strings.EqualFold(name, codec.AV1):
		return lookAV1
	default:
		return lookAny
	}
}

func lookAny(payload []byte) Info {
	start := len(payload) > 0
	return Info{Keyframe: start, FrameStart: start}
}

// lookVP8 reads the payload descriptor (RFC 7741 section 4.2) and the first bit
// of the payload header, section 4.3.
func lookVP8(b []byte) Info {
	d, err := descriptor.ParseVP8(b)
	if err != nil {
		return Info{}
	}
	return infoVP8(&d, b)
}

func infoVP8(d *descriptor.VP8, b []byte) Info {
	info := Info{FrameStart: d.Start, Keyframe: d.Keyframe}
	if b = b[d.Size:]; info.Keyframe && len(b) >= 10 && b[3] == 0x9d && b[4] == 0x01 && b[5] == 0x2a {
		// RFC 6386 section 9.1: 14 bits each, the upper two ask to scale.
		info.Width, info.Height = (uint16(b[7])<<8|uint16(b[6]))&0x3fff, (uint16(b[9])<<8|uint16(b[8]))&0x3fff
	}
	return info
}

// lookVP9 reads the payload descriptor (RFC 9628 section 4.2). A key picture is
// not predicted from another one and begins with the lowest spatial layer; higher
// layers of any picture may be without reference to others too.
func lookVP9(b []byte) Info {
	d, err := descriptor.ParseVP9(b)
	if err != nil {
		return Info{}
	}
	return infoVP9(&d)
}

func infoVP9(d *descriptor.VP9) Info {
	start := d.Start && d.SID == 0
	return Info{FrameStart: start, Keyframe: start && d.Keyframe()}
}

// NAL unit types of H.264 (ITU-T H.264 table 7-1) and of RFC 6184 table 1.
const (
	nalSlice = 1
	nalIDR   = 5
	nalSPS   = 7
	nalAUD   = 9
	nalSTAPA = 24
	nalFUA   = 28
)

// lookH264 reads single NAL units, STAP-A and FU-A (RFC 6184 sections 5.6, 5.7.1
// and 5.8), which is all that packetization modes 0 and 1 allow.
func lookH264(b []byte) Info {
	if len(b) < 2 {
		return Info{}
	}
	switch t := b[0] & 0x1f; t {
	case nalSTAPA:
		return lookSTAPA(b[1:])
	case nalFUA:
		if len(b) < 3 || b[1]&0x80 == 0 { // S bit: the first fragment
			return Info{}
		}
		return lookNAL(b[1]&0x1f, b[2])
	default:
		info := lookNAL(t, b[1])
		if t == nalSPS {
			info.measure(b)
		}
		return info
	}
}

// measure takes the picture's size from a sequence parameter set.
func (i *Info) measure(nal []byte) {
	if s, ok := ParseSPS(nal); ok {
		i.Width, i.Height = uint16(s.Width), uint16(s.Height)
	}
}

// lookNAL judges a NAL unit by its type and the byte after its header. A slice
// header starts with first_mb_in_slice as ue(v): a leading 1 bit is macroblock
// 0, so the first slice of its picture.
func lookNAL(t, next byte) Info {
	switch t {
	case nalSPS:
		return Info{Keyframe: true, FrameStart: true}
	case nalAUD:
		return Info{FrameStart: true}
	case nalIDR:
		first := next&0x80 != 0
		return Info{Keyframe: first, FrameStart: first, NoParameters: first}
	case nalSlice:
		return Info{FrameStart: next&0x80 != 0}
	default:
		return Info{}
	}
}

// lookSTAPA joins the units of an aggregation packet: sizes of 16 bits before
// each. The first unit says whether a picture starts, any may be the key.
func lookSTAPA(b []byte) (info Info) {
	parameters := false
	for first := true; len(b) > 2; first = false {
		size := int(b[0])<<8 | int(b[1])
		b = b[2:]
		if size == 0 || size > len(b) {
			break
		}
		if size >= 2 {
			unit := lookNAL(b[0]&0x1f, b[1])
			if b[0]&0x1f == nalSPS {
				info.measure(b[:size])
			}
			info.Keyframe = info.Keyframe || unit.Keyframe
			parameters = parameters || unit.Keyframe && !unit.NoParameters
			info.FrameStart = info.FrameStart || unit.FrameStart && (first || unit.Keyframe)
		}
		b = b[size:]
	}
	info.NoParameters = info.Keyframe && !parameters
	return info
}

// lookAV1 reads the aggregation header of the AV1 RTP specification, section
// 4.4, and the OBU headers (AV1 bitstream section 5.3.2) behind it.
//
//	 0 1 2 3 4 5 6 7
//	+-+-+-+-+-+-+-+-+
//	|Z|Y| W |N|-|-|-|  Z: first OBU continues the last packet's; N: first packet
//	+-+-+-+-+-+-+-+-+  of a coded video sequence; W: OBUs, 0 when all have sizes
//
// Not every packetizer sets N, so a sequence header counts as much: encoders
// write it before key pictures only.
func lookAV1(b []byte) Info {
	const z, n, obuSequenceHeader, maxElements = 0x80, 0x08, 1, 16
	if len(b) < 2 || b[0]&z != 0 {
		return Info{}
	}
	info := Info{FrameStart: true, Keyframe: b[0]&n != 0}
	count := int(b[0] >> 4 & 0x03)
	for b, i := b[1:], 1; len(b) > 0 && i <= maxElements; i++ {
		size := len(b)
		if count == 0 || i < count { // the last of W elements has no length
			var used int
			if size, used = leb128(b); used == 0 || size > len(b)-used {
				return info
			}
			b = b[used:]
		}
		if size > 0 && b[0]>>3&0x0f == obuSequenceHeader {
			info.Keyframe = true
		}
		if i == count {
			break
		}
		b = b[size:]
	}
	return info
}

// leb128 reads a length of at most four bytes, which is more than fits a
// packet. used is 0 when it is cut short or longer.
func leb128(b []byte) (value, used int) {
	for i := 0; i < len(b) && i < 4; i++ {
		value |= int(b[i]&0x7f) << (7 * i)
		if b[i]&0x80 == 0 {
			return value, i + 1
		}
	}
	return 0, 0
}

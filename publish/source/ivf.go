package source

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"strconv"
	"time"

	"github.com/weft-rtc/weft/interceptors/codec"
)

// ivf reads an IVF file:
//
//	header, 32 bytes:  "DKIF"  version:16  header length:16  FourCC
//	                   width:16  height:16  rate:32  scale:32  frames:32  unused:32
//	frame, 12 bytes:   size:32  timestamp:64  then size bytes
//
// all numbers little-endian. A timestamp counts scale/rate seconds.
type ivf struct {
	name        string
	r           *bufio.Reader
	offset      int64
	rate, scale uint64
	format      codec.Codec

	buf    []byte
	number int    // frames read
	first  uint64 // timestamp of the first frame
	last   uint64 // timestamp of the latest
	length time.Duration
	held   *frame // the first frame, read by openIVF
}

const ivfHeader, ivfFrameHeader = 32, 12

// openIVF reads the header and the first frame.
func openIVF(name string, r io.Reader) (*ivf, error) {
	v := &ivf{name: name, r: bufio.NewReaderSize(r, 64<<10)}
	var h [ivfHeader]byte
	if _, err := io.ReadFull(v.r, h[:]); err != nil {
		return nil, readError(name, 0, "the IVF header", err)
	}
	if string(h[:4]) != "DKIF" {
		return nil, &FileError{name, 0, "is not an IVF file: does not begin with DKIF", nil}
	}
	length := int(binary.LittleEndian.Uint16(h[6:]))
	if length < ivfHeader {
		return nil, &FileError{name, 6, fmt.Sprintf("the IVF header claims %d bytes, fewer than 32", length), nil}
	}
	if _, err := v.r.Discard(length - ivfHeader); err != nil {
		return nil, readError(name, ivfHeader, "the IVF header", err)
	}
	v.offset = int64(length)
	v.rate = uint64(binary.LittleEndian.Uint32(h[16:]))
	v.scale = uint64(binary.LittleEndian.Uint32(h[20:]))
	if v.rate == 0 || v.scale == 0 {
		return nil, &FileError{name, 16, fmt.Sprintf("the IVF time base %d/%d is zero", v.scale, v.rate), nil}
	}
	f, err := v.next()
	if errors.Is(err, io.EOF) {
		return nil, &FileError{name, v.offset, "holds no frame", nil}
	} else if err != nil {
		return nil, err
	}
	v.held = &f
	if v.format, err = formatOf(string(h[8:12]), f.data); err != nil {
		return nil, &FileError{name, int64(length), err.Error(), nil}
	}
	return v, nil
}

// formatOf finds the codec by its FourCC and the first frame, which must be one
// that a decoder can start with.
func formatOf(fourCC string, first []byte) (codec.Codec, error) {
	switch fourCC {
	case "VP80":
		// RFC 6386 section 9.1: bit 0 clear is a key frame, start code 9d 01 2a.
		if len(first) < 10 || first[0]&1 != 0 || first[3] != 0x9d || first[4] != 1 || first[5] != 0x2a {
			return codec.Codec{}, errors.New("does not begin with a VP8 keyframe")
		}
		return withParam(codec.VP8, "", ""), nil
	case "VP90":
		profile, ok := vp9Keyframe(first)
		if !ok {
			return codec.Codec{}, errors.New("does not begin with a VP9 keyframe")
		}
		return withParam(codec.VP9, "profile-id", strconv.Itoa(profile)), nil
	case "AV01":
		profile, ok := av1Profile(first)
		if !ok {
			return codec.Codec{}, errors.New("does not begin with an AV1 sequence header")
		}
		return withParam(codec.AV1, "profile", strconv.Itoa(profile)), nil
	default:
		return codec.Codec{}, fmt.Errorf("holds %q, which is none of VP80, VP90, AV01", fourCC)
	}
}

// vp9Keyframe reads the beginning of the uncompressed header (VP9 bitstream
// specification section 6.2): frame_marker:2 profile_low:1 profile_high:1
// [reserved:1 in profile 3] show_existing_frame:1 frame_type:1 ...
func vp9Keyframe(b []byte) (profile int, ok bool) {
	if len(b) < 4 || b[0]>>6 != 2 {
		return 0, false
	}
	profile = int(b[0]>>5&1 | b[0]>>4&1<<1)
	rest := b[0] << 4
	if profile == 3 {
		rest <<= 1
	}
	return profile, rest>>6 == 0
}

// av1Profile finds the sequence header among the OBUs of a temporal unit (AV1
// specification sections 5.3 and 5.5): seq_profile is its first three bits.
func av1Profile(b []byte) (profile int, ok bool) {
	for len(b) > 0 {
		kind, extension, sized := b[0]>>3&15, b[0]>>2&1, b[0]>>1&1 == 1
		head := 1 + int(extension)
		if len(b) < head {
			return 0, false
		}
		b = b[head:]
		size := uint64(len(b))
		if sized {
			var n int
			if size, n = binary.Uvarint(b); n <= 0 || n > 8 || size > uint64(len(b)-n) {
				return 0, false
			}
			b = b[n:]
		}
		if kind == 1 && size > 0 {
			return int(b[0] >> 5), true
		}
		b = b[size:]
	}
	return 0, false
}

func (v *ivf) codec() codec.Codec { return v.format }

func (v *ivf) next() (frame, error) {
	if v.held != nil {
		f := *v.held
		v.held = nil
		return f, nil
	}
	for {
		at := v.offset
		var h [ivfFrameHeader]byte
		if n, err := io.ReadFull(v.r, h[:]); err == io.EOF && n == 0 {
			return frame{}, io.EOF
		} else if err != nil {
			return frame{}, readError(v.name, at, fmt.Sprintf("the header of frame %d", v.number), err)
		}
		size := binary.LittleEndian.Uint32(h[:])
		if size > maxFrame {
			return frame{}, &FileError{v.name, at, fmt.Sprintf(
				"frame %d claims %d bytes, more than %d", v.number, size, maxFrame), nil}
		}
		var err error
		if v.buf, err = readInto(v.buf, v.r, int(size)); err != nil {
			return frame{}, readError(v.name, at, fmt.Sprintf("frame %d of %d bytes", v.number, size), err)
		}
		v.offset += ivfFrameHeader + int64(size)
		if size == 0 {
			continue // a frame that the encoder dropped
		}
		return v.timed(binary.LittleEndian.Uint64(h[4:]), at)
	}
}

// timed gives the frame in buf its place in time.
func (v *ivf) timed(stamp uint64, offset int64) (frame, error) {
	if v.number == 0 {
		v.first, v.last = stamp, stamp
		// One tick, unless that is not the time between frames by any chance.
		v.length = ticks(v.scale, v.rate)
		if v.length < 5*time.Millisecond || v.length > time.Second {
			v.length = time.Second / 30
		}
	}
	step := ticksOf(stamp-v.last, v.scale, v.rate)
	if stamp < v.last || step > maxGap {
		return frame{}, &FileError{v.name, offset, fmt.Sprintf(
			"the timestamp of frame %d is %d after %d", v.number, stamp, v.last), nil}
	}
	if step > 0 {
		v.length = step
	}
	v.last = stamp
	v.number++
	return frame{data: v.buf, at: ticksOf(stamp-v.first, v.scale, v.rate), length: v.length}, nil
}

// ticks returns how long scale/rate seconds are.
func ticks(scale, rate uint64) time.Duration { return ticksOf(1, scale, rate) }

// ticksOf returns n*scale/rate seconds, rounded; what does not fit a Duration
// is the longest one. scale and rate are below 2^32, rate is not 0.
func ticksOf(n, scale, rate uint64) time.Duration {
	const longest = 1<<63 - 1
	over, ns := bits.Mul64(scale, uint64(time.Second)) // below 2^62
	if over != 0 {
		return longest
	}
	hi, lo := bits.Mul64(n, ns)
	lo, carry := bits.Add64(lo, rate/2, 0)
	hi += carry
	if hi >= rate {
		return longest
	}
	q, _ := bits.Div64(hi, lo, rate)
	return time.Duration(min(q, longest))
}

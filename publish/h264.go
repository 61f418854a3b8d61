package publish

import "fmt"

// maxFrameRate bounds the frame rate that a sequence parameter set is believed.
const maxFrameRate = 240

// SPS is what a sequence parameter set of H264 says about what a track needs.
type SPS struct {
	Profile, Constraints, Level byte
	Width, Height               int    // of the picture in pixels; 0: not readable
	Rate, Scale                 uint64 // frames per Scale seconds; 0: not said
}

// ProfileLevelID is the parameter of RFC 6184 section 8.1.
func (s SPS) ProfileLevelID() string {
	return fmt.Sprintf("%02x%02x%02x", s.Profile, s.Constraints, s.Level)
}

// ParseSPS reads a NAL unit of type 7 (H.264 section 7.3.2.1.1 and, for the
// frame rate, annex E.1.1). It is ok when profile and level are there; a rate
// that is cut short or not within 1 and 240 is left at 0.
func ParseSPS(nal []byte) (s SPS, ok bool) {
	if len(nal) < 5 || nal[0]&31 != nalSPS {
		return s, false
	}
	s.Profile, s.Constraints, s.Level = nal[1], nal[2], nal[3]
	var room [256]byte // real ones have some 30 bytes
	b := bitReader{b: unescape(room[:0], nal[4:min(len(nal), len(room))])}
	b.skipToSize(s.Profile)
	s.Width, s.Height = b.size()
	if b.u(1) == 0 || b.failed { // vui_parameters_present_flag
		return s, true
	}
	b.skipVUIToTiming()
	if b.u(1) == 0 { // timing_info_present_flag
		return s, true
	}
	tick, scale := uint64(b.u(32)), uint64(b.u(32))
	// A frame lasts two ticks (E.2.1: a tick is the time of a field). Without
	// fixed_frame_rate_flag that is still what the encoder meant.
	if tick == 0 || b.failed || scale < 2*tick || scale > maxFrameRate*2*tick {
		return s, true
	}
	s.Rate, s.Scale = scale, 2*tick
	if s.Scale > 1<<32-1 {
		s.Rate, s.Scale = s.Rate/2, tick
	}
	return s, true
}

// IsBSlice reads the slice_type of a NAL unit that is a slice (H.264 section
// 7.3.3 and table 7-6).
func IsBSlice(nal []byte) bool {
	if len(nal) < 2 {
		return false
	}
	var room [16]byte
	b := bitReader{b: unescape(room[:0], nal[1:min(len(nal), len(room))])}
	b.ue() // first_mb_in_slice
	return b.ue()%5 == 1 && !b.failed
}

// skipToSize reads from seq_parameter_set_id to the width.
func (b *bitReader) skipToSize(profile byte) {
	b.ue() // seq_parameter_set_id
	switch profile {
	case 100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135:
		b.skipHighProfile()
	}
	b.ue() // log2_max_frame_num_minus4
	switch b.ue() {
	case 0:
		b.ue() // log2_max_pic_order_cnt_lsb_minus4
	case 1:
		b.u(1)
		b.ue()
		b.ue()
		for n := b.ue(); n > 0 && !b.failed; n-- {
			b.ue()
		}
	}
	b.ue() // max_num_ref_frames
	b.u(1)
}

// size reads the picture's size, in macroblocks of 16 pixels less what is cut
// off. The cut is counted as of 4:2:0, which all browsers send.
func (b *bitReader) size() (width, height int) {
	w, h := int(b.ue())+1, int(b.ue())+1
	fields := 1
	if b.u(1) == 0 { // frame_mbs_only_flag
		b.u(1)
		fields = 2
	}
	b.u(1) // direct_8x8_inference_flag
	w, h = 16*w, 16*h*fields
	if b.u(1) == 1 { // frame_cropping_flag
		w -= 2 * int(b.ue()+b.ue())
		h -= 2 * fields * int(b.ue()+b.ue())
	}
	if b.failed || w <= 0 || h <= 0 || w > 1<<14 || h > 1<<14 {
		return 0, 0
	}
	return w, h
}

func (b *bitReader) skipHighProfile() {
	lists := 8
	if b.ue() == 3 { // chroma_format_idc
		b.u(1)
		lists = 12
	}
	b.ue() // bit_depth_luma_minus8
	b.ue()
	b.u(1)
	if b.u(1) == 0 { // seq_scaling_matrix_present_flag
		return
	}
	for i := range lists {
		if b.u(1) == 0 {
			continue
		}
		size := 16
		if i >= 6 {
			size = 64
		}
		last, next := 8, 8
		for range size {
			if next != 0 {
				next = (last + b.se()) & 255
			}
			if next != 0 {
				last = next
			}
		}
	}
}

func (b *bitReader) skipVUIToTiming() {
	if b.u(1) == 1 && b.u(8) == 255 { // aspect_ratio_idc: Extended_SAR
		b.u(32)
	}
	if b.u(1) == 1 { // overscan_info_present_flag
		b.u(1)
	}
	if b.u(1) == 1 { // video_signal_type_present_flag
		b.u(4)
		if b.u(1) == 1 {
			b.u(24)
		}
	}
	if b.u(1) == 1 { // chroma_loc_info_present_flag
		b.ue()
		b.ue()
	}
}

// bitReader reads bits. Past the end it reads zeros and has failed.
type bitReader struct {
	b      []byte
	bit    int
	failed bool
}

// unescape appends a NAL unit to b without its emulation prevention bytes (H.264
// section 7.4.1).
func unescape(b, nal []byte) []byte {
	zeros := 0
	for _, c := range nal {
		if zeros >= 2 && c == 3 {
			zeros = 0
			continue
		}
		if c == 0 {
			zeros++
		} else {
			zeros = 0
		}
		b = append(b, c)
	}
	return b
}

// u reads n bits, at most 32.
func (r *bitReader) u(n int) (v uint32) {
	for range n {
		if r.bit >= 8*len(r.b) {
			r.failed = true
			return 0
		}
		v = v<<1 | uint32(r.b[r.bit/8]>>(7-r.bit%8)&1)
		r.bit++
	}
	return v
}

// ue reads an unsigned Exp-Golomb number (H.264 section 9.1).
func (r *bitReader) ue() uint32 {
	zeros := 0
	for r.u(1) == 0 {
		if zeros++; r.failed || zeros > 31 {
			r.failed = true
			return 0
		}
	}
	return 1<<zeros - 1 + r.u(zeros)
}

// se reads a signed Exp-Golomb number (H.264 section 9.1.1).
func (r *bitReader) se() int {
	v := int(r.ue())
	if v&1 == 1 {
		return (v + 1) / 2
	}
	return -v / 2
}

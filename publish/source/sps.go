package source

import "fmt"

// spsInfo is what a sequence parameter set says about what a track needs.
type spsInfo struct {
	profile, constraints, level byte
	rate, scale                 uint64 // frames per scale seconds; 0: not said
}

// profileLevelID is the parameter of RFC 6184 section 8.1.
func (s spsInfo) profileLevelID() string {
	return fmt.Sprintf("%02x%02x%02x", s.profile, s.constraints, s.level)
}

// parseSPS reads a NAL unit of type 7 (H.264 section 7.3.2.1.1 and, for the
// frame rate, annex E.1.1). It is ok when profile and level are there; a rate
// that is cut short or not within 1 and 240 is left at 0.
func parseSPS(nal []byte) (s spsInfo, ok bool) {
	if len(nal) < 5 || nal[0]&31 != nalSPS {
		return s, false
	}
	s.profile, s.constraints, s.level = nal[1], nal[2], nal[3]
	b := newBitReader(nal[4:min(len(nal), 1024)])
	if !b.skipToVUI(s.profile) {
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
	s.rate, s.scale = scale, 2*tick
	if s.scale > 1<<32-1 {
		s.rate, s.scale = s.rate/2, tick
	}
	return s, true
}

// skipToVUI reads from seq_parameter_set_id to vui_parameters_present_flag and
// returns the latter.
func (b *bitReader) skipToVUI(profile byte) bool {
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
	b.ue() // width
	b.ue() // height
	if b.u(1) == 0 {
		b.u(1) // mb_adaptive_frame_field_flag
	}
	b.u(1)           // direct_8x8_inference_flag
	if b.u(1) == 1 { // frame_cropping_flag
		for range 4 {
			b.ue()
		}
	}
	return b.u(1) == 1 && !b.failed
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

// bitReader reads the bits of a NAL unit, leaving out the emulation prevention
// bytes (H.264 section 7.4.1). Past the end it reads zeros and has failed.
type bitReader struct {
	b      []byte
	bit    int
	failed bool
}

func newBitReader(nal []byte) *bitReader {
	b := make([]byte, 0, len(nal))
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
	return &bitReader{b: b}
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

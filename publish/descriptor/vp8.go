package descriptor

// VP8 is the payload descriptor of one packet (RFC 7741 section 4.2). Where the
// frame ends is said by the RTP marker only.
//
//	 0 1 2 3 4 5 6 7
//	+-+-+-+-+-+-+-+-+
//	|X|R|N|S|R| PID |
//	+-+-+-+-+-+-+-+-+
//	|I|L|T|K| RSV   | if X
//	|M| PictureID   | if I, 7 bits, or 15 if M
//	|   TL0PICIDX   | if L
//	|TID|Y| KEYIDX  | if T or K
//	+-+-+-+-+-+-+-+-+
type VP8 struct {
	Start        bool  // S with PID 0: first packet of a frame
	Keyframe     bool  // P bit of the payload header (section 4.3) clear; told by Start packets only
	NonReference bool  // N: no other frame refers to this one
	Partition    uint8 // PID

	PictureIDBits uint8  // 7 or 15; 0: there is none
	PictureID     uint16 // modulo 1<<PictureIDBits
	PictureIDAt   int    // where in the payload it stands, its M bit included

	HasTL0 bool  // L
	TL0    uint8 // TL0PICIDX, number of the last frame of temporal layer 0
	TL0At  int   // where in the payload it stands

	HasTID    bool // T
	TID       uint8
	LayerSync bool // Y: depends on layer 0 only, so a viewer may switch up to TID here

	HasKeyIndex bool // K
	KeyIndex    uint8

	Size int // bytes of the descriptor
}

// ParseVP8 reads the descriptor in front of a VP8 payload (RFC 7741 section
// 4.2). It allocates nothing and keeps nothing of payload.
func ParseVP8(payload []byte) (VP8, error) {
	if len(payload) == 0 {
		return VP8{}, ErrVP8Short
	}
	first := payload[0]
	d := VP8{NonReference: first&0x20 != 0, Partition: first & 0x07, Size: 1}
	if first&0x80 != 0 && !d.extension(payload) {
		return VP8{}, ErrVP8Short
	}
	if len(payload) == d.Size {
		return VP8{}, ErrVP8Empty
	}
	d.Start = first&0x10 != 0 && d.Partition == 0
	d.Keyframe = d.Start && payload[d.Size]&0x01 == 0
	return d, nil
}

// extension reads what the X bit announces. It reports whether all of it is there.
func (d *VP8) extension(b []byte) bool {
	if len(b) < 2 {
		return false
	}
	flags, n := b[1], 2
	if flags&0x80 != 0 {
		d.PictureIDAt = n
		if d.PictureIDBits, d.PictureID = pictureID(b[n:]); d.PictureIDBits == 0 {
			return false
		}
		n += int(d.PictureIDBits+1) / 8
	}
	d.HasTL0, d.HasTID, d.HasKeyIndex = flags&0x40 != 0, flags&0x20 != 0, flags&0x10 != 0
	if d.HasTL0 {
		if len(b) <= n {
			return false
		}
		d.TL0, d.TL0At = b[n], n
		n++
	}
	if d.HasTID || d.HasKeyIndex {
		if len(b) <= n {
			return false
		}
		if d.HasTID {
			d.TID, d.LayerSync = b[n]>>6, b[n]&0x20 != 0
		}
		if d.HasKeyIndex {
			d.KeyIndex = b[n] & 0x1f
		}
		n++
	}
	d.Size = n
	return true
}

// Rewrite puts another picture id and TL0PICIDX into payload, a copy of the one
// that was parsed. Widths stay: 7 bits take the lower 7 of the id, and what is
// not there is not put in. A payload shorter than the descriptor stays as it is.
//
// A forwarder that drops frames of VP8 closes the gaps of both numbers: the
// picture id is a running index of the frames sent (RFC 7741 section 4.2), and a
// viewer takes a gap for a loss.
func (d *VP8) Rewrite(payload []byte, pictureID uint16, tl0 uint8) {
	if len(payload) < d.Size {
		return
	}
	putPictureID(payload, d.PictureIDAt, d.PictureIDBits, pictureID)
	if d.HasTL0 {
		payload[d.TL0At] = tl0
	}
}

// pictureID reads an id of 7 bits, or 15 after an M bit, as VP8 and VP9 have it.
// bits is 0 when it is cut short.
func pictureID(b []byte) (bits uint8, id uint16) {
	switch {
	case len(b) > 0 && b[0]&0x80 == 0:
		return 7, uint16(b[0])
	case len(b) > 1:
		return 15, uint16(b[0]&0x7f)<<8 | uint16(b[1])
	default:
		return 0, 0
	}
}

// putPictureID writes an id where one of that many bits stands.
func putPictureID(b []byte, at int, bits uint8, id uint16) {
	switch bits {
	case 7:
		b[at] = byte(id & 0x7f)
	case 15:
		b[at], b[at+1] = 0x80|byte(id>>8), byte(id)
	}
}

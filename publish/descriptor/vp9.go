package descriptor

// VP9 is the payload descriptor of one packet (RFC 9628 section 4.2). A picture
// has one layer frame for each spatial layer, all with the same picture id; the
// RTP marker ends the picture, End a layer frame of it.
//
//	 0 1 2 3 4 5 6 7
//	+-+-+-+-+-+-+-+-+
//	|I|P|L|F|B|E|V|Z|
//	+-+-+-+-+-+-+-+-+
//	|M| PICTURE ID  | if I, 7 bits, or 15 if M
//	| TID |U| SID |D| if L
//	|   TL0PICIDX   | if L and not F
//	| P_DIFF      |N| if P and F, once to three times
//	| SS ...        | if V
//	+-+-+-+-+-+-+-+-+
type VP9 struct {
	Predicted bool // P: refers to other pictures
	Layered   bool // L: TID, SID, SwitchUp and InterLayer are said
	Flexible  bool // F: references are in Diffs, not in the picture group
	Start     bool // B: first packet of a layer frame
	End       bool // E: last packet of a layer frame
	// NotForUpper is Z: no frame of a higher spatial layer depends on those of
	// this one, in this picture and the ones that follow.
	NotForUpper bool

	PictureIDBits uint8  // 7 or 15; 0: there is none
	PictureID     uint16 // modulo 1<<PictureIDBits
	PictureIDAt   int    // where in the payload it stands, its M bit included

	TID uint8 // temporal layer
	SID uint8 // spatial layer
	// SwitchUp is U: the pictures of higher temporal layers that follow depend on
	// none of those layers before this one, so a viewer may get them from here on.
	SwitchUp   bool
	InterLayer bool // D: depends on layer SID-1 of its own picture

	HasTL0 bool
	TL0    uint8 // TL0PICIDX, number of the last picture of temporal layer 0
	TL0At  int   // where in the payload it stands

	DiffCount uint8    // of Diffs
	Diffs     [3]uint8 // P_DIFF: how many picture ids before this one the reference is, same SID

	HasStructure bool // V
	StructureAt  int  // where in the payload the scalability structure stands

	Size int // bytes of the descriptor
}

// ParseVP9 reads the descriptor in front of a VP9 payload, of flexible and of
// non-flexible mode (RFC 9628 section 4.2). It allocates nothing and keeps
// nothing of payload.
func ParseVP9(payload []byte) (VP9, error) {
	if len(payload) == 0 {
		return VP9{}, ErrVP9Short
	}
	first := payload[0]
	d := VP9{
		Predicted: first&0x40 != 0, Layered: first&0x20 != 0, Flexible: first&0x10 != 0,
		Start: first&0x08 != 0, End: first&0x04 != 0,
		HasStructure: first&0x02 != 0, NotForUpper: first&0x01 != 0,
		Size: 1,
	}
	if first&0x80 != 0 {
		d.PictureIDAt = d.Size
		if d.PictureIDBits, d.PictureID = pictureID(payload[1:]); d.PictureIDBits == 0 {
			return VP9{}, ErrVP9Short
		}
		d.Size += int(d.PictureIDBits+1) / 8
	} else if d.Flexible {
		return VP9{}, ErrVP9PictureID
	}
	if err := d.rest(payload); err != ok {
		return VP9{}, err
	}
	if len(payload) == d.Size {
		return VP9{}, ErrVP9Empty
	}
	return d, nil
}

// rest reads what follows the picture id.
func (d *VP9) rest(b []byte) Error {
	if d.Layered {
		if len(b) <= d.Size {
			return ErrVP9Short
		}
		layers := b[d.Size]
		d.TID, d.SwitchUp, d.SID, d.InterLayer = layers>>5, layers&0x10 != 0, layers>>1&0x07, layers&0x01 != 0
		d.Size++
		if d.HasTL0 = !d.Flexible; d.HasTL0 {
			if len(b) <= d.Size {
				return ErrVP9Short
			}
			d.TL0, d.TL0At = b[d.Size], d.Size
			d.Size++
		}
	}
	if d.Predicted && d.Flexible {
		if err := d.diffs(b); err != ok {
			return err
		}
	}
	if d.HasStructure {
		d.StructureAt = d.Size
		size := parseVP9Structure(b[d.Size:], nil)
		if size == 0 {
			return ErrVP9Short
		}
		d.Size += size
	}
	return ok
}

// diffs reads the references of flexible mode.
func (d *VP9) diffs(b []byte) Error {
	for more := true; more; d.Size++ {
		if len(b) <= d.Size {
			return ErrVP9Short
		}
		if int(d.DiffCount) == len(d.Diffs) {
			return ErrVP9Diffs
		}
		diff := b[d.Size] >> 1
		if diff == 0 {
			return ErrVP9Diff
		}
		d.Diffs[d.DiffCount] = diff
		d.DiffCount++
		more = b[d.Size]&0x01 != 0
	}
	return ok
}

// Keyframe reports whether the packet is of the lowest spatial layer of a key
// picture: one that refers to no other. Upper layers of any picture may refer to
// lower ones alone, see SpatialSwitch.
func (d *VP9) Keyframe() bool { return !d.Predicted && d.SID == 0 }

// SpatialSwitch reports whether the packet begins a layer frame at which a viewer
// that has the layers below may go on with this one: it refers to no other
// picture.
func (d *VP9) SpatialSwitch() bool { return d.Start && !d.Predicted }

// Rewrite puts another picture id and TL0PICIDX into payload, a copy of the one
// that was parsed. Widths stay: 7 bits take the lower 7 of the id, and what is
// not there is not put in. A payload shorter than the descriptor stays as it is.
//
// References of VP9 count in picture ids (P_DIFF, and places in the picture
// group), so a forwarder that drops pictures must leave the gaps of the picture
// id: it may only shift all ids by the same number, as after a change of stream.
// TL0PICIDX has no gaps, as no picture of temporal layer 0 is ever dropped.
func (d *VP9) Rewrite(payload []byte, pictureID uint16, tl0 uint8) {
	if len(payload) < d.Size {
		return
	}
	putPictureID(payload, d.PictureIDAt, d.PictureIDBits, pictureID)
	if d.HasTL0 {
		payload[d.TL0At] = tl0
	}
}

package subscribe

import (
	"encoding/binary"

	"github.com/weft-rtc/weft/publish"
	"github.com/weft-rtc/weft/publish/descriptor"
)

// mark is what was done to the packet of one outgoing number, or is to be done to
// one that is missing.
type mark struct {
	picture uint16 // added to the picture id
	frame   uint16 // added to the frame number of the dependency descriptor
	tl0     uint8  // added to TL0PICIDX
	target  uint8  // decode target, or filler; of no meaning where the stream has none
}

// format is which payload descriptor has picture ids.
type format uint8

const (
	formatNone format = iota
	formatVP8
	formatVP9
)

// pictures lets picture ids and frame numbers go on when what is forwarded changes
// to another layer or track, each of which counts for itself: a decoder that sees
// them jump takes pictures for lost, or new ones for old. VP8 also closes up where
// pictures are left out (RFC 7741 section 4.2); in VP9 and in the dependency
// descriptor references are differences of these numbers, so that they may only be
// shifted.
type pictures struct {
	format format
	now    mark // target is not used

	any, rebase         bool // of picture ids: something was sent; what comes counts otherwise
	last                uint16
	tl0                 uint8
	anyFrame, newFrames bool // likewise of frame numbers
	lastFrame           uint16

	leaving bool // the picture of this id is being left out
	left    uint16
}

// begin says that what comes counts otherwise than what was.
func (v *pictures) begin() { v.rebase, v.newFrames, v.leaving = true, true, false }

// ids is where the picture id stands that a payload has.
type ids struct {
	vp8 descriptor.VP8
	vp9 descriptor.VP9
}

// read returns the numbers of a payload. ok is false if it has no picture id.
func (i *ids) read(f format, payload []byte) (picture uint16, tl0 uint8, ok bool) {
	var err error
	switch f {
	case formatVP8:
		i.vp8, err = descriptor.ParseVP8(payload)
		return i.vp8.PictureID, i.vp8.TL0, err == nil && i.vp8.PictureIDBits != 0
	case formatVP9:
		i.vp9, err = descriptor.ParseVP9(payload)
		return i.vp9.PictureID, i.vp9.TL0, err == nil && i.vp9.PictureIDBits != 0
	}
	return 0, 0, false
}

// place returns how the numbers of a packet that comes in order are to be moved.
func (v *pictures) place(p *publish.Packet) mark {
	if p.HasPicture {
		if v.rebase && v.any {
			v.now.picture, v.now.tl0 = v.last+1-p.Picture, v.tl0+1-p.TL0
		}
		v.any, v.rebase, v.last, v.tl0 = true, false, p.Picture+v.now.picture, p.TL0+v.now.tl0
	}
	if number, ok := frameNumber(p.Dependency); ok {
		if v.newFrames && v.anyFrame {
			v.now.frame = v.lastFrame + 1 - number
		}
		v.anyFrame, v.newFrames, v.lastFrame = true, false, number+v.now.frame
	}
	return v.now
}

// leave takes a packet of a picture that is left out on purpose.
func (v *pictures) leave(p *publish.Packet) {
	if v.format != formatVP8 || !p.HasPicture || v.leaving && p.Picture == v.left {
		return
	}
	v.leaving, v.left = true, p.Picture
	v.now.picture--
}

func frameNumber(dependency []byte) (uint16, bool) {
	if len(dependency) < 3 {
		return 0, false
	}
	return binary.BigEndian.Uint16(dependency[1:]), true
}

// apply gives the parcel the packet as it is sent under m. Moved picture ids cost
// a copy, unless the payload is the parcel's own already.
func (m mark) apply(f format, out *parcel, p *publish.Packet) {
	out.dependency = nil
	if number, ok := frameNumber(p.Dependency); ok {
		out.dependency = append(out.extension[:0], p.Dependency...)
		descriptor.SetFrameNumber(out.dependency, number+m.frame)
	}
	if m.picture == 0 && m.tl0 == 0 || len(p.Dependency) > 0 {
		return
	}
	var at ids
	picture, tl0, ok := at.read(f, out.payload)
	if !ok {
		return
	}
	if !out.owns(out.payload) {
		room := out.room()[osnSize:]
		out.payload = room[:copy(room, p.Payload)]
	}
	if f == formatVP8 {
		at.vp8.Rewrite(out.payload, picture+m.picture, tl0+m.tl0)
	} else {
		at.vp9.Rewrite(out.payload, picture+m.picture, tl0+m.tl0)
	}
}

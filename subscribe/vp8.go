package subscribe

import "github.com/weft-rtc/weft/publish"

// vp8At says where the numbers of a VP8 payload descriptor stand (RFC 7741
// section 4.2); 0 is nowhere, since the first byte is none of them.
type vp8At struct {
	picture int  // PictureID
	wide    bool // of 15 bits, else of 7
	tl0     int  // TL0PICIDX
}

// findVP8 looks for the numbers. What is cut short has none.
func findVP8(b []byte) (at vp8At) {
	if len(b) < 2 || b[0]&0x80 == 0 { // X
		return at
	}
	n, ext := 2, b[1]
	if ext&0x80 != 0 { // I
		if len(b) <= n {
			return vp8At{}
		}
		at.picture, at.wide = n, b[n]&0x80 != 0
		if at.wide {
			n++
		}
		n++
	}
	if ext&0x40 != 0 { // L
		at.tl0 = n
		n++
	}
	if len(b) < n {
		return vp8At{}
	}
	return at
}

func (at vp8At) read(b []byte) (picture uint16, tl0 uint8) {
	if at.picture > 0 {
		picture = uint16(b[at.picture])
		if at.wide {
			picture = picture&0x7f<<8 | uint16(b[at.picture+1])
		}
	}
	if at.tl0 > 0 {
		tl0 = b[at.tl0]
	}
	return picture, tl0
}

// add moves the numbers in place; their width stays.
func (at vp8At) add(b []byte, move vp8Move) {
	picture, tl0 := at.read(b)
	if picture += move.picture; at.picture > 0 {
		if at.wide {
			b[at.picture], b[at.picture+1] = 0x80|byte(picture>>8)&0x7f, byte(picture)
		} else {
			b[at.picture] = byte(picture) & 0x7f
		}
	}
	if at.tl0 > 0 {
		b[at.tl0] = tl0 + move.tl0
	}
}

// vp8Move is by how much the numbers of a payload are moved.
type vp8Move struct {
	picture uint16
	tl0     uint8
}

// vp8Numbers lets picture numbers go on when what is forwarded changes to another
// layer or track, each of which counts for itself: a decoder that sees them jump
// takes pictures for lost, or new ones for old.
type vp8Numbers struct {
	any    bool // something was sent
	rebase bool // what comes counts otherwise than what was
	move   vp8Move
	last   uint16 // of the newest picture sent
	tl0    uint8
}

// place returns by how much the numbers of a payload are to be moved. late says
// that it fills a hole, so that it is not the newest.
func (v *vp8Numbers) place(payload []byte, late bool) vp8Move {
	at := findVP8(payload)
	if at.picture == 0 {
		return vp8Move{}
	}
	picture, tl0 := at.read(payload)
	if v.rebase {
		v.rebase = false
		if v.any {
			v.move = vp8Move{v.last + 1 - picture, v.tl0 + 1 - tl0}
		}
	}
	if !late {
		v.any, v.last, v.tl0 = true, picture+v.move.picture, tl0+v.move.tl0
	}
	return v.move
}

// apply gives the parcel the packet's payload with its numbers moved. That
// costs a copy, unless the payload is the parcel's own already.
func (m vp8Move) apply(out *parcel, p *publish.Packet) {
	if m == (vp8Move{}) {
		return
	}
	if len(out.buf) == 0 || len(out.payload) > 0 && &out.payload[0] != &out.buf[0] && &out.payload[0] != &out.buf[osnSize] {
		room := out.room()[osnSize:]
		out.payload = room[:copy(room, p.Payload)]
	}
	findVP8(out.payload).add(out.payload, m)
}

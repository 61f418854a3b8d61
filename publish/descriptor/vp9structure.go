package descriptor

// VP9Structure is the scalability structure (SS) of VP9 (RFC 9628 section 4.2.1):
// how many spatial layers there are, how big, and the picture group that says the
// references of non-flexible mode.
//
//	+-+-+-+-+-+-+-+-+
//	| N_S |Y|G|-|-|-|
//	|     WIDTH     | if Y, 16 bits  \ N_S+1 times
//	|     HEIGHT    | if Y, 16 bits  /
//	|      N_G      | if G
//	| TID |U| R |-|-| N_G times, each followed by
//	|    P_DIFF     | R times
//	+-+-+-+-+-+-+-+-+
type VP9Structure struct {
	SpatialLayers uint8 // N_S + 1
	HasSizes      bool  // Y
	Sizes         [8]Resolution
	HasGroup      bool // G
	Pictures      int  // N_G, of Group
	Group         [255]VP9GroupPicture
}

// VP9GroupPicture is one picture of the picture group (RFC 9628 section 4.2.1).
type VP9GroupPicture struct {
	TID       uint8
	SwitchUp  bool     // U
	DiffCount uint8    // R, of Diffs
	Diffs     [3]uint8 // P_DIFF
}

// Resolution is the size of a picture in pixels.
type Resolution struct{ Width, Height int }

// Structure reads the scalability structure from the payload that was parsed
// (RFC 9628 section 4.2.1). It reports false when there is none.
func (d *VP9) Structure(payload []byte) (s VP9Structure, found bool) {
	if !d.HasStructure || len(payload) < d.Size {
		return s, false
	}
	found = parseVP9Structure(payload[d.StructureAt:], &s) != 0
	return s, found
}

// parseVP9Structure returns the bytes that a scalability structure takes, 0 when
// it is cut short. s may be nil.
func parseVP9Structure(b []byte, s *VP9Structure) int {
	if len(b) == 0 {
		return 0
	}
	layers, n := int(b[0]>>5)+1, 1
	sizes, group := b[0]&0x10 != 0, b[0]&0x08 != 0
	if s != nil {
		s.SpatialLayers, s.HasSizes, s.HasGroup = uint8(layers), sizes, group
	}
	if sizes {
		if len(b) < n+4*layers {
			return 0
		}
		if s != nil {
			for i := range layers {
				p := b[n+4*i:]
				s.Sizes[i] = Resolution{Width: int(p[0])<<8 | int(p[1]), Height: int(p[2])<<8 | int(p[3])}
			}
		}
		n += 4 * layers
	}
	if !group {
		return n
	}
	if len(b) <= n {
		return 0
	}
	size := parseVP9Group(b[n:], s)
	if size == 0 {
		return 0
	}
	return n + size
}

// parseVP9Group returns the bytes that a picture group takes with its N_G, 0 when
// it is cut short.
func parseVP9Group(b []byte, s *VP9Structure) int {
	pictures, n := int(b[0]), 1
	if s != nil {
		s.Pictures = pictures
	}
	for i := range pictures {
		if len(b) <= n {
			return 0
		}
		head := b[n]
		refs := int(head >> 2 & 0x03)
		n++
		if len(b) < n+refs {
			return 0
		}
		if s != nil {
			p := &s.Group[i]
			p.TID, p.SwitchUp, p.DiffCount = head>>5, head&0x10 != 0, uint8(refs)
			copy(p.Diffs[:], b[n:n+refs])
		}
		n += refs
	}
	return n
}

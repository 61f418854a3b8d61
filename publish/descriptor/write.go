package descriptor

// Append writes the descriptor that f is (AV1 RTP specification section A.8.2)
// behind dst: with the structure if Carried, with the active targets if
// Announced, and with dependencies of its own where they differ from the
// template's. Number counts, ID does not. It allocates only what dst lacks in
// capacity; after an error dst is as it was.
func (f *Frame) Append(dst []byte) ([]byte, error) {
	s := f.Structure
	if s == nil || !s.writable() {
		return dst, ErrWriteStructure
	}
	t := s.template(f.TemplateID)
	if t == nil || f.TemplateID > 63 || !f.fits(s, MaxDiffs, 1<<12, 1<<8-1) || f.Active&^s.AllTargets() != 0 {
		return dst, ErrWriteFrame
	}
	dtis, chains := f.DTIs != t.DTIs, f.ChainDiffs != t.ChainDiffs
	diffs := f.DiffCount != t.DiffCount || f.Diffs != t.Diffs
	w := bitWriter{b: dst}
	w.flag(f.Start)
	w.flag(f.End)
	w.f(6, uint32(f.TemplateID))
	w.f(16, uint32(f.Number))
	if !f.Carried && !f.Announced && !dtis && !diffs && !chains {
		return w.b, nil
	}
	for _, flag := range [...]bool{f.Carried, f.Announced, dtis, diffs, chains} {
		w.flag(flag)
	}
	if f.Carried {
		s.write(&w)
	}
	if f.Announced {
		w.f(int(s.TargetCount), f.Active)
	}
	if dtis {
		f.writeDTIs(&w, int(s.TargetCount))
	}
	if diffs {
		f.writeCustomDiffs(&w)
	}
	if chains {
		f.writeChains(&w, int(s.ChainCount), 8)
	}
	return w.b, nil
}

// AppendActive writes the descriptor of f behind dst, but with other active
// decode targets, those of mask that there are.
//
// A forwarder that drops the highest layers changes what a viewer can have, and
// must tell it (AV1 RTP specification section A.4): in every packet, or from the
// change on until one of them has surely arrived. Browsers do without: the
// receiver of libwebrtc reads the mask and decides nothing by it, it puts frames
// together by their references and pictures by the RTP marker. A forwarder behind
// this one, and a receiver that judges chains, need it. A descriptor that said
// nothing but its template grows from 3 bytes to 4 + targets/8, within the 16 of
// a one-byte header extension (RFC 8285 section 4.2).
func (f *Frame) AppendActive(dst []byte, mask uint32) ([]byte, error) {
	told := *f
	if told.Structure != nil {
		mask &= told.Structure.AllTargets()
	}
	told.Active, told.Announced = mask, true
	return told.Append(dst)
}

// SetFrameNumber writes another frame number into an extension (AV1 RTP
// specification section A.8.2), in place. References and chains are differences,
// so a forwarder that goes on with another stream shifts the numbers of all its
// frames alike. It does nothing to one that is too short.
func SetFrameNumber(ext []byte, number uint16) {
	if len(ext) >= 3 {
		ext[1], ext[2] = byte(number>>8), byte(number)
	}
}

// write writes template_dependency_structure.
func (s *Structure) write(w *bitWriter) {
	templates, targets := s.Templates[:s.TemplateCount], s.Targets[:s.TargetCount]
	w.f(6, uint32(s.IDOffset))
	w.f(5, uint32(s.TargetCount)-1)
	for i := range templates[1:] {
		w.f(2, nextLayer(&templates[i], &templates[i+1]))
	}
	w.f(2, noMoreLayers)
	for i := range templates {
		templates[i].writeDTIs(w, len(targets))
	}
	for i := range templates {
		for _, diff := range templates[i].Diffs[:templates[i].DiffCount] {
			w.f(5, 1<<4|uint32(diff-1))
		}
		w.f(1, 0)
	}
	w.ns(len(targets)+1, int(s.ChainCount))
	if s.ChainCount > 0 {
		for i := range targets {
			w.ns(int(s.ChainCount), int(targets[i].Chain))
		}
		for i := range templates {
			templates[i].writeChains(w, int(s.ChainCount), 4)
		}
	}
	w.flag(s.HasResolutions)
	if s.HasResolutions {
		spatial, _ := s.Layers()
		for _, size := range s.Resolutions[:spatial] {
			w.f(16, uint32(size.Width-1))
			w.f(16, uint32(size.Height-1))
		}
	}
}

// badLayer is a step between templates that table A.2 does not have.
const badLayer = noMoreLayers

// nextLayer returns the next_layer_idc from one template to the next.
func nextLayer(a, b *Template) uint32 {
	switch {
	case a.SpatialID == b.SpatialID && a.TemporalID == b.TemporalID:
		return sameLayer
	case a.SpatialID == b.SpatialID && a.TemporalID+1 == b.TemporalID:
		return nextTemporal
	case a.SpatialID+1 == b.SpatialID && b.TemporalID == 0:
		return nextSpatial
	default:
		return badLayer
	}
}

func (d *Dependencies) writeDTIs(w *bitWriter, n int) {
	for _, dti := range d.DTIs[:n] {
		w.f(2, uint32(dti))
	}
}

// writeCustomDiffs gives each reference the least of 4, 8 and 12 bits.
func (d *Dependencies) writeCustomDiffs(w *bitWriter) {
	for _, diff := range d.Diffs[:d.DiffCount] {
		size := 1
		for uint32(diff-1)>>(4*size) != 0 {
			size++
		}
		w.f(2, uint32(size))
		w.f(4*size, uint32(diff-1))
	}
	w.f(2, 0)
}

func (d *Dependencies) writeChains(w *bitWriter, n, bits int) {
	for _, diff := range d.ChainDiffs[:n] {
		w.f(bits, uint32(diff))
	}
}

// writable reports whether the syntax has room for all that s says.
func (s *Structure) writable() bool {
	if s.IDOffset > 63 || s.TemplateCount < 1 || s.TemplateCount > MaxTemplates ||
		s.TargetCount < 1 || s.TargetCount > MaxTargets || s.ChainCount > s.TargetCount {
		return false
	}
	first := &s.Templates[0]
	if first.SpatialID != 0 || first.TemporalID != 0 {
		return false
	}
	for i := range s.Templates[:s.TemplateCount] {
		t := &s.Templates[i]
		if t.SpatialID >= MaxSpatialLayers || t.TemporalID >= MaxTemporalLayers || !t.fits(s, MaxDiffs, 1<<4, 1<<4-1) ||
			i > 0 && nextLayer(&s.Templates[i-1], t) == badLayer {
			return false
		}
	}
	for _, t := range s.Targets[:s.TargetCount] {
		if s.ChainCount > 0 && t.Chain >= s.ChainCount {
			return false
		}
	}
	return !s.HasResolutions || s.sizesFit()
}

// sizesFit reports whether every spatial layer has a size that 16 bits can say.
func (s *Structure) sizesFit() bool {
	spatial, _ := s.Layers()
	for _, size := range s.Resolutions[:spatial] {
		if size.Width < 1 || size.Width > 1<<16 || size.Height < 1 || size.Height > 1<<16 {
			return false
		}
	}
	return true
}

// fits reports whether d has at most that many references, none further away than
// diff, no chain further than chain, and nothing for targets and chains that s
// does not have.
func (d *Dependencies) fits(s *Structure, diffs, diff uint16, chain uint8) bool {
	if uint16(d.DiffCount) > diffs {
		return false
	}
	for i, v := range d.Diffs {
		if inside := i < int(d.DiffCount); inside && (v < 1 || v > diff) || !inside && v != 0 {
			return false
		}
	}
	for i, v := range d.DTIs {
		if v > Required || i >= int(s.TargetCount) && v != NotPresent {
			return false
		}
	}
	for i, v := range d.ChainDiffs {
		if v > chain || i >= int(s.ChainCount) && v != 0 {
			return false
		}
	}
	return true
}

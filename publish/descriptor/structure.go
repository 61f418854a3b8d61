package descriptor

// Bounds of what a dependency descriptor may say. The first two are those of its
// syntax (AV1 RTP specification section A.8.2): 6 bits of template id, 5 of
// dt_cnt_minus_one, and no more chains than targets. Layers are what any codec
// here can number in 3 bits. MaxDiffs is ours, as the syntax has none: AV1 has
// at most 7 references a frame.
const (
	MaxTemplates      = 64
	MaxTargets        = 32
	MaxChains         = MaxTargets
	MaxSpatialLayers  = 8
	MaxTemporalLayers = 8
	MaxDiffs          = 16
)

// DTI is a decode target indication: what a frame is to a decode target (AV1 RTP
// specification table A.1).
type DTI uint8

// Decode target indications (AV1 RTP specification table A.1).
const (
	NotPresent  DTI = iota // the target does without the frame
	Discardable            // of the target, and no frame of it refers to this one
	Switch                 // a viewer for whom this frame is decodable may go on with the target
	Required               // of the target
)

// String returns the symbol of table A.1.
func (d DTI) String() string { return "-DSR"[d&3 : d&3+1] }

// Dependencies is what a template says, and a frame that follows none in full
// (AV1 RTP specification section A.8.3). Comparable; what is beyond the counts is
// zero.
type Dependencies struct {
	DTIs       [MaxTargets]DTI  // by decode target
	DiffCount  uint8            // of Diffs
	Diffs      [MaxDiffs]uint16 // fdiff: frame number minus that of a frame referred to; 1 to 4096, of a template 1 to 16
	ChainDiffs [MaxChains]uint8 // frame number minus that of the chain's frame before; 0: the chain begins; of a template to 15
}

// Template is one of the frames that come again and again (AV1 RTP specification
// section A.8.1).
type Template struct {
	SpatialID, TemporalID uint8
	Dependencies
}

// Target is a decode target: the frames that show one quality (AV1 RTP
// specification section A.4). Its layers are the highest of its templates
// (decode_target_layers in section A.8.2).
type Target struct {
	SpatialID, TemporalID uint8
	Chain                 uint8 // that protects it (section A.5); means nothing when there are no chains
}

// Structure is the template dependency structure of a coded video sequence (AV1
// RTP specification section A.8.2). Nothing changes one that a Parser gave out,
// so it may be kept and shared. Comparable.
type Structure struct {
	IDOffset      uint8 // template id of the first template
	TemplateCount uint8 // of Templates
	TargetCount   uint8 // of Targets
	ChainCount    uint8 // at most TargetCount
	Templates     [MaxTemplates]Template
	Targets       [MaxTargets]Target

	HasResolutions bool
	Resolutions    [MaxSpatialLayers]Resolution // by spatial layer, the greatest that its frames have
}

// Layers returns how many spatial and temporal layers the templates have.
func (s *Structure) Layers() (spatial, temporal int) {
	for i := range s.Templates[:s.TemplateCount] {
		t := &s.Templates[i]
		spatial, temporal = max(spatial, int(t.SpatialID)+1), max(temporal, int(t.TemporalID)+1)
	}
	return spatial, temporal
}

// AllTargets returns the mask of all decode targets: the active ones as long as
// nothing else is said (AV1 RTP specification section A.4).
func (s *Structure) AllTargets() uint32 { return uint32(1<<s.TargetCount - 1) }

// TargetsWithin returns the mask of the decode targets that need no higher layers
// than these, counted from 0: what a forwarder that drops all above may call
// active.
func (s *Structure) TargetsWithin(spatial, temporal int) uint32 {
	var mask uint32
	for i, t := range s.Targets[:s.TargetCount] {
		if int(t.SpatialID) <= spatial && int(t.TemporalID) <= temporal {
			mask |= 1 << i
		}
	}
	return mask
}

// Target returns the best decode target of a mask that needs no higher layers
// than these: the one with the highest spatial layer, among those the highest
// temporal one. It reports false when there is none.
func (s *Structure) Target(mask uint32, spatial, temporal int) (target int, found bool) {
	mask &= s.TargetsWithin(spatial, temporal)
	for i, t := range s.Targets[:s.TargetCount] {
		if mask>>i&1 == 0 {
			continue
		}
		best := s.Targets[target]
		if !found || t.SpatialID > best.SpatialID || t.SpatialID == best.SpatialID && t.TemporalID > best.TemporalID {
			target, found = i, true
		}
	}
	return target, found
}

// template returns the template of an id, nil when there is none.
func (s *Structure) template(id uint8) *Template {
	i := (id - s.IDOffset) & 63
	if i >= s.TemplateCount {
		return nil
	}
	return &s.Templates[i]
}

// layTargets works out the layers of the decode targets (decode_target_layers).
func (s *Structure) layTargets() {
	for i := range s.Targets[:s.TargetCount] {
		target := &s.Targets[i]
		target.SpatialID, target.TemporalID = 0, 0
		for j := range s.Templates[:s.TemplateCount] {
			if t := &s.Templates[j]; t.DTIs[i] != NotPresent {
				target.SpatialID = max(target.SpatialID, t.SpatialID)
				target.TemporalID = max(target.TemporalID, t.TemporalID)
			}
		}
	}
}

// parse reads template_dependency_structure into s, which is overwritten. The
// reader's short tells whether all of it was there.
func (s *Structure) parse(r *bitReader) Error {
	*s = Structure{IDOffset: uint8(r.f(6)), TargetCount: uint8(r.f(5)) + 1}
	if err := s.parseLayers(r); err != ok {
		return err
	}
	templates, targets := s.Templates[:s.TemplateCount], s.Targets[:s.TargetCount]
	for i := range templates {
		templates[i].parseDTIs(r, len(targets))
	}
	for i := range templates {
		if err := templates[i].parseDiffs(r); err != ok {
			return err
		}
	}
	s.ChainCount = uint8(r.ns(len(targets) + 1))
	if s.ChainCount > 0 {
		for i := range targets {
			targets[i].Chain = uint8(r.ns(int(s.ChainCount)))
		}
		for i := range templates {
			templates[i].parseChains(r, int(s.ChainCount), 4)
		}
	}
	s.layTargets()
	s.HasResolutions = r.flag()
	if s.HasResolutions {
		spatial, _ := s.Layers()
		for i := range spatial {
			s.Resolutions[i] = Resolution{Width: int(r.f(16)) + 1, Height: int(r.f(16)) + 1}
		}
	}
	return ok
}

// Values of next_layer_idc (AV1 RTP specification table A.2).
const (
	sameLayer = iota
	nextTemporal
	nextSpatial
	noMoreLayers
)

// parseLayers reads template_layers.
func (s *Structure) parseLayers(r *bitReader) Error {
	var spatial, temporal uint8
	for next := uint32(sameLayer); next != noMoreLayers; next = r.f(2) {
		switch {
		case next == nextTemporal:
			temporal++
		case next == nextSpatial:
			spatial, temporal = spatial+1, 0
		}
		switch {
		case r.short: // zeros without end
			return ErrShort
		case s.TemplateCount == MaxTemplates:
			return ErrTemplates
		case spatial >= MaxSpatialLayers, temporal >= MaxTemporalLayers:
			return ErrLayers
		}
		t := &s.Templates[s.TemplateCount]
		t.SpatialID, t.TemporalID = spatial, temporal
		s.TemplateCount++
	}
	return ok
}

// parseDTIs reads the indications for n targets.
func (d *Dependencies) parseDTIs(r *bitReader, n int) {
	for i := range d.DTIs[:n] {
		d.DTIs[i] = DTI(r.f(2))
	}
}

// parseDiffs reads the references of a template, 4 bits each.
func (d *Dependencies) parseDiffs(r *bitReader) Error {
	for r.flag() {
		if d.DiffCount == MaxDiffs {
			return ErrDiffs
		}
		d.Diffs[d.DiffCount] = uint16(r.f(4)) + 1
		d.DiffCount++
	}
	return ok
}

// parseCustomDiffs reads the references of a frame: 4, 8 or 12 bits each.
func (d *Dependencies) parseCustomDiffs(r *bitReader) Error {
	d.DiffCount, d.Diffs = 0, [MaxDiffs]uint16{}
	for size := r.f(2); size != 0; size = r.f(2) {
		if d.DiffCount == MaxDiffs {
			return ErrDiffs
		}
		d.Diffs[d.DiffCount] = uint16(r.f(4*int(size))) + 1
		d.DiffCount++
	}
	return ok
}

// parseChains reads the differences of n chains, bits each.
func (d *Dependencies) parseChains(r *bitReader, n, bits int) {
	for i := range d.ChainDiffs[:n] {
		d.ChainDiffs[i] = uint8(r.f(bits))
	}
}

package descriptor

// URI is the name of the header extension (AV1 RTP specification section A.9).
const URI = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"

// lateBy is how many frames a structure may come late: as much as a packet that
// is sent again can be behind, 11 s of three spatial layers at 30 pictures a
// second. One that is older is of a stream that began anew.
const lateBy = 1024

// Parser reads the dependency descriptors of one RTP stream (AV1 RTP
// specification section A.8). It remembers the structure that templates are of,
// and the one before, so that packets which a new one overtook are still
// understood. Its zero value is ready; a new SSRC needs a new one. One goroutine.
type Parser struct {
	current, previous known
	started           bool
	last              int64     // highest ID so far
	scratch           Structure // is read into, then compared with what is known
}

// known is a structure in use.
type known struct {
	structure *Structure // nil: none
	first     int64      // ID of the frame that brought it
	active    uint32     // decode targets, as told by frame activeAt
	activeAt  int64
}

// Parse reads the extension of one packet. Packets may come out of order and
// twice. When it fails, the parser knows what it knew before. It allocates for a
// structure that it does not know, some 7 kB, and nothing otherwise; ext is not
// kept.
//
//	 0                   1                   2
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|S|E| template  |         frame number          |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|T|A|D|F|C| structure if T, active targets if A,  only if there
//	|         | indications if D, references if F,    is a fourth
//	|         | chains if C, zeros to the end         byte
func (p *Parser) Parse(ext []byte) (Frame, error) {
	f, flags, err := p.parse(ext)
	if err != ok {
		return Frame{}, err
	}
	p.last, p.started = max(f.ID, p.last), true
	if f.Carried {
		p.learn(&f)
	}
	p.activate(&f, flags.active)
	return f, nil
}

// Carries reports whether an extension has a structure in it, before it is parsed.
func Carries(ext []byte) bool { return len(ext) > 3 && ext[3]&0x80 != 0 }

// extended are the flags of the fourth byte.
type extended struct{ structure, active, dtis, diffs, chains bool }

// parse reads without remembering anything but scratch.
func (p *Parser) parse(ext []byte) (f Frame, flags extended, err Error) {
	r := bitReader{b: ext}
	f.Start, f.End, f.TemplateID, f.Number = r.flag(), r.flag(), uint8(r.f(6)), uint16(r.f(16))
	if r.short {
		return f, flags, ErrShort
	}
	f.ID = p.extend(f.Number)
	if len(ext) > 3 {
		flags = extended{r.flag(), r.flag(), r.flag(), r.flag(), r.flag()}
	}
	if flags.structure {
		if err := p.scratch.parse(&r); err != ok {
			return f, flags, err
		}
		f.Structure, f.Carried = &p.scratch, true
	} else if k := p.of(f.ID); k != nil {
		f.Structure, f.Keyframe = k.structure, k.first == f.ID
	} else {
		return f, flags, ErrUnknownStructure
	}
	if flags.active {
		f.Active, f.Announced = r.f(int(f.Structure.TargetCount)), true
	}
	if err := f.define(&r, flags); err != ok {
		return f, flags, err
	}
	if r.short {
		return f, flags, ErrShort
	}
	return f, flags, ok
}

// define reads frame_dependency_definition.
func (f *Frame) define(r *bitReader, flags extended) Error {
	if r.short {
		return ErrShort
	}
	t := f.Structure.template(f.TemplateID)
	if t == nil {
		return ErrUnknownTemplate
	}
	f.SpatialID, f.TemporalID, f.Dependencies = t.SpatialID, t.TemporalID, t.Dependencies
	if flags.dtis {
		f.parseDTIs(r, int(f.Structure.TargetCount))
	}
	if flags.diffs {
		if err := f.parseCustomDiffs(r); err != ok {
			return err
		}
	}
	if flags.chains {
		f.parseChains(r, int(f.Structure.ChainCount), 8)
	}
	return ok
}

// extend counts a frame number on from the highest so far. The first begins one
// wrap up, so that no ID that anything refers to is negative.
func (p *Parser) extend(number uint16) int64 {
	if !p.started {
		return 1<<16 + int64(number)
	}
	return p.last + int64(int16(number-uint16(p.last)))
}

// of returns the structure that a frame is said in, nil if it is not known.
func (p *Parser) of(id int64) *known {
	switch {
	case p.current.structure != nil && id >= p.current.first:
		return &p.current
	case p.previous.structure != nil:
		return &p.previous
	default:
		return nil
	}
}

// learn keeps the structure that f came with. One that is late takes the place of
// the previous one.
func (p *Parser) learn(f *Frame) {
	k := known{structure: p.keep(), first: f.ID, activeAt: f.ID - 1}
	switch c := &p.current; {
	case c.structure == nil || f.ID == c.first:
		p.current = k
	case f.ID > c.first:
		p.previous, p.current = p.current, k
	case f.ID < c.first-lateBy:
		p.previous, p.current, p.last = known{}, k, f.ID
	default:
		p.previous = k
	}
	f.Structure, f.Keyframe = k.structure, true
}

// keep returns a copy of scratch, one that there is already if there is.
func (p *Parser) keep() *Structure {
	for _, s := range [...]*Structure{p.current.structure, p.previous.structure} {
		if s != nil && *s == p.scratch {
			return s
		}
	}
	s := p.scratch
	return &s
}

// activate keeps the active targets that f tells, if it is not older than what is
// known, and fills them in where it tells none.
func (p *Parser) activate(f *Frame, told bool) {
	k := p.of(f.ID)
	switch {
	case k == nil:
		return
	case f.Carried && !told:
		f.Active = f.Structure.AllTargets()
	case !told:
		f.Active = k.active
		return
	}
	if f.ID >= k.activeAt {
		k.active, k.activeAt = f.Active, f.ID
	}
}

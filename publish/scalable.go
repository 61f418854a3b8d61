package publish

import (
	"strings"
	"sync/atomic"
	"time"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/publish/descriptor"
)

// maxDependency is the longest dependency descriptor: what a header extension has
// room for (RFC 8285 section 4.3).
const maxDependency = 255

// scalable finds out what a layer's packets are parts of: by the dependency
// descriptor where there is one, so that the payload may be encrypted, else by the
// descriptor that the codec puts before it. Packets belong to the goroutine that
// writes the layer; spatial may be read on any.
type scalable struct {
	look     func([]byte) Info
	vp8, vp9 bool

	parser   *descriptor.Parser // nil: there was no dependency descriptor yet
	known    [2]template        // the newest first
	lessons  int                // structures that came since lessonAt
	lessonAt time.Time

	spatial [descriptor.MaxSpatialLayers]spatial
	told    atomic.Int64 // when a key picture said last what layers there are, Unix time in ns
	count   atomic.Int32 // of spatial layers, as the last key picture said, or as were seen since
}

// maxLessons bounds the structures of dependency descriptors that are read within
// a second: each may be new and take 7 kB. Key pictures alone bring one, and a
// stream of nothing else has 60.
const maxLessons = 120

// template is a structure with the targets that were made of it.
type template struct {
	structure *descriptor.Structure
	targets   *Targets
}

// spatial is what is known of one spatial layer.
type spatial struct {
	size atomic.Uint32 // width above height; 0: not said
	last atomic.Int64  // arrival of the last packet, Unix time in ns
}

func newScalable(c codec.Codec, kind codec.Kind) scalable {
	if kind != codec.Video {
		return scalable{look: lookAny}
	}
	return scalable{
		look: looker(c),
		vp8:  strings.EqualFold(c.Name, codec.VP8), vp9: strings.EqualFold(c.Name, codec.VP9),
	}
}

// inspect looks at a packet. What makes no sense is no keyframe, starts nothing
// and has no place.
func (s *scalable) inspect(payload, dependency []byte, marker bool, at time.Time) (Info, Place) {
	if len(payload) == 0 {
		return Info{}, Place{}
	}
	switch {
	case len(dependency) > 0:
		return s.inspectFrame(dependency, at)
	case s.vp8:
		d, err := descriptor.ParseVP8(payload)
		if err != nil {
			return Info{}, Place{}
		}
		return infoVP8(&d, payload), placeVP8(&d, marker)
	case s.vp9:
		d, err := descriptor.ParseVP9(payload)
		if err != nil {
			return Info{}, Place{}
		}
		info, place := infoVP9(&d), placeVP9(&d)
		if place.Targets != nil {
			s.seen(place.Spatial, at)
		}
		if d.HasStructure {
			s.measureVP9(&d, payload, &info, at)
		}
		return info, place
	default:
		return s.look(payload), Place{}
	}
}

// measureVP9 takes what the scalability structure says of the spatial layers.
func (s *scalable) measureVP9(d *descriptor.VP9, payload []byte, info *Info, at time.Time) {
	ss, found := d.Structure(payload)
	if !found {
		return
	}
	s.count.Store(int32(ss.SpatialLayers))
	s.told.Store(at.UnixNano())
	if !ss.HasSizes {
		return
	}
	for i, r := range ss.Sizes[:ss.SpatialLayers] {
		s.setSize(i, r, info)
	}
}

// inspectFrame looks at the dependency descriptor alone.
func (s *scalable) inspectFrame(dependency []byte, at time.Time) (Info, Place) {
	if s.parser == nil {
		s.parser = new(descriptor.Parser)
	}
	if descriptor.Carries(dependency) && !s.learns(at) {
		return Info{}, Place{}
	}
	f, err := s.parser.Parse(dependency)
	if err != nil {
		return Info{}, Place{}
	}
	start := f.Start && f.SpatialID == 0
	info := Info{FrameStart: start, Keyframe: start && f.Keyframe}
	if f.Carried {
		spatial, _ := f.Structure.Layers()
		s.count.Store(int32(spatial))
		s.told.Store(at.UnixNano())
		for i, r := range f.Structure.Resolutions[:spatial] {
			s.setSize(i, r, &info)
		}
	}
	s.seen(f.SpatialID, at)
	return info, placeFrame(&f, s.targets(f.Structure))
}

// learns reports whether one more structure may be read.
func (s *scalable) learns(at time.Time) bool {
	if passed := at.Sub(s.lessonAt); passed < 0 || passed >= time.Second {
		s.lessons, s.lessonAt = 0, at
	}
	s.lessons++
	return s.lessons <= maxLessons
}

// seen notes a packet of a spatial layer.
func (s *scalable) seen(layer uint8, at time.Time) {
	s.spatial[layer].last.Store(at.UnixNano())
	if s.count.Load() <= int32(layer) {
		s.count.Store(int32(layer) + 1)
	}
}

// targets returns the targets of a structure, made when it is new.
func (s *scalable) targets(of *descriptor.Structure) *Targets {
	for i := range s.known {
		if s.known[i].structure == of {
			return s.known[i].targets
		}
	}
	t := newTargets(of)
	s.known = [2]template{{of, t}, s.known[0]}
	return t
}

// setSize notes the size of a spatial layer. The highest one is that of the picture.
func (s *scalable) setSize(layer int, r descriptor.Resolution, info *Info) {
	if r.Width < 1 || r.Height < 1 || r.Width > 1<<16-1 || r.Height > 1<<16-1 {
		return
	}
	s.spatial[layer].size.Store(uint32(r.Width)<<16 | uint32(r.Height))
	info.Width, info.Height = uint16(r.Width), uint16(r.Height)
}

// restart forgets what belongs to another source.
func (s *scalable) restart() {
	s.parser, s.known = nil, [2]template{}
}

// SpatialLayers returns how many spatial layers the stream has, as its last key
// picture said; 0 if its packets do not number them.
func (l *Layer) SpatialLayers() int { return int(l.scalable.count.Load()) }

// Spatial returns the size of a spatial layer in pixels, 0 if it is not known, and
// whether packets of it have come within the last 1.5 s, or a key picture has just
// said that they will: encoders leave out the highest when their line is bad.
func (l *Layer) Spatial(layer int, now time.Time) (width, height int, active bool) {
	if layer < 0 || layer >= len(l.scalable.spatial) {
		return 0, 0, false
	}
	s := &l.scalable.spatial[layer]
	size, last := s.size.Load(), s.last.Load()
	if layer < l.SpatialLayers() {
		last = max(last, l.scalable.told.Load())
	}
	return int(size >> 16), int(size & 0xffff), last != 0 && now.UnixNano()-last < int64(activeFor)
}

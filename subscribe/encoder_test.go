package subscribe

import (
	"encoding/binary"
	"math/rand/v2"
	"time"

	"github.com/pion/rtp"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/publish"
	"github.com/weft-rtc/weft/publish/descriptor"
)

// mode is what an encoder makes.
type mode struct {
	name      string
	codec     codec.Codec
	spatial   int
	temporal  int
	simulcast int  // RTP streams
	described bool // by the dependency descriptor alone
	keyOnly   bool // spatial layers refer to each other in key pictures only
	group     bool // VP9 without references in the descriptor
}

var modes = []mode{
	{name: "VP8 simulcast L1T3", codec: vp8, spatial: 1, temporal: 3, simulcast: 3},
	{name: "VP8 L1T3", codec: vp8, spatial: 1, temporal: 3, simulcast: 1},
	{name: "VP9 L3T3", codec: codec.Codec{Name: codec.VP9, ClockRate: 90000}, spatial: 3, temporal: 3, simulcast: 1},
	{name: "VP9 L3T3, picture group", codec: codec.Codec{Name: codec.VP9, ClockRate: 90000}, spatial: 3, temporal: 3, simulcast: 1, group: true},
	{name: "VP9 L1T3", codec: codec.Codec{Name: codec.VP9, ClockRate: 90000}, spatial: 1, temporal: 3, simulcast: 1},
	{name: "AV1 L3T3", codec: codec.Codec{Name: codec.AV1, ClockRate: 90000}, spatial: 3, temporal: 3, simulcast: 1, described: true},
	{name: "AV1 L3T3_KEY", codec: codec.Codec{Name: codec.AV1, ClockRate: 90000}, spatial: 3, temporal: 3, simulcast: 1, described: true, keyOnly: true},
	{name: "AV1 L1T3", codec: codec.Codec{Name: codec.AV1, ClockRate: 90000}, spatial: 1, temporal: 3, simulcast: 1, described: true},
	{name: "AV1 simulcast L1T3", codec: codec.Codec{Name: codec.AV1, ClockRate: 90000}, spatial: 1, temporal: 3, simulcast: 3, described: true},
}

// options is how many qualities a viewer can choose from, temporal layers apart.
func (m mode) options() int { return m.spatial * m.simulcast }

// unit is one packet of an encoder.
type unit struct {
	h          rtp.Header
	payload    []byte
	dependency []byte
}

// encoder makes one RTP stream of a scalable codec: frames of several packets, of
// which only the descriptors are real. Temporal layers come as 0 2 1 2.
type encoder struct {
	mode
	rng       *rand.Rand
	ssrc      uint32
	rank      int    // among the streams of simulcast
	seq       uint16 // next
	start     uint32 // timestamp of picture 0
	id        uint16 // added to picture ids and frame numbers
	owed      bool   // a key picture
	deaf      bool   // it makes none when asked
	since     int    // pictures since the last key picture
	key       int    // that picture
	tl0       uint8
	structure descriptor.Structure
	frames    uint16         // made
	numbers   map[[2]int]int // of frames, by picture and spatial layer
	queue     []unit         // of the picture under way
}

func newEncoder(m mode, rank int, rng *rand.Rand) *encoder {
	e := &encoder{
		mode: m, rng: rng, rank: rank, ssrc: uint32(rank + 1), seq: uint16(65_000 + 400*rank),
		start: uint32(rank) << 30, id: uint16(32_600 + 90*rank), owed: true, numbers: map[[2]int]int{},
	}
	e.structure = e.template()
	return e
}

var pattern = [4]int{0, 2, 1, 2}

// temporalOf returns the temporal layer of the n-th picture of a group, and how
// many pictures back its reference is.
func (e *encoder) temporalOf(n int) (layer, back int) {
	return pattern[n%4], [4]int{4, 1, 2, 1}[n%4]
}

// picture makes the packets of picture n.
func (e *encoder) picture(n int) []unit {
	if e.owed && !e.deaf {
		e.owed, e.key = false, n
	}
	since := n - e.key
	tid, back := e.temporalOf(since)
	if tid == 0 {
		e.tl0++
	}
	e.queue = e.queue[:0]
	for sid := range e.spatial {
		e.frame(n, sid, tid, back, since == 0)
	}
	e.queue[len(e.queue)-1].h.Marker = true
	return e.queue
}

// frame adds the packets of one spatial layer.
func (e *encoder) frame(n, sid, tid, back int, key bool) {
	e.frames++
	e.numbers[[2]int{n, sid}] = int(e.frames)
	count := 1 + e.rng.IntN(3)
	for i := range count {
		first, last := i == 0, i == count-1
		u := unit{h: rtp.Header{
			Version: 2, SSRC: e.ssrc, SequenceNumber: e.seq, Timestamp: e.start + uint32(n)*2970,
		}}
		e.seq++
		switch {
		case e.described:
			u.payload = []byte{0xff}
			u.dependency = e.dependency(n, sid, tid, back, key, first, last)
		case e.codec.Name == codec.VP8:
			u.payload = e.vp8(n, tid, key, first)
		default:
			u.payload = e.vp9(n, sid, tid, back, key, first, last)
		}
		// What a viewer that is a test reads: stream, picture, spatial and temporal layer.
		u.payload = binary.BigEndian.AppendUint32(append(u.payload, byte(e.rank), byte(sid), byte(tid)), uint32(n))
		e.queue = append(e.queue, u)
	}
}

// told reads what frame put at the end of a payload.
func told(payload []byte) (rank, sid, tid, picture int) {
	b := payload[len(payload)-7:]
	return int(b[0]), int(b[1]), int(b[2]), int(binary.BigEndian.Uint32(b[3:]))
}

func (e *encoder) size(sid int) (width, height int) {
	shift := e.rank + sid
	return 160 << shift, 90 << shift
}

func (e *encoder) vp8(n, tid int, key, first bool) []byte {
	id := e.id + uint16(n)
	b := []byte{0x80, 0xe0, 0x80 | byte(id>>8), byte(id), e.tl0, byte(tid) << 6, 1}
	if first {
		b[0] |= 0x10
	}
	if tid > 0 && (n-e.key)%4 != 3 {
		b[5] |= 0x20 // Y
	}
	if key {
		b[6] = 0
	}
	w, h := e.size(0)
	return append(b, 0, 0, 0x9d, 0x01, 0x2a, byte(w), byte(w>>8), byte(h), byte(h>>8))
}

func (e *encoder) vp9(n, sid, tid, back int, key, first, last bool) []byte {
	id := e.id + uint16(n)
	head := byte(0xa0) // I, L
	if !key {
		head |= 0x40
	}
	if !e.group {
		head |= 0x10
	}
	if first {
		head |= 0x08
	}
	if last {
		head |= 0x04
	}
	structure := key && sid == 0 && first
	if structure {
		head |= 0x02
	}
	layers := byte(tid<<5|sid<<1) | 0x10
	if sid > 0 {
		layers |= 1
	}
	b := []byte{head, 0x80 | byte(id>>8), byte(id), layers}
	if e.group {
		b = append(b, e.tl0)
	} else if !key {
		b = append(b, byte(back)<<1)
	}
	if !structure {
		return append(b, 0x80)
	}
	ss := byte(e.spatial-1)<<5 | 0x10
	if e.group {
		ss |= 0x08
	}
	b = append(b, ss)
	for s := range e.spatial {
		w, h := e.size(s)
		b = append(b, byte(w>>8), byte(w), byte(h>>8), byte(h))
	}
	if e.group {
		b = append(b, 4)
		for i := range 4 {
			t, back := e.temporalOf(i)
			b = append(b, byte(t)<<5|0x10|1<<2, byte(back))
		}
	}
	return append(b, 0x80)
}

// template makes the structure: one template for each pair of layers, a target for
// each as well.
func (e *encoder) template() (s descriptor.Structure) {
	s.TargetCount, s.HasResolutions = uint8(e.spatial*e.temporal), true
	for sid := range e.spatial {
		for tid := range e.temporal {
			t := &s.Templates[s.TemplateCount]
			t.SpatialID, t.TemporalID = uint8(sid), uint8(tid)
			t.Dependencies.DTIs = e.roles(sid, tid, false)
			s.Targets[s.TemplateCount] = descriptor.Target{SpatialID: uint8(sid), TemporalID: uint8(tid)}
			s.TemplateCount++
		}
		s.Resolutions[sid].Width, s.Resolutions[sid].Height = e.size(sid)
	}
	return s
}

// roles are those of Chromium's L3T3 and L3T3_KEY.
func (e *encoder) roles(sid, tid int, key bool) (roles [descriptor.MaxTargets]descriptor.DTI) {
	for s := range e.spatial {
		for t := range e.temporal {
			role := descriptor.Required
			switch {
			case s < sid || t < tid || e.keyOnly && !key && s > sid:
				role = descriptor.NotPresent
			case key, s == sid && tid < 2:
				role = descriptor.Switch
			case s == sid && tid == 2:
				role = descriptor.Discardable
			}
			roles[s*e.temporal+t] = role
		}
	}
	return roles
}

func (e *encoder) dependency(n, sid, tid, back int, key, first, last bool) []byte {
	number := e.id + e.frames
	f := descriptor.Frame{
		Start: first, End: last, Number: number, TemplateID: uint8(sid*e.temporal + tid),
		Structure: &e.structure, Carried: key && sid == 0 && first,
		SpatialID: uint8(sid), TemporalID: uint8(tid),
	}
	f.DTIs = e.roles(sid, tid, key)
	refer := func(picture, layer int) {
		f.Diffs[f.DiffCount] = uint16(int(e.frames) - e.numbers[[2]int{picture, layer}])
		f.DiffCount++
	}
	if !key {
		refer(n-back, sid)
	}
	if sid > 0 && (key || !e.keyOnly) {
		refer(n, sid-1)
	}
	b, err := f.Append(nil)
	if err != nil {
		panic(err)
	}
	return b
}

// newLayers makes a track with an encoder for each of its layers.
func newLayers(m mode, rng *rand.Rand) (*publish.Track, []*publish.Layer, []*encoder) {
	var encoders []*encoder
	var layers []*publish.Layer
	var track *publish.Track
	for i := range m.simulcast {
		e := newEncoder(m, i, rng)
		cfg := publish.TrackConfig{Codec: m.codec, KeyframeRequest: func() { e.owed = true }}
		if m.simulcast > 1 {
			cfg.RID = string("qhf"[i])
		}
		if track == nil {
			track = publish.NewTrack(cfg)
			layers = append(layers, track.Layer)
		} else {
			layers = append(layers, track.AddLayer(cfg))
		}
		encoders = append(encoders, e)
	}
	return track, layers, encoders
}

// clockOf is the time of picture n of every encoder.
func clockOf(n int) time.Time { return epoch.Add(time.Duration(n) * 33 * time.Millisecond) }

package publish

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/weft-rtc/weft/interceptors/codec"
)

// MaxPayload is the longest payload that a track takes, in bytes: what fits a
// UDP datagram of an Ethernet link. Longer ones are dropped (ReasonOversize).
const MaxPayload = 1472

// MaxPacket is the most that Lookup returns of one packet, in bytes.
const MaxPacket = MaxPayload + maxDependency

// Bounds of a track's history, in packets. 1024 is a second of video at 10
// Mbit/s, several round trips; 128 is 2.5 s of sound in 20 ms packets.
const (
	defaultVideoHistory = 1024
	defaultAudioHistory = 128
	minHistory          = 16
	maxHistory          = 8192
)

// TrackConfig describes a track.
type TrackConfig struct {
	ID    string
	Kind  codec.Kind // zero: that of Codec
	Codec codec.Codec

	// RID is the name of the layer (RFC 8851) that the track begins with; empty
	// for a track that has one only.
	RID string

	// History is the number of packets kept, rounded up to a power of two from
	// 16 to 8192. Default 1024 for video, 128 for audio. Memory is taken as
	// packets come: 1.5 kB each for video, 320 bytes for audio.
	History int

	// KeyframeRequest asks the publisher for a key picture, at most every
	// 500 ms. It is called on whatever goroutine asked and must not block. Nil:
	// the publisher cannot be asked.
	KeyframeRequest func()

	// Encode asks the source to encode otherwise, see Track.Encode. It is called
	// on whatever goroutine asked and must not block. Nil: the source cannot.
	Encode func(Encoding) error
}

// MaxLayers bounds the layers of a track.
const MaxLayers = 8

// Track is one published audio or video source, remote or local. The methods of
// Layer are those of the layer that it began with, the only one unless the
// publisher sends several qualities at once (simulcast).
type Track struct {
	*Layer

	id     string
	encode func(Encoding) error // nil: the source cannot

	layers   atomic.Pointer[[]*Layer] // from low to high; replaced, never changed
	layersMu sync.Mutex               // one change at a time
}

// NewTrack makes a track with one layer; it starts nothing.
func NewTrack(cfg TrackConfig) *Track {
	if cfg.Kind == 0 {
		cfg.Kind = cfg.Codec.Kind()
	}
	t := &Track{id: cfg.ID, encode: cfg.Encode}
	t.Layer = newLayer(t, cfg)
	t.layers.Store(&[]*Layer{t.Layer})
	return t
}

// ID returns the track's id as configured.
func (t *Track) ID() string { return t.id }

// Layers returns the layers of the track, at least one, from the lowest quality
// to the highest. The slice must not be changed.
func (t *Track) Layers() []*Layer { return *t.layers.Load() }

// AddLayer adds another quality of the same source and codec, of which cfg has
// RID, History and KeyframeRequest. It returns the layer of that RID if there is
// one, and nil if the track is closed or has MaxLayers.
func (t *Track) AddLayer(cfg TrackConfig) *Layer {
	t.layersMu.Lock()
	defer t.layersMu.Unlock()
	layers := t.Layers()
	if i := slices.IndexFunc(layers, func(l *Layer) bool { return l.rid == cfg.RID }); i >= 0 {
		return layers[i]
	}
	if t.Ended() || len(layers) >= MaxLayers {
		return nil
	}
	cfg.Kind, cfg.Codec = t.kind, t.codec
	l := newLayer(t, cfg)
	t.sort(append(slices.Clone(layers), l))
	return l
}

// order puts the layers in order again.
func (t *Track) order() {
	t.layersMu.Lock()
	defer t.layersMu.Unlock()
	if len(t.Layers()) > 1 {
		t.sort(slices.Clone(t.Layers()))
	}
}

// sort stores layers in order: by size where all have one, else by name.
// layersMu is held.
func (t *Track) sort(layers []*Layer) {
	sized := !slices.ContainsFunc(layers, func(l *Layer) bool { return l.size.Load() == 0 })
	slices.SortStableFunc(layers, func(a, b *Layer) int {
		if sized {
			aw, ah := a.Size()
			bw, bh := b.Size()
			if c := cmp.Compare(aw*ah, bw*bh); c != 0 {
				return c
			}
		}
		return compareRIDs(a.rid, b.rid)
	})
	t.layers.Store(&layers)
}

// ridRanks are the names by which browsers, page and library call the layers of
// simulcast: quarter, half and full, or low, mid and high.
var ridRanks = map[string]int{"q": 1, "h": 2, "f": 3, "l": 1, "m": 2, "lo": 1, "mid": 2, "hi": 3, "low": 1, "medium": 2, "high": 3}

// compareRIDs orders layers by quality, as far as names tell: numbers, as OBS
// uses them, by their value, the usual letters by what they stand for, all other
// names as texts.
func compareRIDs(a, b string) int {
	ra, oka := rankOf(a)
	rb, okb := rankOf(b)
	if oka && okb {
		return cmp.Compare(ra, rb)
	}
	return strings.Compare(a, b)
}

func rankOf(rid string) (int, bool) {
	if n, err := strconv.Atoi(rid); err == nil {
		return n, true
	}
	n, ok := ridRanks[strings.ToLower(rid)]
	return n, ok
}

// Close ends the track with all its layers: sinks get nothing more but what is
// under way, and the histories' memory is given back. Idempotent.
func (t *Track) Close() {
	t.layersMu.Lock()
	defer t.layersMu.Unlock()
	for _, l := range t.Layers() {
		l.close()
	}
}

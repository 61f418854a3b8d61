package publish

import (
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"

	"github.com/weft-rtc/weft/interceptors/codec"
)

// MaxPayload is the longest payload that a track takes, in bytes: what fits a
// UDP datagram of an Ethernet link. Longer ones are dropped (ReasonOversize).
const MaxPayload = 1472

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

// maxExtra is how many packets all sinks together may send beside one packet of
// the track, see Extra: half a millisecond of the goroutine that brings media in.
const maxExtra = 64

// Track is one published audio or video track, remote or local. WriteRTP belongs
// to one goroutine; every other method may be called on any, and none blocks.
type Track struct {
	// Set once.
	id     string
	kind   codec.Kind
	codec  codec.Codec
	look   func([]byte) Info
	encode func(Encoding) error // nil: the source cannot

	window int64 // packets of history

	// Owned by the goroutine that calls WriteRTP.
	numbers numbers
	out     Packet // what the sinks see; here so that it is not allocated
	extra   int    // what is left of maxExtra

	// Atomic.
	sinks    atomic.Pointer[[]Sink] // replaced, never changed
	ended    atomic.Bool
	requests requests

	sinksMu sync.Mutex // one Add or Remove at a time

	mu        sync.RWMutex
	history   history    // guarded by mu
	clock     clock      // guarded by mu
	rtpOffset uint32     // guarded by mu: added to the timestamps of reports
	stats     TrackStats // guarded by mu
	lowest    int64      // guarded by mu: for the loss estimate
}

// TrackStats are a track's counters since it was made.
type TrackStats struct {
	Packets          uint64
	Bytes            uint64 // of payload
	Padding          uint64 // of Packets: without payload
	Frames           uint64
	Keyframes        uint64
	Lost             uint64 // estimate: numbers passed over and not repaired
	Restarts         uint64 // changes of SSRC and believed jumps
	KeyframeRequests uint64 // that went to the publisher
	Sinks            int
	Drops            Drops
}

// NewTrack makes a track; it starts nothing.
func NewTrack(cfg TrackConfig) *Track {
	if cfg.Kind == 0 {
		cfg.Kind = cfg.Codec.Kind()
	}
	t := &Track{id: cfg.ID, kind: cfg.Kind, codec: cfg.Codec, look: lookAny, encode: cfg.Encode}
	size, slot := defaultAudioHistory, smallSlot
	if t.kind == codec.Video {
		size, slot = defaultVideoHistory, MaxPayload
		t.look = looker(cfg.Codec)
	}
	if cfg.History > 0 {
		size = 1 << bits.Len(uint(min(max(cfg.History, minHistory), maxHistory)-1))
	}
	t.window = int64(size)
	t.history = newHistory(size, slot)
	t.clock.pair.Rate = cfg.Codec.ClockRate
	t.requests.ask = cfg.KeyframeRequest
	t.sinks.Store(new([]Sink))
	return t
}

// ID returns the track's id as configured.
func (t *Track) ID() string { return t.id }

// Kind returns whether the track is audio or video.
func (t *Track) Kind() codec.Kind { return t.kind }

// Codec returns the track's codec.
func (t *Track) Codec() codec.Codec { return t.codec }

// WriteRTP takes one packet from the publisher: looks at it, keeps it, and gives
// it to every sink. payload is without padding; neither it nor h is kept. An
// empty one (a packet of padding only, sent to probe) takes up its number, so
// that subscribers do not see a loss where none was. One goroutine at a time; it
// does not allocate once the history has grown.
func (t *Track) WriteRTP(h *rtp.Header, payload []byte, arrival time.Time) {
	if why := t.accept(h, payload, arrival); why != ReasonNone {
		t.mu.Lock()
		t.stats.Drops[why]++
		t.mu.Unlock()
		return
	}
	t.requests.packet(t.out.Keyframe, arrival)
	t.extra = maxExtra
	for _, s := range *t.sinks.Load() {
		s.WritePacket(&t.out)
	}
	t.out.Payload = nil
}

// accept checks and stores a packet and leaves it in t.out.
func (t *Track) accept(h *rtp.Header, payload []byte, arrival time.Time) DropReason {
	switch {
	case t.ended.Load():
		return ReasonEnded
	case len(payload) > MaxPayload:
		return ReasonOversize
	}
	index, restarted, why := t.numbers.place(h.SSRC, h.SequenceNumber, h.Timestamp, arrival, t.window, t.codec.ClockRate)
	if why != ReasonNone {
		return why
	}
	audio := t.kind != codec.Video
	t.out = Packet{
		Seq: h.SequenceNumber, Timestamp: h.Timestamp + t.numbers.tsOffset, Marker: h.Marker,
		Payload: payload, Arrival: arrival, Index: index,
	}
	info := t.look(payload)

	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.history.slots) == 0 {
		return ReasonEnded // closed meanwhile
	}
	if restarted {
		t.history.forgetKey()
		t.clock.reset()
		t.rtpOffset = t.numbers.tsOffset
		t.stats.Restarts++
	}
	if t.history.at(index) != nil {
		return ReasonDuplicate
	}
	t.history.put(&t.out, info)
	if len(payload) > 0 {
		if audio {
			t.out.Keyframe, t.out.FrameStart = true, true
		}
		t.out.FrameEnd = audio || t.out.Marker
		t.clock.packet(t.out.Timestamp, arrival)
	}
	t.count(&t.out)
	return ReasonNone
}

func (t *Track) count(p *Packet) {
	s := &t.stats
	if s.Packets == 0 || p.Index < t.lowest {
		t.lowest = p.Index
	}
	s.Packets++
	if len(p.Payload) == 0 {
		s.Padding++
	}
	s.Bytes += uint64(len(p.Payload))
	if p.FrameStart {
		s.Frames++
	}
	if p.Keyframe && t.kind == codec.Video {
		s.Keyframes++
	}
}

// Add lets s have every packet from the next on. Adding it twice is adding it
// once; so s must be comparable. No effect on a closed track. A packet under way
// is not given to it.
func (t *Track) Add(s Sink) {
	t.sinksMu.Lock()
	defer t.sinksMu.Unlock()
	old := *t.sinks.Load()
	if t.ended.Load() || slices.Contains(old, s) {
		return
	}
	sinks := append(slices.Clip(old), s)
	t.sinks.Store(&sinks)
}

// Remove ends what Add began. A packet under way may still reach s after it.
func (t *Track) Remove(s Sink) {
	t.sinksMu.Lock()
	defer t.sinksMu.Unlock()
	old := *t.sinks.Load()
	i := slices.Index(old, s)
	if i < 0 {
		return
	}
	sinks := slices.Concat(old[:i], old[i+1:])
	t.sinks.Store(&sinks)
}

// Extra grants a sink up to want older packets to send beside the one that it was
// just given: what all sinks do within WritePacket delays the publisher's next
// packet, and many that begin at once would stop it. It may be 0. For use within
// WritePacket only.
func (t *Track) Extra(want int) int {
	granted := min(want, t.extra)
	t.extra -= granted
	return granted
}

// Window returns the size of the history in packets.
func (t *Track) Window() int { return int(t.window) }

// Lookup returns a packet of the history. Its payload is copied to buf, which
// should have room for MaxPayload; a longer payload is not returned at all.
func (t *Track) Lookup(index int64, buf []byte) (Packet, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	s := t.history.at(index)
	if s == nil || int(s.length) > len(buf) {
		return Packet{}, false
	}
	p := t.history.packet(s, t.kind != codec.Video)
	p.Payload = buf[:copy(buf, p.Payload)]
	return p, true
}

// Peek is Lookup without the payload.
func (t *Track) Peek(index int64) (Packet, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	s := t.history.at(index)
	if s == nil {
		return Packet{}, false
	}
	p := t.history.packet(s, t.kind != codec.Video)
	p.Payload = nil
	return p, true
}

// Newest returns the highest index in the history and its timestamp.
func (t *Track) Newest() (index int64, timestamp uint32, ok bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	s := t.history.at(t.history.newest)
	if s == nil {
		return 0, 0, false
	}
	return s.index, s.timestamp, true
}

// LastKeyframe returns where the newest key picture starts, if all from there on
// is in the history without a hole, so that it can be sent to a late subscriber.
func (t *Track) LastKeyframe() (index int64, ok bool) {
	if t.kind != codec.Video {
		return 0, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.history.wholeKey()
}

// RequestKeyframe asks the publisher for a key picture, at once or when 500 ms
// have passed since the last time, unless one comes by itself before that.
func (t *Track) RequestKeyframe(now time.Time) {
	if !t.ended.Load() {
		t.requests.request(now)
	}
}

// Requestable reports whether the publisher can be asked for key pictures.
func (t *Track) Requestable() bool { return t.requests.ask != nil }

// Report takes a sender report of the publisher (RFC 3550 section 6.4.1): the
// NTP time, its own timestamp at that time, and when the report arrived.
func (t *Track) Report(ntp uint64, rtp uint32, arrival time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.clock.report(ntp, rtp+t.rtpOffset, arrival)
}

// Clock returns how the track's timestamps lie in time. Not ok before the first
// packet or report.
func (t *Track) Clock() (c Clock, ok bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.clock.pair, t.clock.any
}

// Stats returns a copy of the counters.
func (t *Track) Stats() TrackStats {
	t.mu.RLock()
	s := t.stats
	if passed := uint64(t.history.newest - t.lowest + 1); s.Packets > 0 && passed > s.Packets {
		s.Lost = passed - s.Packets
	}
	t.mu.RUnlock()
	s.Sinks = len(*t.sinks.Load())
	s.KeyframeRequests = t.requests.asked.Load()
	return s
}

// Ended reports whether Close was called.
func (t *Track) Ended() bool { return t.ended.Load() }

// Close ends the track: sinks get nothing more but what is under way, and the
// history's memory is given back. Idempotent.
func (t *Track) Close() {
	t.sinksMu.Lock()
	t.ended.Store(true)
	t.sinks.Store(new([]Sink))
	t.sinksMu.Unlock()
	t.mu.Lock()
	t.history.slots, t.history.slab, t.history.hasKey = nil, nil, false
	t.mu.Unlock()
}

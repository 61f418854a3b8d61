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

// maxExtra is how many packets all sinks together may send beside one packet of
// the layer, see Extra: half a millisecond of the goroutine that brings media in.
const maxExtra = 64

// activeFor is how long a layer counts as active without a packet: longer than
// the gap of a still screen at one picture a second.
const activeFor = 1500 * time.Millisecond

// Layer is one quality of a track: an RTP stream of its own, with its history. A
// track that is not simulcast has one. WriteRTP belongs to one goroutine; every
// other method may be called on any, and none blocks.
type Layer struct {
	// Set once.
	rid   string
	kind  codec.Kind
	codec codec.Codec

	window int64 // packets of history

	// Owned by the goroutine that calls WriteRTP.
	numbers  numbers
	scalable scalable
	out      Packet // what the sinks see; here so that it is not allocated
	extra    int    // what is left of maxExtra
	measured bool   // the size has just changed

	track *Track // whose layers are put in order when this one's size is known

	// Atomic.
	size     atomic.Uint32          // of the last key picture that said it, width above height
	last     atomic.Int64           // arrival of the last packet, Unix time in ns
	sinks    atomic.Pointer[[]Sink] // replaced, never changed
	ended    atomic.Bool
	requests requests

	sinksMu sync.Mutex // one Add or Remove at a time

	mu        sync.RWMutex
	history   history    // guarded by mu
	clock     clock      // guarded by mu
	rtpOffset uint32     // guarded by mu: added to the timestamps of reports
	stats     LayerStats // guarded by mu
	lowest    int64      // guarded by mu: for the loss estimate
	meter     meter      // guarded by mu
	flow      flow       // guarded by mu
}

// LayerStats are a layer's counters since it was made.
type LayerStats struct {
	Packets          uint64
	Bytes            uint64 // of payload
	Padding          uint64 // of Packets: without payload
	Frames           uint64
	Keyframes        uint64
	Lost             uint64        // estimate: numbers passed over and not repaired
	Restarts         uint64        // changes of SSRC and believed jumps
	KeyframeRequests uint64        // that went to the publisher
	Jitter           time.Duration // of arrival, RFC 3550 section 6.4.1
	Freezes          uint64        // pictures that were late, as browsers count them; audio has none
	Frozen           time.Duration // how long these were waited for
	Sinks            int
	Drops            Drops
}

// newLayer makes a layer of a track; it starts nothing.
func newLayer(t *Track, cfg TrackConfig) *Layer {
	l := &Layer{track: t, rid: cfg.RID, kind: cfg.Kind, codec: cfg.Codec, scalable: newScalable(cfg.Codec, cfg.Kind)}
	size, slot := defaultAudioHistory, smallSlot
	if l.kind == codec.Video {
		size, slot = defaultVideoHistory, MaxPayload
	}
	if cfg.History > 0 {
		size = 1 << bits.Len(uint(min(max(cfg.History, minHistory), maxHistory)-1))
	}
	l.window = int64(size)
	l.history = newHistory(size, slot)
	l.clock.pair.Rate = cfg.Codec.ClockRate
	l.requests.ask = cfg.KeyframeRequest
	l.sinks.Store(new([]Sink))
	return l
}

// RID returns the layer's name on the wire (RFC 8851), empty for the only one.
func (l *Layer) RID() string { return l.rid }

// Kind returns whether the track is audio or video.
func (l *Layer) Kind() codec.Kind { return l.kind }

// Codec returns the track's codec.
func (l *Layer) Codec() codec.Codec { return l.codec }

// Size returns width and height of the picture in pixels as the last key picture
// said them, 0 if none did: VP8 does, and H264.
func (l *Layer) Size() (width, height int) {
	s := l.size.Load()
	return int(s >> 16), int(s & 0xffff)
}

// Sinks returns how many sinks have every packet of the layer.
func (l *Layer) Sinks() int { return len(*l.sinks.Load()) }

// Active reports whether packets have come within the last 1.5 s: a publisher
// that pauses a layer, because nobody wants it or its line is bad, says nothing.
func (l *Layer) Active(now time.Time) bool {
	last := l.last.Load()
	return last != 0 && now.UnixNano()-last < int64(activeFor)
}

// WriteRTP takes one packet from the publisher: looks at it, keeps it, and gives
// it to every sink. payload is without padding; neither it nor h is kept. An
// empty one (a packet of padding only, sent to probe) takes up its number, so
// that subscribers do not see a loss where none was. One goroutine at a time; it
// does not allocate once the history has grown.
func (l *Layer) WriteRTP(h *rtp.Header, payload []byte, arrival time.Time) {
	l.WriteDescribed(h, payload, nil, arrival)
}

// WriteDescribed is WriteRTP of a packet that has a dependency descriptor (AV1
// RTP specification section A.8): the value of the header extension, not kept, nil
// if there is none. Where there is one, nothing else is looked at, so that the
// payload may be encrypted from end to end.
func (l *Layer) WriteDescribed(h *rtp.Header, payload, dependency []byte, arrival time.Time) {
	if why := l.accept(h, payload, dependency, arrival); why != ReasonNone {
		l.mu.Lock()
		l.stats.Drops[why]++
		l.mu.Unlock()
		return
	}
	l.last.Store(arrival.UnixNano())
	if l.measured {
		l.measured = false
		l.track.order()
	}
	l.requests.packet(l.out.Keyframe, arrival)
	l.extra = maxExtra
	for _, s := range *l.sinks.Load() {
		s.WritePacket(&l.out)
	}
	l.out.Payload, l.out.Dependency = nil, nil
}

// accept checks and stores a packet and leaves it in l.out.
func (l *Layer) accept(h *rtp.Header, payload, dependency []byte, arrival time.Time) DropReason {
	switch {
	case l.ended.Load():
		return ReasonEnded
	case len(payload) > MaxPayload, len(dependency) > maxDependency:
		return ReasonOversize
	}
	index, restarted, why := l.numbers.place(h.SSRC, h.SequenceNumber, h.Timestamp, arrival, l.window, l.codec.ClockRate)
	if why != ReasonNone {
		return why
	}
	audio := l.kind != codec.Video
	l.out = Packet{
		Seq: h.SequenceNumber, Timestamp: h.Timestamp + l.numbers.tsOffset, Marker: h.Marker,
		Payload: payload, Dependency: dependency, Arrival: arrival, Index: index,
	}
	if restarted {
		l.scalable.restart()
	}
	info, place := l.scalable.inspect(payload, dependency, h.Marker, arrival)
	l.out.Place = place
	if size := uint32(info.Width)<<16 | uint32(info.Height); size != 0 && size != l.size.Load() {
		l.size.Store(size)
		l.measured = true
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.history.slots) == 0 {
		return ReasonEnded // closed meanwhile
	}
	if restarted {
		l.history.forgetKey()
		l.clock.reset()
		l.rtpOffset = l.numbers.tsOffset
		l.stats.Restarts++
	}
	if l.history.at(index) != nil {
		return ReasonDuplicate
	}
	l.history.put(&l.out, info)
	if len(payload) > 0 {
		if audio {
			l.out.Keyframe, l.out.FrameStart = true, true
		}
		l.out.FrameEnd = audio || l.out.Marker
		l.clock.packet(l.out.Timestamp, arrival)
	}
	l.count(&l.out)
	return ReasonNone
}

// count is called with mu held.
func (l *Layer) count(p *Packet) {
	s := &l.stats
	if s.Packets == 0 || p.Index < l.lowest {
		l.lowest = p.Index
	}
	s.Packets++
	if len(p.Payload) == 0 {
		s.Padding++
	}
	s.Bytes += uint64(len(p.Payload))
	if p.FrameStart {
		s.Frames++
	}
	if p.Keyframe && l.kind == codec.Video {
		s.Keyframes++
	}
	l.meter.packet(p)
	l.flow.packet(p, l.codec.ClockRate)
}

// Add lets s have every packet from the next on. Adding it twice is adding it
// once; so s must be comparable. No effect on a closed track. A packet under way
// is not given to it.
func (l *Layer) Add(s Sink) {
	l.sinksMu.Lock()
	defer l.sinksMu.Unlock()
	old := *l.sinks.Load()
	if l.ended.Load() || slices.Contains(old, s) {
		return
	}
	sinks := append(slices.Clip(old), s)
	l.sinks.Store(&sinks)
}

// Remove ends what Add began. A packet under way may still reach s after it.
func (l *Layer) Remove(s Sink) {
	l.sinksMu.Lock()
	defer l.sinksMu.Unlock()
	old := *l.sinks.Load()
	i := slices.Index(old, s)
	if i < 0 {
		return
	}
	sinks := slices.Concat(old[:i], old[i+1:])
	l.sinks.Store(&sinks)
}

// Extra grants a sink up to want older packets to send beside the one that it was
// just given: what all sinks do within WritePacket delays the publisher's next
// packet, and many that begin at once would stop it. It may be 0. For use within
// WritePacket only.
func (l *Layer) Extra(want int) int {
	granted := min(want, l.extra)
	l.extra -= granted
	return granted
}

// Window returns the size of the history in packets.
func (l *Layer) Window() int { return int(l.window) }

// Lookup returns a packet of the history. Its payload, and its dependency
// descriptor behind it, are copied to buf, which should have room for MaxPacket;
// what is longer is not returned at all.
func (l *Layer) Lookup(index int64, buf []byte) (Packet, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	s := l.history.at(index)
	if s == nil || int(s.length)+int(s.extra) > len(buf) {
		return Packet{}, false
	}
	p := l.history.packet(s, l.kind != codec.Video)
	p.Payload = buf[:copy(buf, p.Payload):len(p.Payload)]
	if s.extra > 0 {
		rest := buf[len(p.Payload):]
		p.Dependency = rest[:copy(rest, p.Dependency)]
	}
	return p, true
}

// Peek is Lookup without the payload.
func (l *Layer) Peek(index int64) (Packet, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	s := l.history.at(index)
	if s == nil {
		return Packet{}, false
	}
	p := l.history.packet(s, l.kind != codec.Video)
	p.Payload, p.Dependency = nil, nil
	return p, true
}

// Newest returns the highest index in the history and its timestamp.
func (l *Layer) Newest() (index int64, timestamp uint32, ok bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	s := l.history.at(l.history.newest)
	if s == nil {
		return 0, 0, false
	}
	return s.index, s.timestamp, true
}

// LastKeyframe returns where the newest key picture starts, if all from there on
// is in the history without a hole, so that it can be sent to a late subscriber.
func (l *Layer) LastKeyframe() (index int64, ok bool) {
	if l.kind != codec.Video {
		return 0, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.history.wholeKey()
}

// RequestKeyframe asks the publisher for a key picture, at once or when 500 ms
// have passed since the last time, unless one comes by itself before that.
func (l *Layer) RequestKeyframe(now time.Time) {
	if !l.ended.Load() {
		l.requests.request(now)
	}
}

// Requestable reports whether the publisher can be asked for key pictures.
func (l *Layer) Requestable() bool { return l.requests.ask != nil }

// Deaf reports whether the publisher was asked for a key picture a second ago or
// more and has made none since: behind a connection nobody knows whether it can.
func (l *Layer) Deaf(now time.Time) bool { return l.requests.deaf(now) }

// Report takes a sender report of the publisher (RFC 3550 section 6.4.1): the
// NTP time, its own timestamp at that time, and when the report arrived.
func (l *Layer) Report(ntp uint64, rtp uint32, arrival time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clock.report(ntp, rtp+l.rtpOffset, arrival)
}

// Clock returns how the track's timestamps lie in time. Not ok before the first
// packet or report.
func (l *Layer) Clock() (c Clock, ok bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.clock.pair, l.clock.any
}

// Stats returns a copy of the counters.
func (l *Layer) Stats() LayerStats {
	l.mu.RLock()
	s := l.stats
	if passed := uint64(l.history.newest - l.lowest + 1); s.Packets > 0 && passed > s.Packets {
		s.Lost = passed - s.Packets
	}
	s.Jitter = l.flow.delay(l.codec.ClockRate)
	if l.kind == codec.Video {
		s.Freezes, s.Frozen = l.flow.freezes, l.flow.frozen
	}
	l.mu.RUnlock()
	s.Sinks = len(*l.sinks.Load())
	s.KeyframeRequests = l.requests.asked.Load()
	return s
}

// Ended reports whether the layer was closed.
func (l *Layer) Ended() bool { return l.ended.Load() }

// close ends the layer: sinks get nothing more but what is under way, and the
// history's memory is given back. Idempotent.
func (l *Layer) close() {
	l.sinksMu.Lock()
	l.ended.Store(true)
	l.sinks.Store(new([]Sink))
	l.sinksMu.Unlock()
	l.mu.Lock()
	l.history.slots, l.history.slab, l.history.hasKey = nil, nil, false
	l.mu.Unlock()
}

package subscribe

import (
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/publish"
)

// Writer sends packets to one subscriber. Both methods may be called on any
// goroutine, must not block for long, and must not keep what they are given.
// The bytes on the wire must be a function of the arguments: a repeated sequence
// number must not get other header extensions (one nonce, one packet).
type Writer interface {
	// WriteRTP sends a packet. dependency is the value of its dependency
	// descriptor (AV1 RTP specification section A.8), nil if it has none; it is
	// left out where the subscriber has not negotiated the header extension.
	WriteRTP(h *rtp.Header, payload, dependency []byte) error
	WriteRTCP(pkts []rtcp.Packet) error
}

// Payload are the payload types that the subscriber negotiated for the track.
type Payload struct {
	Type uint8
	RTX  uint8 // RFC 4588; 0: none
}

// Config describes a forwarder.
type Config struct {
	Track   *publish.Track // nil: nothing is sent until SetTrack
	Layer   *publish.Layer // of Track: this one only; nil: what suits the wish
	SSRC    uint32
	RTXSSRC uint32       // 0: resend on SSRC, byte for byte
	Hub     bool         // the subscriber passes on what it gets, and keeps a history of its own
	CNAME   string       // RFC 7022, of the sender reports; default "weft"
	Logger  *slog.Logger // nil discards
}

// phase is where a forwarder is with its track.
//
//	waiting --key picture, or any audio--> live
//	   |  ^---pause, mute, swap, fell out of the history---.
//	   '--kept group of pictures--> replaying --caught up--> live
type phase uint8

const (
	waiting phase = iota
	replaying
	live
)

// Forwarder is one subscriber's copy of a track. It adds itself to the track.
// All methods may be called on any goroutine; none holds a lock while it writes.
type Forwarder struct {
	// Set once.
	ssrc, rtxSSRC uint32
	hub           bool
	cname         string
	log           *slog.Logger

	mu         sync.Mutex     // guards all below; never held over a write
	track      *publish.Track // nil: no track
	only       *publish.Layer // nil: any layer
	in         *input         // the sink of the layer that is forwarded; nil: no track
	coming     *input         // of the layer to change to at its next key picture; nil: none
	aim        aim            // within the layer
	target     quality        // what a key picture is waited for to change to
	since      time.Time      // how long
	avoid      quality        // it did not bring one
	avoidUntil time.Time
	wish       Wish
	writer     Writer // nil: not bound
	payload    Payload
	sameFrom   int64 // numbers below went out before the last Bind
	muted      DropReason
	paused     bool
	closed     bool
	phase      phase

	out      outgoing
	pictures pictures
	gap      gap
	torn     bool // the newest packet sent did not end its picture
	times    times
	cursor   int64 // replaying: next index
	boundary bool  // replaying: the last packet ended a picture
	dripping bool  // replaying: a goroutine is at it
	liveFrom int64 // indexes below were replayed: their timestamps are stamped
	replayed time.Time
	group    int64 // what was replayed then, by its key picture

	rtxSeq  uint16
	resends budget
	reports reports
	pace    pace
	stats   Stats
	free    *parcel // not in use
}

// input is the sink that a forwarder adds to a layer of a track: a packet that an
// earlier one still has under way is told apart by it.
type input struct {
	f     *Forwarder
	layer *publish.Layer
}

// WritePacket implements publish.Sink.
func (in *input) WritePacket(p *publish.Packet) { in.f.receive(in, p) }

// NewForwarder makes a forwarder and adds it to the track. Nothing is sent
// before Bind.
func NewForwarder(cfg Config) *Forwarder {
	f := &Forwarder{
		ssrc: cfg.SSRC, rtxSSRC: cfg.RTXSSRC, hub: cfg.Hub, cname: cfg.CNAME, log: cfg.Logger,
		rtxSeq: uint16(rand.IntN(1 << 15)),
	}
	if f.cname == "" {
		f.cname = "weft"
	}
	if f.log == nil {
		f.log = slog.New(slog.DiscardHandler)
	}
	f.SetLayer(cfg.Track, cfg.Layer)
	return f
}

// Bind gives the forwarder its way out, or another one. What was sent before is
// repeated over RTX only from then on: another payload type, or a writer that
// adds other header extensions since, would make other bytes of the same number.
func (f *Forwarder) Bind(w Writer, p Payload) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writer, f.payload, f.sameFrom = w, p, f.out.next
}

// Unbind takes the way out: the section was closed. Bind may follow.
func (f *Forwarder) Unbind() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writer, f.phase = nil, waiting
}

// Mute stops sending for a reason that the subscriber's page is told, such as
// ReasonCodec. ReasonNone ends it.
func (f *Forwarder) Mute(reason DropReason) {
	f.mu.Lock()
	changed := f.muted != reason
	if changed {
		f.muted, f.phase = reason, waiting
	}
	f.mu.Unlock()
	if changed {
		f.log.Debug("forwarder muted", "reason", reason)
	}
}

// Pause stops sending because the subscriber does not want it now.
func (f *Forwarder) Pause() { f.setPaused(true) }

// Resume ends Pause. Video starts again at a key picture.
func (f *Forwarder) Resume() { f.setPaused(false) }

func (f *Forwarder) setPaused(paused bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.paused != paused {
		f.paused, f.phase = paused, waiting
	}
}

// SetTrack replaces the track without signaling: numbers and timestamps go on.
// The new track must have the codec that was negotiated. Nil: nothing is sent.
func (f *Forwarder) SetTrack(t *publish.Track) { f.SetLayer(t, nil) }

// SetLayer is SetTrack for one layer of the track, which alone is sent whatever
// the wish; nil: any.
func (f *Forwarder) SetLayer(t *publish.Track, only *publish.Layer) {
	f.mu.Lock()
	if f.closed || f.track == t && f.only == only {
		f.mu.Unlock()
		return
	}
	olds := [...]*input{f.in, f.coming}
	f.track, f.only, f.in, f.coming, f.phase = t, only, nil, nil, waiting
	if t != nil {
		first := t.Layer
		if only != nil {
			first = only
		}
		f.in = f.enter(first)
		f.takeOver(t)
	}
	in := f.in
	f.mu.Unlock()

	for _, old := range olds {
		if old != nil {
			old.layer.Remove(old)
		}
	}
	if in != nil {
		in.layer.Add(in)
		f.dropOutdated(in)
	}
}

// takeOver readies the numbers for t. Callers hold mu.
func (f *Forwarder) takeOver(t *publish.Track) {
	size := audioRing
	if t.Kind() == codec.Video {
		size = videoRing
	}
	if f.out.size == 0 {
		f.out = newOutgoing(size)
	}
	f.out.newTrack()
	f.times.rate = t.Codec().ClockRate
	switch name := t.Codec().Name; {
	case strings.EqualFold(name, codec.VP8):
		f.pictures.format = formatVP8
	case strings.EqualFold(name, codec.VP9):
		f.pictures.format = formatVP9
	default:
		f.pictures.format = formatNone
	}
	f.aim = aim{spatial: anyLayer, temporal: anyLayer}
	f.target = quality{}
	f.times.rebase = true
}

// dropOutdated takes in from its layer again if another SetTrack, Close or change
// of layers came in between.
func (f *Forwarder) dropOutdated(in *input) {
	f.mu.Lock()
	outdated := f.in != in && f.coming != in
	f.mu.Unlock()
	if outdated {
		in.layer.Remove(in)
	}
}

// Track returns the present track, or nil.
func (f *Forwarder) Track() *publish.Track {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.track
}

// Stats are a forwarder's counters, and what its subscriber last reported.
type Stats struct {
	Packets, Bytes       uint64        // handed to the writer for the first time; bytes of payload
	Bitrate              int           // of these, bits per second over the last half second that is complete
	RTXPackets, RTXBytes uint64        // answers to NACKs, over RTX or as they were
	Nacked               uint64        // numbers asked for again
	Unanswered           uint64        // of these: not in the history any more, or never had
	Suppressed           uint64        // of these: answered a round trip ago or less, or beyond the limit
	KeyframeRequests     uint64        // PLI and FIR
	Replays              uint64        // times that a kept group of pictures was sent
	Replayed             uint64        // packets of these
	Switches             uint64        // changes from one layer to another, spatial and temporal ones too
	Muted                DropReason    // why nothing is sent now; ReasonNone if it is
	RTT                  time.Duration // smoothed; 0: unknown
	FractionLost         float64       // 0 to 1, of the last receiver report
	Drops                Drops
}

// Stats returns a copy of the counters.
func (f *Forwarder) Stats() Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.stats
	s.RTT, s.FractionLost, s.Bitrate = f.reports.rtt, f.reports.lost, f.pace.bitrate
	s.Muted = f.refusal()
	if s.Muted == ReasonNone && f.phase == waiting && f.video() {
		s.Muted = ReasonKeyframe
	}
	return s
}

func (f *Forwarder) video() bool { return f.in != nil && f.track.Kind() == codec.Video }

// refusal says why no packet at all is sent now. Callers hold mu.
func (f *Forwarder) refusal() DropReason {
	switch {
	case f.closed:
		return ReasonClosed
	case f.writer == nil:
		return ReasonUnbound
	case f.muted != ReasonNone:
		return f.muted
	case f.paused:
		return ReasonPaused
	}
	return ReasonNone
}

// Close ends forwarding and leaves the track. A packet under way may still be
// written. Idempotent; it does not wait.
func (f *Forwarder) Close() {
	f.mu.Lock()
	olds := [...]*input{f.in, f.coming}
	f.track, f.in, f.coming, f.writer, f.closed, f.phase = nil, nil, nil, nil, true, waiting
	f.out.ring = nil
	f.mu.Unlock()
	for _, old := range olds {
		if old != nil {
			old.layer.Remove(old)
		}
	}
}

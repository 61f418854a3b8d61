package conn

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/mesh/sdp"
)

// RTPSink takes what a Receiver gets. Both methods are called on pion's SRTP
// goroutines, ReceiveRTP on one and ReceiveReport on another: they must not
// block, nor take a lock that is held while calling this package.
type RTPSink interface {
	// ReceiveRTP takes one packet, valid during the call only.
	ReceiveRTP(p *Incoming)
	// ReceiveReport takes a sender report (RFC 3550 section 6.4.1): the wall
	// clock (NTP) and the RTP timestamp of one moment of the stream ssrc.
	ReceiveReport(ssrc uint32, ntp uint64, rtp uint32, arrival time.Time)
}

// NoAudioLevel is the AudioLevel of a packet that carries none.
const NoAudioLevel = 255

// Incoming is one RTP packet of a track, retransmissions already unwrapped.
type Incoming struct {
	Header     rtp.Header  // as it came; of a repaired packet as it was lost
	Payload    []byte      // without padding; empty if there was nothing else
	Arrival    time.Time   // when pion's SRTP loop had it
	RID        string      // simulcast layer, "" without simulcast
	Codec      codec.Codec // by payload type
	AudioLevel uint8       // -dBov, 0 loudest to 127 silent (RFC 6464); NoAudioLevel unknown
	Recovered  bool        // came as a retransmission over RTX (RFC 4588)
	// Dependency is the value of the dependency descriptor extension (AV1 RTP
	// specification, appendix A) as it came, valid as long as Payload; nil: none.
	Dependency []byte
}

// Receiver is a remote track. Methods may be called from any goroutine.
type Receiver struct {
	conn     *Conn
	mid      string
	kind     codec.Kind
	streamID string
	trackID  string

	terms  atomic.Pointer[receiveTerms]
	sink   atomic.Pointer[RTPSink]
	ssrcs  atomic.Pointer[[]uint32] // of media seen so far, sorted; ingest writes
	closed atomic.Bool
}

// receiveTerms is what a description says about a track, as the packets need it.
type receiveTerms struct {
	payloads   []sdp.Payload
	table      [128]payloadKind
	extensions map[string]int
	level      uint8 // id of the audio level extension, 0 none
	dependency uint8 // id of the dependency descriptor extension, 0 none
	ssrc, rtx  uint32
	rids       []string
}

// payloadKind says what an RTP payload type means.
type payloadKind struct {
	known bool
	rtx   bool
	index uint8 // in payloads
}

func newReceiveTerms(r sdp.Receive) *receiveTerms {
	t := &receiveTerms{
		payloads:   r.Payloads,
		extensions: r.Extensions,
		level:      extensionID(r.Extensions, sdp.ExtAudioLevel),
		dependency: extensionID(r.Extensions, sdp.ExtDependencyDescriptor),
		ssrc:       r.SSRC,
		rtx:        r.RTXSSRC,
		rids:       r.RIDs,
	}
	for i, p := range r.Payloads {
		if p.Type < 128 {
			t.table[p.Type] = payloadKind{known: true, index: uint8(i)}
		}
		if p.RTX > 0 && p.RTX < 128 {
			t.table[p.RTX] = payloadKind{known: true, rtx: true, index: uint8(i)}
		}
	}
	return t
}

// feedback reports whether payload i asks for the feedback named.
func (t *receiveTerms) feedback(i uint8, name string) bool {
	return int(i) < len(t.payloads) && slices.Contains(t.payloads[i].Feedback, name)
}

// extensionID returns the id of a header extension, 0 for none.
func extensionID(ids map[string]int, uri string) uint8 {
	if id := ids[uri]; id > 0 && id < 256 {
		return uint8(id)
	}
	return 0
}

func newReceiver(c *Conn, n sdp.Receive) *Receiver {
	r := &Receiver{conn: c, mid: n.Mid, kind: n.Kind, streamID: n.StreamID, trackID: n.TrackID}
	r.terms.Store(newReceiveTerms(n))
	return r
}

// Mid returns the media section's id, which no other track of the connection has.
func (r *Receiver) Mid() string { return r.mid }

// Kind returns audio or video.
func (r *Receiver) Kind() codec.Kind { return r.kind }

// StreamID returns the first word of a=msid: the stream that labels speak of.
func (r *Receiver) StreamID() string { return r.streamID }

// TrackID returns the second word of a=msid, perhaps "".
func (r *Receiver) TrackID() string { return r.trackID }

// Payloads returns the formats that may come, best first. Do not change it.
func (r *Receiver) Payloads() []sdp.Payload { return r.terms.Load().payloads }

// RIDs returns the announced simulcast layers, nil for none. Do not change it.
func (r *Receiver) RIDs() []string { return r.terms.Load().rids }

// SSRCs returns the SSRCs of media (not of retransmissions) that came so far.
func (r *Receiver) SSRCs() []uint32 {
	if p := r.ssrcs.Load(); p != nil {
		return slices.Clone(*p)
	}
	return nil
}

// SetSink says where packets go; nil drops and counts them, as before the first
// SetSink. A call of the old sink may still be running when it returns.
func (r *Receiver) SetSink(s RTPSink) {
	if s == nil {
		r.sink.Store(nil)
		return
	}
	r.sink.Store(&s)
}

// RequestKeyframe sends a PLI (RFC 4585 section 6.3.1) for one stream, or for
// all of the track if ssrc is 0. The rate limit is the caller's.
func (r *Receiver) RequestKeyframe(ssrc uint32) {
	if r.closed.Load() {
		return
	}
	ssrcs := []uint32{ssrc}
	if ssrc == 0 {
		ssrcs = r.SSRCs()
	}
	packets := make([]rtcp.Packet, 0, len(ssrcs))
	for _, s := range ssrcs {
		packets = append(packets, &rtcp.PictureLossIndication{SenderSSRC: receiverSSRC, MediaSSRC: s})
	}
	if len(packets) > 0 {
		_ = r.conn.transport.Load().writeRTCP(packets)
	}
}

// receiverSSRC is the sender SSRC of feedback that we make as a receiver; it
// identifies nobody, browsers use 1 as well.
const receiverSSRC = 1

// learned remembers an SSRC of media. Called by the ingest under its lock.
func (r *Receiver) learned(ssrc uint32) {
	next := append(r.SSRCs(), ssrc)
	slices.Sort(next)
	r.ssrcs.Store(&next)
}

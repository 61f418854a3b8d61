package conn

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/weft-rtc/weft/mesh/sdp"
)

// Sender is a local track that the other side agreed to receive, or one layer of
// it. Methods may be called from any goroutine.
type Sender struct {
	conn          *Conn
	id            string
	rid           string // of a layer, else ""
	ssrc, rtxSSRC uint32

	negotiated atomic.Pointer[sendTerms]
	layers     atomic.Pointer[[]*Sender] // nil: not in layers; replaced, never changed
	feedback   atomic.Pointer[func([]rtcp.Packet, time.Time)]
	known      atomic.Bool // the receiver has reported on our SSRC: it needs no mid
	knownRTX   atomic.Bool // the same of RTXSSRC
	closed     atomic.Bool
}

// sendTerms is what the last description says about a track.
type sendTerms struct {
	mid      string
	midBytes []byte
	midID    uint8 // id of the mid extension, 0 if not negotiated
	// ridBytes is the name of the layer, nil if it is the only one; the ids are
	// those of the extensions for it and for what repairs it (RFC 8852).
	ridBytes        []byte
	ridID, repairID uint8
	// dependency is the id of the dependency descriptor extension, 0 if not
	// negotiated; mixed allows values beyond the 16 bytes of the one-byte form.
	dependency uint8
	mixed      bool
	payloads   []sdp.Payload
	// always keeps the mid on every packet. Where a retransmission is the packet
	// itself and not RTX, it has to be byte-identical: the same SSRC and
	// sequence number with another header would be one AES-GCM nonce for two
	// packets, which gives the key away.
	always bool
}

// newTerms reads them for one layer, or for the one stream of a track: rid is "".
func newTerms(n sdp.Sending, rid string) *sendTerms {
	t := &sendTerms{
		mid:      n.Mid,
		midBytes: []byte(n.Mid),
		midID:    extensionID(n.Extensions, sdp.ExtMID),
		payloads: n.Payloads,
		always:   n.RTXSSRC == 0,

		dependency: extensionID(n.Extensions, sdp.ExtDependencyDescriptor),
		mixed:      n.Mixed,
	}
	if !t.mixed && t.dependency <= 14 {
		// Structures would not fit, and descriptors without one cannot be read: the
		// receiver would wait for it for ever.
		t.dependency = 0
	}
	if rid != "" {
		t.ridBytes = []byte(rid)
		t.ridID = extensionID(n.Extensions, sdp.ExtRID)
		t.repairID = extensionID(n.Extensions, sdp.ExtRepairedRID)
	}
	for _, p := range n.Payloads {
		t.always = t.always || p.RTX == 0
	}
	return t
}

// newSender makes the Sender of a track, or of the layer with that RID.
func newSender(c *Conn, n sdp.Sending, rid string) *Sender {
	s := &Sender{conn: c, id: n.ID, rid: rid, ssrc: n.SSRC, rtxSSRC: n.RTXSSRC}
	s.negotiated.Store(newTerms(n, rid))
	return s
}

// ID returns the ID of the sdp.Send that this is.
func (s *Sender) ID() string { return s.id }

// Mid returns the media section's id.
func (s *Sender) Mid() string { return s.negotiated.Load().mid }

// RID returns the name of the layer, "" of a track as a whole.
func (s *Sender) RID() string { return s.rid }

// Layers returns the layers in which the track goes (simulcast, RFC 8853), in the
// order of sdp.Send.Layers: each has SSRCs, feedback and closing of its own. While
// there are any, nothing may be written to the Sender itself. Nil: the track goes
// as one stream. They may change with every Handler.SendReady. Do not change it.
func (s *Sender) Layers() []*Sender {
	if p := s.layers.Load(); p != nil {
		return *p
	}
	return nil
}

// SSRC returns the SSRC of the media.
func (s *Sender) SSRC() uint32 { return s.ssrc }

// RTXSSRC returns the SSRC of retransmissions, 0 for none.
func (s *Sender) RTXSSRC() uint32 { return s.rtxSSRC }

// Payloads returns what the other side accepts, best first. Do not change it.
func (s *Sender) Payloads() []sdp.Payload { return s.negotiated.Load().payloads }

// Dependency reports whether the other side takes dependency descriptors.
func (s *Sender) Dependency() bool { return s.negotiated.Load().dependency != 0 }

// renegotiate takes a later description. Where a packet is resent as it was
// (see sendTerms.always), it has to find the terms of the first time.
func (s *Sender) renegotiate(n sdp.Sending) {
	next, was := newTerms(n, s.rid), s.negotiated.Load()
	if next.always {
		next.dependency, next.mixed = was.dependency, was.mixed
	}
	s.negotiated.Store(next)
}

// WriteRTP sends one packet. The header's SSRC must be SSRC or RTXSSRC and its
// payload type one of Payloads; neither is checked. The mid extension, and of a
// layer its RID, are added until the other side has reported on the SSRC. dependency is the packet's
// dependency descriptor (AV1 RTP specification, appendix A), empty for none. It
// is added where Dependency is true, but for one beyond 255 bytes, which goes
// without. A receiver that does not take the two-byte form (RFC 8285 section 6)
// gets none at all. Nothing of the arguments is kept. Before DTLS is up
// it drops the packet and returns ErrNotConnected; it never sends anything twice.
func (s *Sender) WriteRTP(h *rtp.Header, payload, dependency []byte) error {
	if s.closed.Load() {
		return ErrClosed
	}
	t := s.conn.transport.Load()
	terms := s.negotiated.Load()
	var add [3]extension
	n := 0
	if !s.identified(terms, h.SSRC) {
		n = terms.identify(&add, s.rtxSSRC != 0 && h.SSRC == s.rtxSSRC)
	}
	if terms.describes(dependency) {
		add[n] = extension{terms.dependency, dependency}
		n++
	}
	if n == 0 {
		return t.in.sent(t.writeRTP(h, payload))
	}
	tagged := taggedHeaders.Get().(*taggedHeader)
	defer taggedHeaders.Put(tagged)
	if err := tagged.set(h, add[:n]); err != nil {
		return err
	}
	return t.in.sent(t.writeRTP(&tagged.h, payload))
}

// identified reports whether the other side knows where packets of an SSRC belong.
// The retransmissions of a layer have to say it for themselves; those of a single
// stream are declared beside it.
func (s *Sender) identified(t *sendTerms, ssrc uint32) bool {
	switch {
	case t.always:
		return false
	case t.ridBytes != nil && ssrc == s.rtxSSRC:
		return s.knownRTX.Load()
	default:
		return s.known.Load()
	}
}

// identify adds what says where a packet belongs, and returns the count.
func (t *sendTerms) identify(add *[3]extension, rtx bool) (n int) {
	rid := t.ridID
	if rtx {
		rid = t.repairID
	}
	if t.midID != 0 {
		add[n] = extension{t.midID, t.midBytes}
		n++
	}
	if t.ridBytes != nil && rid != 0 {
		add[n] = extension{rid, t.ridBytes}
		n++
	}
	return n
}

// describes reports whether a dependency descriptor can go with a packet.
func (t *sendTerms) describes(dependency []byte) bool {
	switch n := len(dependency); {
	case t.dependency == 0 || n == 0 || n > 255:
		return false
	default:
		return n <= 16 || t.mixed || t.dependency > 14
	}
}

// extension is a header extension's value (RFC 8285).
type extension struct {
	id    uint8
	value []byte
}

// taggedHeader is a copy of a packet's header with room for more extensions.
type taggedHeader struct {
	h    rtp.Header
	exts [8]rtp.Extension
}

var taggedHeaders = sync.Pool{New: func() any { return new(taggedHeader) }}

// set copies h and adds extensions (RFC 8285): all in the two-byte form where an
// id or a value is too large for the one-byte form.
func (t *taggedHeader) set(h *rtp.Header, add []extension) error {
	t.h = *h
	t.h.Extensions = append(t.exts[:0], h.Extensions...)
	long := false
	for _, e := range add {
		long = long || e.id > 14 || len(e.value) > 16
	}
	switch {
	case !h.Extension && long, h.Extension && long && h.ExtensionProfile == rtp.ExtensionProfileOneByte:
		t.h.ExtensionProfile = rtp.ExtensionProfileTwoByte
	case !h.Extension:
		t.h.ExtensionProfile = rtp.ExtensionProfileOneByte
	}
	t.h.Extension = true
	for _, e := range add {
		if err := t.h.SetExtension(e.id, e.value); err != nil {
			return err
		}
	}
	return nil
}

// WriteRTCP sends RTCP, such as a sender report with SDES, as one compound
// packet.
func (s *Sender) WriteRTCP(packets []rtcp.Packet) error {
	if s.closed.Load() {
		return ErrClosed
	}
	return s.conn.transport.Load().writeRTCP(packets)
}

// SetFeedback says who is told of RTCP that concerns this track: NACK, PLI,
// FIR, receiver reports (only the blocks about it), REMB and transport-wide
// feedback. f is called on pion's SRTCP goroutine and must not block; nil
// discards.
func (s *Sender) SetFeedback(f func(packets []rtcp.Packet, now time.Time)) {
	if f == nil {
		s.feedback.Store(nil)
		return
	}
	s.feedback.Store(&f)
}

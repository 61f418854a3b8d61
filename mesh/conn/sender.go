package conn

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/weft-rtc/weft/mesh/sdp"
)

// Sender is a local track that the other side agreed to receive. Methods may be
// called from any goroutine.
type Sender struct {
	conn          *Conn
	id            string
	ssrc, rtxSSRC uint32

	negotiated atomic.Pointer[sendTerms]
	feedback   atomic.Pointer[func([]rtcp.Packet, time.Time)]
	known      atomic.Bool // the receiver has reported on our SSRC: it needs no mid
	closed     atomic.Bool
}

// sendTerms is what the last description says about a track.
type sendTerms struct {
	mid      string
	midBytes []byte
	midID    uint8 // id of the mid extension, 0 if not negotiated
	payloads []sdp.Payload
	// always keeps the mid on every packet. Where a retransmission is the packet
	// itself and not RTX, it has to be byte-identical: the same SSRC and
	// sequence number with another header would be one AES-GCM nonce for two
	// packets, which gives the key away.
	always bool
}

func newTerms(n sdp.Sending) *sendTerms {
	t := &sendTerms{
		mid:      n.Mid,
		midBytes: []byte(n.Mid),
		midID:    extensionID(n.Extensions, sdp.ExtMID),
		payloads: n.Payloads,
		always:   n.RTXSSRC == 0,
	}
	for _, p := range n.Payloads {
		t.always = t.always || p.RTX == 0
	}
	return t
}

func newSender(c *Conn, n sdp.Sending) *Sender {
	s := &Sender{conn: c, id: n.ID, ssrc: n.SSRC, rtxSSRC: n.RTXSSRC}
	s.negotiated.Store(newTerms(n))
	return s
}

// ID returns the ID of the sdp.Send that this is.
func (s *Sender) ID() string { return s.id }

// Mid returns the media section's id.
func (s *Sender) Mid() string { return s.negotiated.Load().mid }

// SSRC returns the SSRC of the media.
func (s *Sender) SSRC() uint32 { return s.ssrc }

// RTXSSRC returns the SSRC of retransmissions, 0 for none.
func (s *Sender) RTXSSRC() uint32 { return s.rtxSSRC }

// Payloads returns what the other side accepts, best first. Do not change it.
func (s *Sender) Payloads() []sdp.Payload { return s.negotiated.Load().payloads }

// WriteRTP sends one packet. The header's SSRC must be SSRC or RTXSSRC and its
// payload type one of Payloads; neither is checked. The mid extension is added
// until the other side has reported on the SSRC. Header and payload are not
// kept. Before DTLS is up it drops the packet and returns ErrNotConnected; it
// never sends anything twice.
func (s *Sender) WriteRTP(h *rtp.Header, payload []byte) error {
	if s.closed.Load() {
		return ErrClosed
	}
	t := s.conn.transport.Load()
	terms := s.negotiated.Load()
	if terms.midID == 0 || (!terms.always && s.known.Load()) {
		return t.in.sent(t.writeRTP(h, payload))
	}
	tagged := taggedHeaders.Get().(*taggedHeader)
	defer taggedHeaders.Put(tagged)
	if err := tagged.set(h, terms.midID, terms.midBytes); err != nil {
		return err
	}
	return t.in.sent(t.writeRTP(&tagged.h, payload))
}

// taggedHeader is a copy of a packet's header with room for one more extension.
type taggedHeader struct {
	h    rtp.Header
	exts [8]rtp.Extension
}

var taggedHeaders = sync.Pool{New: func() any { return new(taggedHeader) }}

// set copies h and adds an extension (RFC 8285): in the two-byte form where the
// id or the value is too large for the one-byte form.
func (t *taggedHeader) set(h *rtp.Header, id uint8, value []byte) error {
	t.h = *h
	t.h.Extensions = append(t.exts[:0], h.Extensions...)
	long := id > 14 || len(value) > 16
	switch {
	case !h.Extension && long, h.Extension && long && h.ExtensionProfile == rtp.ExtensionProfileOneByte:
		t.h.ExtensionProfile = rtp.ExtensionProfileTwoByte
	case !h.Extension:
		t.h.ExtensionProfile = rtp.ExtensionProfileOneByte
	}
	t.h.Extension = true
	return t.h.SetExtension(id, value)
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

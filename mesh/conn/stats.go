package conn

import "sync/atomic"

// DropReason says why a packet went no further.
type DropReason uint8

// The reasons. Padding and late packets are ordinary; the others are worth a
// look when they grow.
const (
	DropMalformed   DropReason = iota // not an RTP or RTCP packet
	DropUnknownSSRC                   // no track for the SSRC (yet)
	DropClosed                        // of a track that is closed
	DropPadding                       // a probe on a retransmission SSRC
	DropPayloadType                   // a payload type that was not agreed on
	DropRTX                           // a retransmission of nobody knows what
	DropNoSink                        // the Receiver has no sink
	DropInterceptor                   // not counted in feedback, but handed up
	DropFeedback                      // RTCP about a track that we do not send
	DropControl                       // a control message that is text or too long
	DropChannel                       // a data channel, or a message on one, that is refused
	DropWrite                         // an outgoing packet that was not sent
	numDropReasons
)

// String returns the reason as a metric label.
func (r DropReason) String() string {
	names := [numDropReasons]string{
		"malformed", "unknown-ssrc", "closed", "padding", "payload-type", "rtx",
		"no-sink", "interceptor", "feedback", "control", "channel", "write",
	}
	if r < numDropReasons {
		return names[r]
	}
	return "unknown"
}

// counters of one transport; safe for concurrent use.
type counters struct {
	packetsIn, bytesIn atomic.Uint64
	recovered, rtcpIn  atomic.Uint64
	packetsOut         atomic.Uint64
	drops              [numDropReasons]atomic.Uint64
}

// Stats are the counters of a connection since its start.
type Stats struct {
	State      State
	RemoteAddr string // where packets go now, "" if not connected
	RemoteType string // type of that candidate: host, srflx, prflx, relay
	PacketsIn  uint64 // RTP packets, retransmissions and padding included
	BytesIn    uint64 // RTP bytes with headers, without SRTP's
	Recovered  uint64 // packets that came as retransmissions
	RTCPIn     uint64 // RTCP packets, each of a compound
	PacketsOut uint64 // RTP packets given to SRTP
	NACKs      uint64 // NACK messages sent, one for each stream at a time
	Asked      uint64 // lost packets asked for, each counted once
	AskedAgain uint64 // times that one of them was asked for again
	Repaired   uint64 // packets that came after they were asked for
	GivenUp    uint64 // lost packets that it is too late for, or useless, to ask for
	Drops      map[DropReason]uint64
	Offers     uint64 // descriptions that we offered, the first one included
	OfferBytes int    // length of the last of them
	Sections   int    // in it, those that carry nothing included
	SSRCs      int    // of RTP and of RTCP, whose state is held now
}

// Stats returns the counters. It may be called from any goroutine.
func (c *Conn) Stats() Stats {
	t := c.transport.Load()
	n := &t.in.stats
	s := Stats{
		State:      c.State(),
		PacketsIn:  n.packetsIn.Load(),
		BytesIn:    n.bytesIn.Load(),
		Recovered:  n.recovered.Load(),
		RTCPIn:     n.rtcpIn.Load(),
		PacketsOut: n.packetsOut.Load(),
		Drops:      map[DropReason]uint64{},
		Offers:     c.offers.Load(),
		OfferBytes: int(c.offerBytes.Load()),
		Sections:   int(c.sections.Load()),
		SSRCs:      t.in.held(),
	}
	if asking := t.in.fb.nacks; asking != nil {
		messages, n := asking.totals()
		s.NACKs, s.Asked, s.AskedAgain, s.Repaired, s.GivenUp = messages, n.Asked, n.Repeated, n.Recovered, n.GivenUp
	}
	s.RemoteAddr, s.RemoteType = t.remoteAddr()
	for r := range numDropReasons {
		if v := n.drops[r].Load(); v > 0 {
			s.Drops[r] = v
		}
	}
	return s
}

package subscribe

import (
	"encoding/binary"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

const (
	osnSize = 2 // original sequence number, RFC 4588 section 4

	// A packet is not sent again within a round trip of its last repeat: the
	// subscriber cannot know of that yet. Within these bounds, since a measured
	// round trip may be absurd.
	defaultRTT = 100 * time.Millisecond
	minRTT     = 5 * time.Millisecond
	maxRTT     = time.Second

	// maxResends is the number of repeats within a round trip. A key picture of
	// 300 kB can be lost whole; beyond that NACKs are an amplifier.
	maxResends = 256
)

// budget bounds repeats per round trip.
type budget struct {
	since time.Time
	spent int
}

func (b *budget) take(now time.Time, window time.Duration) bool {
	if b.since.IsZero() || now.Sub(b.since) >= window {
		b.since, b.spent = now, 0
	}
	b.spent++
	return b.spent <= maxResends
}

// HandleRTCP takes the subscriber's feedback: NACK, PLI, FIR and report blocks
// that name the forwarder's SSRC; the rest is passed over. It writes repeats
// before it returns.
func (f *Forwarder) HandleRTCP(pkts []rtcp.Packet, now time.Time) {
	for _, p := range pkts {
		switch p := p.(type) {
		case *rtcp.TransportLayerNack:
			if p.MediaSSRC == f.ssrc {
				f.handleNack(p.Nacks, now)
			}
		case *rtcp.PictureLossIndication:
			if p.MediaSSRC == f.ssrc {
				f.handleKeyframeRequest(now)
			}
		case *rtcp.FullIntraRequest: // RFC 5104 section 4.3.1: the entries name the SSRC
			for _, e := range p.FIR {
				if e.SSRC == f.ssrc {
					f.handleKeyframeRequest(now)
				}
			}
		case *rtcp.ReceiverReport:
			f.handleReports(p.Reports, now)
		case *rtcp.SenderReport:
			f.handleReports(p.Reports, now)
		}
	}
}

// handleNack answers a generic NACK (RFC 4585 section 6.2.1), each pair a number
// and a bitmap of the 16 after it.
func (f *Forwarder) handleNack(pairs []rtcp.NackPair, now time.Time) {
	for _, pair := range pairs {
		f.resend(pair.PacketID, now)
		for i, mask := uint16(1), pair.LostPackets; mask != 0; i, mask = i+1, mask>>1 {
			if mask&1 != 0 {
				f.resend(pair.PacketID+i, now)
			}
		}
	}
}

// resend answers for one number.
func (f *Forwarder) resend(seq uint16, now time.Time) {
	f.mu.Lock()
	out := f.planResend(seq, now)
	f.mu.Unlock()
	if out != nil {
		f.send(out)
		f.mu.Unlock()
	}
}

// planResend looks the packet up and fills the header of its repeat; nil if
// there is none. Callers hold mu.
func (f *Forwarder) planResend(seq uint16, now time.Time) *parcel {
	f.stats.Nacked++
	if f.in == nil || f.refusal() != ReasonNone {
		f.stats.Unanswered++
		return nil
	}
	rtx := f.rtxSSRC != 0 && f.payload.RTX != 0
	number, e, ok := f.out.sent(seq)
	if !ok || !rtx && number < f.sameFrom {
		f.stats.Unanswered++
		return nil
	}
	window := f.reports.window()
	stamp := f.stamp(now)
	if e.sent != sentOnce && time.Duration(stamp-e.sent)*time.Millisecond < window ||
		!f.resends.take(now, window) {
		f.stats.Suppressed++
		return nil
	}
	out := f.parcel()
	p, ok := e.layer.Lookup(e.index, out.room()[osnSize:])
	if !ok {
		f.stats.Unanswered++
		f.give(out)
		return nil
	}
	e.sent = stamp
	out.writer, out.payload = f.writer, p.Payload
	sent, marker := part(&p, e.target)
	if sent {
		e.apply(f.pictures.format, out, &p)
	} else {
		out.payload = nil
	}
	out.header = f.resendHeader(seq, e.ts, marker)
	if rtx {
		f.wrap(out, seq, len(out.payload))
	}
	f.stats.RTXPackets++
	f.stats.RTXBytes += uint64(len(out.payload))
	return out
}

// resendHeader is the header that the packet went out with, to the bit: with
// AES-GCM other bytes under the same number would give the key away.
func (f *Forwarder) resendHeader(seq uint16, ts uint32, marker bool) rtp.Header {
	return rtp.Header{
		Version: 2, Marker: marker, PayloadType: f.payload.Type,
		SequenceNumber: seq, Timestamp: ts, SSRC: f.ssrc,
	}
}

// wrap makes the repeat an RTX packet (RFC 4588 section 4): a stream of its own,
// with the original number before the payload.
func (f *Forwarder) wrap(out *parcel, seq uint16, length int) {
	binary.BigEndian.PutUint16(out.buf[:], seq)
	out.payload = out.buf[:osnSize+length]
	out.header.PayloadType, out.header.SSRC = f.payload.RTX, f.rtxSSRC
	out.header.SequenceNumber = f.rtxSeq
	f.rtxSeq++
}

// stamp is a time in milliseconds for entry.sent, never one of its two marks.
func (f *Forwarder) stamp(now time.Time) uint32 {
	if f.reports.epoch.IsZero() {
		f.reports.epoch = now
	}
	return max(uint32(now.Sub(f.reports.epoch).Milliseconds())+sentOnce+1, sentOnce+1)
}

// handleKeyframeRequest passes a PLI or FIR on. A publisher that cannot be asked
// (a file), or that does not answer, may have its last key picture in the history:
// that is sent again, but not to who would show it to everybody anew.
func (f *Forwarder) handleKeyframeRequest(now time.Time) {
	f.mu.Lock()
	f.stats.KeyframeRequests++
	if f.in == nil || f.refusal() != ReasonNone {
		f.mu.Unlock()
		return
	}
	track := f.in.layer
	silent := !f.hub && (!track.Requestable() || track.Deaf(now))
	if silent && f.phase == live && f.video() && now.Sub(f.replayed) >= replayInterval {
		if _, ok := track.LastKeyframe(); ok {
			f.phase = waiting
		}
	}
	f.mu.Unlock()
	track.RequestKeyframe(now)
}

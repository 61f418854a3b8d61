package subscribe

import (
	"time"

	"github.com/pion/rtcp"
)

// reports keeps what sender and receiver reports tell. Guarded by Forwarder.mu.
type reports struct {
	epoch time.Time     // of entry.sent
	rtt   time.Duration // smoothed
	lost  float64       // fraction, 0 to 1
	sent  [8]sentReport // the last ones; a subscriber names one of them
	next  int
}

// sentReport is when a sender report went out. The NTP time in it is the
// publisher's, so a round trip cannot be read from the report alone.
type sentReport struct {
	middle uint32 // middle 32 bits of its NTP time
	at     time.Time
}

// window is the time in which a packet is repeated once.
func (r *reports) window() time.Duration {
	if r.rtt == 0 {
		return defaultRTT
	}
	return min(max(r.rtt, minRTT), maxRTT)
}

// Report makes the sender report and the source description that are due now
// (RFC 3550 sections 6.4.1 and 6.5), about once a second on any goroutine. The
// caller writes them. Nil while there is nothing to report.
func (f *Forwarder) Report(now time.Time) []rtcp.Packet {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refusal() != ReasonNone || f.in == nil || f.phase == waiting || f.times.rebase || f.stats.Packets == 0 {
		return nil
	}
	clock, ok := f.in.layer.Clock()
	if !ok {
		return nil
	}
	ntp, ts := clock.At(now)
	f.reports.sent[f.reports.next] = sentReport{middle: uint32(ntp >> 16), at: now}
	f.reports.next = (f.reports.next + 1) % len(f.reports.sent)
	return []rtcp.Packet{
		&rtcp.SenderReport{
			SSRC: f.ssrc, NTPTime: ntp, RTPTime: f.times.live(ts),
			PacketCount: uint32(f.stats.Packets), OctetCount: uint32(f.stats.Bytes),
		},
		&rtcp.SourceDescription{Chunks: []rtcp.SourceDescriptionChunk{{
			Source: f.ssrc,
			Items:  []rtcp.SourceDescriptionItem{{Type: rtcp.SDESCNAME, Text: f.cname}},
		}}},
	}
}

// handleReports takes the block about this stream.
func (f *Forwarder) handleReports(blocks []rtcp.ReceptionReport, now time.Time) {
	for i := range blocks {
		if blocks[i].SSRC == f.ssrc {
			f.mu.Lock()
			f.reports.receive(&blocks[i], now)
			f.mu.Unlock()
		}
	}
}

// receive measures the round trip: RFC 3550 section 6.4.1, LSR and DLSR, the
// latter in 1/65536 s.
func (r *reports) receive(b *rtcp.ReceptionReport, now time.Time) {
	r.lost = float64(b.FractionLost) / 256
	if b.LastSenderReport == 0 {
		return
	}
	for _, s := range r.sent {
		if s.middle != b.LastSenderReport || s.at.IsZero() {
			continue
		}
		delay := time.Duration(b.Delay) * time.Second / 65536
		rtt := now.Sub(s.at) - delay
		if rtt < 0 || rtt > 10*time.Second {
			return // a subscriber's clock that does not run at ours
		}
		rtt = max(rtt, time.Millisecond)
		if r.rtt == 0 {
			r.rtt = rtt
		}
		r.rtt += (rtt - r.rtt) / 4
		return
	}
}

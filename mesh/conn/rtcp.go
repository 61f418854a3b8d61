package conn

import (
	"time"

	"github.com/pion/rtcp"
)

// rtcp takes one RTCP packet of a compound. pion gives it to the buffer of each
// SSRC that it speaks of; it is taken where that is the first one.
func (in *ingest) rtcp(ssrc uint32, packet []byte, now time.Time) {
	packets, err := rtcp.Unmarshal(packet)
	if err != nil {
		in.drop(DropMalformed)
		return
	}
	for _, p := range packets {
		about := p.DestinationSSRC()
		if len(about) == 0 || about[0] != ssrc {
			continue
		}
		in.stats.rtcpIn.Add(1)
		switch p := p.(type) {
		case *rtcp.SenderReport:
			in.fb.senderReport(packet)
			in.senderReport(p, now)
			in.blocks(p.SSRC, p.Reports, now)
		case *rtcp.ReceiverReport:
			in.blocks(p.SSRC, p.Reports, now)
		default:
			in.route(p, about, now)
		}
	}
}

// senderReport hands the clock of a stream to the track's sink.
func (in *ingest) senderReport(p *rtcp.SenderReport, now time.Time) {
	in.mu.Lock()
	s := in.streams[p.SSRC]
	in.mu.Unlock()
	if s == nil || s.rtx {
		return
	}
	if sink := s.receiver.sink.Load(); sink != nil {
		(*sink).ReceiveReport(p.SSRC, p.NTPTime, p.RTPTime, now)
	}
}

// blocks gives each report block to the sender that it is about, as a receiver
// report of its own.
func (in *ingest) blocks(reporter uint32, blocks []rtcp.ReceptionReport, now time.Time) {
	for _, b := range blocks {
		s := in.senderOf(b.SSRC)
		if s == nil {
			in.drop(DropFeedback)
			continue
		}
		if b.SSRC == s.ssrc {
			s.known.Store(true)
		} else {
			s.knownRTX.Store(true)
		}
		s.receive(&rtcp.ReceiverReport{SSRC: reporter, Reports: []rtcp.ReceptionReport{b}}, now)
	}
}

// route gives feedback to the senders of the SSRCs that it is about, to each
// once.
func (in *ingest) route(p rtcp.Packet, about []uint32, now time.Time) {
	switch p.(type) {
	case *rtcp.TransportLayerNack, *rtcp.PictureLossIndication, *rtcp.FullIntraRequest,
		*rtcp.ReceiverEstimatedMaximumBitrate, *rtcp.TransportLayerCC, *rtcp.CCFeedbackReport:
	default:
		return // SDES, BYE, XR and what pion does not know
	}
	var last *Sender
	for _, ssrc := range about {
		s := in.senderOf(ssrc)
		if s == nil {
			in.drop(DropFeedback)
			continue
		}
		if s != last {
			s.receive(p, now)
		}
		last = s
	}
}

func (in *ingest) senderOf(ssrc uint32) *Sender {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.senders[ssrc]
}

// receive hands feedback up.
func (s *Sender) receive(p rtcp.Packet, now time.Time) {
	if f := s.feedback.Load(); f != nil {
		(*f)([]rtcp.Packet{p}, now)
	}
}

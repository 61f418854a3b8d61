package conn

import (
	"fmt"
	"slices"
	"sync"

	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/report"
	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/mesh/sdp"
)

// feedback makes the RTCP that goes back to the other side for what it sends:
// receiver reports and transport-wide feedback, by pion's interceptors bound to
// our own readers, and NACKs. Without transport-wide feedback Chromium stays
// near 100 kbit/s. The interceptors' goroutines (two) start with the first stream.
type feedback struct {
	write func([]rtcp.Packet) error
	nacks *nacks // nil asks for nothing

	mu      sync.Mutex
	closed  bool
	started bool
	report  interceptor.Interceptor
	twcc    interceptor.Interceptor
	reports interceptor.RTCPReader // tells the report interceptor of sender reports
}

func newFeedback(c *Conn, t *transport) *feedback {
	f := &feedback{write: t.writeRTCP}
	if !c.api.cfg.NoNACK {
		f.nacks = newNACKs(t.writeRTCP, t.roundTrip, c.guard)
	}
	return f
}

// reader is one SSRC's way through the interceptors. They find the packet's
// header in attrs, where it stays: nothing is parsed or allocated twice.
type reader struct {
	next  interceptor.RTPReader
	attrs interceptor.Attributes
	h     *rtp.Header // the one in attrs
}

// emptyPacket is an RTP packet without anything.
var emptyPacket = []byte{0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

func newReader(next interceptor.RTPReader) (reader, error) {
	attrs := interceptor.Attributes{}
	h, err := attrs.GetRTPHeader(emptyPacket)
	return reader{next, attrs, h}, err
}

// packetReader ends a chain: the packet is in the buffer already.
func packetReader(b []byte, a interceptor.Attributes) (int, interceptor.Attributes, error) {
	return len(b), a, nil
}

// read shows a packet, whose header r.h holds, to the interceptors.
func (r *reader) read(packet []byte) error {
	if r.next == nil {
		return nil
	}
	_, _, err := r.next.Read(packet, r.attrs)
	return err
}

// start makes the interceptors. Called with mu held.
func (f *feedback) start() error {
	reportFactory, err := report.NewReceiverInterceptor()
	if err != nil {
		return err
	}
	twccFactory, err := twcc.NewSenderInterceptor()
	if err != nil {
		return err
	}
	if f.report, err = reportFactory.NewInterceptor(""); err != nil {
		return err
	}
	if f.twcc, err = twccFactory.NewInterceptor(""); err != nil {
		return err
	}
	out := interceptor.RTCPWriterFunc(func(p []rtcp.Packet, _ interceptor.Attributes) (int, error) {
		for _, r := range p {
			if r, ok := r.(*rtcp.ReceiverReport); ok {
				r.SSRC = receiverSSRC // pion draws one for each stream: SRTP keeps state for each
			}
		}
		_ = f.write(p) // fails only while the connection goes up or down
		return 0, nil
	})
	// Each starts a goroutine, which Close of the interceptor joins.
	for _, i := range f.all() {
		i.BindRTCPWriter(out)
	}
	f.reports = f.report.BindRTCPReader(interceptor.RTCPReaderFunc(
		func(b []byte, a interceptor.Attributes) (int, interceptor.Attributes, error) { return len(b), a, nil }))
	f.started = true
	return nil
}

func (f *feedback) all() []interceptor.Interceptor {
	return []interceptor.Interceptor{f.report, f.twcc}
}

// bind makes the reader of a stream, and what asks for its lost packets: nil if
// it was not negotiated, is turned off, or the stream is of retransmissions.
func (f *feedback) bind(info *interceptor.StreamInfo, kind codec.Kind, rtx bool) (r reader, lost *nackStream, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return reader{}, nil, ErrClosed
	}
	if !f.started {
		if err := f.start(); err != nil {
			return reader{}, nil, fmt.Errorf("conn: interceptors: %w", err)
		}
	}
	var last interceptor.RTPReader = interceptor.RTPReaderFunc(packetReader)
	if !rtx { // a retransmission counts for the bandwidth estimate and for nothing else
		last = f.report.BindRemoteStream(info, last)
	}
	if r, err = newReader(f.twcc.BindRemoteStream(info, last)); err != nil {
		return reader{}, nil, err
	}
	if f.nacks != nil && !rtx && slices.ContainsFunc(info.RTCPFeedback, genericNACK) {
		lost = f.nacks.open(info.SSRC, kind)
	}
	return r, lost, nil
}

// genericNACK is a=rtcp-fb nack without a parameter (RFC 4585 section 4.2).
func genericNACK(fb interceptor.RTCPFeedback) bool { return fb.Type == "nack" && fb.Parameter == "" }

// unbind forgets a stream.
func (f *feedback) unbind(info *interceptor.StreamInfo) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.started || f.closed {
		return
	}
	for _, i := range f.all() {
		i.UnbindRemoteStream(info)
	}
	if f.nacks != nil {
		f.nacks.drop(info.SSRC)
	}
}

// senderReport shows an RTCP packet with a sender report to the interceptors:
// receiver reports answer it (LSR and DLSR, RFC 3550 section 6.4.1).
func (f *feedback) senderReport(packet []byte) {
	f.mu.Lock()
	reports, ok := f.reports, f.started && !f.closed
	f.mu.Unlock()
	if ok {
		_, _, _ = reports.Read(packet, interceptor.Attributes{})
	}
}

// close stops the interceptors and joins their goroutines.
func (f *feedback) close() {
	f.mu.Lock()
	started := f.started && !f.closed
	f.closed = true
	f.mu.Unlock()
	if f.nacks != nil {
		f.nacks.close()
	}
	if !started {
		return
	}
	for _, i := range f.all() {
		_ = i.Close()
	}
}

// streamInfo describes a stream to the interceptors.
func streamInfo(ssrc uint32, pt uint8, clock uint32, t *receiveTerms, index uint8) *interceptor.StreamInfo {
	info := &interceptor.StreamInfo{SSRC: ssrc, PayloadType: pt, ClockRate: clock}
	if t.feedback(index, "nack") {
		info.RTCPFeedback = append(info.RTCPFeedback, interceptor.RTCPFeedback{Type: "nack"})
	}
	if id := t.extensions[sdp.ExtTransportCC]; id > 0 {
		info.RTCPFeedback = append(info.RTCPFeedback, interceptor.RTCPFeedback{Type: "transport-cc"})
		info.RTPHeaderExtensions = append(info.RTPHeaderExtensions,
			interceptor.RTPHeaderExtension{URI: sdp.ExtTransportCC, ID: id})
	}
	return info
}

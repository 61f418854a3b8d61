package conn

import (
	"fmt"
	"sync"

	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/interceptor/pkg/report"
	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/weft-rtc/weft/mesh/sdp"
)

// maxNACKs is how often one lost packet is asked for, every 100 ms: after 2 s
// nobody waits for it any more.
const maxNACKs = 20

// feedback makes the RTCP that goes back to the other side for what it sends:
// NACKs, receiver reports and transport-wide feedback, by pion's interceptors
// bound to our own readers. Without the last one Chromium stays near 100 kbit/s.
// Its goroutines (three) start with the first stream.
type feedback struct {
	write func([]rtcp.Packet) error
	nacks bool

	mu      sync.Mutex
	closed  bool
	started bool
	nack    interceptor.Interceptor
	report  interceptor.Interceptor
	twcc    interceptor.Interceptor
	reports interceptor.RTCPReader // tells the report interceptor of sender reports
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
	nackFactory, err := nack.NewGeneratorInterceptor(nack.GeneratorMaxNacksPerPacket(maxNACKs))
	if err != nil {
		return err
	}
	reportFactory, err := report.NewReceiverInterceptor()
	if err != nil {
		return err
	}
	twccFactory, err := twcc.NewSenderInterceptor()
	if err != nil {
		return err
	}
	if f.nack, err = nackFactory.NewInterceptor(""); err != nil {
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
	return []interceptor.Interceptor{f.nack, f.report, f.twcc}
}

// bind makes the readers of a stream: all of it for packets as they come, and
// repaired for those that came as retransmissions, which only end NACKs.
func (f *feedback) bind(info *interceptor.StreamInfo, rtx bool) (all, repaired reader, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return reader{}, reader{}, ErrClosed
	}
	if !f.started {
		if err := f.start(); err != nil {
			return reader{}, reader{}, fmt.Errorf("conn: interceptors: %w", err)
		}
	}
	var last interceptor.RTPReader = interceptor.RTPReaderFunc(packetReader)
	if rtx { // counts for the bandwidth estimate and for nothing else
		all, err = newReader(f.twcc.BindRemoteStream(info, last))
		return all, reader{}, err
	}
	if f.nacks {
		last = f.nack.BindRemoteStream(info, last)
	}
	if repaired, err = newReader(last); err != nil {
		return all, repaired, err
	}
	all, err = newReader(f.twcc.BindRemoteStream(info, f.report.BindRemoteStream(info, last)))
	return all, repaired, err
}

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

package conn

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/transport/v4/packetio"
	"github.com/pion/webrtc/v4"

	"github.com/weft-rtc/weft/mesh/signal"
)

// transport is one generation of a connection: a PeerConnection and what hangs
// on it. A connection has one, or two if its very first offer collided.
type transport struct {
	conn   *Conn
	pc     *webrtc.PeerConnection
	dtls   *webrtc.DTLSTransport
	sender *webrtc.RTPSender
	// settings are pion's own; changed only under Conn.pion, see restart.go.
	settings *webrtc.SettingEngine
	control  *webrtc.DataChannel
	channels *channels
	out      rawWriter // SRTP for any SSRC
	in       *ingest

	ufrag      atomic.Value  // string: our ICE user name fragment, set before gathering
	dtlsState  atomic.Int32  // webrtc.DTLSTransportState
	open       atomic.Bool   // the control channel
	wasOpen    atomic.Bool   // it was once
	opened     sync.Once     // ControlOpen was posted
	pathless   atomic.Bool   // ICE restarts and is not connected again
	sctpClosed chan struct{} // closed when the association has ended
	stopped    atomic.Bool   // being closed: nothing is reported any more

	hostMu sync.Mutex
	hosts  []string      // candidates that an ICE restart does not change
	all    []string      // with Options.Complete: those of this gathering
	whole  chan struct{} // closed when there will be no others

	end sync.Once
}

// rawWriter is what is used of a webrtc.TrackLocalWriter.
type rawWriter interface {
	WriteRTP(header *rtp.Header, payload []byte) (int, error)
}

// newTransport makes a PeerConnection with the control channel on it. Nothing
// is sent before the first description is set.
func newTransport(c *Conn, answerer webrtc.DTLSRole) (*transport, error) {
	settings, err := c.api.settings(answerer)
	if err != nil {
		return nil, err
	}
	config, err := c.api.configuration()
	if err != nil {
		return nil, err
	}
	t := &transport{conn: c, sctpClosed: make(chan struct{}), whole: make(chan struct{})}
	t.in = newIngest(c, t)
	t.channels = newChannels(t)
	settings.LoggerFactory = adoptingLogs{pionLogs{c.log}, t.adopt}
	settings.BufferFactory = func(kind packetio.BufferPacketType, ssrc uint32) io.ReadWriteCloser {
		return t.in.buffer(kind == packetio.RTPBufferPacket, ssrc)
	}
	api := newPionAPI(settings)
	if t.settings, err = pionSettings(api); err != nil {
		return nil, err
	}
	t.pc, err = api.NewPeerConnection(config)
	if err != nil {
		return nil, fmt.Errorf("conn: PeerConnection: %w", err)
	}
	if err := t.setUp(); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func (t *transport) setUp() error {
	t.dtls = t.pc.SCTP().Transport()
	t.dtls.OnStateChange(func(s webrtc.DTLSTransportState) {
		defer t.conn.guard("DTLS state")
		t.dtlsState.Store(int32(s)) // pion holds a lock of its own here
		if s == webrtc.DTLSTransportStateConnecting {
			if err := t.hearClose(); err != nil {
				t.conn.fail(err)
			}
		}
		t.changed()
	})
	t.pc.OnICEConnectionStateChange(func(webrtc.ICEConnectionState) {
		defer t.conn.guard("ICE state")
		t.changed()
	})
	t.pc.OnICECandidate(func(candidate *webrtc.ICECandidate) {
		defer t.conn.guard("ICE candidate")
		t.gathered(candidate)
	})
	if err := t.openControl(); err != nil {
		return err
	}
	return t.openWriter()
}

// openWriter makes the RTPSender whose track is only after the SRTP writer.
// Its SSRC is never sent on.
func (t *transport) openWriter() error {
	track := &writerTrack{}
	sender, err := t.conn.api.sends.NewRTPSender(track, t.dtls)
	if err != nil {
		return fmt.Errorf("conn: RTPSender: %w", err)
	}
	t.sender = sender
	coding := webrtc.RTPCodingParameters{SSRC: webrtc.SSRC(rand.Uint32() | 1)}
	err = sender.Send(webrtc.RTPSendParameters{Encodings: []webrtc.RTPEncodingParameters{{RTPCodingParameters: coding}}})
	if err != nil {
		return fmt.Errorf("conn: RTPSender: %w", err)
	}
	t.out = track.writer
	return nil
}

// writerTrack is a TrackLocal that keeps the writer of its Bind.
type writerTrack struct{ writer webrtc.TrackLocalWriter }

func (w *writerTrack) Bind(c webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	w.writer = c.WriteStream()
	return webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000},
		PayloadType:        96,
	}, nil
}
func (w *writerTrack) Unbind(webrtc.TrackLocalContext) error { return nil }
func (w *writerTrack) ID() string                            { return "weft" }
func (w *writerTrack) RID() string                           { return "" }
func (w *writerTrack) StreamID() string                      { return "weft" }
func (w *writerTrack) Kind() webrtc.RTPCodecType             { return webrtc.RTPCodecTypeVideo }

// offer makes pion offer.
func (t *transport) offer() (string, error) {
	o, err := t.pc.CreateOffer(&webrtc.OfferOptions{
		OfferAnswerOptions: webrtc.OfferAnswerOptions{ICETricklingSupported: true},
	})
	if err != nil {
		return "", err
	}
	t.ufrag.Store(attribute(o.SDP, "a=ice-ufrag:"))
	return o.SDP, t.pc.SetLocalDescription(o)
}

// answer makes pion answer an offer.
func (t *transport) answer(offer string) (string, error) {
	err := t.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer})
	if err != nil {
		return "", err
	}
	a, err := t.pc.CreateAnswer(&webrtc.AnswerOptions{
		OfferAnswerOptions: webrtc.OfferAnswerOptions{ICETricklingSupported: true},
	})
	if err != nil {
		return "", err
	}
	t.ufrag.Store(attribute(a.SDP, "a=ice-ufrag:"))
	return a.SDP, t.pc.SetLocalDescription(a)
}

// answered gives pion the answer to its offer.
func (t *transport) answered(answer string) error {
	return t.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer})
}

func (t *transport) addCandidate(c signal.Candidate) error {
	if err := t.pc.AddICECandidate(pionCandidate(c)); err != nil {
		return fmt.Errorf("conn: candidate %q: %w", c.Candidate, err)
	}
	return nil
}

// gathered hands a local candidate out, with the user name fragment that pion
// leaves empty: Peerix never uses one without (WIRE 7).
func (t *transport) gathered(candidate *webrtc.ICECandidate) {
	if t.conn.complete {
		t.collect(candidate)
	}
	if candidate == nil || t.stopped.Load() {
		return
	}
	// Asking pion would race: GetLocalParameters with the start of its ICE
	// transport, LocalDescription with SetLocalDescription.
	ufrag, _ := t.ufrag.Load().(string)
	init := candidate.ToJSON()
	out := signal.Candidate{
		Candidate:        init.Candidate,
		SDPMid:           init.SDPMid,
		SDPMLineIndex:    init.SDPMLineIndex,
		UsernameFragment: &ufrag,
	}
	if t.conn.api.mux != nil && candidate.Typ == webrtc.ICECandidateTypeHost && !t.keep(out.Candidate) {
		return // told with the new credentials already
	}
	t.conn.post(0, func(h Handler) { h.ConnCandidate(out) })
}

// keep remembers a host candidate of a shared socket: it outlives an ICE
// restart, and is told with the new credentials at once. It reports whether the
// candidate is news.
func (t *transport) keep(candidate string) bool {
	t.hostMu.Lock()
	defer t.hostMu.Unlock()
	if slices.Contains(t.hosts, candidate) {
		return false
	}
	if len(t.hosts) < maxHeld {
		t.hosts = append(t.hosts, candidate)
	}
	return true
}

// lasting returns the candidates that an ICE restart does not change.
func (t *transport) lasting() []string {
	t.hostMu.Lock()
	defer t.hostMu.Unlock()
	return slices.Clone(t.hosts)
}

// changed works out the state from ICE and DTLS.
func (t *transport) changed() {
	if t.stopped.Load() || t.conn.failed.Load() {
		return
	}
	switch dtls := webrtc.DTLSTransportState(t.dtlsState.Load()); dtls {
	case webrtc.DTLSTransportStateFailed:
		t.conn.fail(ErrHandshake)
	case webrtc.DTLSTransportStateClosed: // the other side's close_notify
		t.conn.report(StateClosed)
	default:
		state := stateOf(t.pc.ICEConnectionState(), dtls == webrtc.DTLSTransportStateConnected)
		if state == StateConnected {
			t.pathless.Store(false)
		}
		t.conn.report(state)
	}
}

func (t *transport) connected() bool {
	return webrtc.DTLSTransportState(t.dtlsState.Load()) == webrtc.DTLSTransportStateConnected
}

// writeRTP sends a packet, or drops it with ErrNotConnected.
func (t *transport) writeRTP(h *rtp.Header, payload []byte) error {
	if t.stopped.Load() {
		return ErrClosed
	}
	if !t.connected() {
		return ErrNotConnected
	}
	n, err := t.out.WriteRTP(h, payload)
	if err == nil && n == 0 { // pion's way to say that SRTP is not there yet
		return ErrNotConnected
	}
	return err
}

// writeRTCP sends a compound packet, or drops it with ErrNotConnected.
func (t *transport) writeRTCP(packets []rtcp.Packet) error {
	if t.stopped.Load() {
		return ErrClosed
	}
	if !t.connected() {
		return ErrNotConnected
	}
	_, err := t.dtls.WriteRTCP(packets)
	return err
}

// close ends this generation and joins its goroutines. The interceptors go
// first: they write RTCP from goroutines of their own.
func (t *transport) close() {
	t.end.Do(func() {
		t.stopped.Store(true)
		t.channels.end()
		t.in.close()
		if t.sender != nil {
			_ = t.sender.Stop()
		}
		t.channels.abort()
		if err := t.pc.GracefulClose(); err != nil {
			// It is closed all the same: pion complains of a channel or a socket
			// that the other side's end took first.
			t.conn.log.Debug("close PeerConnection", "error", err)
		}
		t.channels.wait()
	})
}

// remoteAddr returns the address that packets go to now, "" for none.
func (t *transport) remoteAddr() (addr, kind string) {
	pair, err := t.dtls.ICETransport().GetSelectedCandidatePair()
	if err != nil || pair == nil || pair.Remote == nil {
		return "", ""
	}
	return net.JoinHostPort(pair.Remote.Address, strconv.Itoa(int(pair.Remote.Port))), pair.Remote.Typ.String()
}

// roundTrip returns the last round trip time of ICE's own checks on the path in
// use, 0 if there is none. It may wait for pion's ICE agent.
func (t *transport) roundTrip() time.Duration {
	stats, ok := t.dtls.ICETransport().GetSelectedCandidatePairStats()
	if !ok || stats.CurrentRoundTripTime <= 0 {
		return 0
	}
	return time.Duration(stats.CurrentRoundTripTime * float64(time.Second))
}

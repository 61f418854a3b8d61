package conn

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/mesh/sdp"
	"github.com/weft-rtc/weft/mesh/signal"
)

// whipSide is our side of a connection over HTTP.
type whipSide struct {
	states chan State
	sends  chan *Sender
	got    chan string // codec of the first packet of each track
}

func newWHIPSide() *whipSide {
	return &whipSide{make(chan State, 100), make(chan *Sender, 10), make(chan string, 10)}
}

func (w *whipSide) ConnState(s State)              { w.states <- s }
func (w *whipSide) ConnCandidate(signal.Candidate) { /* in the description */ }
func (w *whipSide) ControlOpen()                   { /* there is none */ }
func (w *whipSide) ControlMessage([]byte)          { /* there is none */ }
func (w *whipSide) ControlClosed()                 { /* there is none */ }
func (w *whipSide) ChannelOpened(d *DataChannel)   { /* there is none */ }
func (w *whipSide) TrackOpened(r *Receiver)        { r.SetSink(&firstPacket{w: w}) }
func (w *whipSide) TrackClosed(*Receiver)          { /* not here */ }
func (w *whipSide) SendReady(s *Sender)            { w.sends <- s }
func (w *whipSide) SendClosed(*Sender)             { /* not here */ }

type firstPacket struct {
	w    *whipSide
	seen atomic.Bool
}

func (f *firstPacket) ReceiveRTP(p *Incoming) {
	if !f.seen.Swap(true) {
		f.w.got <- p.Codec.Name
	}
}
func (f *firstPacket) ReceiveReport(uint32, uint64, uint32, time.Time) { /* not here */ }

// until waits for a state.
func (w *whipSide) until(t *testing.T, want State) {
	t.Helper()
	for {
		select {
		case s := <-w.states:
			if s == want {
				return
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("no state %v", want)
		}
	}
}

// client is a pion of its own as the other side.
func client(t *testing.T, role webrtc.DTLSRole) *webrtc.PeerConnection {
	t.Helper()
	var s webrtc.SettingEngine
	s.SetIncludeLoopbackCandidate(true)
	s.SetIPFilter(func(ip net.IP) bool { return ip.IsLoopback() })
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	if role != 0 {
		if err := s.SetAnsweringDTLSRole(role); err != nil {
			t.Fatal(err)
		}
	}
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(s)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.GracefulClose() })
	return pc
}

// whipPair is a connection of ours with Complete, and what hears of it.
func whipPair(t *testing.T, cfg Config, o Options) (*Conn, *whipSide) {
	t.Helper()
	cfg.Loopback = true
	api, err := NewAPI(cfg)
	if err != nil {
		t.Fatal(err)
	}
	side := newWHIPSide()
	o.Polite, o.Handler, o.Complete = true, side, true
	c, err := api.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = api.Close() })
	return c, side
}

// offerOf makes a client offer what it was given, with candidates or without.
func offerOf(t *testing.T, pc *webrtc.PeerConnection, o *webrtc.OfferOptions) string {
	t.Helper()
	offer, err := pc.CreateOffer(o)
	if err != nil {
		t.Fatal(err)
	}
	all := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(offer); err != nil {
		t.Fatal(err)
	}
	<-all
	return pc.LocalDescription().SDP
}

func answered(t *testing.T, pc *webrtc.PeerConnection, sdp string) {
	t.Helper()
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: sdp}); err != nil {
		t.Fatal(err)
	}
}

// publishing gives a client a VP8 track that sends until the test ends.
func publishing(t *testing.T, pc *webrtc.PeerConnection) {
	t.Helper()
	track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}, "v", "s")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly}); err != nil {
		t.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for n := uint16(0); ; n++ {
			select {
			case <-stop:
				return
			case <-tick.C:
				_ = track.WriteRTP(&rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: n, Timestamp: uint32(n) * 900}, Payload: []byte{0x10, 0}})
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-done })
}

// TestCompletePublisher: an offer whole or trickled, a client that is the DTLS
// server, and ICE restarts, by sockets of their own and by a shared one.
func TestCompletePublisher(t *testing.T) {
	for _, shared := range []bool{false, true} {
		for _, how := range []string{"whole", "trickled", "passive"} {
			name := how + " on sockets of its own"
			cfg := Config{}
			if shared {
				name, cfg.Listen = how+" on a shared socket", []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}
			}
			t.Run(name, func(t *testing.T) { completePublisher(t, cfg, how) })
		}
	}
}

func completePublisher(t *testing.T, cfg Config, how string) {
	c, side := whipPair(t, cfg, Options{})
	pc := client(t, 0)
	publishing(t, pc)
	offer := offerOf(t, pc, nil)
	frag, err := sdp.ReadFragment(fragmentOf(offer))
	if err != nil {
		t.Fatal(err)
	}
	switch how {
	case "trickled":
		offer = without(offer, "a=candidate:", "a=end-of-candidates")
	case "passive":
		offer = strings.ReplaceAll(offer, "a=setup:actpass", "a=setup:passive")
	}
	ctx := context.Background()
	answer, ignored, err := c.HandleOffer(ctx, offer)
	if err != nil || ignored {
		t.Fatal(err, ignored)
	}
	if !strings.Contains(answer, "a=candidate:") || !strings.Contains(answer, "a=end-of-candidates\r\n") {
		t.Fatalf("answer is not complete:\n%s", answer)
	}
	answered(t, pc, answer)
	if how == "trickled" {
		if _, err := c.HandleFragment(ctx, frag); err != nil {
			t.Fatal(err)
		}
	}
	side.until(t, StateConnected)
	if got := <-side.got; got != codec.VP8 {
		t.Errorf("got %s", got)
	}
	if how == "passive" {
		return
	}
	for range 2 {
		restartClient(t, c, pc)
		side.until(t, StateConnected)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

// restartClient restarts ICE on the client's behalf.
func restartClient(t *testing.T, c *Conn, pc *webrtc.PeerConnection) {
	t.Helper()
	was := c.local.Ufrag
	offer := offerOf(t, pc, &webrtc.OfferOptions{ICERestart: true})
	frag, err := sdp.ReadFragment(fragmentOf(offer))
	if err != nil {
		t.Fatal(err)
	}
	ours, err := c.HandleFragment(context.Background(), frag)
	if err != nil {
		t.Fatal(err)
	}
	if ours.Ufrag == "" || ours.Ufrag == was || len(ours.Candidates) == 0 {
		t.Fatalf("restart answered with %+v", ours)
	}
	if again, err := sdp.ReadFragment(ours.String()); err != nil || again.Ufrag != ours.Ufrag || len(again.Candidates) != len(ours.Candidates) {
		t.Fatalf("%v %+v", err, again)
	}
	answered(t, pc, sdp.Restarted(pc.CurrentRemoteDescription().SDP, ours))
}

// fragmentOf makes a fragment of a description.
func fragmentOf(description string) string {
	var b strings.Builder
	for line := range strings.Lines(description) {
		for _, keep := range []string{"m=", "a=mid:", "a=ice-ufrag:", "a=ice-pwd:", "a=candidate:", "a=end-of-candidates"} {
			if strings.HasPrefix(line, keep) {
				b.WriteString(line)
			}
		}
	}
	return b.String()
}

func without(description string, prefixes ...string) string {
	var b strings.Builder
lines:
	for line := range strings.Lines(description) {
		for _, p := range prefixes {
			if strings.HasPrefix(line, p) {
				continue lines
			}
		}
		b.WriteString(line)
	}
	return b.String()
}

// TestCounter: our offer in the place of an answer, for a player of either DTLS role.
func TestCounter(t *testing.T) {
	for _, role := range []webrtc.DTLSRole{webrtc.DTLSRoleClient, webrtc.DTLSRoleServer} {
		t.Run(role.String(), func(t *testing.T) {
			c, side := whipPair(t, Config{}, Options{SendOnly: true})
			c.SetSends([]sdp.Send{{ID: "v", Kind: codec.Video, SSRC: 70001, RTXSSRC: 70002}})
			offer, err := c.Counter(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			pc := client(t, role)
			got := make(chan struct{}, 1)
			pc.OnTrack(func(tr *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { got <- struct{}{} })
			if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
				t.Fatal(err)
			}
			answer, err := pc.CreateAnswer(nil)
			if err != nil {
				t.Fatal(err)
			}
			all := webrtc.GatheringCompletePromise(pc)
			if err := pc.SetLocalDescription(answer); err != nil {
				t.Fatal(err)
			}
			<-all
			if err := c.HandleAnswer(context.Background(), "v=0\r\nnonsense"); err == nil {
				t.Error("nonsense is an answer")
			}
			if err := c.HandleAnswer(context.Background(), pc.LocalDescription().SDP); err != nil {
				t.Fatal(err)
			}
			side.until(t, StateConnected)
			s := <-side.sends
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			for n := uint16(0); ; n++ {
				select {
				case <-got:
					return
				case <-tick.C:
				}
				h := rtp.Header{Version: 2, PayloadType: s.Payloads()[0].Type, SSRC: s.SSRC(), SequenceNumber: n, Timestamp: uint32(n) * 900}
				if err := s.WriteRTP(&h, []byte{0x10, 0}, nil); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestCandidateOrder(t *testing.T) {
	host := func(addr string) string { return "candidate:1 1 udp 1 " + addr + " 7882 typ host" }
	all := []string{
		host("127.0.0.1"), "candidate:1 1 tcp 1 10.0.0.1 1 typ host tcptype passive", "candidate:2 1 udp 1 1.2.3.4 9 typ srflx raddr 0.0.0.0 rport 0",
		host("fe80::1"), host("2001:db8::1"), host("10.0.0.1"), host("10.0.0.2"),
	}
	sortCandidates(all, netip.MustParseAddr("::ffff:10.0.0.2"))
	var got []string
	for _, c := range all {
		got = append(got, strings.Fields(c)[4])
	}
	if s := strings.Join(got, " "); s != "10.0.0.2 10.0.0.1 2001:db8::1 fe80::1 127.0.0.1 1.2.3.4 10.0.0.1" {
		t.Error(s)
	}
}

package conn

import (
	"errors"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"go.uber.org/goleak"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/mesh/sdp"
	"github.com/weft-rtc/weft/mesh/signal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func sinkHeader(ssrc uint32, seq uint16) rtp.Header {
	return rtp.Header{Version: 2, SSRC: ssrc, SequenceNumber: seq, PayloadType: 96}
}

// rig is a connection that never connects, fed through its buffers.
type rig struct {
	p  *peer
	in *ingest
	fb [][]rtcp.Packet
}

func newRig(t *testing.T) *rig {
	t.Helper()
	p := newPeer(t, "rig", true, Config{Loopback: true})
	t.Cleanup(func() { p.close(); p.stop() })
	return &rig{p: p, in: p.conn.transport.Load().in}
}

func (r *rig) open(n sdp.Receive) (*Receiver, *sink) {
	rec := newReceiver(r.p.conn, n)
	r.in.openReceiver(rec)
	s := &sink{}
	rec.SetSink(s)
	return rec, s
}

type sink struct {
	got     []Incoming
	reports int
	panics  bool
}

func (s *sink) ReceiveRTP(p *Incoming) {
	if s.panics {
		panic("sink")
	}
	c := *p
	c.Payload = append([]byte(nil), p.Payload...)
	s.got = append(s.got, c)
}
func (s *sink) ReceiveReport(uint32, uint64, uint32, time.Time) { s.reports++ }

func (r *rig) rtp(t *testing.T, h rtp.Header, payload string, exts map[uint8]string) {
	t.Helper()
	for id, v := range exts {
		if err := h.SetExtension(id, []byte(v)); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := (&rtp.Packet{Header: h, Payload: []byte(payload)}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	r.raw(h.SSRC, raw)
}

func (r *rig) raw(ssrc uint32, raw []byte) {
	r.in.mu.Lock()
	b := r.in.taps[ssrc]
	r.in.mu.Unlock()
	if b == nil {
		b = r.in.buffer(true, ssrc).(*tap)
	}
	_, _ = b.Write(raw)
}

var video = sdp.Receive{
	Mid: "1", Kind: codec.Video, SSRC: 11, RTXSSRC: 12,
	Payloads: []sdp.Payload{
		{Codec: codec.Codec{Name: codec.VP8, ClockRate: 90000}, Type: 96, RTX: 97, Feedback: []string{"nack", "transport-cc"}},
	},
	Extensions: map[string]int{sdp.ExtMID: 4, sdp.ExtRID: 5, sdp.ExtRepairedRID: 6, sdp.ExtTransportCC: 3},
}

func TestDemultiplex(t *testing.T) {
	simulcast := video
	simulcast.SSRC, simulcast.RTXSSRC, simulcast.RIDs = 0, 0, []string{"q", "f"}
	undeclared := video
	undeclared.SSRC, undeclared.RTXSSRC = 0, 0
	second := undeclared
	second.Mid = "2"
	type packet struct {
		ssrc    uint32
		pt      uint8
		payload string
		exts    map[uint8]string
	}
	cases := []struct {
		name    string
		open    []sdp.Receive
		packets []packet
		want    []string // rid:seq:payload at the first track
		drops   map[DropReason]uint64
	}{
		{"declared", []sdp.Receive{video}, []packet{{11, 96, "m", nil}}, []string{":0:m"}, nil},
		{"by mid", []sdp.Receive{undeclared, second}, []packet{{50, 96, "m", map[uint8]string{4: "1"}}, {50, 96, "n", nil}}, []string{":0:m", ":1:n"}, nil},
		{"by payload type", []sdp.Receive{undeclared}, []packet{{50, 96, "m", nil}}, []string{":0:m"}, nil},
		{"ambiguous", []sdp.Receive{undeclared, second}, []packet{{50, 96, "m", nil}}, nil, map[DropReason]uint64{DropUnknownSSRC: 1}},
		{"no track yet", nil, []packet{{50, 96, "m", nil}}, nil, map[DropReason]uint64{DropUnknownSSRC: 1}},
		{"unknown payload type", []sdp.Receive{video}, []packet{{11, 96, "m", nil}, {11, 13, "cn", nil}}, []string{":0:m"}, map[DropReason]uint64{DropPayloadType: 1}},
		{"rtx", []sdp.Receive{video}, []packet{{11, 96, "m", nil}, {12, 97, "\x00\x07lost", nil}}, []string{":0:m", ":7:lost"}, nil},
		{"rtx first", []sdp.Receive{video}, []packet{{12, 97, "\x00\x07lost", nil}}, []string{":7:lost"}, nil},
		{"rtx probe", []sdp.Receive{video}, []packet{{12, 97, "\x00", nil}, {12, 97, "", nil}}, nil, map[DropReason]uint64{DropPadding: 1, DropRTX: 1}},
		{"padding only", []sdp.Receive{video}, []packet{{11, 96, "", nil}, {12, 97, "\x00\x07", nil}}, []string{":0:", ":7:"}, nil},
		{"simulcast", []sdp.Receive{simulcast}, []packet{
			{50, 96, "m", map[uint8]string{4: "1", 5: "q"}}, {51, 96, "n", map[uint8]string{4: "1", 5: "f"}}, {50, 96, "o", nil},
			{60, 97, "\x00\x09p", map[uint8]string{4: "1", 6: "f"}},
		}, []string{"q:0:m", "f:1:n", "q:2:o", "f:9:p"}, nil},
		{"simulcast without rid", []sdp.Receive{simulcast}, []packet{{50, 96, "m", map[uint8]string{4: "1"}}}, nil, map[DropReason]uint64{DropUnknownSSRC: 1}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			var first *sink
			for _, o := range c.open {
				if _, s := r.open(o); first == nil {
					first = s
				}
			}
			for i, p := range c.packets {
				h := sinkHeader(p.ssrc, uint16(i))
				h.PayloadType = p.pt
				r.rtp(t, h, p.payload, p.exts)
			}
			var got []string
			if first != nil {
				for _, p := range first.got {
					got = append(got, p.RID+":"+string(rune('0'+p.Header.SequenceNumber))+":"+string(p.Payload))
					if p.Header.PayloadType != 96 || p.Codec.Name != codec.VP8 {
						t.Errorf("payload type %d, codec %v", p.Header.PayloadType, p.Codec)
					}
				}
			}
			if len(got) != len(c.want) {
				t.Fatalf("got %q, want %q", got, c.want)
			}
			for i := range got {
				if got[i] != c.want[i] {
					t.Errorf("got %q, want %q", got, c.want)
				}
			}
			drops := r.p.conn.Stats().Drops
			if len(drops) != len(c.drops) {
				t.Errorf("drops %v, want %v", drops, c.drops)
			}
			for reason, n := range c.drops {
				if drops[reason] != n {
					t.Errorf("drops %v, want %v", drops, c.drops)
				}
			}
		})
	}
}

func TestPaddingIsStripped(t *testing.T) {
	r := newRig(t)
	_, s := r.open(video)
	h := sinkHeader(11, 1)
	h.Padding = true
	head, err := h.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	r.raw(11, append(head[:len(head):len(head)], 'm', 0, 0, 3))
	r.raw(11, append(head[:len(head):len(head)], 0, 0, 3)) // nothing but padding
	r.raw(11, append(head[:len(head):len(head)], 'm', 9))  // more than there is
	r.raw(11, append(head[:len(head):len(head)], 'm', 0))
	r.raw(11, head)
	r.raw(11, head[:7])
	if len(s.got) != 2 || string(s.got[0].Payload) != "m" || len(s.got[1].Payload) != 0 || s.got[0].Header.Padding {
		t.Fatalf("got %+v", s.got)
	}
	if d := r.p.conn.Stats().Drops; d[DropMalformed] != 4 || d[DropPadding] != 0 {
		t.Errorf("drops %v", d)
	}
}

func TestClosedTrackFreesItsSSRCs(t *testing.T) {
	r := newRig(t)
	rec, s := r.open(video)
	r.rtp(t, sinkHeader(11, 1), "m", nil)
	r.in.closeReceiver(rec)
	r.rtp(t, sinkHeader(11, 2), "late", nil)
	if len(s.got) != 1 || r.p.conn.Stats().Drops[DropClosed] != 1 {
		t.Errorf("got %d, drops %v", len(s.got), r.p.conn.Stats().Drops)
	}
	_, again := r.open(video)
	r.rtp(t, sinkHeader(11, 3), "anew", nil)
	if len(again.got) != 1 {
		t.Errorf("a reopened SSRC brought %d packets", len(again.got))
	}
	if len(r.in.streams) != 1 || r.in.undeclared != 0 {
		t.Errorf("%d streams, %d undeclared", len(r.in.streams), r.in.undeclared)
	}
}

func TestTooManySSRCs(t *testing.T) {
	r := newRig(t)
	for i := range uint32(maxUndeclared) {
		r.rtp(t, sinkHeader(1000+i, 1), "m", nil)
	}
	if err := r.p.conn.Err(); err != nil {
		t.Fatal(err)
	}
	r.rtp(t, sinkHeader(5000, 1), "m", nil)
	if err := r.p.conn.Err(); !errors.Is(err, ErrTooManySSRCs) {
		t.Errorf("error %v", err)
	}
}

func TestTooManyCandidates(t *testing.T) {
	c := newRig(t).p.conn
	for range maxCandidates {
		if err := c.addCandidate(signal.Candidate{Candidate: "x"}); errors.Is(err, ErrTooManyCandidates) {
			t.Fatal(err)
		}
	}
	if err := c.addCandidate(signal.Candidate{Candidate: "x"}); !errors.Is(err, ErrTooManyCandidates) {
		t.Errorf("error %v", err)
	}
}

func TestTooManySSRCsAtATime(t *testing.T) {
	r := newRig(t)
	for i := range uint32(maxTaps) {
		n := video
		n.SSRC, n.RTXSSRC = 100+i, 0
		rec, _ := r.open(n)
		r.in.buffer(true, n.SSRC)
		r.in.closeReceiver(rec)
	}
	if err := r.p.conn.Err(); err != nil {
		t.Fatal(err)
	}
	r.in.buffer(true, 50)
	if err := r.p.conn.Err(); !errors.Is(err, ErrTooManySSRCs) {
		t.Errorf("error %v", err)
	}
}

func TestPanicClosesTheConnection(t *testing.T) {
	r := newRig(t)
	_, s := r.open(video)
	s.panics = true
	r.rtp(t, sinkHeader(11, 1), "m", nil)
	if err := r.p.conn.Err(); err == nil {
		t.Error("no error")
	}
}

func TestFeedbackIsRouted(t *testing.T) {
	r := newRig(t)
	a := newSender(r.p.conn, sdp.Sending{ID: "a", SSRC: 1, RTXSSRC: 2}, "")
	b := newSender(r.p.conn, sdp.Sending{ID: "b", SSRC: 3}, "")
	got := map[string]int{}
	for _, s := range []*Sender{a, b} {
		r.in.openSender(s)
		s.SetFeedback(func(p []rtcp.Packet, _ time.Time) {
			for _, p := range p {
				if rr, ok := p.(*rtcp.ReceiverReport); ok && len(rr.Reports) != 1 {
					t.Errorf("%d report blocks", len(rr.Reports))
				}
				got[s.ID()]++
			}
		})
	}
	_, video := r.open(video)
	r.rtp(t, sinkHeader(11, 1), "m", nil)
	cases := []struct {
		p    rtcp.Packet
		a, b int
	}{
		{&rtcp.TransportLayerNack{MediaSSRC: 1, Nacks: []rtcp.NackPair{{PacketID: 1}}}, 1, 0},
		{&rtcp.PictureLossIndication{MediaSSRC: 3}, 0, 1},
		{&rtcp.FullIntraRequest{FIR: []rtcp.FIREntry{{SSRC: 1}, {SSRC: 3}}}, 1, 1},
		{&rtcp.ReceiverReport{Reports: []rtcp.ReceptionReport{{SSRC: 3}, {SSRC: 1}, {SSRC: 2}}}, 2, 1},
		{&rtcp.SenderReport{SSRC: 11, Reports: []rtcp.ReceptionReport{{SSRC: 1}}}, 1, 0},
		{&rtcp.ReceiverEstimatedMaximumBitrate{Bitrate: 1000, SSRCs: []uint32{1, 2, 3}}, 1, 1},
		{&rtcp.PictureLossIndication{MediaSSRC: 99}, 0, 0},
	}
	for _, c := range cases {
		clear(got)
		raw, err := c.p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		for _, ssrc := range c.p.DestinationSSRC() { // as pion does
			_, _ = r.in.buffer(false, ssrc).Write(raw)
		}
		if got["a"] != c.a || got["b"] != c.b {
			t.Errorf("%T: a got %d, b got %d, want %d and %d", c.p, got["a"], got["b"], c.a, c.b)
		}
	}
	if video.reports != 1 {
		t.Errorf("%d sender reports", video.reports)
	}
	if !a.known.Load() || !b.known.Load() {
		t.Error("a receiver report did not end the mid extension")
	}
}

// captured is a raw writer that keeps the packets.
type captured struct{ packets [][]byte }

func (c *captured) WriteRTP(h *rtp.Header, payload []byte) (int, error) {
	raw, err := (&rtp.Packet{Header: *h, Payload: payload}).Marshal()
	c.packets = append(c.packets, raw)
	return len(raw), err
}

func TestMidExtension(t *testing.T) {
	withRTX := []sdp.Payload{{Type: 96, RTX: 97}}
	cases := []struct {
		name   string
		s      sdp.Sending
		before string // mid on the wire
		after  string // once a receiver report came
	}{
		{"not negotiated", sdp.Sending{Mid: "w01", SSRC: 1, RTXSSRC: 2, Payloads: withRTX}, "", ""},
		{"until known", sdp.Sending{Mid: "w01", SSRC: 1, RTXSSRC: 2, Payloads: withRTX, Extensions: map[string]int{sdp.ExtMID: 4}}, "w01", ""},
		{"two-byte form", sdp.Sending{Mid: "w01", SSRC: 1, RTXSSRC: 2, Payloads: withRTX, Extensions: map[string]int{sdp.ExtMID: 17}}, "w01", ""},
		{"without RTX for ever", sdp.Sending{Mid: "w01", SSRC: 1, Payloads: []sdp.Payload{{Type: 111}}, Extensions: map[string]int{sdp.ExtMID: 4}}, "w01", "w01"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			out := &captured{}
			tr := r.p.conn.transport.Load()
			tr.out = out
			tr.dtlsState.Store(3) // connected
			s := newSender(r.p.conn, c.s, "")
			for i, want := range []string{c.before, c.after} {
				h := sinkHeader(1, uint16(i))
				if err := s.WriteRTP(&h, []byte("m"), nil); err != nil {
					t.Fatal(err)
				}
				var p rtp.Packet
				if err := p.Unmarshal(out.packets[i]); err != nil {
					t.Fatal(err)
				}
				if got := string(p.GetExtension(uint8(c.s.Extensions[sdp.ExtMID]))); got != want || string(p.Payload) != "m" {
					t.Errorf("mid %q, want %q; payload %q", got, want, p.Payload)
				}
				if h.Extension {
					t.Error("the caller's header was changed")
				}
				s.known.Store(true)
			}
		})
	}
}

// Budgets of the hot path: nothing is allocated for a packet.
func TestNoAllocationPerPacket(t *testing.T) {
	r := newRig(t)
	n := video
	n.Extensions = map[string]int{sdp.ExtMID: 4, sdp.ExtDependencyDescriptor: 8}
	_, _ = r.open(n)
	rec := r.in.receivers["1"]
	rec.SetSink(discard{})
	h := sinkHeader(11, 0)
	if err := h.SetExtension(4, []byte("1")); err != nil {
		t.Fatal(err)
	}
	h.ExtensionProfile = rtp.ExtensionProfileTwoByte
	if err := h.SetExtension(8, dependencyOf(0)); err != nil {
		t.Fatal(err)
	}
	raw, err := (&rtp.Packet{Header: h, Payload: make([]byte, 1100)}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	b := r.in.buffer(true, 11)
	seq := uint16(0)
	if got := testing.AllocsPerRun(1000, func() {
		seq++
		raw[1], raw[2], raw[3] = 96, byte(seq>>8), byte(seq)
		if seq%5 == 0 {
			raw[1] |= 0x80 // the last of its frame
		}
		_, _ = b.Write(raw)
	}); got > 0 {
		t.Errorf("%v allocations per incoming packet", got)
	}
	tr := r.p.conn.transport.Load()
	tr.out = nowhere{}
	tr.dtlsState.Store(3)
	s := newSender(r.p.conn, sdp.Sending{Mid: "w01", SSRC: 1, Mixed: true, Extensions: map[string]int{sdp.ExtMID: 4, sdp.ExtDependencyDescriptor: 8}}, "")
	out := sinkHeader(1, 0)
	payload := make([]byte, 1100)
	dependency := dependencyOf(1)
	if got := testing.AllocsPerRun(1000, func() { _ = s.WriteRTP(&out, payload, dependency) }); got > 0.1 { // the pool may be emptied
		t.Errorf("%v allocations per outgoing packet", got)
	}
}

type discard struct{}

func (discard) ReceiveRTP(*Incoming)                            {}
func (discard) ReceiveReport(uint32, uint64, uint32, time.Time) {}

type nowhere struct{}

func (nowhere) WriteRTP(*rtp.Header, []byte) (int, error) { return 1, nil }

func FuzzIngest(f *testing.F) {
	h := sinkHeader(11, 1)
	raw, _ := h.Marshal()
	f.Add(true, append(raw, "payload"...))
	sr, _ := (&rtcp.SenderReport{SSRC: 11}).Marshal()
	f.Add(false, sr)
	p := newPeer(f, "fuzz", true, Config{Loopback: true})
	f.Cleanup(func() { p.close(); p.stop() })
	in := p.conn.transport.Load().in
	rec := newReceiver(p.conn, video)
	in.openReceiver(rec)
	rec.SetSink(discard{})
	taps := map[bool]interface{ Write([]byte) (int, error) }{true: in.buffer(true, 11), false: in.buffer(false, 11)}
	f.Fuzz(func(t *testing.T, isRTP bool, packet []byte) {
		_, _ = taps[isRTP].Write(packet)
		if err := p.conn.Err(); err != nil {
			t.Fatal(err)
		}
	})
}

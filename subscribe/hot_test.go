package subscribe

import (
	"fmt"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/publish"
)

// null is a Writer that only counts.
type null struct{ n int }

func (w *null) WriteRTP(*rtp.Header, []byte, []byte) error { w.n++; return nil }
func (w *null) WriteRTCP([]rtcp.Packet) error              { return nil }

// studio is a track with n forwarders, for what is measured.
type studio struct {
	track      *publish.Track
	forwarders []*Forwarder
	w          null
	h          rtp.Header
	payload    []byte
	now        time.Time
}

func newStudio(c codec.Codec, n int) *studio {
	s := &studio{
		track:   publish.NewTrack(publish.TrackConfig{Codec: c}),
		payload: append([]byte(deltaStart), make([]byte, 1150)...),
		now:     epoch,
	}
	for range n {
		f := NewForwarder(Config{Track: s.track, SSRC: mainSSRC, RTXSSRC: rtxSSRC})
		f.Bind(&s.w, Payload{Type: mainType, RTX: rtxType})
		s.forwarders = append(s.forwarders, f)
	}
	s.h = rtp.Header{Version: 2, SSRC: 1, Marker: true}
	s.track.WriteRTP(&s.h, append([]byte(keyStart), 1, 2, 3), s.now)
	return s
}

func (s *studio) packet() {
	s.h.SequenceNumber++
	s.h.Timestamp += 3000
	s.now = s.now.Add(33 * time.Millisecond)
	s.track.WriteRTP(&s.h, s.payload, s.now)
}

func TestHotPathAllocatesNothing(t *testing.T) {
	for _, c := range []codec.Codec{vp8, opus} {
		t.Run(c.Name, func(t *testing.T) {
			s := newStudio(c, 50)
			for range s.track.Window() {
				s.packet()
			}
			if n := testing.AllocsPerRun(500, s.packet); n != 0 {
				t.Errorf("%v allocations for a packet to 50 subscribers", n)
			}
		})
	}
	t.Run("moved picture numbers", func(t *testing.T) {
		s := newStudio(vp8, 50)
		s.payload = append([]byte("\x90\xc0\x80\x05\x01\x01"), make([]byte, 1150)...)
		for _, f := range s.forwarders {
			f.pictures.now = mark{picture: 300, tl0: 3} // as after a change of layers
		}
		for range s.track.Window() {
			s.packet()
		}
		if n := testing.AllocsPerRun(500, s.packet); n != 0 {
			t.Errorf("%v allocations for a packet to 50 subscribers", n)
		}
	})
	t.Run("nack", func(t *testing.T) {
		s := newStudio(vp8, 1)
		for range s.track.Window() {
			s.packet()
		}
		f := s.forwarders[0]
		pairs := []rtcp.NackPair{{PacketID: uint16(f.out.next - 40), LostPackets: 0xffff}}
		nack := []rtcp.Packet{&rtcp.TransportLayerNack{MediaSSRC: mainSSRC, Nacks: pairs}}
		now := s.now
		if n := testing.AllocsPerRun(100, func() {
			now = now.Add(time.Second)
			f.HandleRTCP(nack, now)
		}); n != 0 {
			t.Errorf("%v allocations for 17 repeats", n)
		}
		if n := f.Stats().RTXPackets; n < 17*100 {
			t.Errorf("%d repeats", n)
		}
	})
	t.Run("replay", func(t *testing.T) {
		s := newStudio(vp8, 1)
		for range s.track.Window() - 200 {
			s.packet()
		}
		f := s.forwarders[0]
		f.Pause()
		f.Resume()
		s.packet()
		if n := testing.AllocsPerRun(40, s.packet); n != 0 {
			t.Errorf("%v allocations for a step of the replay", n)
		}
		if n := f.Stats().Replayed; n < 320 {
			t.Errorf("%d replayed", n)
		}
	})
}

func BenchmarkForwarder(b *testing.B) {
	b.Run("forward", func(b *testing.B) {
		s := newStudio(vp8, 1)
		f := s.forwarders[0]
		p := publish.Packet{Payload: s.payload, Marker: true, Arrival: epoch, FrameEnd: true}
		p.Index, _, _ = s.track.Newest()
		b.ReportAllocs()
		for b.Loop() {
			p.Index++
			p.Timestamp += 3000
			f.in.WritePacket(&p)
		}
		if s.w.n < b.N {
			b.Fatalf("%d of %d sent", s.w.n, b.N)
		}
	})
	b.Run("nack", func(b *testing.B) {
		s := newStudio(vp8, 1)
		for range 1000 {
			s.packet()
		}
		f := s.forwarders[0]
		seq, now := uint16(f.out.next-100), s.now
		b.ReportAllocs()
		for b.Loop() {
			now = now.Add(time.Second)
			f.resend(seq, now)
		}
	})
}

// BenchmarkFanOut is a packet's whole way but the network: look, history,
// fan-out, n forwarders.
func BenchmarkFanOut(b *testing.B) {
	for _, n := range []int{1, 10, 50} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := newStudio(vp8, n)
			b.ReportAllocs()
			for b.Loop() {
				s.packet()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/forwarded")
		})
	}
}

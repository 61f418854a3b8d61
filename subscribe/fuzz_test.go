package subscribe

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/publish"
)

// fuzzCodecs are what FuzzForward's selector means.
var fuzzCodecs = []codec.Codec{
	vp8, {Name: codec.VP9, ClockRate: 90000}, {Name: codec.AV1, ClockRate: 90000},
	{Name: codec.H264, ClockRate: 90000}, opus,
}

// A script is what a publisher sends, packet after packet:
//
//	flags     1 byte: marker, another SSRC, longer time, wish, NACK, padding only
//	sequence  1 byte, signed: from the last one
//	timestamp 1 byte, signed: pictures from the last one
//	lengths   2 bytes: of payload and dependency descriptor, which follow
type script struct{ b []byte }

const (
	scriptMarker = 1 << iota
	scriptSSRC
	scriptPause
	scriptWish
	scriptNack
	scriptEmpty
	scriptPLI
)

func (s *script) byte() byte {
	if len(s.b) == 0 {
		return 0
	}
	b := s.b[0]
	s.b = s.b[1:]
	return b
}

func (s *script) bytes(n int) []byte {
	b := s.b[:min(n, len(s.b))]
	s.b = s.b[len(b):]
	return b
}

// record writes a script of what an encoder makes.
func record(m mode, pictures int) (b []byte) {
	e := newEncoder(m, 0, rand.New(rand.NewPCG(1, 1)))
	for n := range pictures {
		for i, u := range e.picture(n) {
			flags, step := byte(0), byte(0)
			if u.h.Marker {
				flags |= scriptMarker
			}
			if n%3 == 0 {
				flags |= scriptWish
			}
			if i == 0 {
				step = 1
			}
			b = append(b, flags, 1, step, byte(len(u.payload)), byte(len(u.dependency)))
			b = append(append(b, u.payload...), u.dependency...)
		}
	}
	return b
}

// FuzzForward plays any packets into a track of any codec and looks at what comes
// out: no packet of one number is ever another, headers marshal, numbers rise by
// what was published, payloads are no longer than they were.
func FuzzForward(f *testing.F) {
	for _, m := range modes {
		if m.simulcast > 1 {
			continue
		}
		for i, c := range fuzzCodecs {
			if c == m.codec {
				f.Add(uint8(i), record(m, 9))
			}
		}
	}
	f.Add(uint8(3), []byte{scriptMarker, 1, 1, 3, 0, 0x65, 0x88, 0x80, scriptMarker, 1, 1, 2, 0, 0x41, 0x9a})
	f.Add(uint8(4), []byte{scriptMarker, 1, 1, 1, 0, 0xfc, scriptEmpty, 1, 1, 1, 0, 0xfc, scriptMarker | scriptNack, 200, 1, 1, 0, 0xfc})
	f.Fuzz(func(t *testing.T, sel uint8, b []byte) {
		w := newWire(t)
		now, s := epoch, &script{b}
		track := publish.NewTrack(publish.TrackConfig{Codec: fuzzCodecs[int(sel)%len(fuzzCodecs)], KeyframeRequest: func() {}})
		forward := NewForwarder(Config{Track: track, SSRC: mainSSRC, RTXSSRC: rtxSSRC})
		forward.Bind(w, Payload{Type: mainType, RTX: rtxType})
		h := rtp.Header{Version: 2, SSRC: 1, SequenceNumber: 65_000, Timestamp: 1 << 31}
		published := 0
		for len(s.b) > 0 && published < 400 {
			flags := s.byte()
			h.SequenceNumber += uint16(int8(s.byte()))
			h.Timestamp += uint32(int32(int8(s.byte())) * 3000)
			h.Marker, h.SSRC = flags&scriptMarker != 0, 1+uint32(flags&scriptSSRC)
			size, extra := int(s.byte()), int(s.byte())
			payload := s.bytes(size)
			dependency := s.bytes(extra)
			if flags&scriptEmpty != 0 {
				payload = nil
			}
			if now = now.Add(10 * time.Millisecond); flags&scriptPause != 0 {
				now = now.Add(2 * time.Second)
			}
			if flags&scriptWish != 0 {
				forward.SetWish(Wish{Layer: size % 4, Temporal: extra % 4, Paused: size%16 == 15}, now)
			}
			before := bytes.Clone(payload)
			track.WriteDescribed(&h, payload, dependency, now)
			if !bytes.Equal(before, payload) {
				t.Fatalf("the publisher's payload was changed from %x to %x", before, payload)
			}
			published++
			if flags&scriptNack != 0 {
				forward.HandleRTCP([]rtcp.Packet{&rtcp.TransportLayerNack{MediaSSRC: mainSSRC,
					Nacks: []rtcp.NackPair{{PacketID: uint16(forward.out.next) - 17, LostPackets: 0xffff}}}}, now.Add(time.Second))
			}
			if flags&scriptPLI != 0 {
				forward.HandleRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: mainSSRC}}, now)
			}
			forward.Tick(now)
		}
		sent := 0
		for _, p := range w.take() {
			if len(p.Payload) > 255+osnSize {
				t.Errorf("%d bytes of payload", len(p.Payload))
			}
			sent++
		}
		if n := forward.Stats(); n.Packets > uint64(published)*2+uint64(n.Replayed) || int(n.Packets+n.RTXPackets) != sent {
			t.Errorf("%d published, %+v, %d on the wire", published, n, sent)
		}
		track.Close()
		forward.Close()
	})
}

// FuzzFeedback gives any RTCP to a forwarder that has sent something.
func FuzzFeedback(f *testing.F) {
	nack, _ := rtcp.Marshal(nackOf([]uint16{1, 2, 3}))
	pli, _ := rtcp.Marshal([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: mainSSRC}})
	fir, _ := rtcp.Marshal([]rtcp.Packet{&rtcp.FullIntraRequest{FIR: []rtcp.FIREntry{{SSRC: mainSSRC}}}})
	report, _ := rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{Reports: []rtcp.ReceptionReport{{SSRC: mainSSRC, LastSenderReport: 1}}}})
	for _, b := range [][]byte{nack, pli, fir, report} {
		f.Add(b, uint16(20))
	}
	f.Fuzz(func(t *testing.T, b []byte, at uint16) {
		packets, err := rtcp.Unmarshal(b)
		if err != nil {
			return
		}
		s := newScene(t, vp8, true, true)
		for n := range 40 {
			s.picture(n, n == 0)
		}
		sent := len(s.w.take())
		for _, p := range packets { // so that some name what was sent
			if n, ok := p.(*rtcp.TransportLayerNack); ok {
				n.MediaSSRC = mainSSRC
				for i := range n.Nacks {
					n.Nacks[i].PacketID += uint16(s.f.out.next) - at
				}
			}
		}
		s.f.HandleRTCP(packets, s.now)
		s.f.Report(s.now)
		if again := len(s.w.take()); again > sent {
			t.Errorf("%d repeats of %d packets", again, sent)
		}
	})
}

// TestEncrypted: what is encrypted from end to end goes through to the bit, and
// layers are chosen by the dependency descriptor alone.
func TestEncrypted(t *testing.T) {
	for _, name := range []string{codec.AV1, codec.VP8, codec.VP9, codec.H264} {
		m := mode{codec: codec.Codec{Name: name, ClockRate: 90000}, spatial: 3, temporal: 3, simulcast: 1, described: true}
		rng := rand.New(rand.NewPCG(1, 2))
		track, layers, encoders := newLayers(m, rng)
		w := newWire(t)
		f := NewForwarder(Config{Track: track, SSRC: mainSSRC})
		f.Bind(w, Payload{Type: mainType})
		secret := map[uint32][]byte{}
		low, now := 0, epoch
		for n := range 120 {
			if n == 60 {
				f.SetWish(Wish{Layer: 1, Temporal: 1}, now)
			}
			now = clockOf(n)
			for _, u := range encoders[0].picture(n) {
				payload := make([]byte, 40)
				for i := range payload {
					payload[i] = byte(rng.Uint32())
				}
				binary.BigEndian.PutUint32(payload[36:], uint32(len(secret)))
				secret[uint32(len(secret))] = bytes.Clone(payload)
				layers[0].WriteDescribed(&u.h, payload, u.dependency, now)
			}
			f.Tick(now)
			for _, p := range w.take() {
				if want := secret[binary.BigEndian.Uint32(p.Payload[36:])]; !bytes.Equal(p.Payload, want) {
					t.Fatalf("%s: %x became %x", name, want, p.Payload)
				}
				if n >= 64 {
					low++
				}
			}
		}
		if low == 0 || low > 14*3 {
			t.Errorf("%s: %d packets of the lowest layer in 56 pictures, want those of 14 frames", name, low)
		}
	}
}

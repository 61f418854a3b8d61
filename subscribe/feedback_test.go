package subscribe

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/pion/rtcp"
)

func TestNackOverRTX(t *testing.T) {
	s := newScene(t, vp8, true, true)
	s.picture(1, true)
	for n := 2; n <= 20; n++ {
		s.picture(n, false)
	}
	sent := s.w.take()
	s.nack(s.now, sent[3].SequenceNumber, sent[4].SequenceNumber, sent[19].SequenceNumber)
	got := s.w.take()
	equal(t, "repeated", numbers(got), []int{4, 5, 20})
	equal(t, "own numbers", offsets(got), []int{0, 1, 2})
	for i, p := range got {
		original := sent[[]int{3, 4, 19}[i]]
		equal(t, "OSN", binary.BigEndian.Uint16(p.Payload), original.SequenceNumber)
		equal(t, "payload", p.Payload[osnSize:], original.Payload)
		equal(t, "ssrc, type, time, marker",
			[]any{p.SSRC, p.PayloadType, p.Timestamp, p.Marker},
			[]any{rtxSSRC, rtxType, original.Timestamp, original.Marker})
	}
	st := s.f.Stats()
	equal(t, "counted", []uint64{st.Nacked, st.RTXPackets, st.Packets}, []int{3, 3, 20})
	equal(t, "bytes", st.RTXBytes, 3*(2+6))
}

func TestNackWithoutRTXRepeatsTheBytes(t *testing.T) {
	s := newScene(t, vp8, true, false)
	s.picture(1, true)
	s.picture(2, false)
	sent := s.w.take()
	s.nack(s.now, sent[0].SequenceNumber, sent[1].SequenceNumber)
	equal(t, "repeated", s.w.take(), sent)
	equal(t, "byte for byte", s.w.repeat, 2)

	// With another payload type the old packets cannot be repeated as they were.
	s.f.Bind(s.w, Payload{Type: mainType + 5})
	s.picture(3, false)
	last := s.w.take()
	later := s.now.Add(time.Second)
	s.nack(later, sent[0].SequenceNumber, last[0].SequenceNumber)
	equal(t, "repeated after another Bind", s.w.take(), last)
	equal(t, "unanswered", s.f.Stats().Unanswered, 1)
}

// TestNackAfterAnotherBind: a writer may add header extensions since, so what
// went out before must not come again under the same nonce.
func TestNackAfterAnotherBind(t *testing.T) {
	s := newScene(t, vp8, true, true)
	s.picture(1, true)
	old := s.w.take()
	s.f.Bind(s.w, Payload{Type: mainType}) // RTX is gone
	s.picture(2, false)
	fresh := s.w.take()
	s.nack(s.now, old[0].SequenceNumber, fresh[0].SequenceNumber)
	equal(t, "repeated", s.w.take(), fresh)
	equal(t, "unanswered", s.f.Stats().Unanswered, 1)
}

// TestLatePaddingFillsItsHole: or the subscriber would ask for its number until
// it gives up, and some decoders would wait as long.
func TestLatePaddingFillsItsHole(t *testing.T) {
	for _, rtx := range []bool{true, false} {
		s := newScene(t, vp8, true, rtx)
		s.picture(1, true)
		s.picture(3, false)
		s.padding(2, 1)
		s.padding(4, 3)
		s.picture(5, false)
		got := s.w.take()
		equal(t, "numbers", offsets(got), []int{0, 2, 1, 3})
		equal(t, "payload", len(got[2].Payload), 0)
		s.nack(s.now, got[2].SequenceNumber)
		equal(t, "repeated when it has just been sent", len(s.w.take()), 0)
		s.nack(s.now.Add(time.Second), got[2].SequenceNumber)
		equal(t, "repeated", len(s.w.take()), 1)
		equal(t, "left out", s.f.Stats().Drops[ReasonPadding], 1)
	}
}

func TestNackGuardsTheRoundTrip(t *testing.T) {
	s := newScene(t, vp8, true, true)
	s.picture(1, true)
	seq := s.w.take()[0].SequenceNumber
	at := func(ms int) int {
		s.nack(s.now.Add(time.Duration(ms)*time.Millisecond), seq)
		return len(s.w.take())
	}
	equal(t, "first", at(1), 1)
	equal(t, "within 100 ms", at(100), 0)
	equal(t, "after 100 ms", at(101), 1)
	s.f.mu.Lock()
	s.f.reports.rtt = 20 * time.Millisecond
	s.f.mu.Unlock()
	equal(t, "within the measured 20 ms", at(120), 0)
	equal(t, "after them", at(121), 1)
	equal(t, "suppressed", s.f.Stats().Suppressed, 2)
}

func TestNackWithoutAnswer(t *testing.T) {
	s := newScene(t, vp8, true, true)
	s.nack(epoch, 1, 2, 3)
	equal(t, "before the first packet", s.f.Stats().Unanswered, 3)
	s.picture(1, true)
	s.picture(3, false)
	first := s.w.take()[0].SequenceNumber
	s.nack(s.now, first+1, first+3, first-1, first+30000)
	equal(t, "a hole, the future, before the start", len(s.w.take()), 0)
	equal(t, "unanswered", s.f.Stats().Unanswered, 7)
	for n := 4; n < 1200; n++ {
		s.picture(n, false)
	}
	s.w.take()
	s.nack(s.now, first)
	equal(t, "beyond the history", len(s.w.take()), 0)
	s.f.HandleRTCP([]rtcp.Packet{&rtcp.TransportLayerNack{
		MediaSSRC: 5, Nacks: []rtcp.NackPair{{PacketID: first + 1100}},
	}}, s.now)
	equal(t, "someone else's", len(s.w.take()), 0)
}

func TestNackIsNoAmplifier(t *testing.T) {
	s := newScene(t, vp8, true, true)
	s.picture(1, true)
	for n := 2; n <= 1000; n++ {
		s.picture(n, false)
	}
	var all []uint16
	for _, p := range s.w.take() {
		all = append(all, p.SequenceNumber)
	}
	s.nack(s.now, all...)
	equal(t, "repeats in a round trip", len(s.w.take()), maxResends)
	s.nack(s.now.Add(defaultRTT), all...)
	equal(t, "in the next", len(s.w.take()), maxResends)
}

// FuzzForwarderNACK lets the bytes publish, lose, reorder, pause and ask again.
// The wire fails the test if a nonce carries two packets.
func FuzzForwarderNACK(f *testing.F) {
	f.Add(true, []byte{0, 1, 0, 1, 2, 0, 3, 0, 5, 0})
	f.Add(false, []byte{0, 1, 0, 3, 1, 255, 2, 1, 4, 0, 0, 2, 2, 255, 5, 1})
	f.Add(false, []byte{0, 1, 3, 2, 0, 1, 7, 0, 0, 200, 2, 9, 8, 9})
	f.Fuzz(func(t *testing.T, rtx bool, data []byte) {
		s := newScene(t, vp8, false, rtx)
		n, now := 65000, epoch
		var base uint16
		for ; len(data) >= 2; data = data[2:] {
			arg := int(data[1])
			now = now.Add(time.Duration(arg) * time.Millisecond)
			switch data[0] % 9 {
			case 0: // publish, after a loss of arg-1
				n += arg
				s.picture(n, arg%3 == 1)
			case 1: // publish late
				s.picture(n-arg, arg%5 == 0)
			case 2:
				s.f.HandleRTCP([]rtcp.Packet{&rtcp.TransportLayerNack{
					MediaSSRC: mainSSRC, Nacks: []rtcp.NackPair{{PacketID: base - uint16(arg), LostPackets: 0xa5c3}},
				}}, now)
			case 3:
				s.f.HandleRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: mainSSRC}}, now)
			case 4:
				s.f.Pause()
			case 5:
				s.f.Resume()
			case 6:
				s.f.Tick(now)
			case 7:
				s.ssrc++ // the publisher restarts
			case 8:
				s.f.SetTrack(s.newTrack(vp8, false))
				s.track = s.f.Track()
			}
			if got := s.w.take(); len(got) > 0 && got[len(got)-1].SSRC == mainSSRC {
				base = got[len(got)-1].SequenceNumber
			}
		}
		st := s.f.Stats()
		if st.Nacked < st.Unanswered+st.Suppressed+st.RTXPackets {
			t.Errorf("counters do not add up: %+v", st)
		}
	})
}

func TestWriterThatFails(t *testing.T) {
	s := newScene(t, vp8, true, true)
	s.picture(1, true)
	seq := s.w.take()[0].SequenceNumber
	s.w.fail = true
	s.nack(s.now, seq)
	s.picture(2, false)
	equal(t, "write drops", s.f.Stats().Drops[ReasonWrite], 2)
}

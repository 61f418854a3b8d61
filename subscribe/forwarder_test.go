package subscribe

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/weft-rtc/weft/publish"
)

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestStartsAtKeyframe(t *testing.T) {
	s := newScene(t, vp8, true, true)
	s.picture(1, false)
	s.picture(2, false)
	equal(t, "muted while waiting", s.f.Stats().Muted, ReasonKeyframe)
	s.picture(3, true)
	s.picture(4, false)
	got := s.w.take()
	equal(t, "sent", numbers(got), []int{3, 4})
	equal(t, "numbers", offsets(got), []int{0, 1})
	equal(t, "tick", got[1].Timestamp-got[0].Timestamp, 2970)
	equal(t, "requests upstream", s.asked, 1)
	st := s.f.Stats()
	equal(t, "drops", st.Drops.Map(), map[string]uint64{"keyframe": 2})
	equal(t, "muted", st.Muted, ReasonNone)
	equal(t, "packets", st.Packets, 2)
	if got[0].SequenceNumber >= 1<<15 {
		t.Errorf("first number %d: RFC 3711 wants the lower half", got[0].SequenceNumber)
	}
	if h := got[0].Header; h.PayloadType != mainType || h.SSRC != mainSSRC || !h.Marker || h.Version != 2 {
		t.Errorf("header %+v", h)
	}
}

func TestFirstNumbersAreRandom(t *testing.T) {
	seqs, stamps := map[uint16]bool{}, map[uint32]bool{}
	for range 8 {
		s := newScene(t, vp8, false, false)
		s.picture(1, true)
		p := s.w.take()[0]
		seqs[p.SequenceNumber], stamps[p.Timestamp] = true, true
	}
	if len(seqs) < 4 || len(stamps) < 7 {
		t.Errorf("8 forwarders began at %v, %v", seqs, stamps)
	}
}

func TestLossLeavesHolesAndRepairFillsThem(t *testing.T) {
	s := newScene(t, vp8, true, true)
	s.picture(1, true)
	s.picture(2, false)
	s.picture(5, false) // 3 and 4 are missing
	s.picture(4, false)
	s.picture(6, false)
	s.picture(3, false)
	got := s.w.take()
	equal(t, "sent", numbers(got), []int{1, 2, 5, 4, 6, 3})
	equal(t, "numbers", offsets(got), []int{0, 1, 4, 3, 5, 2})
	for _, p := range got {
		equal(t, "tick", p.Timestamp-got[0].Timestamp, uint32(number(p)-1)*2970)
	}
}

func TestIntendedDropsLeaveNoHole(t *testing.T) {
	s := newScene(t, vp8, true, true)
	s.picture(1, true)
	s.padding(2, 1)
	s.picture(3, false)
	s.f.Pause()
	for n := 4; n < 8; n++ {
		s.picture(n, false)
	}
	equal(t, "muted", s.f.Stats().Muted, ReasonPaused)
	s.f.Resume()
	s.picture(9, true) // 8 is lost upstream
	s.picture(7, false)
	s.picture(8, false) // repaired, but from before the new start
	s.f.Mute(ReasonCodec)
	s.picture(10, false)
	equal(t, "muted", s.f.Stats().Muted.String(), "codec")
	s.f.Mute(ReasonNone)
	s.picture(11, true)
	got := s.w.take()
	equal(t, "sent", numbers(got), []int{1, 3, 9, 11})
	equal(t, "numbers", offsets(got), []int{0, 1, 2, 3})
	equal(t, "tick", got[2].Timestamp-got[0].Timestamp, 8*2970)
	equal(t, "drops", s.f.Stats().Drops.Map(), map[string]uint64{"padding": 1, "paused": 4, "late": 1, "codec": 1})
}

func TestUnboundAndClosed(t *testing.T) {
	s := newScene(t, opus, false, false)
	s.f.Unbind()
	s.picture(1, true)
	equal(t, "muted", s.f.Stats().Muted, ReasonUnbound)
	s.f.Bind(s.w, Payload{Type: mainType})
	s.picture(2, true)
	s.w.fail = true
	s.picture(3, true)
	s.w.fail = false
	s.f.Close()
	s.f.Close()
	s.picture(4, true)
	s.f.SetTrack(s.newTrack(opus, false))
	s.f.Tick(s.now)
	s.nack(s.now, 1, 2, 3)
	s.f.HandleRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: mainSSRC}}, s.now)
	equal(t, "sent", numbers(s.w.take()), []int{2})
	equal(t, "drops", s.f.Stats().Drops.Map(), map[string]uint64{"unbound": 1, "write": 1})
	equal(t, "report", s.f.Report(s.now) == nil, true)
	equal(t, "muted", s.f.Stats().Muted, ReasonClosed)
	equal(t, "sinks", s.track.Stats().Sinks, 0)
	if s.f.Track() != nil {
		t.Error("a closed forwarder has a track")
	}
}

func TestSetTrackGoesOn(t *testing.T) {
	s := newScene(t, vp8, true, true)
	s.picture(1, true)
	s.picture(2, false)
	second := s.newTrack(vp8, true)
	s.ssrc = 2
	s.writeTo(second, 40000, 3, deltaStart, true)
	s.f.SetTrack(second)
	s.f.SetTrack(second)
	s.picture(3, false) // of the old track
	s.writeTo(second, 40001, 10, deltaStart, true)
	s.writeTo(second, 40002, 32, keyStart, true)
	s.writeTo(second, 40003, 33, deltaStart, true)
	got := s.w.take()
	equal(t, "sent", numbers(got), []int{1, 2, 40002, 40003})
	equal(t, "numbers", offsets(got), []int{0, 1, 2, 3})
	equal(t, "ticks over the swap", got[2].Timestamp-got[1].Timestamp, 30*2970)
	equal(t, "ticks after it", got[3].Timestamp-got[2].Timestamp, 2970)
	s.nack(s.now, got[0].SequenceNumber, got[3].SequenceNumber)
	equal(t, "repeated", numbers(s.w.take()), []int{40003})
	equal(t, "unanswered", s.f.Stats().Unanswered, 1)
	equal(t, "sinks", s.track.Stats().Sinks, 0)
	if s.f.Track() != second {
		t.Error("not the new track")
	}
	s.f.SetTrack(nil)
	s.writeTo(second, 40004, 34, deltaStart, true)
	equal(t, "sent without a track", len(s.w.take()), 0)
}

func TestReports(t *testing.T) {
	s := newScene(t, vp8, true, true)
	equal(t, "report before anything", s.f.Report(epoch) == nil, true)
	s.picture(0, true)
	s.picture(1, false)
	got := s.w.take()
	s.track.Report(5<<32, 2970, s.now)
	s.track.Report(7<<32, 2970, s.now)
	now := s.now.Add(time.Second)
	pkts := s.f.Report(now)
	sr := pkts[0].(*rtcp.SenderReport)
	equal(t, "NTP", sr.NTPTime, uint64(8<<32))
	equal(t, "RTP", sr.RTPTime, got[1].Timestamp+90000)
	equal(t, "counts", fmt.Sprint(sr.PacketCount, sr.OctetCount), "2 12")
	sdes := pkts[1].(*rtcp.SourceDescription)
	equal(t, "cname", sdes.Chunks[0].Items[0].Text, "weft")
	if _, err := rtcp.Marshal(pkts); err != nil {
		t.Error(err)
	}

	block := rtcp.ReceptionReport{
		SSRC: mainSSRC, LastSenderReport: uint32(sr.NTPTime >> 16), Delay: 65536 / 10, FractionLost: 64,
	}
	other := rtcp.ReceptionReport{SSRC: 1, FractionLost: 255}
	s.f.HandleRTCP([]rtcp.Packet{&rtcp.ReceiverReport{Reports: []rtcp.ReceptionReport{other, block}}},
		now.Add(140*time.Millisecond))
	st := s.f.Stats()
	if d := st.RTT - 40*time.Millisecond; d < 0 || d > time.Millisecond {
		t.Errorf("RTT %v, want 40 ms", st.RTT)
	}
	equal(t, "fraction lost", st.FractionLost, 0.25)

	block.LastSenderReport = 12345
	s.f.HandleRTCP([]rtcp.Packet{&rtcp.SenderReport{Reports: []rtcp.ReceptionReport{block}}}, now)
	block.LastSenderReport, block.Delay = uint32(sr.NTPTime>>16), 1<<31
	s.f.HandleRTCP([]rtcp.Packet{&rtcp.SenderReport{Reports: []rtcp.ReceptionReport{block}}}, now)
	equal(t, "RTT after nonsense", s.f.Stats().RTT, st.RTT)
	s.f.Pause()
	equal(t, "report while paused", s.f.Report(now) == nil, true)
}

func TestKeyframeRequests(t *testing.T) {
	s := newScene(t, vp8, true, true)
	s.picture(1, true)
	pli := &rtcp.PictureLossIndication{MediaSSRC: mainSSRC}
	fir := &rtcp.FullIntraRequest{FIR: []rtcp.FIREntry{{SSRC: 1}, {SSRC: mainSSRC}}}
	s.f.HandleRTCP([]rtcp.Packet{pli, fir, &rtcp.PictureLossIndication{MediaSSRC: 9}}, s.now)
	equal(t, "asked", s.asked, 1)
	equal(t, "counted", s.f.Stats().KeyframeRequests, 2)
	s.f.HandleRTCP([]rtcp.Packet{fir}, s.now.Add(time.Second))
	equal(t, "asked a second later", s.asked, 2)
}

// TestConcurrentUse is for the race detector: every method at once.
func TestConcurrentUse(t *testing.T) {
	s := newScene(t, vp8, false, true)
	tracks := []*publish.Track{s.track, s.newTrack(vp8, false)}
	var wg sync.WaitGroup
	for i, track := range tracks {
		wg.Go(func() {
			for n := range 1500 {
				kind := deltaStart
				if n%200 == 0 {
					kind = keyStart
				}
				track.WriteRTP(&rtp.Header{SSRC: 1, SequenceNumber: uint16(n), Timestamp: uint32(n * 3000), Marker: true},
					[]byte(kind+"\x00\x00\x00"+string(rune('a'+i))), epoch.Add(time.Duration(n)*time.Millisecond))
			}
		})
	}
	for _, act := range []func(n int){
		func(n int) { s.f.SetTrack(tracks[n%2]) },
		func(n int) { s.f.Tick(epoch); s.f.Report(epoch); s.f.Stats() },
		func(n int) { s.nack(epoch, uint16(n), uint16(n*37), uint16(n*300)) },
		func(n int) { s.f.Pause(); s.f.Resume(); s.f.Mute(ReasonCodec); s.f.Mute(ReasonNone) },
		func(n int) {
			s.f.HandleRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: mainSSRC}}, epoch.Add(time.Duration(n)*time.Second))
		},
		func(n int) { s.f.Unbind(); s.f.Bind(s.w, Payload{Type: mainType, RTX: rtxType}) },
	} {
		wg.Go(func() {
			for n := range 300 {
				act(n)
			}
		})
	}
	wg.Wait()
	s.f.Close()
	for i, track := range tracks {
		equal(t, fmt.Sprint("sinks of track ", i), track.Stats().Sinks, 0)
	}
}

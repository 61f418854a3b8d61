package subscribe

import (
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/weft-rtc/weft/publish"
)

// late makes a track that has published a key picture and deltas up to number n,
// and a forwarder that comes after that.
func late(t *testing.T, n int, requestable bool) *scene {
	s := &scene{t: t, w: newWire(t), ssrc: 1, now: epoch}
	s.track = s.newTrack(vp8, requestable)
	s.picture(1, true)
	for i := 2; i <= n; i++ {
		s.picture(i, false)
	}
	s.f = NewForwarder(Config{Track: s.track, SSRC: mainSSRC, RTXSSRC: rtxSSRC})
	s.f.Bind(s.w, Payload{Type: mainType, RTX: rtxType})
	return s
}

// stamped is what an outgoing packet is ordered by.
type stamped struct {
	seq uint16
	ts  uint32
}

func rising(t *testing.T, got []stamped) {
	t.Helper()
	for i := 1; i < len(got); i++ {
		if got[i].seq != got[i-1].seq+1 || int32(got[i].ts-got[i-1].ts) <= 0 {
			t.Fatalf("packet %d: number %d after %d, time %d after %d", i, got[i].seq, got[i-1].seq, got[i].ts, got[i-1].ts)
		}
	}
}

func (s *scene) takeStamped(all *[]stamped) int {
	got := s.w.take()
	for _, p := range got {
		*all = append(*all, stamped{p.SequenceNumber, p.Timestamp})
	}
	return len(got)
}

func TestLateJoinerSeesTheKeptGroup(t *testing.T) {
	s := late(t, 50, false)
	var all []stamped
	var steps []int
	for n := 51; n <= 62; n++ {
		s.picture(n, false)
		steps = append(steps, s.takeStamped(&all))
	}
	equal(t, "packets for each live one", steps, []int{8, 8, 8, 8, 8, 8, 8, 2, 1, 1, 1, 1})
	rising(t, all)
	// The subscriber must not believe that it is 50 pictures behind.
	if span := all[len(all)-1].ts - all[0].ts; span > 12*2970 {
		t.Errorf("12 pictures' time was stretched to %d ticks", span)
	}
	st := s.f.Stats()
	equal(t, "replays, replayed", []uint64{st.Replays, st.Replayed}, []int{1, 58})
	s.nack(s.now, all[0].seq, all[30].seq)
	equal(t, "repeated", numbers(s.w.take()), []int{1, 31})
}

func TestTickReplaysASilentTrack(t *testing.T) {
	s := late(t, 10, false)
	s.f.Tick(s.now)
	equal(t, "first tick", len(s.w.take()), 8)
	s.f.Tick(s.now.Add(10 * time.Millisecond))
	s.f.Tick(s.now.Add(20 * time.Millisecond))
	equal(t, "second and third", numbers(s.w.take()), []int{9, 10})
	s.picture(11, false)
	equal(t, "live again", numbers(s.w.take()), []int{11})
}

func TestLongReplayJumpsToAFreshKeyframe(t *testing.T) {
	s := late(t, 200, true)
	s.picture(201, false)
	equal(t, "asked", s.asked, 1)
	s.picture(202, false)
	s.picture(203, true)
	s.picture(204, false)
	got := s.w.take()
	equal(t, "sent", numbers(got), []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 203, 204})
	for i, o := range offsets(got) {
		equal(t, "number", o, i)
	}
	equal(t, "skipped", s.f.Stats().Drops[ReasonSkipped], 186)
}

func TestHoleDuringReplay(t *testing.T) {
	s := late(t, 20, false)
	s.picture(21, false) // sends 1 to 8
	s.picture(23, false) // 9 to 16; 22 is missing
	s.picture(24, false) // 17 to 24 but 22
	s.picture(25, false)
	got := s.w.take()
	equal(t, "sent", numbers(got)[16:], []int{17, 18, 19, 20, 21, 23, 24, 25})
	equal(t, "numbers", offsets(got)[16:], []int{16, 17, 18, 19, 20, 22, 23, 24})
	s.picture(22, false) // a whole picture of a replay: no neighbour has its time
	equal(t, "late", s.f.Stats().Drops[ReasonLate], 1)
}

func TestRepairDuringReplay(t *testing.T) {
	s := late(t, 12, false)
	s.write(13, 13, deltaStart, false) // sends 1 to 8
	s.write(15, 13, more, true)        // sends 9 to 13 and 15
	s.write(14, 13, more, false)
	s.picture(16, false)
	got := s.w.take()
	equal(t, "sent", numbers(got)[12:], []int{13, 15, 14, 16})
	equal(t, "numbers", offsets(got)[12:], []int{12, 14, 13, 15})
	equal(t, "one time", got[14].Timestamp, got[12].Timestamp)
}

func TestReplayFallsOutOfTheHistory(t *testing.T) {
	s := late(t, 30, false)
	s.picture(31, false)
	s.f.mu.Lock()
	s.f.dripping = true // a goroutine that does not get on
	s.f.mu.Unlock()
	for n := 32; n < 1200; n++ {
		s.picture(n, false)
	}
	s.f.mu.Lock()
	s.f.dripping = false
	s.f.mu.Unlock()
	s.w.take()
	s.picture(1200, false)
	equal(t, "sent", len(s.w.take()), 0)
	equal(t, "muted", s.f.Stats().Muted, ReasonKeyframe)
	s.picture(1201, true)
	equal(t, "sent again", numbers(s.w.take()), []int{1201})
}

func TestKeyframeRequestToAFileReplays(t *testing.T) {
	s := late(t, 4, false)
	s.picture(5, false)
	s.picture(6, false)
	before := s.w.take()
	pli := []rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: mainSSRC}}
	s.f.HandleRTCP(pli, s.now) // too soon after the last
	s.picture(7, false)
	equal(t, "at once", numbers(s.w.take()), []int{7})
	s.picture(40, false) // a hole: nothing whole to replay
	s.f.HandleRTCP(pli, s.now)
	equal(t, "with a hole", numbers(s.w.take()), []int{40})
	s.picture(41, true)
	s.picture(42, false)
	s.f.HandleRTCP(pli, s.now)
	s.picture(43, false)
	got := s.w.take()
	equal(t, "later", numbers(got), []int{41, 42, 41, 42, 43})
	for i := 1; i < len(got); i++ {
		if got[i].SequenceNumber != got[i-1].SequenceNumber+1 || int32(got[i].Timestamp-got[i-1].Timestamp) <= 0 {
			t.Errorf("%d after %d", got[i].Timestamp, got[i-1].Timestamp)
		}
	}
	equal(t, "sent at first", numbers(before), []int{1, 2, 3, 4, 5, 6})
}

// meanwhile is a writer that, before it writes, does what another goroutine
// could do in the meantime.
type meanwhile struct {
	*wire
	act func()
}

func (m meanwhile) WriteRTP(h *rtp.Header, payload, dependency []byte) error {
	m.act()
	return m.wire.WriteRTP(h, payload, dependency)
}

func TestReplayLetsOthersIn(t *testing.T) {
	s := late(t, 5, false)
	var once bool
	s.f.Bind(meanwhile{s.w, func() {
		if !once {
			once = true
			s.picture(7, false) // finds the replay under way and leaves it to it
			s.f.Stats()         // no lock is held over the write
			s.f.Tick(s.now)
		}
	}}, Payload{Type: mainType, RTX: rtxType})
	s.f.Tick(s.now)
	equal(t, "sent", numbers(s.w.take()), []int{1, 2, 3, 4, 5, 7})
}

var _ publish.Sink = (*input)(nil)

// TestManyLateJoiners: 200 that come at once must not hold the publisher's
// goroutine for eight packets each, and all of them get there.
func TestManyLateJoiners(t *testing.T) {
	const joiners = 200
	s := late(t, 300, false)
	s.f.Close()
	w := &null{}
	all := make([]*Forwarder, joiners)
	for i := range all {
		all[i] = NewForwarder(Config{Track: s.track, SSRC: mainSSRC, RTXSSRC: rtxSSRC})
		all[i].Bind(w, Payload{Type: mainType, RTX: rtxType})
	}
	for n := 301; n <= 700; n++ {
		before := w.n
		s.picture(n, false)
		// Two packets each, and what the track grants beside.
		if sent := w.n - before; sent > 2*joiners+64 {
			t.Fatalf("%d packets for the live packet %d", sent, n)
		}
	}
	for i, f := range all {
		if st := f.Stats(); st.Packets != 700 || f.phase != live {
			t.Fatalf("joiner %d has %d packets, want 700", i, st.Packets)
		}
	}
}

// TestReplayInPlaceOfAKeyPicture: who asks for a key picture of a publisher that
// makes none is shown the last one again; a hub is not, which would show it to all.
func TestReplayInPlaceOfAKeyPicture(t *testing.T) {
	for _, c := range []struct {
		name                 string
		requestable, hub     bool
		at, later, requested int // replays at once, and when asked again 1.1 s later
	}{
		{"a file", false, false, 1, 2, 0},
		{"a file, to a hub", false, true, 0, 0, 0},
		{"a camera that does not answer", true, false, 0, 1, 2},
		{"a camera that does not answer, to a hub", true, true, 0, 0, 2},
	} {
		s := newScene(t, vp8, c.requestable, true)
		s.f.hub = c.hub
		for n := range 20 {
			s.picture(n, n == 0)
		}
		pli := []rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: mainSSRC}}
		s.f.HandleRTCP(pli, s.now.Add(replayInterval))
		for n := 20; n < 70; n++ {
			s.picture(n, false)
		}
		equal(t, c.name+": replays", s.f.Stats().Replays, uint64(c.at))
		s.f.HandleRTCP(pli, s.now.Add(replayInterval))
		for n := 70; n < 90; n++ {
			s.picture(n, false)
		}
		equal(t, c.name+": replays later", s.f.Stats().Replays, uint64(c.later))
		equal(t, c.name+": asked", s.asked, c.requested)
	}
}

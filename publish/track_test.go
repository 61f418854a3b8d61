package publish

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"

	"github.com/weft-rtc/weft/interceptors/codec"
)

var epoch = time.Unix(1_700_000_000, 0)

// recorder is a sink that keeps copies.
type recorder struct{ got []Packet }

func (r *recorder) WritePacket(p *Packet) {
	c := *p
	c.Payload = bytes.Clone(p.Payload)
	r.got = append(r.got, c)
}

// discard is a sink that only counts. A pointer to it is comparable.
type discard struct{ n int }

func (d *discard) WritePacket(*Packet) { d.n++ }

func newVP8(history int) (*Track, *recorder) {
	t := NewTrack(TrackConfig{ID: "v", Codec: lookCodecs[selVP8], History: history})
	r := &recorder{}
	t.Add(r)
	return t, r
}

// vp8 payloads that say what they are.
var (
	vp8Key   = []byte{0x10, 0x00, 1, 2, 3}
	vp8Delta = []byte{0x10, 0x01, 1, 2, 3}
	vp8More  = []byte{0x00, 0x01, 1, 2, 3}
)

func write(t *Track, ssrc uint32, seq uint16, ts uint32, marker bool, payload []byte) {
	t.WriteRTP(&rtp.Header{SSRC: ssrc, SequenceNumber: seq, Timestamp: ts, Marker: marker}, payload,
		epoch.Add(time.Duration(ts)*time.Second/90000))
}

func TestTrackNumbers(t *testing.T) {
	type in struct {
		ssrc uint32
		seq  uint16
	}
	cases := []struct {
		name  string
		in    []in
		index []int64 // relative to 65536; of the packets given on
		drops map[string]uint64
	}{
		{"in order over the wrap", []in{{1, 65534}, {1, 65535}, {1, 0}, {1, 1}},
			[]int64{65534, 65535, 65536, 65537}, nil},
		{"reordered", []in{{1, 10}, {1, 12}, {1, 11}, {1, 9}}, []int64{10, 12, 11, 9}, nil},
		{"reordered over the wrap", []in{{1, 65535}, {1, 1}, {1, 0}}, []int64{65535, 65537, 65536}, nil},
		{"duplicate", []in{{1, 10}, {1, 10}, {1, 11}, {1, 10}}, []int64{10, 11},
			map[string]uint64{"duplicate": 2}},
		{"older than the history", []in{{1, 100}, {1, 84}, {1, 85}}, []int64{100, 85},
			map[string]uint64{"old": 1}},
		{"loss within reason", []in{{1, 10}, {1, 3010}}, []int64{10, 3010}, nil},
		{"one stray number", []in{{1, 10}, {1, 9000}, {1, 11}, {1, 9001}, {1, 12}}, []int64{10, 11, 12},
			map[string]uint64{"jump": 2}},
		{"jump ahead believed", []in{{1, 10}, {1, 9000}, {1, 9001}, {1, 9002}, {1, 9003}}, []int64{10, 11, 12},
			map[string]uint64{"jump": 2}},
		{"jump back believed", []in{{1, 9000}, {1, 10}, {1, 11}, {1, 12}, {1, 13}}, []int64{9000, 9001, 9002},
			map[string]uint64{"old": 2}},
		{"new SSRC", []in{{1, 10}, {2, 500}, {2, 501}}, []int64{10, 11, 12}, nil},
		{"stale packet of the SSRC before", []in{{1, 10}, {2, 500}, {1, 11}, {2, 501}}, []int64{10, 11, 12},
			map[string]uint64{"stale": 1}},
		{"number before a restart", []in{{1, 10}, {2, 500}, {2, 499}, {2, 501}}, []int64{10, 11, 12},
			map[string]uint64{"old": 1}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			track, rec := newVP8(16)
			for _, p := range c.in {
				write(track, p.ssrc, p.seq, uint32(p.seq)*3000, true, vp8Delta)
			}
			var got []int64
			for _, p := range rec.got {
				got = append(got, p.Index-firstIndex)
			}
			if fmt.Sprint(got) != fmt.Sprint(c.index) {
				t.Errorf("indexes %v, want %v", got, c.index)
			}
			drops := track.Stats().Drops
			if c.drops == nil {
				c.drops = map[string]uint64{}
			}
			if fmt.Sprint(drops.Map()) != fmt.Sprint(c.drops) {
				t.Errorf("drops %v, want %v", drops.Map(), c.drops)
			}
		})
	}
}

func TestTrackRestartKeepsTime(t *testing.T) {
	track, rec := newVP8(0)
	at := epoch
	h := rtp.Header{SSRC: 1, SequenceNumber: 1, Timestamp: 4_000_000_000}
	track.WriteRTP(&h, vp8Key, at)
	h = rtp.Header{SSRC: 2, SequenceNumber: 70, Timestamp: 5}
	track.WriteRTP(&h, vp8Key, at.Add(time.Second))
	h.SequenceNumber, h.Timestamp = 71, 3005
	track.WriteRTP(&h, vp8Delta, at.Add(2*time.Second))
	if d := rec.got[1].Timestamp - rec.got[0].Timestamp; d != 90000 {
		t.Errorf("a second became %d ticks", d)
	}
	if d := rec.got[2].Timestamp - rec.got[1].Timestamp; d != 3000 {
		t.Errorf("after the restart 3000 ticks became %d", d)
	}
	if n := track.Stats().Restarts; n != 1 {
		t.Errorf("%d restarts, want 1", n)
	}
	track.Report(1<<32, 5, at.Add(time.Second))
	if c, _ := track.Clock(); c.RTP != rec.got[1].Timestamp {
		t.Errorf("the report's timestamp is %d, the packet's %d", c.RTP, rec.got[1].Timestamp)
	}
}

func TestTrackPictures(t *testing.T) {
	sps, pps, idr, slice := []byte{0x67, 0x42}, []byte{0x68, 0xce}, []byte{0x65, 0x88}, []byte{0x41, 0x9a}
	sei := []byte{0x06, 0x05}
	type in struct {
		seq     uint16
		ts      uint32
		payload []byte
	}
	cases := []struct {
		name    string
		in      []in
		keys    []uint16 // of the packets given on as Keyframe
		starts  []uint16
		lastKey uint16 // 0: none whole
	}{
		{"sps, pps, idr, slice", []in{{1, 0, sps}, {2, 0, pps}, {3, 0, idr}, {4, 3000, slice}}, []uint16{1}, []uint16{1, 4}, 1},
		{"idr alone", []in{{1, 0, slice}, {2, 3000, idr}, {3, 6000, slice}}, []uint16{2}, []uint16{1, 2, 3}, 2},
		{"sei before sps", []in{{1, 0, slice}, {2, 3000, sei}, {3, 3000, sps}, {4, 3000, idr}}, []uint16{3}, []uint16{1, 2}, 3},
		{"idr overtakes sps and pps", []in{{1, 0, slice}, {4, 3000, idr}, {2, 3000, sps}, {3, 3000, pps}}, []uint16{2}, []uint16{1, 4, 2}, 2},
		{"idr without what came before", []in{{1, 0, slice}, {4, 3000, idr}, {5, 6000, slice}}, nil, []uint16{1, 4, 5}, 0},
		{"idr first of all", []in{{4, 3000, idr}, {5, 6000, slice}}, []uint16{4}, []uint16{4, 5}, 4},
		{"hole after the key", []in{{1, 0, sps}, {2, 0, idr}, {4, 6000, slice}}, []uint16{1}, []uint16{1, 4}, 0},
		{"hole repaired", []in{{1, 0, sps}, {2, 0, idr}, {4, 6000, slice}, {3, 3000, slice}}, []uint16{1}, []uint16{1, 4, 3}, 1},
		{"hole before the key", []in{{1, 0, slice}, {3, 3000, sps}, {4, 3000, idr}}, []uint16{3}, []uint16{1, 3}, 3},
		{"padding between", []in{{1, 0, sps}, {2, 0, idr}, {3, 0, nil}, {4, 3000, slice}}, []uint16{1}, []uint16{1, 4}, 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			track := NewTrack(TrackConfig{Codec: lookCodecs[selH264]})
			rec := &recorder{}
			track.Add(rec)
			for _, p := range c.in {
				write(track, 1, p.seq, p.ts, false, p.payload)
			}
			var keys, starts []uint16
			for _, p := range rec.got {
				if p.Keyframe {
					keys = append(keys, p.Seq)
				}
				if p.FrameStart {
					starts = append(starts, p.Seq)
				}
			}
			if fmt.Sprint(keys, starts) != fmt.Sprint(c.keys, c.starts) {
				t.Errorf("keys %v, starts %v; want %v, %v", keys, starts, c.keys, c.starts)
			}
			index, ok := track.LastKeyframe()
			if ok != (c.lastKey != 0) || ok && uint16(index) != c.lastKey {
				t.Errorf("LastKeyframe = %d, %v; want %d", uint16(index), ok, c.lastKey)
			}
		})
	}
}

func TestTrackLookup(t *testing.T) {
	track, rec := newVP8(16)
	for seq := uint16(1); seq <= 20; seq++ {
		write(track, 1, seq, uint32(seq)*3000, true, append([]byte{0x10, 0x01}, byte(seq)))
	}
	buf := make([]byte, MaxPayload)
	for _, want := range rec.got {
		got, ok := track.Lookup(want.Index, buf)
		if kept := want.Seq > 4; ok != kept {
			t.Fatalf("number %d is kept: %v", want.Seq, ok)
		}
		if ok && (!bytes.Equal(got.Payload, want.Payload) || got.Timestamp != want.Timestamp ||
			got.Seq != want.Seq || !got.Marker || !got.FrameEnd) {
			t.Errorf("Lookup = %+v, want %+v", got, want)
		}
		if peek, peeked := track.Peek(want.Index); peeked != ok || peek.Payload != nil || ok && peek.Seq != want.Seq {
			t.Errorf("Peek = %+v, %v", peek, peeked)
		}
	}
	if _, ok := track.Lookup(rec.got[19].Index, nil); ok {
		t.Error("a payload came back without room for it")
	}
	if index, ts, ok := track.Newest(); !ok || index != rec.got[19].Index || ts != 60000 {
		t.Errorf("Newest = %d, %d, %v", index, ts, ok)
	}
	if n := track.Window(); n != 16 {
		t.Errorf("Window = %d", n)
	}
}

func TestTrackRefuses(t *testing.T) {
	track, rec := newVP8(0)
	if _, _, ok := track.Newest(); ok {
		t.Error("an empty track has a newest packet")
	}
	write(track, 1, 1, 0, true, make([]byte, MaxPayload))
	write(track, 1, 2, 0, true, make([]byte, MaxPayload+1))
	write(track, 1, 3, 0, false, nil)
	track.Close()
	track.Close()
	write(track, 1, 4, 0, true, vp8Key)
	track.Add(rec)
	s := track.Stats()
	if s.Packets != 2 || s.Padding != 1 || len(rec.got) != 2 || s.Sinks != 0 {
		t.Errorf("stats %+v, %d given on", s, len(rec.got))
	}
	if got, want := fmt.Sprint(s.Drops.Map()), "map[ended:1 oversize:1]"; got != want || s.Drops.Total() != 2 {
		t.Errorf("drops %v, want %v", got, want)
	}
	for index := range int64(3) {
		if _, ok := track.Peek(rec.got[0].Index + index); ok {
			t.Error("a closed track has a history")
		}
	}
	if _, ok := track.Lookup(rec.got[0].Index, make([]byte, MaxPayload)); ok || !track.Ended() {
		t.Error("a closed track has a history")
	}
	if DropReason(200).String() != "unknown" {
		t.Error("a reason without a name")
	}
}

func TestTrackLossEstimate(t *testing.T) {
	track, _ := newVP8(0)
	for _, seq := range []uint16{1, 2, 5, 6} {
		write(track, 1, seq, uint32(seq), true, vp8Delta)
	}
	if n := track.Stats().Lost; n != 2 {
		t.Errorf("lost %d, want 2", n)
	}
	write(track, 1, 3, 3, true, vp8Delta)
	if n := track.Stats().Lost; n != 1 {
		t.Errorf("lost %d after a repair, want 1", n)
	}
}

func TestTrackAudio(t *testing.T) {
	track := NewTrack(TrackConfig{ID: "a", Codec: lookCodecs[selOpus]})
	rec := &recorder{}
	track.Add(rec)
	track.Add(rec)
	big := bytes.Repeat([]byte{7}, 1000) // beyond a small slot
	write(track, 1, 1, 0, false, []byte{0xfc, 1})
	write(track, 1, 2, 960, false, big)
	if len(rec.got) != 2 || !rec.got[0].FrameEnd || !rec.got[0].FrameStart || !rec.got[0].Keyframe {
		t.Fatalf("got %+v", rec.got)
	}
	if p, ok := track.Lookup(rec.got[1].Index, make([]byte, MaxPayload)); !ok || !bytes.Equal(p.Payload, big) {
		t.Error("the long packet is not in the history")
	}
	if track.Kind() != codec.Audio || track.ID() != "a" || track.Codec() != lookCodecs[selOpus] || track.Requestable() {
		t.Error("the track is not what was configured")
	}
	if _, ok := track.LastKeyframe(); ok {
		t.Error("audio has a key picture")
	}
	track.Remove(rec)
	track.Remove(rec)
	write(track, 1, 3, 1920, false, big)
	if len(rec.got) != 2 {
		t.Error("a removed sink got a packet")
	}
}

func TestKeyframeRequestsAreCoalesced(t *testing.T) {
	asked := 0
	track := NewTrack(TrackConfig{Codec: lookCodecs[selVP8], KeyframeRequest: func() { asked++ }})
	at := func(ms int) time.Time { return epoch.Add(time.Duration(ms) * time.Millisecond) }
	seq := uint16(0)
	packet := func(ms int, payload []byte) {
		seq++
		track.WriteRTP(&rtp.Header{SSRC: 1, SequenceNumber: seq, Timestamp: uint32(ms * 90)}, payload, at(ms))
	}
	step := func(what string, want int) {
		t.Helper()
		if asked != want {
			t.Errorf("%s: asked %d times, want %d", what, asked, want)
		}
	}
	for range 50 {
		track.RequestKeyframe(at(0))
	}
	step("fifty at once", 1)
	packet(499, vp8Delta)
	step("before the interval is over", 1)
	packet(500, vp8Delta)
	step("the one that waited", 2)
	track.RequestKeyframe(at(600))
	packet(700, vp8Key)
	packet(1200, vp8Delta)
	step("answered meanwhile", 2)
	track.RequestKeyframe(at(1200))
	step("after a pause", 3)
	track.Close()
	track.RequestKeyframe(at(9000))
	step("closed", 3)
	if n := track.Stats().KeyframeRequests; n != 3 || !track.Requestable() {
		t.Errorf("counted %d", n)
	}
}

func TestClock(t *testing.T) {
	track, _ := newVP8(0)
	if _, ok := track.Clock(); ok {
		t.Fatal("a clock before the first packet")
	}
	h := rtp.Header{SSRC: 1}
	packet := func(ts uint32, arrival time.Duration) {
		h.SequenceNumber++
		h.Timestamp = ts
		track.WriteRTP(&h, vp8Delta, epoch.Add(arrival))
	}
	packet(0, 50*time.Millisecond)
	packet(3000, 60*time.Millisecond) // 23 ms earlier than the first said
	packet(6000, 200*time.Millisecond)
	c, ok := track.Clock()
	if !ok || c.RTP != 3000 || c.NTP != NTP(epoch.Add(60*time.Millisecond)) {
		t.Errorf("clock %+v: not the least delayed packet", c)
	}
	ntp, ts := c.At(epoch.Add(1060 * time.Millisecond))
	if ts != 93000 || ntp != c.NTP+1<<32 {
		t.Errorf("a second later: %d, %d", ntp-c.NTP, ts)
	}
	if _, before := c.At(epoch.Add(-940 * time.Millisecond)); before != ^uint32(0)-87000+1 {
		t.Errorf("a second before: %d", int32(before))
	}
	track.Report(77<<32, 9000, epoch.Add(time.Second))
	packet(9000, 0)
	if c, _ := track.Clock(); c.NTP != 77<<32 || c.RTP != 9000 {
		t.Errorf("clock %+v: not the report", c)
	}
	if got := NTP(time.Unix(0, 500_000_000)); got != ntpEpoch<<32|1<<31 {
		t.Errorf("NTP of half past the epoch is %x", got)
	}
}

func TestTrackConcurrent(t *testing.T) {
	track := NewTrack(TrackConfig{Codec: lookCodecs[selVP8], KeyframeRequest: func() {}})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			buf := make([]byte, MaxPayload)
			for range 300 {
				d := &discard{}
				track.Add(d)
				if index, _, ok := track.Newest(); ok {
					track.Lookup(index, buf)
				}
				track.LastKeyframe()
				track.RequestKeyframe(epoch)
				track.Clock()
				track.Stats()
				track.Remove(d)
			}
		})
	}
	for seq := range uint16(2000) {
		write(track, 1, seq, uint32(seq)*3000, true, vp8Key)
	}
	wg.Wait()
	track.Close()
	if n := track.Stats().Sinks; n != 0 {
		t.Errorf("%d sinks left", n)
	}
}

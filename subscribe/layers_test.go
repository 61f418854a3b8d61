package subscribe

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/pion/rtp"

	"github.com/weft-rtc/weft/publish"
)

func TestChoose(t *testing.T) {
	size := func(w, h int) option { return option{usable: true, width: w, height: h} }
	three := []option{size(320, 180), size(640, 360), size(1280, 720)}
	unsized := []option{{usable: true}, {usable: true}, {usable: true}}
	without := func(from []option, gone ...int) []option {
		left := append([]option(nil), from...)
		for _, i := range gone {
			left[i].usable = false
		}
		return left
	}
	for _, c := range []struct {
		name          string
		options       []option
		wish          Wish
		current, want int
	}{
		{"the best", three, Wish{}, 0, 2},
		{"at most the second", three, Wish{Layer: 2}, 2, 1},
		{"more than there are", three, Wish{Layer: 9}, 0, 2},
		{"small", three, Wish{Width: 200, Height: 112}, 2, 0},
		{"exactly", three, Wish{Width: 640, Height: 360}, 2, 1},
		{"nearly", three, Wish{Width: 700, Height: 394}, 2, 1},
		{"larger", three, Wish{Width: 720, Height: 405}, 0, 2},
		{"larger than all", three, Wish{Width: 3840, Height: 2160}, 0, 2},
		{"a high one", three, Wish{Width: 100, Height: 360}, 0, 1},
		{"size and limit", three, Wish{Width: 3840, Height: 2160, Layer: 1}, 2, 0},
		{"sizes unknown", unsized, Wish{Width: 100, Height: 100}, 0, 2},
		{"the best is away", without(three, 2), Wish{}, 2, 1},
		{"the lowest is away", without(three, 0), Wish{Layer: 1}, 0, 1},
		{"all are away", without(three, 0, 1, 2), Wish{}, 1, 1},
	} {
		if got := choose(c.options, c.wish, c.current); got != c.want {
			t.Errorf("%s: layer %d, want %d", c.name, got, c.want)
		}
	}
}

// simulcast is a track of three layers whose publisher answers key requests.
type simulcast struct {
	*scene
	layers []*publish.Layer // from low to high
	seq    []uint16
	owed   []bool // a key picture was asked for
	silent []bool // the publisher sends nothing
	deaf   []bool // it makes no key pictures when asked
	start  []uint32
	asked  []int
	frame  int
}

func newSimulcast(t *testing.T) *simulcast {
	s := &simulcast{
		scene: &scene{t: t, w: newWire(t), now: epoch}, seq: []uint16{100, 60_000, 65_500},
		owed: make([]bool, 3), silent: make([]bool, 3), deaf: make([]bool, 3), asked: make([]int, 3),
		start: []uint32{1 << 31, 7, 1<<32 - 50_000},
	}
	request := func(i int) func() {
		return func() { s.asked[i]++; s.owed[i] = true }
	}
	s.track = publish.NewTrack(publish.TrackConfig{ID: "t", Codec: vp8, RID: "q", KeyframeRequest: request(0)})
	s.layers = []*publish.Layer{
		s.track.Layer,
		s.track.AddLayer(publish.TrackConfig{RID: "h", KeyframeRequest: request(1)}),
		s.track.AddLayer(publish.TrackConfig{RID: "f", KeyframeRequest: request(2)}),
	}
	s.f = NewForwarder(Config{Track: s.track, SSRC: mainSSRC, RTXSSRC: rtxSSRC})
	s.f.Bind(s.w, Payload{Type: mainType, RTX: rtxType})
	return s
}

// run plays for d: every layer sends a picture of two packets each 33 ms, and a
// sender report each second; the forwarder is ticked. Each packet carries layer
// and picture.
func (s *simulcast) run(d time.Duration) {
	for end := s.now.Add(d); s.now.Before(end); s.now = s.now.Add(33 * time.Millisecond) {
		for i, l := range s.layers {
			ts := s.start[i] + uint32(s.frame)*2970
			if s.frame%30 == 0 {
				l.Report(publish.NTP(s.now), ts, s.now)
			}
			if s.silent[i] {
				continue
			}
			key := s.frame == 0 || s.owed[i] && !s.deaf[i]
			if key {
				s.owed[i] = false
			}
			for part := range 2 {
				width, height := 160<<i, 90<<i
				id := uint16(s.frame + 32_700*i) // each layer counts for itself
				payload := []byte{0x90, 0xc0, 0x80 | byte(id>>8)&0x7f, byte(id), byte(s.frame + 100*i),
					1, 0, 0, 0x9d, 0x01, 0x2a, byte(width), byte(width >> 8), byte(height), byte(height >> 8), byte(i)}
				if key {
					payload[5] = 0
				}
				if part == 1 {
					payload[0] = 0x80
				}
				payload = binary.BigEndian.AppendUint32(payload, uint32(s.frame))
				l.WriteRTP(&rtp.Header{Version: 2, SSRC: uint32(i + 1), SequenceNumber: s.seq[i], Timestamp: ts, Marker: part == 1}, payload, s.now)
				s.seq[i]++
			}
		}
		s.frame++
		s.f.Tick(s.now)
	}
}

// view is what the subscriber's decoder is shown.
type view struct{ layer, frames, gaps int }

// watch returns the layers that were shown since the last time, one after the
// other, and fails the test for a gap in the numbers, a picture that needs one
// which was not sent, or a timestamp that does not follow.
func (s *simulcast) watch() (seen []view) {
	s.t.Helper()
	var last *rtp.Packet
	shown := -1
	for _, p := range s.w.take() {
		layer, frame := int(p.Payload[15]), int(binary.BigEndian.Uint32(p.Payload[16:]))
		start, key := p.Payload[0]&0x10 != 0, p.Payload[5] == 0
		if last != nil {
			if p.SequenceNumber != last.SequenceNumber+1 {
				s.t.Errorf("number %d follows %d", p.SequenceNumber, last.SequenceNumber)
			}
			before := int(binary.BigEndian.Uint32(last.Payload[16:]))
			step := uint16(0)
			if start {
				step = 1
			}
			var at ids
			picture, tl0, _ := at.read(formatVP8, p.Payload)
			lastPicture, lastTL0, _ := at.read(formatVP8, last.Payload)
			if picture != (lastPicture+step)&0x7fff || tl0 != lastTL0+uint8(step) {
				s.t.Errorf("picture number %d, %d follows %d, %d", picture, tl0, lastPicture, lastTL0)
			}
			want := int32(frame-before) * 2970
			if start && want == 0 {
				want = 1 // the key picture of what the other layer has shown just before
			}
			if d := int32(p.Timestamp - last.Timestamp); d != want {
				s.t.Errorf("picture %d follows %d by %d ticks", frame, before, d)
			}
			if start && frame != before+1 && frame != before && !key {
				s.t.Errorf("picture %d follows %d", frame, before)
			}
		}
		if layer != shown {
			if last != nil && (!start || !key) {
				s.t.Errorf("layer %d follows %d without a key picture", layer, shown)
			}
			shown = layer
			seen = append(seen, view{layer: layer})
		}
		if start {
			seen[len(seen)-1].frames++
		}
		last = &p
	}
	return seen
}

func layersOf(seen []view) (layers []int) {
	for _, v := range seen {
		layers = append(layers, v.layer)
	}
	return layers
}

// TestSwitch forces a subscriber through every layer up and down.
func TestSwitch(t *testing.T) {
	s := newSimulcast(t)
	s.run(time.Second)
	s.watch()
	for _, want := range []int{1, 2, 3, 2, 1, 3, 1} {
		s.f.SetWish(Wish{Layer: want}, s.now)
		s.run(time.Second)
		seen := s.watch()
		if current, target := s.f.Layer(); current != s.layers[want-1] || target != nil {
			t.Fatalf("wish %d: layer %q", want, current.RID())
		}
		frames := 0
		for _, v := range seen {
			frames += v.frames
		}
		if frames < 30 {
			t.Errorf("wish %d: %d pictures in a second", want, frames)
		}
	}
	if n := s.f.Stats().Switches; n < 6 {
		t.Errorf("%d switches", n)
	}
	s.f.Close()
	for _, l := range s.layers {
		equal(t, "sinks of "+l.RID(), l.Stats().Sinks, 0)
	}
}

// TestSwitchBySize: the smallest layer that fills what is shown.
func TestSwitchBySize(t *testing.T) {
	s := newSimulcast(t)
	s.run(time.Second)
	for _, c := range []struct{ width, height, want int }{{160, 90, 0}, {300, 160, 1}, {640, 360, 2}, {1, 1, 0}} {
		s.f.SetWish(Wish{Width: c.width, Height: c.height}, s.now)
		s.run(time.Second)
		if current, _ := s.f.Layer(); current != s.layers[c.want] {
			t.Errorf("%dx%d: layer %q", c.width, c.height, current.RID())
		}
	}
}

// TestLayerPauses: a layer that stops is left for the next lower one, and taken
// again when it comes back.
func TestLayerPauses(t *testing.T) {
	s := newSimulcast(t)
	s.run(2 * time.Second)
	s.watch()
	s.silent[2] = true
	s.run(3 * time.Second)
	if current, _ := s.f.Layer(); current != s.layers[1] {
		t.Errorf("the highest is silent: layer %q", current.RID())
	}
	s.silent[2] = false
	s.owed[2] = true // a publisher begins again with a key picture
	s.run(2 * time.Second)
	if current, _ := s.f.Layer(); current != s.layers[2] {
		t.Errorf("the highest is back: layer %q", current.RID())
	}
	if seen := layersOf(s.watch()); len(seen) != 2 {
		t.Errorf("layers shown: %v", seen)
	}
}

// TestNoKeyframe: a layer that brings no key picture is given up in time, tried
// again later, and never freezes what is shown.
func TestNoKeyframe(t *testing.T) {
	s := newSimulcast(t)
	s.f.SetWish(Wish{Layer: 1}, s.now)
	s.run(time.Second)
	s.watch()
	s.deaf[2] = true
	s.f.SetWish(Wish{}, s.now)
	s.run(6 * time.Second)
	seen := s.watch()
	if seen[len(seen)-1].layer != 1 {
		t.Errorf("layers shown: %v, want the middle at last", layersOf(seen))
	}
	if s.asked[2] < 7 || s.asked[2] > 10 {
		t.Errorf("%d requests in 4 s, want two a second", s.asked[2])
	}
	s.deaf[2] = false
	s.run(6 * time.Second)
	if current, _ := s.f.Layer(); current != s.layers[2] {
		t.Errorf("layer %q", current.RID())
	}
}

// TestResendAfterSwitch: what was sent of one layer is sent again as it was after
// a change to another.
func TestResendAfterSwitch(t *testing.T) {
	s := newSimulcast(t)
	s.f.SetWish(Wish{Layer: 1}, s.now)
	s.run(time.Second)
	before := s.w.take()
	s.f.SetWish(Wish{Layer: 3}, s.now)
	s.run(500 * time.Millisecond)
	s.w.take()
	lost := before[len(before)-3]
	s.nack(s.now, lost.SequenceNumber)
	again := s.w.take()
	if len(again) != 1 || string(again[0].Payload[osnSize:]) != string(lost.Payload) || again[0].Timestamp != lost.Timestamp {
		t.Errorf("sent again: %v", again)
	}
}

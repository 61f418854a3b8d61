package subscribe

import (
	"fmt"
	"testing"
	"time"

	"github.com/pion/rtp"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/publish"
)

// TestWaitingLeavesLayer: a forwarder that waits and wishes for one layer after the
// other is a sink of one of them at a time.
func TestWaitingLeavesLayer(t *testing.T) {
	s := newSimulcast(t)
	s.run(time.Second) // so that there are layers to choose from
	for i := range 30 {
		s.f.SetWish(Wish{Paused: true, Layer: 1 + i%3}, s.now)
	}
	s.f.Tick(s.now)
	sinks := 0
	for _, l := range s.layers {
		sinks += l.Sinks()
	}
	if sinks != 1 {
		t.Errorf("%d sinks for one forwarder", sinks)
	}
}

// TestManyOptions: a publisher of more qualities than are chosen from costs no
// memory for each look at them.
func TestManyOptions(t *testing.T) {
	vp9 := codec.Codec{Name: codec.VP9, ClockRate: 90000}
	track := publish.NewTrack(publish.TrackConfig{Codec: vp9, RID: "0", History: 16})
	for i := 1; i < publish.MaxLayers; i++ {
		track.AddLayer(publish.TrackConfig{RID: fmt.Sprint(i), History: 16})
	}
	for i, l := range track.Layers() { // each of the highest spatial layer
		l.WriteRTP(&rtp.Header{SSRC: uint32(i), SequenceNumber: 1}, []byte("\x2c\x0e\x00\x01"), epoch)
	}
	f := NewForwarder(Config{Track: track, SSRC: mainSSRC})
	if n := testing.AllocsPerRun(100, func() { f.Wanted(epoch) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	var room [maxOptions]option
	if n := len(appendOptions(room[:0], track.Layers(), epoch)); n != maxOptions {
		t.Errorf("%d options, want %d", n, maxOptions)
	}
}

package node

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/mesh/conn"
	"github.com/weft-rtc/weft/publish"
)

// TestInboundLayers: every RID becomes a layer of one track, whenever it comes,
// with reports and key requests of its own.
func TestInboundLayers(t *testing.T) {
	var begun []*publish.Track
	in := &inbound{recv: &conn.Receiver{}}
	in.began = func(track *publish.Track) bool { begun = append(begun, track); return true }
	vp8 := codec.Codec{Name: codec.VP8, ClockRate: 90000}
	seqs := map[string]uint16{}
	send := func(rid string, ssrc uint32, n int) {
		for range n {
			seqs[rid]++
			in.ReceiveRTP(&conn.Incoming{
				Header: rtp.Header{Version: 2, SSRC: ssrc, SequenceNumber: seqs[rid]}, Payload: []byte{0x10, 0},
				Codec: vp8, RID: rid, Arrival: time.Unix(1000, 0),
			})
		}
	}
	send("h", 2, 3)
	send("q", 1, 2)
	send("f", 3, 4)
	send("q", 1, 2)
	if len(begun) != 1 {
		t.Fatalf("%d tracks, want 1", len(begun))
	}
	want := map[string]uint64{"q": 4, "h": 3, "f": 4}
	order := ""
	for _, l := range begun[0].Layers() {
		order += l.RID()
		if n := l.Stats().Packets; n != want[l.RID()] {
			t.Errorf("layer %q has %d packets, want %d", l.RID(), n, want[l.RID()])
		}
	}
	if order != "qhf" {
		t.Errorf("layers %q", order)
	}
	in.ReceiveReport(3, 7<<32, 90000, time.Unix(1001, 0))
	for _, l := range begun[0].Layers() {
		if c, _ := l.Clock(); c.Reported != (l.RID() == "f") {
			t.Errorf("layer %q: reported %v", l.RID(), c.Reported)
		}
	}
	for i := range 20 { // a publisher that makes up layers
		send(strings.Repeat("x", i+2), uint32(100+i), 1)
	}
	if n := len(begun[0].Layers()); n != publish.MaxLayers {
		t.Errorf("%d layers", n)
	}
}

// TestSubscribe: a viewer pauses a stream behind a hub and takes it up again; the
// others get it all the time.
func TestSubscribe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		w.peer(Config{Hub: true}, false)
		a, b, other := w.peer(Config{}, false), w.peer(Config{}, false), w.peer(Config{}, false)
		seen, all := watch(b), watch(other)
		c := newCamera()
		if err := a.Publish(publish.Stream{Label: "cam", Tracks: []*publish.Track{c.track}}); err != nil {
			t.Fatal(err)
		}
		c.run(5*time.Second, 1)
		for _, paused := range []bool{true, false} {
			if err := b.Connection(a.ID()).Subscribe("cam", Wish{Paused: paused}); err != nil {
				t.Fatal(err)
			}
			c.run(2*time.Second, 1)
			first := c.sent + 1
			c.run(2*time.Second, 1)
			last := c.sent - 3
			synctest.Wait()
			want := int(last - first + 1)
			if got, _ := all(a.ID()).delivered(first, last); got != want {
				t.Errorf("paused %v: the other got %d of %d packets", paused, got, want)
			}
			if paused {
				want = 0
			}
			if got, _ := seen(a.ID()).delivered(first, last); got != want {
				t.Errorf("paused %v: %d packets, want %d", paused, got, want)
			}
		}
	})
}

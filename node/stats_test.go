package node

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-rtc/weft/publish"
)

// TestStats: the numbers of a stream are there at the publisher, in the hub on both
// sides and at the viewer, and speak of the loss that there was.
func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		hub := w.peer(Config{Hub: true}, false)
		a, b := w.peer(Config{}, false), w.peer(Config{}, false)
		seen := watch(b)
		c := newCamera()
		if err := a.Publish(publish.Stream{Label: "cam", Tracks: []*publish.Track{c.track}}); err != nil {
			t.Fatal(err)
		}
		c.run(3*time.Second, 1)
		w.setLoss(0.05)
		c.run(10*time.Second, 1)
		w.setLoss(0)
		c.run(2*time.Second, 1)
		synctest.Wait()
		if seen(a.ID()) == nil {
			t.Fatal("b has no stream")
		}

		own := a.Stats()
		if len(own.Streams) != 1 || own.Streams[0].Label != "cam" || own.Streams[0].Origin != "" {
			t.Fatalf("publisher: %+v", own.Streams)
		}
		if l := own.Streams[0].Layers[0]; l.FrameRate < 25 || l.FrameRate > 65 || l.Bitrate <= 0 || !l.Active || l.Keyframes == 0 {
			t.Errorf("publisher: %+v", l)
		}
		s := hub.Stats()
		if len(s.Peers) != 2 || len(s.Streams) != 0 {
			t.Fatalf("hub: %d peers, %d streams of its own", len(s.Peers), len(s.Streams))
		}
		for _, p := range s.Peers {
			if p.ID == a.ID() {
				if len(p.In) != 1 || len(p.Out) != 0 || p.In[0].Origin != a.ID() || p.In[0].Codec != "VP8" {
					t.Fatalf("from the publisher: %+v", p)
				}
				if l := p.In[0].Layers[0]; l.FrameRate < 25 || l.Bitrate <= 0 || l.Jitter <= 0 || l.Frames < 300 {
					t.Errorf("from the publisher: %+v", l)
				}
				if p.Conn.Recovered == 0 {
					t.Errorf("nothing was repaired at 5 %% loss: %+v", p.Conn)
				}
				continue
			}
			if len(p.Out) != 1 || p.Out[0].Origin != a.ID() || p.Out[0].Label != "cam" {
				t.Fatalf("to the viewer: %+v", p.Out)
			}
			if o := p.Out[0]; o.Packets == 0 || o.Bitrate <= 0 || o.RTT < 20*time.Millisecond || o.RTXPackets == 0 || o.Nacked == 0 || o.Current != o.Target {
				t.Errorf("to the viewer: %+v", o)
			}
		}
	})
}

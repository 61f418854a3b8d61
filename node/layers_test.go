package node

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/mesh/sdp"
	"github.com/weft-rtc/weft/publish"
)

// studio is a made-up publisher of several qualities of one picture, whose numbers
// begin at a million times one, two, three.
type studio struct {
	track  *publish.Track
	layers []*camera
}

func newStudio(rids ...string) *studio {
	s := &studio{}
	s.track = publish.NewTrack(publish.TrackConfig{ID: "studio", Codec: codec.Default(codec.Video)[0], RID: rids[0]})
	s.add(rids[0])
	for _, rid := range rids[1:] {
		s.add(rid)
	}
	return s
}

// add adds a layer, twice as wide as the one before.
func (s *studio) add(rid string) {
	n := len(s.layers)
	c := &camera{layer: s.track.AddLayer(publish.TrackConfig{RID: rid}), size: 160 << n, ssrc: uint32(n + 1), sent: uint32(n+1) * 1e6}
	if n > 0 {
		c.ts = s.layers[0].ts
	}
	s.layers = append(s.layers, c)
}

func (s *studio) run(d time.Duration) {
	tick := time.NewTicker(time.Second / 30)
	defer tick.Stop()
	for range int(d / (time.Second / 30)) {
		<-tick.C
		for _, c := range s.layers {
			c.frame(2)
		}
	}
}

// counts runs for d and says how many packets of each layer f got meanwhile, but for
// those that are still on their way at the end.
func (s *studio) counts(d time.Duration, films ...*film) [][]int {
	var first []uint32
	for _, c := range s.layers {
		first = append(first, c.sent+1)
	}
	s.run(d)
	all := make([][]int, len(films))
	for i, f := range films {
		for j, c := range s.layers {
			n, _ := f.delivered(first[j], c.sent-8)
			all[i] = append(all[i], n)
		}
	}
	return all
}

// arrivals returns how many packets of each layer of the only track came to a hub.
func arrivals(t *testing.T, hub *Peer) map[string]uint64 {
	t.Helper()
	hub.mu.Lock()
	defer hub.mu.Unlock()
	all := map[string]uint64{}
	for _, pub := range hub.table {
		for _, l := range pub.slots[0].track.Layers() {
			all[l.RID()] = l.Stats().Packets
		}
	}
	return all
}

// layerRoom is a hub with a studio and two viewers.
func layerRoom(t *testing.T, w *world, s *studio) (hub, pub *Peer, want [2]func(Wish), films [2]*film) {
	t.Helper()
	hub = w.peer(Config{Hub: true}, false)
	pub = w.peer(Config{}, false)
	viewers := [2]*Peer{w.peer(Config{}, false), w.peer(Config{}, false)}
	var seen [2]func(string) *film
	for i, v := range viewers {
		seen[i] = watch(v)
		want[i] = func(wish Wish) {
			t.Helper()
			if err := v.Connection(pub.ID()).Subscribe("cam", wish); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := pub.Publish(publish.Stream{Label: "cam", Tracks: []*publish.Track{s.track}}); err != nil {
		t.Fatal(err)
	}
	s.run(5 * time.Second)
	synctest.Wait()
	for i := range films {
		films[i] = seen[i](pub.ID())
	}
	return hub, pub, want, films
}

// TestSendLayers: a node sends all layers of a track to a hub, two viewers get one
// each; one that nobody wants is not sent, until somebody does.
func TestSendLayers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		s := newStudio("q", "h", "f")
		hub, _, want, films := layerRoom(t, w, s)
		expect := func(what string, got [][]int, low, high []bool) {
			t.Helper()
			for i, layers := range [][]bool{low, high} {
				for j, on := range layers {
					if n := got[i][j]; on != (n >= 110) || on != (n > 0) {
						t.Errorf("%s: viewer %d got %v packets, want %v", what, i, got[i], layers)
						break
					}
				}
			}
		}
		q, h, f := []bool{true, false, false}, []bool{false, true, false}, []bool{false, false, true}

		want[0](Wish{Layer: 1})
		want[1](Wish{})
		s.run(3 * time.Second)
		expect("two wishes", s.counts(2*time.Second, films[:]...), q, f)

		s.run(2 * idleFor)
		before := arrivals(t, hub)
		expect("one is idle", s.counts(2*time.Second, films[:]...), q, f)
		after := arrivals(t, hub)
		if len(after) != 3 || after["h"] != before["h"] || after["q"]-before["q"] < 110 || after["f"]-before["f"] < 110 {
			t.Errorf("layers at the hub went from %v to %v", before, after)
		}

		want[0](Wish{Layer: 2})
		s.run(4 * time.Second)
		expect("back again", s.counts(2*time.Second, films[:]...), h, f)
		w.setLoss(0.05)
		s.run(2 * time.Second)
		got := s.counts(2*time.Second, films[:]...)
		w.setLoss(0)
		if lossy := got[0][1] + got[1][2]; lossy < 200 {
			t.Errorf("with loss: %v", got)
		}
	})
}

// TestLayersComeAndGo: a layer that a track gets later is sent too, and the others go
// on; another track in its place has its layers sent; without a hub one is enough.
func TestLayersComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		s := newStudio("q", "h")
		hub, pub, want, films := layerRoom(t, w, s)
		want[1](Wish{Layer: 1})
		s.run(3 * time.Second)
		first := s.layers[0].sent + 1
		s.add("f")
		s.run(6 * time.Second)
		last := s.layers[0].sent - 8
		if n, _ := films[1].delivered(first, last); n != int(last-first)+1 {
			t.Errorf("%d of %d packets while a layer was added", n, last-first+1)
		}
		if got := s.counts(2*time.Second, films[:]...); got[0][2] < 110 || got[1][0] < 110 {
			t.Errorf("after a layer was added: %v", got)
		}
		if all := arrivals(t, hub); len(all) != 3 || all["f"] == 0 {
			t.Errorf("layers at the hub: %v", all)
		}

		other := newStudio("q", "h", "f")
		for _, c := range other.layers {
			c.sent += 500_000
		}
		if err := pub.Publish(publish.Stream{Label: "cam", Tracks: []*publish.Track{other.track}}); err != nil {
			t.Fatal(err)
		}
		other.run(6 * time.Second)
		if got := other.counts(2*time.Second, films[:]...); got[0][2] < 110 || got[1][0] < 110 {
			t.Errorf("another track: %v", got)
		}

		plain := newCamera()
		plain.sent = 9_000_000
		if err := pub.Publish(publish.Stream{Label: "cam", Tracks: []*publish.Track{plain.track}}); err != nil {
			t.Fatal(err)
		}
		plain.run(6*time.Second, 2)
		if all := arrivals(t, hub); len(all) != 1 {
			t.Errorf("one stream has layers at the hub: %v", all)
		}
		// From one stream to layers and back, on another SSRC.
		ssrc := func() (n uint32) {
			pub.mu.Lock()
			defer pub.mu.Unlock()
			for _, s := range pub.remotes[hub.ID()].subs {
				n = s.send.SSRC
			}
			return n
		}
		before := ssrc()
		if err := pub.Publish(publish.Stream{Label: "cam", Tracks: []*publish.Track{other.track}}); err != nil {
			t.Fatal(err)
		}
		other.run(6 * time.Second)
		if got := other.counts(2*time.Second, films[:]...); got[0][2] < 110 || got[1][0] < 110 {
			t.Errorf("layers in the place of one stream: %v", got)
		}
		if err := pub.Publish(publish.Stream{Label: "cam", Tracks: []*publish.Track{plain.track}}); err != nil {
			t.Fatal(err)
		}
		plain.run(6*time.Second, 2)
		first = plain.sent + 1
		plain.run(2*time.Second, 2)
		if n, _ := films[0].delivered(first, plain.sent-8); n < 100 || ssrc() == before {
			t.Errorf("one stream again: %d packets, SSRC %d, before %d", n, ssrc(), before)
		}
		if err := hub.SetHub(false); err != nil {
			t.Fatal(err)
		}
		if err := pub.Publish(publish.Stream{Label: "cam", Tracks: []*publish.Track{other.track}}); err != nil {
			t.Fatal(err)
		}
		other.run(10 * time.Second)
		synctest.Wait()
		if all := arrivals(t, hub); len(all) != 1 {
			t.Errorf("layers at a peer that is no hub: %v", all)
		}
	})
}

// TestLimits: what a hub wants of layers is kept for layers to come, and not for
// another stream that has the label later.
func TestLimits(t *testing.T) {
	r := &remote{hub: true, log: slog.New(slog.DiscardHandler)}
	first := newStudio("q", "f").track
	s := &subscription{label: "cam", send: sdp.Send{ID: "1", Kind: codec.Video}, track: first}
	r.subs = map[string]*subscription{"1": s}
	r.limit("other", []string{"q"})
	r.limit("cam", []string{"q"})
	r.layout(s)
	for _, l := range s.layers {
		if want, _ := l.forward.Wanted(time.Now()); (want == nil) != (l.send.RID == "f") {
			t.Errorf("layer %s: %v is sent", l.send.RID, want)
		}
	}
	next := &subscription{label: "cam", send: sdp.Send{ID: "2", Kind: codec.Video}, track: newStudio("q", "f").track}
	r.layout(next)
	for _, l := range next.layers {
		if want, _ := l.forward.Wanted(time.Now()); want == nil {
			t.Errorf("layer %s of another stream is paused", l.send.RID)
		}
	}
	track := newStudio("", "0", "f").track
	if got := r.layersFor(track); len(got) != 2 || got["0"] != track.Layer || got["f"] == nil {
		t.Errorf("%v", got)
	}
	if r.layersFor(newCamera().track) != nil {
		t.Error("a track with one layer has layers")
	}
	r.hub = false
	if r.layersFor(track) != nil {
		t.Error("layers for a peer that is no hub")
	}
}

package node

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-rtc/weft/publish"
)

func TestAmong(t *testing.T) {
	order := []string{"a", "b", "c"}
	for _, c := range []struct {
		n       int
		id, own string
		want    bool
	}{
		{1, "a", "x", true}, {1, "b", "x", false}, {1, "b", "a", true}, {2, "b", "x", true},
		{2, "c", "x", false}, {2, "c", "b", true}, {3, "y", "x", false}, {0, "a", "x", false},
	} {
		if got := among(order, c.n, c.id, c.own); got != c.want {
			t.Errorf("%s among the first %d for %s: %v", c.id, c.n, c.own, got)
		}
	}
}

// TestLastN: of three cameras a viewer gets that of who speaks; another one takes
// its place when another speaks, and the pictures of the first come back.
func TestLastN(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		hub := w.peer(Config{Hub: true, LastN: 1}, false)
		viewer := w.peer(Config{}, false)
		seen := watch(viewer)
		var heard []string
		viewer.OnSpeakers(func(e SpeakersEvent) {
			if len(e.Speaking) > 0 {
				heard = append(heard, e.Speaking[0])
			}
		})
		var peers []*Peer
		var cams []*camera
		for range 3 {
			p, c := w.peer(Config{}, false), newCamera()
			if err := p.Publish(publish.Stream{Label: "cam", Tracks: []*publish.Track{c.track}}); err != nil {
				t.Fatal(err)
			}
			peers, cams = append(peers, p), append(cams, c)
		}
		speaks := -1
		play := func(d time.Duration) {
			for range int(d / (33 * time.Millisecond)) {
				<-time.After(33 * time.Millisecond)
				for _, c := range cams {
					c.frame(1)
				}
				if speaks < 0 {
					continue
				}
				hub.mu.Lock()
				for _, in := range hub.remotes[peers[speaks].ID()].in {
					in.loud.observe(20, time.Now())
				}
				hub.mu.Unlock()
			}
		}
		play(5 * time.Second)
		for _, speaks = range []int{2, 0, 2} {
			play(4 * time.Second)
			first := cams[0].sent + 1
			play(2 * time.Second)
			synctest.Wait()
			for i, p := range peers {
				got, _ := seen(p.ID()).delivered(first, cams[i].sent-3)
				if shown := got > 0; shown != (i == speaks) {
					t.Errorf("%d speaks: %d packets of %d", speaks, got, i)
				}
			}
			if len(heard) == 0 || heard[len(heard)-1] != peers[speaks].ID() {
				t.Errorf("%d speaks, the viewer heard of %q", speaks, heard)
			}
		}
		if n := len(slices.Compact(heard)); n != 3 {
			t.Errorf("%d leads, want 3: %q", n, heard)
		}
	})
}

package main

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/mesh/conn"
	natsdriver "github.com/weft-rtc/weft/mesh/driver/nats"
	"github.com/weft-rtc/weft/node"
	"github.com/weft-rtc/weft/node/serve"
	"github.com/weft-rtc/weft/publish"
)

// sizes is a sink that hands out the size of every key picture.
type sizes struct {
	track *publish.Track
	seen  chan string
}

func (s *sizes) WritePacket(p *publish.Packet) {
	if !p.Keyframe {
		return
	}
	w, h := s.track.Size()
	select {
	case s.seen <- fmt.Sprintf("%dx%d", w, h):
	default: // the test has seen enough
	}
}

// TestSimulcastInside: weft publish --simulcast gives the hub three qualities, and a
// viewer the one that it asks for.
func TestSimulcastInside(t *testing.T) {
	server := inside(t, "serve", "--listen", "127.0.0.1:0", "--udp", "127.0.0.1:0", "--room", "layers")
	var info serve.Info
	server.wait(&info)
	publisher := inside(t, "publish", "--room", "layers", "--signal", info.Signal, "--test-pattern", "--simulcast")
	var ready publishReady
	publisher.wait(&ready)
	if len(ready.Tracks) != 2 || !slices.Equal(ready.Tracks[0].Layers, []string{"q", "h", "f"}) || ready.Tracks[1].Layers != nil {
		t.Errorf("tracks %+v", ready.Tracks)
	}
	peer, seen := sizeWatcher(t, info.Signal, ready.ID)
	timeout := time.NewTimer(meshTimeout)
	defer timeout.Stop()
	for _, want := range []struct {
		layer int
		size  string
	}{{1, "160x90"}, {3, "640x360"}, {2, "320x180"}} {
		asked := false
		for got := ""; got != want.size; {
			if other := peer.Connection(ready.ID); other != nil && !asked {
				asked = other.Subscribe("camera", node.Wish{Layer: want.layer}) == nil
			}
			select {
			case got = <-seen:
			case <-timeout.C:
				t.Fatalf("layer %d: the last key picture has %s, want %s", want.layer, got, want.size)
			}
		}
	}
}

// sizeWatcher joins the room as a viewer and returns the sizes of the key pictures
// that come from a peer.
func sizeWatcher(t *testing.T, signal, from string) (*node.Peer, <-chan string) {
	t.Helper()
	d, err := natsdriver.New(natsdriver.Config{URL: signal})
	if err != nil {
		t.Fatal(err)
	}
	api, err := conn.NewAPI(conn.Config{Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	peer, err := node.New(node.Config{Driver: d, Conn: api})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := contextFor(t)
	t.Cleanup(func() {
		cancel()
		_ = peer.Close()
		_ = api.Close()
		_ = d.Close()
	})
	seen := make(chan string, 64)
	peer.OnTrack(func(e node.TrackEvent) {
		if e.Added && e.Peer == from && e.Track.Kind() == codec.Video {
			e.Track.Add(&sizes{e.Track, seen})
		}
	})
	if err := peer.Join(ctx, "layers"); err != nil {
		t.Fatal(err)
	}
	return peer, seen
}

package main

import (
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/mesh/conn"
	natsdriver "github.com/weft-rtc/weft/mesh/driver/nats"
	"github.com/weft-rtc/weft/node"
	"github.com/weft-rtc/weft/node/serve"
	"github.com/weft-rtc/weft/publish"
	"github.com/weft-rtc/weft/publish/source"
)

// meshTimeout bounds the waits of the mesh test; it takes some two seconds.
const meshTimeout = 30 * time.Second

// frameCounter is a sink that closes done after want frames.
type frameCounter struct {
	left int // owned by the track's goroutine
	once sync.Once
	done func()
}

func (c *frameCounter) WritePacket(p *publish.Packet) {
	if p.FrameEnd || p.Marker {
		if c.left--; c.left <= 0 {
			c.once.Do(c.done)
		}
	}
}

// TestMeshInside has three peers in a room without a hub, all within this
// process: all see all.
func TestMeshInside(t *testing.T) {
	meshAllSeeAll(t, func(args ...string) *process { return inside(t, args...) })
}

// meshAllSeeAll runs a server without a hub, two weft publish and a node.Peer.
func meshAllSeeAll(t *testing.T, start func(args ...string) *process) {
	server := start("serve", "--no-hub", "--listen", "127.0.0.1:0")
	var info serve.Info
	server.wait(&info)
	publishers := map[string]*process{} // by peer id
	for _, name := range []string{"one", "two"} {
		p := start("publish", "--room", "mesh", "--signal", info.Signal, "--name", name,
			"--file", "../../testdata/vp8.ivf", "--file", "../../testdata/a.ogg", "--loop")
		var ready publishReady
		p.wait(&ready)
		publishers[ready.ID] = p
	}
	self := meshPeer(t, info.Signal, publishers)
	for id, p := range publishers {
		want := map[string]bool{self: true}
		for other := range publishers {
			if other != id {
				want[other] = true
			}
		}
		if !p.logs.until(t, meshTimeout, func(lines [][]byte) bool { return sawStreams(lines, want) }) {
			t.Errorf("publisher %s does not see the streams of both others:\n%s", id, p.logs)
		}
	}
}

// sawStreams reports whether the log says that streams of all wanted peers came.
func sawStreams(lines [][]byte, want map[string]bool) bool {
	seen := map[string]bool{}
	for _, line := range lines {
		var entry struct{ Msg, Peer string }
		if json.Unmarshal(line, &entry) == nil && entry.Msg == "stream added" && want[entry.Peer] {
			seen[entry.Peer] = true
		}
	}
	return len(seen) == len(want)
}

// meshPeer joins as a third peer, publishes the test pattern, and returns its id
// once it has 60 frames of each publisher. It stays until the test ends.
func meshPeer(t *testing.T, signal string, publishers map[string]*process) string {
	t.Helper()
	d, err := natsdriver.New(natsdriver.Config{URL: signal})
	if err != nil {
		t.Fatal(err)
	}
	api, err := conn.NewAPI(conn.Config{Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	src, err := source.Open(source.Config{Pattern: "vp8", Loop: true})
	if err != nil {
		t.Fatal(err)
	}
	peer, err := node.New(node.Config{Driver: d, Conn: api, Metadata: map[string]any{"name": "test"}})
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan string, 16)
	peer.OnTrack(func(e node.TrackEvent) {
		if e.Added && e.Track.Kind() == codec.Video {
			e.Track.Add(&frameCounter{left: 60, done: func() { seen <- e.Peer }})
		}
	})
	ctx, cancel := contextFor(t)
	var wg sync.WaitGroup
	wg.Go(func() { _ = src.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		_ = peer.Close()
		_ = api.Close()
		_ = d.Close()
	})
	if err := peer.Publish(publish.Stream{Label: "camera", Tracks: src.Tracks()}); err != nil {
		t.Fatal(err)
	}
	if err := peer.Join(ctx, "mesh"); err != nil {
		t.Fatal(err)
	}
	timeout := time.NewTimer(meshTimeout)
	defer timeout.Stop()
	for got := map[string]bool{}; len(got) < len(publishers); {
		select {
		case id := <-seen:
			if publishers[id] == nil {
				t.Errorf("60 frames of a stranger %s", id)
			}
			got[id] = true
		case <-timeout.C:
			t.Fatalf("60 frames of %d publishers only: %v; connections %+v", len(got), got, peer.Connections())
		}
	}
	return peer.ID()
}

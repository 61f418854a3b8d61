package node

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/logging"
	"github.com/pion/rtp"
	"github.com/pion/transport/v4/vnet"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/mesh/conn"
	"github.com/weft-rtc/weft/mesh/driver/memory"
	"github.com/weft-rtc/weft/publish"
)

// world is a network in virtual time with hosts that can lose packets, and a
// signaling bus that all its peers share. It lives inside a synctest bubble.
type world struct {
	t      *testing.T
	router *vnet.Router
	bus    *memory.Bus
	hosts  int
	undo   []func()

	mu   sync.Mutex
	rnd  *rand.Rand
	loss float64 // of every packet, each way
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, bus: memory.NewBus(), rnd: rand.New(rand.NewPCG(1, 2))}
	router, err := vnet.NewRouter(&vnet.RouterConfig{
		CIDR:          "10.0.0.0/16",
		MinDelay:      10 * time.Millisecond,
		LoggerFactory: &logging.DefaultLoggerFactory{Writer: os.Stderr, DefaultLogLevel: logging.LogLevelError},
	})
	if err != nil {
		t.Fatal(err)
	}
	router.AddChunkFilter(func(vnet.Chunk) bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.rnd.Float64() >= w.loss
	})
	if err := router.Start(); err != nil {
		t.Fatal(err)
	}
	w.router = router
	w.undo = append(w.undo, func() {
		if err := router.Stop(); err != nil {
			t.Error("stop router:", err)
		}
	})
	return w
}

// setLoss changes the share of packets that every host loses.
func (w *world) setLoss(loss float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.loss = loss
}

// close ends everything, in the reverse order of its making.
func (w *world) close() {
	for i := len(w.undo) - 1; i >= 0; i-- {
		w.undo[i]()
	}
}

// peer makes a Peer on a host of its own and joins it to the room; before that, who
// wants all of its events has it.
func (w *world) peer(cfg Config, noNACK bool, before ...func(*Peer)) *Peer {
	w.t.Helper()
	w.hosts++
	host, err := vnet.NewNet(&vnet.NetConfig{StaticIPs: []string{fmt.Sprintf("10.0.1.%d", w.hosts)}})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.router.AddNet(host); err != nil {
		w.t.Fatal(err)
	}
	if testing.Verbose() && os.Getenv("WEFT_TEST_LOG") != "" {
		cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("host", w.hosts)
	}
	api, err := conn.NewAPI(conn.Config{Net: host, NoNACK: noNACK, Logger: cfg.Logger})
	if err != nil {
		w.t.Fatal(err)
	}
	cfg.Conn = api
	cfg.Driver = w.bus.Driver()
	p, err := New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range before {
		f(p)
	}
	if err := p.Join(context.Background(), "room"); err != nil {
		w.t.Fatal(err)
	}
	w.undo = append(w.undo, func() {
		if err := p.Close(); err != nil {
			w.t.Error(err)
		}
		if err := api.Close(); err != nil {
			w.t.Error(err)
		}
		if err := cfg.Driver.Close(); err != nil {
			w.t.Error(err)
		}
	})
	return p
}

// camera is a made-up VP8 publisher: frames of several packets, each with a
// number of its own.
type camera struct {
	track *publish.Track
	layer *publish.Layer // where its packets go; nil: the track's first
	ssrc  uint32         // 7 if zero
	size  int            // width, 640 if zero
	seq   uint16
	ts    uint32
	sent  uint32
	gop   int // frames from keyframe to keyframe, 30 if zero
}

func newCamera() *camera {
	return &camera{track: publish.NewTrack(publish.TrackConfig{
		ID: "camera", Codec: codec.Default(codec.Video)[0],
	})}
}

// frame writes one picture of n packets; the first of each group is a keyframe.
func (c *camera) frame(n int) {
	gop := max(c.gop, 1)
	if c.gop == 0 {
		gop = 30
	}
	key := int(c.ts/3000)%gop == 0
	for i := range n {
		payload := make([]byte, 600)
		if i == 0 {
			payload[0] = 0x10 // S=1, PID=0 (RFC 7741 section 4.2)
		}
		payload[1] = 1 // P=1: interframe
		if i == 0 && key {
			payload[1] = 0
			width := cmp.Or(c.size, 640)
			height := width * 9 / 16
			copy(payload[4:], []byte{0x9d, 0x01, 0x2a, byte(width), byte(width >> 8), byte(height), byte(height >> 8)})
		}
		c.sent++
		payload[16], payload[17], payload[18], payload[19] = byte(c.sent>>24), byte(c.sent>>16), byte(c.sent>>8), byte(c.sent)
		layer := c.layer
		if layer == nil {
			layer = c.track.Layer
		}
		layer.WriteRTP(&rtp.Header{
			Version: 2, SequenceNumber: c.seq, Timestamp: c.ts, Marker: i == n-1, SSRC: cmp.Or(c.ssrc, 7),
		}, payload, time.Now())
		c.seq++
	}
	c.ts += 3000
}

// run plays for d in real (virtual) time, at 30 frames a second.
func (c *camera) run(d time.Duration, packets int) {
	tick := time.NewTicker(time.Second / 30)
	defer tick.Stop()
	for range int(d / (time.Second / 30)) {
		<-tick.C
		c.frame(packets)
	}
}

// film is the other end: it remembers which numbers arrived.
type film struct {
	mu   sync.Mutex
	seen map[uint32]int
	kept map[uint32]bool // of these: from the history, and perhaps still to come as they are sent
}

func (f *film) WritePacket(p *publish.Packet) {
	if len(p.Payload) < 20 { // a liar's
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n := numberOf(p.Payload)
	if f.kept[n] {
		delete(f.kept, n)
		return
	}
	f.seen[n]++
}

func numberOf(payload []byte) uint32 { return binary.BigEndian.Uint32(payload[16:]) }

// begin films what came before the application heard of the track, and all after.
func (f *film) begin(t *publish.Track) {
	t.Add(f)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kept = map[uint32]bool{}
	newest, _, _ := t.Newest()
	buf := make([]byte, publish.MaxPacket)
	for i := newest - int64(t.Window()); i <= newest; i++ {
		if p, ok := t.Lookup(i, buf); ok && len(p.Payload) >= 20 && f.seen[numberOf(p.Payload)] == 0 {
			f.seen[numberOf(p.Payload)], f.kept[numberOf(p.Payload)] = 1, true
		}
	}
}

// delivered counts distinct numbers from first to last, and duplicates.
func (f *film) delivered(first, last uint32) (n, twice int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := first; i <= last; i++ {
		if f.seen[i] > 0 {
			n++
		}
		if f.seen[i] > 1 {
			twice++
		}
	}
	return n, twice
}

// watch films every video track that p receives, by origin.
func watch(p *Peer) func(origin string) *film {
	var mu sync.Mutex
	films := map[string]*film{}
	p.OnTrack(func(e TrackEvent) {
		if !e.Added || e.Track.Kind() != codec.Video {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if films[e.Peer] == nil {
			films[e.Peer] = &film{seen: map[uint32]int{}}
		}
		films[e.Peer].begin(e.Track)
	})
	return func(origin string) *film {
		mu.Lock()
		defer mu.Unlock()
		if films[origin] == nil {
			return &film{}
		}
		return films[origin]
	}
}

// TestCallWithLoss runs 30 s of call from a publisher over a hub to a viewer.
// Both hops lose 5 % of all packets each way, media and feedback, DTLS and ICE.
func TestCallWithLoss(t *testing.T) {
	for _, tt := range []struct {
		name   string
		repair bool
	}{
		{"repaired", true},
		{"not repaired", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				defer w.close()
				w.peer(Config{Hub: true}, !tt.repair)
				viewer := w.peer(Config{}, !tt.repair)
				seen := watch(viewer)
				publisher := w.peer(Config{}, !tt.repair)
				c := newCamera()
				if err := publisher.Publish(publish.Stream{Label: "cam", Tracks: []*publish.Track{c.track}}); err != nil {
					t.Fatal(err)
				}
				c.run(5*time.Second, 4) // the room comes together
				w.setLoss(0.05)
				first := c.sent + 1
				c.run(30*time.Second, 4)
				last := c.sent
				w.setLoss(0)
				c.run(3*time.Second, 4) // what is still missing is asked for
				got, twice := seen(publisher.ID()).delivered(first, last)
				want := int(last - first + 1)
				t.Logf("%d of %d packets, %d twice", got, want, twice)
				if twice > 0 {
					t.Errorf("%d packets handed on twice", twice)
				}
				if tt.repair && got != want {
					t.Errorf("delivered %d of %d", got, want)
				}
				if share := float64(got) / float64(want); !tt.repair && (share > 0.92 || share < 0.85) {
					t.Errorf("without repair %.1f %% were delivered, 5 %% lost twice leaves 90.3", 100*share)
				}
			})
		})
	}
}

// TestMesh: three peers without a hub, all publish, all see all.
func TestMesh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		const n = 3
		var peers [n]*Peer
		var cams [n]*camera
		var seen [n]func(string) *film
		for i := range peers {
			peers[i], cams[i] = w.peer(Config{Metadata: map[string]any{"name": fmt.Sprint("peer ", i)}}, false), newCamera()
			seen[i] = watch(peers[i])
			if err := peers[i].Publish(publish.Stream{Label: "cam", Tracks: []*publish.Track{cams[i].track}}); err != nil {
				t.Fatal(err)
			}
		}
		var playing sync.WaitGroup
		for _, c := range cams {
			playing.Go(func() { c.run(8*time.Second, 2) })
		}
		playing.Wait()
		synctest.Wait()
		for i := range peers {
			if got := len(peers[i].Connections()); got != n-1 {
				t.Errorf("peer %d has %d connections, want %d", i, got, n-1)
			}
			for j := range peers {
				if i == j {
					continue
				}
				if got, _ := seen[i](peers[j].ID()).delivered(240, 480); got < 230 {
					t.Errorf("peer %d saw %d packets of peer %d in the last 4 s, want 240", i, got, j)
				}
			}
		}
	})
}

// TestHubRoster: peers behind a hub appear under their own ids, are not linked
// to each other, and their streams end when they leave.
func TestHubRoster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		hub := w.peer(Config{Hub: true}, false)
		a, b := w.peer(Config{Metadata: map[string]any{"name": "a"}}, false), w.peer(Config{Metadata: map[string]any{"name": "b"}}, false)
		var events []string
		b.OnStream(func(e StreamEvent) { events = append(events, fmt.Sprint(e.Label, " ", e.Added, " ", e.Peer == a.ID())) })
		c := newCamera()
		if err := a.Publish(publish.Stream{Label: "cam", Tracks: []*publish.Track{c.track}}); err != nil {
			t.Fatal(err)
		}
		aID := a.ID()
		c.run(5*time.Second, 1)
		synctest.Wait()
		var via string
		for _, conn := range b.Connections() {
			if conn.ID() == aID {
				via = conn.Via()
			}
		}
		if via != hub.ID() {
			t.Errorf("b reaches a via %q, want the hub %q: %+v", via, hub.ID(), b.Connections())
		}
		if got := len(hub.Connections()); got != 2 {
			t.Errorf("hub has %d connections, want 2", got)
		}
		a.Leave()
		<-time.After(2 * time.Second)
		synctest.Wait()
		if got := len(b.Connections()); got != 1 {
			t.Errorf("after a left b has %d connections, want the hub: %+v", got, b.Connections())
		}
		if len(events) != 2 || events[0] != "cam true true" || events[1] != "cam false false" {
			t.Errorf("events of b: %q", events)
		}
	})
}

// TestReplace: publishing again under a label swaps the track on the sender
// that is there; unpublishing ends the stream.
func TestReplace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		w.peer(Config{Hub: true}, false)
		a, b := w.peer(Config{}, false), w.peer(Config{}, false)
		seen := watch(b)
		var streams, tracks []bool
		b.OnStream(func(e StreamEvent) { streams = append(streams, e.Added) })
		b.OnTrack(func(e TrackEvent) { tracks = append(tracks, e.Added) })
		one, two := newCamera(), newCamera()
		two.sent, two.seq = 100_000, 40_000
		for _, c := range []*camera{one, two} {
			if err := a.Publish(publish.Stream{Label: "cam", Tracks: []*publish.Track{c.track}}); err != nil {
				t.Fatal(err)
			}
			c.run(5*time.Second, 2)
		}
		synctest.Wait()
		if got, _ := seen(a.ID()).delivered(100_190, 100_290); got != 101 {
			t.Errorf("%d of 101 packets of the second camera", got)
		}
		if len(streams) != 1 || len(tracks) != 1 {
			t.Errorf("events of a replacement: streams %v, tracks %v, want one of each", streams, tracks)
		}
		a.Unpublish("cam")
		a.Unpublish("no such")
		<-time.After(2 * time.Second)
		synctest.Wait()
		if len(streams) != 2 || streams[1] {
			t.Errorf("after Unpublish: streams %v", streams)
		}
	})
}

// TestLateJoiner: a source that makes a keyframe only every 10 s and cannot be
// asked for one. Who joins in between sees at once, from what the hub has kept.
func TestLateJoiner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		w.peer(Config{Hub: true}, false)
		a := w.peer(Config{}, false)
		c := newCamera()
		c.gop = 300
		if err := a.Publish(publish.Stream{Label: "cam", Tracks: []*publish.Track{c.track}}); err != nil {
			t.Fatal(err)
		}
		c.run(14*time.Second, 1)
		late := w.peer(Config{}, false)
		seen := watch(late)
		c.run(3*time.Second, 1) // the next keyframe is 3 s away
		synctest.Wait()
		if got, _ := seen(a.ID()).delivered(301, 500); got != 200 {
			t.Errorf("%d of 200 packets since the last keyframe", got)
		}
	})
}

// TestSetHub changes the role of a peer in the middle of a room.
func TestSetHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		toMiddle := func(_ string, m json.RawMessage) bool { return strings.Contains(string(m), "middle") }
		middle := w.peer(Config{Metadata: map[string]any{"name": "middle"}}, false)
		a, b := w.peer(Config{Verify: toMiddle}, false), w.peer(Config{Verify: toMiddle}, false)
		var labels []string
		b.OnStream(func(e StreamEvent) { labels = append(labels, fmt.Sprint(e.Label, " ", e.Added)) })
		c := newCamera()
		if err := a.Publish(publish.Stream{Label: "cam", Tracks: []*publish.Track{c.track}}); err != nil {
			t.Fatal(err)
		}
		c.run(3*time.Second, 1)
		synctest.Wait()
		if len(labels) != 0 {
			t.Errorf("forwarded without being a hub: %q", labels)
		}
		for _, hub := range []bool{true, false} {
			if err := middle.SetHub(hub); err != nil {
				t.Fatal(err)
			}
			c.run(3*time.Second, 1)
		}
		synctest.Wait()
		if !slices.Equal(labels, []string{"cam true", "cam false"}) {
			t.Errorf("streams of b: %q", labels)
		}
	})
}

package node

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/transport/v4/vnet"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/mesh/conn"
	"github.com/weft-rtc/weft/publish"
)

// pliHeader is the beginning of a picture loss indication, which SRTCP leaves
// readable: version 2, format 1, type 206 (RFC 4585 section 6.3.1).
var pliHeader = []byte{0x81, 206}

// wire watches packets to one host that begin with some bytes.
type wire struct {
	host  string
	bytes []byte

	mu    sync.Mutex
	times []time.Time // when each of them came by
}

// filter implements what a vnet.Router wants of a filter; it drops nothing.
func (w *wire) filter(c vnet.Chunk) bool {
	if strings.HasPrefix(c.DestinationAddr().String(), w.host+":") && bytes.HasPrefix(c.UserData(), w.bytes) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.times = append(w.times, time.Now())
	}
	return true
}

// seen returns the times so far.
func (w *wire) seen() []time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.times
}

// receivers are the tracks that come to p.
func receivers(p *Peer) (all []*conn.Receiver) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.remotes {
		for recv := range r.in {
			all = append(all, recv)
		}
	}
	return all
}

// TestKeyframeStorm: sixty viewers of a hub ask for a key picture at once, again
// and again for ten seconds. The publisher gets two requests a second at most,
// whether it answers them or not.
func TestKeyframeStorm(t *testing.T) {
	for _, tt := range []struct {
		name    string
		answers bool
	}{
		{"publisher answers", true},
		{"publisher does not", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { keyframeStorm(t, tt.answers) })
		})
	}
}

func keyframeStorm(t *testing.T, answers bool) {
	const rounds, pause = 200, 50 * time.Millisecond
	viewers := 60
	if raceFactor > 1 {
		viewers = 12 // with sixty, the runtime of the race detector crashed
	}
	w := newWorld(t)
	defer w.close()
	w.peer(Config{Hub: true}, false)
	publisher := w.peer(Config{}, false)
	toHub, toPublisher := &wire{host: "10.0.1.1", bytes: pliHeader}, &wire{host: "10.0.1.2", bytes: pliHeader}
	w.router.AddChunkFilter(toHub.filter)
	w.router.AddChunkFilter(toPublisher.filter)
	c := newAskedCamera(answers)
	if err := publisher.Publish(publish.Stream{Label: "cam", Tracks: []*publish.Track{c.track}}); err != nil {
		t.Fatal(err)
	}
	all := make([]*Peer, viewers)
	for i := range all {
		all[i] = w.peer(Config{Verify: func(_ string, m json.RawMessage) bool { return isHub(m) }}, false)
	}
	for range 50 { // the room comes together
		<-time.After(pause)
		c.frame()
	}
	var recvs []*conn.Receiver
	for i, p := range all {
		r := receivers(p)
		if len(r) != 1 || len(r[0].SSRCs()) != 1 {
			t.Fatalf("viewer %d has %d tracks, want 1 that plays", i, len(r))
		}
		recvs = append(recvs, r...)
	}
	before := len(toPublisher.seen())
	for range rounds {
		<-time.After(pause)
		c.frame()
		for _, r := range recvs {
			r.RequestKeyframe(0)
		}
	}
	<-time.After(time.Second)
	synctest.Wait()

	if got := len(toHub.seen()); got < viewers*rounds {
		t.Errorf("the hub was asked %d times, want %d", got, viewers*rounds)
	}
	times := toPublisher.seen()
	during := len(times) - before
	t.Logf("the publisher was asked %d times while the hub was %d times, %d key pictures in all", during, viewers*rounds, c.keys)
	if during < 10 || during > 21 {
		t.Errorf("the publisher was asked %d times in 10 s", during)
	}
	for i := 2; i < len(times); i++ {
		if d := times[i].Sub(times[i-2]); d < time.Second {
			t.Errorf("the publisher was asked three times within %v", d)
		}
	}
}

// askedCamera makes a key picture only when asked for one, and not even then
// unless it answers.
type askedCamera struct {
	*camera
	answers bool
	asked   atomic.Bool
	keys    int
}

func newAskedCamera(answers bool) *askedCamera {
	c := &askedCamera{camera: newCamera(), answers: answers}
	c.track = publish.NewTrack(publish.TrackConfig{
		ID: "camera", Codec: codec.Default(codec.Video)[0],
		KeyframeRequest: func() { c.asked.Store(true) },
	})
	return c
}

// frame writes a picture of one packet; the first is a key picture.
func (c *askedCamera) frame() {
	c.gop = 1 << 20
	if c.asked.Swap(false) && c.answers || c.keys == 0 {
		c.gop = 1
		c.keys++
	}
	c.camera.frame(1)
}

package node

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/mesh/conn"
	"github.com/weft-rtc/weft/publish"
)

// guest is a peer of a large room: it has sound and a picture to publish, of
// one packet now and then, and counts the tracks that it sees.
type guest struct {
	p            *Peer
	sound, image *publish.Track
	seq          uint16

	mu   sync.Mutex
	seen map[*publish.Track]bool // tracks that are there
	last time.Time               // when the last of them came
}

func (w *world) guest(i int) *guest {
	g := &guest{seen: map[*publish.Track]bool{}}
	g.p = w.peer(Config{Metadata: map[string]any{"name": fmt.Sprint("guest ", i)}}, false)
	g.p.OnTrack(func(e TrackEvent) {
		g.mu.Lock()
		defer g.mu.Unlock()
		if !e.Added {
			delete(g.seen, e.Track)
			return
		}
		g.seen[e.Track] = true
		g.last = time.Now()
	})
	return g
}

func (g *guest) publish(t *testing.T) {
	g.sound = publish.NewTrack(publish.TrackConfig{ID: "sound", Codec: codec.Default(codec.Audio)[0]})
	g.image = publish.NewTrack(publish.TrackConfig{ID: "image", Codec: codec.Default(codec.Video)[0]})
	if err := g.p.Publish(publish.Stream{Label: "cam", Tracks: []*publish.Track{g.sound, g.image}}); err != nil {
		t.Error("publish:", err)
	}
}

func (g *guest) unpublish() {
	g.p.Unpublish("cam")
	g.sound.Close()
	g.image.Close()
	g.sound, g.image = nil, nil
}

// play sends a packet of each track, the picture a key picture.
func (g *guest) play() {
	if g.image == nil {
		return
	}
	h := rtp.Header{Version: 2, SequenceNumber: g.seq, Timestamp: uint32(g.seq) * 3000, Marker: true, SSRC: 7}
	g.seq++
	g.sound.WriteRTP(&h, make([]byte, 40), time.Now())
	picture := make([]byte, 100)
	picture[0] = 0x10 // S=1, PID=0 (RFC 7741 section 4.2)
	copy(picture[4:], []byte{0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01})
	g.image.WriteRTP(&h, picture, time.Now())
}

func (g *guest) tracks() (n int, last time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.seen), g.last
}

// links returns the numbers of every direct connection of p, by id.
func links(p *Peer) map[string]conn.Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := map[string]conn.Stats{}
	for id, r := range p.remotes {
		all[id] = r.link.Conn().Stats()
	}
	return all
}

// TestBurst: thirty peers join a room of ten within a second, each with sound and
// a picture. What that changes is offered to each peer a few times, not for each
// of the sixty tracks, and nobody waits long for a picture.
func TestBurst(t *testing.T) {
	const late = 1500 * time.Millisecond // from the last join to the last track
	before, burst := 10, 30
	if raceFactor > 1 {
		before, burst = 3, 12
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		hub := w.peer(Config{Hub: true}, false)
		var guests []*guest
		for i := range before {
			guests = append(guests, w.guest(i))
		}
		<-time.After(3 * time.Second)
		was := links(hub)
		join := time.NewTicker(time.Second / time.Duration(burst))
		defer join.Stop()
		for i := range burst {
			<-join.C
			g := w.guest(before + i)
			g.publish(t)
			guests = append(guests, g)
			for _, g := range guests {
				g.play()
			}
		}
		start := time.Now()
		for range 100 {
			<-time.After(40 * time.Millisecond)
			for _, g := range guests {
				g.play()
			}
		}
		synctest.Wait()
		offers, most, back := 0, 0, 0
		for id, s := range links(hub) {
			n := int(s.Offers - was[id].Offers)
			offers, most = offers+n, max(most, n)
		}
		var last time.Time
		for i, g := range guests {
			for _, s := range links(g.p) {
				back = max(back, int(s.Offers))
			}
			n, at := g.tracks()
			want := 2 * burst
			if i >= before {
				want -= 2
			}
			if n != want {
				t.Errorf("guest %d sees %d tracks, want %d", i, n, want)
			}
			if at.After(last) {
				last = at
			}
		}
		t.Logf("hub: %d offers, at most %d to one peer; at most %d from a peer; last track after %v", offers, most, back, last.Sub(start))
		if most > 8 || back > 5 { // those that collide with the hub's are made twice
			t.Errorf("%d offers to a peer, at most 8; %d from one, at most 5", most, back)
		}
		if last.Sub(start) > late {
			t.Errorf("last track %v after the last join, want %v", last.Sub(start), late)
		}
	})
}

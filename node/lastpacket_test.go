package node

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/transport/v4/vnet"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/publish"
)

// lastPackets loses the last packet of each fourth picture on its way from one
// host, but not its repeat, which has the payload type of RTX. The first picture
// that it loses is number skip.
type lastPackets struct {
	host string
	skip int

	mu   sync.Mutex
	on   bool
	seen int
	lost int
}

// filter implements what a vnet.Router wants of a filter. It reads what SRTP
// leaves readable: version 2, the marker, payload type 96, which is VP8.
func (l *lastPackets) filter(c vnet.Chunk) bool {
	b := c.UserData()
	if len(b) < 12 || b[0]&0xc0 != 0x80 || b[1] != 0x80|96 || !strings.HasPrefix(c.SourceAddr().String(), l.host+":") {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.on {
		return true
	}
	l.seen++
	if l.seen%4 != l.skip%4 {
		return true
	}
	l.lost++
	return false
}

func (l *lastPackets) set(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.on = on
}

// wholes is a sink that notes when each picture was whole.
type wholes struct {
	packets int // of a picture

	mu    sync.Mutex
	count map[uint32]int // by the numbers that camera writes
	at    map[uint32]time.Time
}

func (w *wholes) WritePacket(p *publish.Packet) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := p.Payload[16:20]
	number := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	frame := (number - 1) / uint32(w.packets)
	if w.count[frame]++; w.count[frame] == w.packets {
		w.at[frame] = p.Arrival
	}
}

// slowFilm is a film of some packets a picture and five pictures a second.
type slowFilm struct {
	*camera
	packets int
	sent    []time.Time // when each picture was
}

// slowInterval is from one picture to the next.
const slowInterval = 200 * time.Millisecond

func (s *slowFilm) play(pictures int) {
	for range pictures {
		<-time.After(slowInterval / 2)
		s.sent = append(s.sent, time.Now())
		s.frame(s.packets)
		s.ts += uint32(slowInterval.Milliseconds()*90) - 3000
		<-time.After(slowInterval / 2)
	}
}

// TestLastPacket: five pictures a second, of which each second one loses its last
// packet, half of them on the way to the hub and half on the way to the viewer.
// The next picture shows that; a round trip later all of them are whole.
func TestLastPacket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const (
			packets  = 3
			pictures = 150
			hop      = 10 * time.Millisecond // one way, see newWorld
			limit    = slowInterval + 4*hop
		)
		w := newWorld(t)
		defer w.close()
		w.peer(Config{Hub: true}, false)
		publisher, viewer := w.peer(Config{}, false), w.peer(Config{}, false)
		losses := []*lastPackets{{host: "10.0.1.2", skip: 1}, {host: "10.0.1.1", skip: 3}}
		for _, l := range losses {
			w.router.AddChunkFilter(l.filter)
		}
		seen := &wholes{packets: packets, count: map[uint32]int{}, at: map[uint32]time.Time{}}
		viewer.OnTrack(func(e TrackEvent) {
			if e.Added && e.Track.Kind() == codec.Video {
				e.Track.Add(seen)
			}
		})
		f := &slowFilm{camera: newCamera(), packets: packets}
		if err := publisher.Publish(publish.Stream{Label: "cam", Tracks: []*publish.Track{f.track}}); err != nil {
			t.Fatal(err)
		}
		f.play(15) // the room comes together
		first := len(f.sent)
		for _, l := range losses {
			l.set(true)
		}
		f.play(pictures)
		for _, l := range losses {
			l.set(false)
		}
		f.play(2) // shows the loss of the last one
		synctest.Wait()

		took := seen.repaired(t, f.sent, first, first+pictures, 2*hop)
		if lost := losses[0].lost + losses[1].lost; len(took) != lost || lost < pictures/2 {
			t.Fatalf("%d pictures were repaired, %d last packets were lost", len(took), lost)
		}
		if longest := took[len(took)-1]; longest > limit {
			t.Errorf("a picture was whole after %v, want %v", longest, limit)
		}
		t.Logf("%d of %d pictures repaired, whole %v to %v after they were sent, middle %v; the next one comes after %v",
			len(took), pictures, took[0], took[len(took)-1], took[len(took)/2], slowInterval+2*hop)
	})
}

// repaired returns what it took until pictures were whole, sorted, of those that
// took longer than the way is.
func (w *wholes) repaired(t *testing.T, sent []time.Time, first, end int, way time.Duration) (took []time.Duration) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := first; i < end; i++ {
		at, ok := w.at[uint32(i)]
		if !ok {
			t.Errorf("picture %d never became whole", i)
		} else if d := at.Sub(sent[i]); d > way {
			took = append(took, d)
		}
	}
	slices.Sort(took)
	return took
}

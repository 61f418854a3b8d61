package mesh

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/logging"
	"github.com/pion/transport/v4/vnet"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/mesh/conn"
	"github.com/weft-rtc/weft/mesh/driver"
	"github.com/weft-rtc/weft/mesh/driver/memory"
	"github.com/weft-rtc/weft/mesh/sdp"
	"github.com/weft-rtc/weft/mesh/signal"
)

// witness is a Handler that remembers.
type witness struct {
	mu     sync.Mutex
	ready  map[signal.PeerID]*Link
	closed map[signal.PeerID]error
	tracks map[string]string // label to kind
	ended  int
	sends  map[string]bool
	events []string
	errs   []error

	channels []*ears // in the order of LinkChannel
}

func newWitness() *witness {
	return &witness{
		ready: map[signal.PeerID]*Link{}, closed: map[signal.PeerID]error{},
		tracks: map[string]string{}, sends: map[string]bool{},
	}
}

func (w *witness) locked(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (w *witness) LinkState(l *Link, s conn.State, err error) {
	if s == conn.StateClosed {
		w.locked(func() {
			w.closed[l.ID()] = err
			if w.ready[l.ID()] == l {
				delete(w.ready, l.ID())
			}
		})
	}
}
func (w *witness) LinkReady(l *Link) { w.locked(func() { w.ready[l.ID()] = l }) }
func (w *witness) LinkTrack(_ *Link, r *conn.Receiver, label string) {
	w.locked(func() { w.tracks[label] = r.Kind().String() })
}
func (w *witness) LinkTrackEnded(*Link, *conn.Receiver) { w.locked(func() { w.ended++ }) }
func (w *witness) LinkSend(_ *Link, s *conn.Sender)     { w.locked(func() { w.sends[s.ID()] = true }) }
func (w *witness) LinkSendEnded(_ *Link, s *conn.Sender) {
	w.locked(func() { delete(w.sends, s.ID()) })
}
func (w *witness) LinkChannel(_ *Link, d *conn.DataChannel) {
	s := newEars(d)
	w.locked(func() { w.channels = append(w.channels, s) })
	d.SetSink(s)
}
func (w *witness) LinkEvent(_ *Link, e signal.Event, payload json.RawMessage) {
	w.locked(func() { w.events = append(w.events, fmt.Sprint(e, string(payload))) })
}
func (w *witness) RoomError(err error) { w.locked(func() { w.errs = append(w.errs, err) }) }

// site is a bubble's network and signaling bus.
type site struct {
	t      *testing.T
	router *vnet.Router
	bus    *memory.Bus
	hosts  int
}

func newSite(t *testing.T) *site {
	t.Helper()
	router, err := vnet.NewRouter(&vnet.RouterConfig{
		CIDR:          "10.0.0.0/16",
		MinDelay:      5 * time.Millisecond,
		LoggerFactory: &logging.DefaultLoggerFactory{Writer: os.Stderr, DefaultLogLevel: logging.LogLevelError},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := router.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := router.Stop(); err != nil {
			t.Error(err)
		}
	})
	return &site{t: t, router: router, bus: memory.NewBus()}
}

// guest is one member of the room under test.
type guest struct {
	*witness
	room   *Room
	driver driver.Driver
}

func (s *site) join(cfg Config) *guest {
	s.t.Helper()
	s.hosts++
	host, err := vnet.NewNet(&vnet.NetConfig{StaticIPs: []string{fmt.Sprintf("10.0.1.%d", s.hosts)}})
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.router.AddNet(host); err != nil {
		s.t.Fatal(err)
	}
	api, err := conn.NewAPI(conn.Config{Net: host})
	if err != nil {
		s.t.Fatal(err)
	}
	g := &guest{witness: newWitness(), driver: s.bus.Driver()}
	cfg.Name, cfg.Driver, cfg.API, cfg.Handler = "room", g.driver, api, g.witness
	if g.room, err = Join(context.Background(), cfg); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		g.room.Leave()
		if err := api.Close(); err != nil {
			s.t.Error(err)
		}
		if err := g.driver.Close(); err != nil {
			s.t.Error(err)
		}
	})
	return g
}

// linked checks that exactly these guests are linked with each other.
func linked(t *testing.T, guests ...*guest) {
	t.Helper()
	synctest.Wait()
	for i, g := range guests {
		g.mu.Lock()
		for j, other := range guests {
			if i != j && g.ready[other.room.ID()] == nil {
				t.Errorf("guest %d has no link to guest %d: %v", i, j, g.errs)
			}
		}
		if len(g.ready) != len(guests)-1 {
			t.Errorf("guest %d has %d links, want %d", i, len(g.ready), len(guests)-1)
		}
		g.mu.Unlock()
	}
}

// bubble runs f in virtual time; pass waits there.
func bubble(t *testing.T, f func(t *testing.T, s *site)) {
	synctest.Test(t, func(t *testing.T) { f(t, newSite(t)) })
}

func pass(d time.Duration) { <-time.After(d) }

func video(id string) sdp.Send {
	n := uint32(len(id))
	for _, c := range id {
		n = n*31 + uint32(c)
	}
	return sdp.Send{ID: id, Kind: codec.Video, StreamID: "s" + id, TrackID: "t" + id, SSRC: n<<1 | 1<<20, RTXSSRC: n<<1 | 1<<20 | 1}
}

func TestJoinOneByOne(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		a := s.join(Config{Metadata: json.RawMessage(`{"name":"a"}`)})
		b := s.join(Config{})
		pass(3 * time.Second)
		linked(t, a, b)
		c := s.join(Config{})
		pass(3 * time.Second)
		linked(t, a, b, c)
		if got := string(b.ready[a.room.ID()].Metadata()); got != `{"name":"a"}` {
			t.Errorf("metadata of a at b: %s", got)
		}
		c.room.Leave()
		pass(2 * time.Second)
		linked(t, a, b)
		if a.closed[c.room.ID()] != ErrLeft {
			t.Errorf("a saw c end with %v, want %v", a.closed[c.room.ID()], ErrLeft)
		}
	})
}

func TestJoinAtOnce(t *testing.T) {
	for round := range 10 {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			bubble(t, func(t *testing.T, s *site) {
				var guests []*guest
				for range 4 {
					guests = append(guests, s.join(Config{}))
				}
				pass(20 * time.Second)
				linked(t, guests...)
			})
		})
	}
}

// TestPublishAtOnce has both sides share streams from the start and change them
// at the same instant, many times; no stream may be lost.
func TestPublishAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		a, b := s.join(Config{}), s.join(Config{})
		pass(3 * time.Second)
		linked(t, a, b)
		ab, ba := a.ready[b.room.ID()], b.ready[a.room.ID()]
		for round := range 100 {
			id := fmt.Sprint("r", round)
			ab.SetSends([]sdp.Send{video("a" + id)}, map[string]string{"sa" + id: "label a" + id})
			ba.SetSends([]sdp.Send{video("b" + id)}, map[string]string{"sb" + id: "label b" + id})
			pass(time.Second)
			synctest.Wait()
			if !a.sends["a"+id] || !b.sends["b"+id] || a.tracks["label b"+id] == "" || b.tracks["label a"+id] == "" {
				t.Fatalf("round %d: sends %v %v, tracks %d %d", round, a.sends, b.sends, len(a.tracks), len(b.tracks))
			}
		}
		if len(a.sends) != 1 || a.ended != 99 || b.ended != 99 {
			t.Errorf("after 100 rounds: %d sends, %d and %d tracks ended", len(a.sends), a.ended, b.ended)
		}
	})
}

func TestDriverOutage(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		a := s.join(Config{})
		s.bus.SetActive(false)
		b := s.join(Config{})
		pass(5 * time.Second)
		if len(b.room.Links()) != 0 {
			t.Fatal("linked without signaling")
		}
		s.bus.SetActive(true)
		pass(3 * time.Second)
		linked(t, a, b)
		s.bus.SetActive(false)
		pass(60 * time.Second)
		linked(t, a, b) // links live without the driver
		s.bus.SetActive(true)
		pass(3 * time.Second)
		linked(t, a, b)
	})
}

func TestVerify(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		star := func(_ signal.PeerID, m json.RawMessage) bool { return string(m) == `{"hub":true}` }
		a, b := s.join(Config{Verify: star}), s.join(Config{Verify: star})
		pass(3 * time.Second)
		if len(a.room.Links())+len(b.room.Links()) != 0 {
			t.Error("clients linked with each other")
		}
		hub := s.join(Config{Metadata: json.RawMessage(`{"hub":true}`)})
		pass(3 * time.Second)
		synctest.Wait()
		if len(hub.ready) != 2 || len(a.ready) != 1 || len(b.ready) != 1 {
			t.Errorf("links: hub %d, a %d, b %d, want 2, 1, 1", len(hub.ready), len(a.ready), len(b.ready))
		}
	})
}

// TestGarbage throws at every namespace what no peer would send.
func TestGarbage(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		a := s.join(Config{})
		evil := s.bus.Driver()
		defer evil.Close()
		codec, err := signal.New(signal.Config{})
		if err != nil {
			t.Fatal(err)
		}
		announce, err := codec.Encode("", signal.Message{Type: signal.Announce})
		if err != nil {
			t.Fatal(err)
		}
		for _, ns := range []string{codec.RoomNamespace("room"), codec.PeerNamespace(a.room.ID())} {
			for i := range 300 {
				junk := make([]byte, i)
				for j := range junk {
					junk[j] = byte(i * j)
				}
				packets := [][]byte{junk, announce[:min(i, len(announce))], append(announce[:len(announce):len(announce)], junk...)}
				for _, p := range packets {
					if err := evil.Publish(context.Background(), ns, p); err != nil {
						t.Fatal(err)
					}
				}
				pass(10 * time.Millisecond)
			}
		}
		b := s.join(Config{})
		pass(3 * time.Second)
		linked(t, a, b)
		if len(a.errs) == 0 {
			t.Error("garbage was not reported")
		}
	})
}

// TestOfferAndVanish: a peer that offers and is never heard of again leaves
// nothing behind.
func TestOfferAndVanish(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		a := s.join(Config{})
		evil := s.bus.Driver()
		defer evil.Close()
		for i := range 20 {
			codec, err := signal.New(signal.Config{})
			if err != nil {
				t.Fatal(err)
			}
			// The invoke that a answers the announce with tells its key.
			learnt := make(chan struct{}, 1)
			unsubscribe, err := evil.Subscribe(context.Background(), codec.PeerNamespace(codec.ID()), func(p []byte) {
				if _, err := codec.Decode(p); err == nil {
					select {
					case learnt <- struct{}{}:
					default:
					}
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			announce, _ := codec.Encode("", signal.Message{Type: signal.Announce})
			if err := evil.Publish(context.Background(), codec.RoomNamespace("room"), announce); err != nil {
				t.Fatal(err)
			}
			<-learnt
			text := "v=0\r\nnonsense"
			if i%2 == 0 {
				text = vanishingOffer
			}
			offer, err := codec.Encode(a.room.ID(), signal.Message{Type: signal.Offer, Description: &signal.Description{Type: "offer", SDP: text}})
			if err != nil {
				t.Fatal(err)
			}
			if err := evil.Publish(context.Background(), codec.PeerNamespace(a.room.ID()), offer); err != nil {
				t.Fatal(err)
			}
			pass(100 * time.Millisecond)
			if err := unsubscribe(); err != nil {
				t.Fatal(err)
			}
		}
		pass(40 * time.Second)
		synctest.Wait()
		if n := len(a.room.Links()); n != 0 {
			t.Errorf("%d links are left", n)
		}
		for id, err := range a.closed {
			if err == nil {
				t.Errorf("link %s ended without a reason", id)
			}
		}
	})
}

// TestReturn: a peer that lost its connection without a word and comes back
// under the same id, while the other side still holds the old link.
func TestReturn(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		a, b := s.join(Config{}), s.join(Config{})
		pass(3 * time.Second)
		linked(t, a, b)
		old := a.ready[b.room.ID()]
		lost := b.ready[a.room.ID()]
		c := &guest{witness: newWitness(), driver: b.driver, room: b.room}
		b.room.mu.Lock()
		delete(b.room.links, a.room.ID()) // b forgets, a does not know
		b.room.cfg.Handler = c.witness
		b.room.mu.Unlock()
		b.room.Announce()
		pass(5 * time.Second)
		linked(t, a, c)
		if a.ready[b.room.ID()] == old || a.closed[b.room.ID()] != ErrReplaced {
			t.Errorf("the old link of a ended with %v", a.closed[b.room.ID()])
		}
		lost.Close()
		pass(time.Second)
	})
}

const vanishingOffer = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n" +
	"m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\n" +
	"a=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=ice-options:trickle\r\n" +
	"a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n" +
	"a=setup:actpass\r\na=mid:0\r\na=sctp-port:5000\r\na=max-message-size:262144\r\n"

func TestRestartICE(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		a, b := s.join(Config{}), s.join(Config{})
		pass(3 * time.Second)
		linked(t, a, b)
		for _, l := range []*Link{a.ready[b.room.ID()], b.ready[a.room.ID()]} {
			l.SetSends([]sdp.Send{video("v" + string(l.ID()[:4]))}, map[string]string{})
			pass(time.Second)
			ufrag := func() string {
				c := make(chan string, 1)
				l.do(func() { c <- l.conn.RemoteUfrag() })
				return <-c
			}
			before := ufrag()
			l.RestartICE()
			pass(5 * time.Second)
			linked(t, a, b)
			if ufrag() == before {
				t.Errorf("the remote side of %s did not restart; links ended: %v, %v", l.ID()[:4], a.closed, b.closed)
			}
		}
	})
}

func TestJoinRefuses(t *testing.T) {
	for _, name := range []string{"", "a\x00b", "\xff", string(make([]byte, 200))} {
		if _, err := Join(context.Background(), Config{Name: name}); err == nil {
			t.Errorf("room %q accepted", name)
		}
	}
	if _, err := Join(context.Background(), Config{Name: "room"}); err == nil {
		t.Error("a room without driver accepted")
	}
}

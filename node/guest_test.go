package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/transport/v4/vnet"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/mesh/conn"
	"github.com/weft-rtc/weft/mesh/sdp"
	"github.com/weft-rtc/weft/mesh/signal"
	"github.com/weft-rtc/weft/publish"
	"github.com/weft-rtc/weft/subscribe"
)

// caller is the other side of a guest: a connection that sends the track of a
// camera, or films what comes.
type caller struct {
	t     *testing.T
	conn  *conn.Conn
	guest *Guest
	ended chan error
	film  film

	mu      sync.Mutex
	forward *subscribe.Forwarder
	streams int    // sources that came
	last    uint16 // sequence number
	holes   int    // sequence numbers that did not follow
	state   conn.State
}

func (c *caller) ConnState(s conn.State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = s
}

func (c *caller) SendReady(s *conn.Sender) {
	p := s.Payloads()[0]
	c.forward.Bind(s, subscribe.Payload{Type: p.Type, RTX: p.RTX})
}

func (c *caller) TrackOpened(r *conn.Receiver) {
	if r.Kind() == codec.Video {
		r.SetSink(c)
	}
}

func (c *caller) ReceiveRTP(p *conn.Incoming) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.streams == 0 {
		c.streams, c.last = 1, p.Header.SequenceNumber-1
	}
	if p.Header.SequenceNumber != c.last+1 {
		c.holes++
	}
	c.last = p.Header.SequenceNumber
	c.film.WritePacket(&publish.Packet{Payload: p.Payload})
}

func (c *caller) ReceiveReport(uint32, uint64, uint32, time.Time) { /* not looked at */ }
func (c *caller) ConnCandidate(signal.Candidate)                  { /* in the description */ }
func (c *caller) ControlOpen()                                    { /* there is none */ }
func (c *caller) ControlMessage([]byte)                           { /* there is none */ }
func (c *caller) ControlClosed()                                  { /* there is none */ }
func (c *caller) ChannelOpened(*conn.DataChannel)                 { /* there is none */ }
func (c *caller) TrackClosed(*conn.Receiver)                      { /* not looked at */ }
func (c *caller) SendClosed(*conn.Sender)                         { /* not looked at */ }

// call makes the other side of a guest on a host of its own.
func (w *world) call() *caller {
	w.t.Helper()
	w.hosts++
	host, err := vnet.NewNet(&vnet.NetConfig{StaticIPs: []string{fmt.Sprintf("10.0.1.%d", w.hosts)}})
	if err == nil {
		err = w.router.AddNet(host)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	api, err := conn.NewAPI(conn.Config{Net: host})
	if err != nil {
		w.t.Fatal(err)
	}
	c := &caller{t: w.t, ended: make(chan error, 1), film: film{seen: map[uint32]int{}}}
	if c.conn, err = api.New(conn.Options{Handler: c, Complete: true, Polite: true}); err != nil {
		w.t.Fatal(err)
	}
	w.undo = append(w.undo, func() {
		if err := api.Close(); err != nil {
			w.t.Error(err)
		}
	})
	return c
}

// offers makes the offer of a publisher.
func (c *caller) offers(cam *camera) string {
	c.t.Helper()
	send := sdp.Send{ID: "cam", Kind: codec.Video, SSRC: newSSRC(), RTXSSRC: newSSRC()}
	c.forward = subscribe.NewForwarder(subscribe.Config{Track: cam.track, SSRC: send.SSRC, RTXSSRC: send.RTXSSRC})
	c.conn.SetSends([]sdp.Send{send})
	offer, err := c.conn.Counter(context.Background())
	if err != nil {
		c.t.Fatal(err)
	}
	return offer
}

// publishGuest lets a guest in that publishes a camera.
func (w *world) publishGuest(hub *Peer, stream string, cam *camera) *caller {
	w.t.Helper()
	c := w.call()
	var err error
	c.guest, err = hub.Admit(context.Background(), GuestConfig{
		Offer: c.offers(cam), Stream: stream, Metadata: map[string]any{"name": stream},
		Ended: func(err error) { c.ended <- err },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	answer, counter := c.guest.Answer()
	if counter {
		w.t.Error("a publisher gets an offer")
	}
	if err := c.conn.HandleAnswer(context.Background(), answer); err != nil {
		w.t.Fatal(err)
	}
	return c
}

// watchGuest lets a guest in that watches. What it offers is not acceptable, so
// that it gets an offer of ours.
func (w *world) watchGuest(hub *Peer, what Watch) (*caller, error) {
	w.t.Helper()
	c, unfit := w.call(), w.call()
	var err error
	c.guest, err = hub.Admit(context.Background(), GuestConfig{
		Offer: unfit.offers(newCamera()), Watch: &what, Ended: func(err error) { c.ended <- err },
	})
	if err != nil {
		return c, err
	}
	offer, counter := c.guest.Answer()
	if !counter {
		w.t.Error("an offer to send is answered to a guest that watches")
	}
	answer, _, err := c.conn.HandleOffer(context.Background(), offer)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := c.guest.HandleAnswer(context.Background(), answer); err != nil {
		w.t.Fatal(err)
	}
	return c, nil
}

// play runs cameras for d at the same time.
func play(d time.Duration, cams ...*camera) {
	var wg sync.WaitGroup
	for _, c := range cams {
		wg.Go(func() { c.run(d, 2) })
	}
	wg.Wait()
	synctest.Wait()
}

// gets checks that what a camera sent from first on came.
func (c *caller) gets(what string, cam *camera, first uint32) {
	c.t.Helper()
	if n, twice := c.film.delivered(first, cam.sent-4); n < int(cam.sent-4-first) || twice > 0 {
		c.t.Errorf("%s: %d of %d packets, %d twice", what, n, cam.sent-4-first, twice)
	}
}

// TestGuestInRoom: a guest that publishes is a peer like any other to those in the
// room, and those who watch as guests see everybody.
func TestGuestInRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		hub := w.peer(Config{Hub: true}, false)
		member := w.peer(Config{Metadata: map[string]any{"name": "ada"}}, false)
		seen := watch(member)
		own := newCamera()
		if err := member.Publish(publish.Stream{Label: "camera", Tracks: []*publish.Track{own.track}}); err != nil {
			t.Fatal(err)
		}
		cam := newCamera()
		guest := w.publishGuest(hub, "obs", cam)
		play(5*time.Second, cam, own)
		first, ownFirst := cam.sent+1, own.sent+1
		viewers := map[string]*caller{}
		for _, name := range []string{"obs", "ada"} {
			v, err := w.watchGuest(hub, Watch{Stream: name})
			if err != nil {
				t.Fatal(err)
			}
			viewers[name] = v
		}
		play(5*time.Second, cam, own)
		if n, _ := seen(guest.guest.ID()).delivered(first, cam.sent-4); n < int(cam.sent-4-first) {
			t.Errorf("the member saw %d packets of the guest of %d", n, cam.sent-4-first)
		}
		middle := first + (cam.sent-first)/2
		viewers["obs"].gets("a guest sees a guest", cam, middle)
		viewers["ada"].gets("a guest sees a member", own, ownFirst+(own.sent-ownFirst)/2)

		c := member.Connection(guest.guest.ID())
		if c == nil || c.Via() != hub.ID() || string(c.Metadata()) != `{"name":"obs"}` || len(c.Streams()) != 1 || c.Streams()[0].Label != guestLabel {
			t.Errorf("the member knows of %+v", c)
		}
		if n := len(member.Connections()); n != 2 { // the hub, the publisher; who only watches is not listed
			t.Errorf("the member knows %d others", n)
		}
		if n := len(hub.Connections()); n != 4 {
			t.Errorf("the hub knows %d others", n)
		}
		if err := hub.Connection(guest.guest.ID()).Open(ChannelOptions{}); !errors.Is(err, ErrGuest) {
			t.Errorf("a data channel with a guest: %v", err)
		}
		if s := hub.Stats(); len(s.Peers) != 4 {
			t.Errorf("%d peers in the statistics", len(s.Peers))
		}
		guest.guest.Close()
		<-guest.ended
		play(time.Second, own)
		if member.Connection(guest.guest.ID()) != nil {
			t.Error("the guest has gone and is still known")
		}
	})
}

// TestGuestComesAgain: a publisher that begins anew under its name, with the old
// session there or gone, has the viewers it had.
func TestGuestComesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		hub := w.peer(Config{Hub: true}, false)
		member := w.peer(Config{}, false)
		seen := watch(member)
		if _, err := w.watchGuest(hub, Watch{Stream: "obs"}); !errors.Is(err, ErrNothingToWatch) {
			t.Fatalf("nothing is published: %v", err)
		}
		viewer, err := w.watchGuest(hub, Watch{Stream: "obs", Wait: true})
		if err != nil {
			t.Fatal(err)
		}
		cam := newCamera()
		one := w.publishGuest(hub, "obs", cam)
		play(4*time.Second, cam)
		first := cam.sent + 1
		play(2*time.Second, cam)
		viewer.gets("the first time", cam, first)

		next := newCamera()
		next.sent = 1 << 20 // numbers of its own
		two := w.publishGuest(hub, "obs", next)
		if two.guest.ID() != one.guest.ID() {
			t.Error("who takes over has another id")
		}
		play(4*time.Second, cam, next)
		if err := <-one.ended; !errors.Is(err, ErrGuestReplaced) {
			t.Errorf("the first has ended: %v", err)
		}
		first = next.sent + 1
		play(2*time.Second, next)
		viewer.gets("taken over", next, first)
		if n, _ := seen(two.guest.ID()).delivered(first, next.sent-4); n < int(next.sent-4-first) {
			t.Errorf("the member saw %d packets of %d", n, next.sent-4-first)
		}

		two.guest.Close()
		<-two.ended
		play(2*time.Second, next)
		third := newCamera()
		third.sent = 1 << 21
		w.publishGuest(hub, "obs", third)
		play(4*time.Second, third)
		first = third.sent + 1
		play(2*time.Second, third)
		viewer.gets("come again", third, first)
		if viewer.streams != 1 || viewer.holes > 3 {
			t.Errorf("the viewer has seen %d streams with %d holes", viewer.streams, viewer.holes)
		}
		select {
		case err := <-viewer.ended:
			t.Errorf("the viewer has ended: %v", err)
		default:
		}
	})
}

// TestGuestEnds: guests that never come, vanish, are refused, or are there when the
// hub leaves, leave nothing.
func TestGuestEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		hub := w.peer(Config{Hub: true, Verify: func(_ string, metadata json.RawMessage) bool {
			return !strings.Contains(string(metadata), "stranger")
		}}, false)
		count := func() int {
			hub.mu.Lock()
			defer hub.mu.Unlock()
			return len(hub.guests)
		}
		admit := func(cfg GuestConfig) error {
			_, err := hub.Admit(context.Background(), cfg)
			return err
		}
		offer := w.call().offers(newCamera())
		for name, tt := range map[string]struct {
			cfg  GuestConfig
			want error
		}{
			"no description": {GuestConfig{Offer: "hello"}, ErrGuestDescription},
			"no password":    {GuestConfig{Offer: strings.ReplaceAll(offer, "a=ice-pwd", "a=ice-nothing")}, ErrGuestDescription},
			"nothing in it":  {GuestConfig{Offer: "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"}, ErrGuestOffer},
			"two videos":     {GuestConfig{Offer: strings.Replace(offer+offer[strings.Index(offer, "m=video"):], "a=mid:w01", "a=mid:w00", 1)}, ErrGuestOffer},
			"no codec":       {GuestConfig{Offer: strings.NewReplacer("VP8/", "X1/", "VP9/", "X2/", "H264/", "X3/", "AV1/", "X4/").Replace(offer)}, ErrGuestOffer},
			"refused":        {GuestConfig{Offer: offer, Metadata: map[string]any{"name": "stranger"}}, ErrGuestRefused},
			"wrong metadata": {GuestConfig{Offer: offer, Metadata: map[string]any{"x": func() {}}}, nil},
		} {
			if err := admit(tt.cfg); err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if n := count(); n != 0 {
			t.Errorf("%d guests of refused offers", n)
		}
		// One that never comes.
		ended := make(chan error, 1)
		if err := admit(GuestConfig{Offer: offer, Ended: func(err error) { ended <- err }}); err != nil {
			t.Fatal(err)
		}
		t.Logf("one that never comes: %v", <-ended)
		// One that vanishes.
		cam := newCamera()
		guest := w.publishGuest(hub, "", cam)
		play(3*time.Second, cam)
		if err := guest.conn.Close(); err != nil {
			t.Error(err)
		}
		t.Logf("one that vanishes: %v", <-guest.ended)
		// Some that are there.
		for _, name := range []string{"a", "b"} {
			guest = w.publishGuest(hub, name, cam)
		}
		play(3*time.Second, cam)
		if n := count(); n != 2 {
			t.Errorf("%d guests", n)
		}
		hub.Leave()
		if n := count(); n != 0 {
			t.Errorf("%d guests after Leave", n)
		}
		if err := admit(GuestConfig{Offer: offer}); !errors.Is(err, ErrNoGuests) {
			t.Errorf("outside a room: %v", err)
		}
		if n := len(hub.table); n != 0 {
			t.Errorf("%d publications", n)
		}
	})
}

// TestGuestFollowsSpeakers: who watches the room sees who leads.
func TestGuestFollowsSpeakers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		hub := w.peer(Config{Hub: true}, false)
		var guests []*caller
		var cams []*camera
		for i, name := range []string{"a", "b"} {
			cams = append(cams, newCamera())
			cams[i].sent = uint32(i) << 20
			guests = append(guests, w.publishGuest(hub, name, cams[i]))
		}
		play(3*time.Second, cams...)
		viewer, err := w.watchGuest(hub, Watch{})
		if err != nil {
			t.Fatal(err)
		}
		speak := func(who int) {
			for range 80 {
				hub.mu.Lock()
				for _, in := range guests[who].guest.r.in {
					in.loud.observe(20, time.Now())
				}
				hub.mu.Unlock()
				play(50*time.Millisecond, cams...)
			}
		}
		play(3*time.Second, cams...)
		for _, who := range []int{1, 0, 1} {
			speak(who)
			first := cams[who].sent + 1
			other := cams[1-who].sent + 1
			play(2*time.Second, cams...)
			viewer.gets(fmt.Sprint(who, " speaks"), cams[who], first)
			if n, _ := viewer.film.delivered(other, cams[1-who].sent); n > 0 {
				t.Errorf("%d speaks: %d packets of the other", who, n)
			}
		}
	})
}

func TestPickTrack(t *testing.T) {
	track := func(name string) *publish.Track {
		all := slices.Concat(codec.Default(codec.Video), codec.Default(codec.Audio))
		i := slices.IndexFunc(all, func(c codec.Codec) bool { return c.Name == name })
		return publish.NewTrack(publish.TrackConfig{ID: name, Kind: all[i].Kind(), Codec: all[i]})
	}
	a, b, c := source{peer: "a", video: track(codec.VP8), audio: track(codec.Opus)},
		source{peer: "b", video: track(codec.VP8), audio: track(codec.Opus)},
		source{peer: "c", video: track(codec.VP9), audio: track(codec.Opus)}
	mute := source{peer: "m", audio: track(codec.Opus)}
	for _, tt := range []struct {
		name    string
		kind    codec.Kind
		sources []source
		order   []string
		now     *publish.Track
		want    *publish.Track
	}{
		{"nobody", codec.Video, nil, nil, nil, nil},
		{"nobody any more", codec.Video, nil, []string{"a"}, a.video, nil},
		{"the first", codec.Video, []source{a, b}, nil, nil, a.video},
		{"the first with a picture", codec.Video, []source{mute, b}, nil, nil, b.video},
		{"who leads", codec.Video, []source{a, b}, []string{"b", "a"}, nil, b.video},
		{"who leads now", codec.Video, []source{a, b}, []string{"b", "a"}, a.video, b.video},
		{"who leads, heard", codec.Audio, []source{a, b}, []string{"b", "a"}, a.audio, b.audio},
		{"held: nobody speaks", codec.Video, []source{a, b}, nil, b.video, b.video},
		{"held: another codec", codec.Video, []source{a, c}, []string{"c"}, a.video, a.video},
		{"another codec, as the picture is gone", codec.Video, []source{c}, []string{"c"}, a.video, c.video},
		{"heard, whatever the codec of the picture", codec.Audio, []source{a, c}, []string{"c"}, a.audio, c.audio},
		{"held: who leads has no picture", codec.Video, []source{a, b, mute}, []string{"m", "b"}, a.video, a.video},
		{"heard without a picture", codec.Audio, []source{a, b, mute}, []string{"m", "b"}, a.audio, mute.audio},
		{"who leads has gone", codec.Audio, []source{a, b}, []string{"x", "b"}, a.audio, b.audio},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := pickTrack(tt.kind, tt.sources, tt.order, tt.now); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestThrottle(t *testing.T) {
	rates := []int{100_000, 300_000, 900_000}
	type step struct {
		seconds int
		o       observation
		want    int
	}
	at := func(current int, lost float64, can int) observation {
		return observation{lost: lost, sent: rates[current-1], can: can, layers: len(rates), current: current}
	}
	for name, steps := range map[string][]step{
		"all is well":          {{60, at(3, 0.01, 0), 0}},
		"a moment of loss":     {{2, at(3, 0.5, 0), 0}, {30, at(3, 0, 0), 0}},
		"sustained loss":       {{3, at(3, 0.11, 0), 2}, {2, at(2, 0.2, 0), 1}, {30, at(1, 0.3, 0), 1}},
		"between the bounds":   {{3, at(3, 0.11, 0), 2}, {60, at(2, 0.05, 0), 2}},
		"up again":             {{3, at(3, 0.11, 0), 2}, {11, at(2, 0.01, 0), 0}},
		"up by and by":         {{3, at(3, 0.11, 0), 2}, {2, at(2, 0.11, 0), 1}, {11, at(1, 0, 0), 2}, {11, at(2, 0, 0), 0}},
		"not sooner each time": {{3, at(3, 0.2, 0), 2}, {11, at(2, 0, 0), 0}, {3, at(3, 0.2, 0), 2}, {15, at(2, 0, 0), 2}, {6, at(2, 0, 0), 0}},
		"it says it cannot":    {{13, at(3, 0, 400_000), 2}},
		"it says so at first":  {{8, at(3, 0, 400_000), 0}, {60, at(3, 0, 900_000), 0}},
		"half again what comes, which is no reason": {{3, at(3, 0.2, 0), 2}, {11, at(2, 0, 450_000), 0}},
		"nothing is sent": {{30, observation{lost: 1, layers: 3}, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			var th throttle
			now := time.Unix(0, 0)
			for i, s := range steps {
				got := 0
				for range s.seconds {
					now = now.Add(time.Second)
					got = th.update(s.o, now)
				}
				if got != s.want {
					t.Errorf("step %d: %d, want %d", i, got, s.want)
				}
			}
		})
	}
}

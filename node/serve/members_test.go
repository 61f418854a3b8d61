package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/mesh"
	"github.com/weft-rtc/weft/mesh/channel"
	"github.com/weft-rtc/weft/mesh/conn"
	"github.com/weft-rtc/weft/mesh/driver"
	"github.com/weft-rtc/weft/mesh/driver/nats"
	"github.com/weft-rtc/weft/node"
	"github.com/weft-rtc/weft/publish"
	"github.com/weft-rtc/weft/publish/source"
)

// TestMembers has a row for every member of a Peer. Each is tried between real
// peers, which meet over the signaling of a running server, without a hub.
func TestMembers(t *testing.T) {
	info := start(t, Config{NoHub: true})
	api, err := conn.NewAPI(conn.Config{Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close()
	for _, tt := range []struct {
		name string
		try  func(*testing.T, *meeting)
	}{
		{"constructor", tryConstructor},
		{"identity", tryIdentity},
		{"driver", tryDriver},
		{"ice servers, connection timeout", tryRelay},
		{"connections", tryConnections},
		{"streams, publish, unpublish", tryStreams},
		{"channels, open, close", tryChannels},
		{"addons, attach, detach", tryAddons},
		{"join, leave", tryJoin},
		{"on, once, off, emit", tryEvents},
		{"send", trySend},
		{"verify", tryVerify},
	} {
		t.Run(tt.name, func(t *testing.T) {
			room := strings.ReplaceAll(strings.ReplaceAll(tt.name, ",", ""), " ", "-")
			tt.try(t, &meeting{t: t, url: info.Signal, api: api, room: room})
		})
	}
}

// meeting is one room on the server.
type meeting struct {
	t    *testing.T
	url  string
	api  *conn.API
	room string
}

func (m *meeting) driver() driver.Driver {
	d, err := nats.New(nats.Config{URL: m.url})
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { _ = d.Close() })
	return d
}

// peer makes a Peer that is not in the room yet.
func (m *meeting) peer(cfg node.Config) *node.Peer {
	m.t.Helper()
	if cfg.Conn == nil && len(cfg.ICEServers) == 0 {
		cfg.Conn = m.api
	}
	if cfg.Driver == nil {
		cfg.Driver = m.driver()
	}
	p, err := node.New(cfg)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() {
		if err := p.Close(); err != nil {
			m.t.Error(err)
		}
	})
	return p
}

func (m *meeting) join(p *node.Peer) {
	m.t.Helper()
	if err := p.Join(m.t.Context(), m.room); err != nil {
		m.t.Fatal(err)
	}
}

// pair returns two peers that are connected.
func (m *meeting) pair(a, b node.Config) (*node.Peer, *node.Peer) {
	m.t.Helper()
	pa, pb := m.peer(a), m.peer(b)
	m.join(pa)
	m.join(pb)
	m.connected(pa, pb)
	m.connected(pb, pa)
	return pa, pb
}

// connected waits until from is connected to the others.
func (m *meeting) connected(from *node.Peer, others ...*node.Peer) {
	m.t.Helper()
	for _, other := range others {
		m.until("connected", func() bool {
			r := from.Connection(other.ID())
			return r != nil && r.State() == conn.StateConnected
		})
	}
}

// until waits for what must become true by itself.
func (m *meeting) until(what string, ok func() bool) {
	m.t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			m.t.Fatalf("%s: not so after 30 s", what)
		}
	}
}

// next waits for something to come.
func next[E any](t *testing.T, what string, c <-chan E) E {
	t.Helper()
	select {
	case e := <-c:
		return e
	case <-time.After(30 * time.Second):
		t.Fatalf("%s: nothing for 30 s", what)
		panic("unreachable")
	}
}

func tryConstructor(t *testing.T, m *meeting) {
	turn := webrtc.ICEServer{URLs: []string{"turn:127.0.0.1:3478"}, Username: "u", Credential: "p"}
	for field, cfg := range map[string]node.Config{
		"Config.Metadata":                    {Metadata: map[string]any{"x": make(chan int)}},
		"Config.Metadata: 20008 bytes":       {Metadata: map[string]any{"x": strings.Repeat("x", 20000)}},
		"Config.ICEServers[0]: URLs":         {ICEServers: []webrtc.ICEServer{{}}},
		"Config.ICEServers[0]: URL \"nope\"": {ICEServers: []webrtc.ICEServer{{URLs: []string{"nope"}}}},
		"TURN needs Username":                {ICEServers: []webrtc.ICEServer{{URLs: turn.URLs}}},
		"Config.RelayOnly":                   {RelayOnly: true},
		"Config.Conn":                        {Conn: m.api, ICEServers: []webrtc.ICEServer{turn}},
	} {
		if _, err := node.New(cfg); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("error %v does not name %s", err, field)
		}
	}
	var zero [2]*node.Peer
	for i := range zero {
		p, err := node.New(node.Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if err := p.Join(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		if p.Room() != node.DefaultRoom {
			t.Errorf("room %q for none named", p.Room())
		}
		zero[i] = p
	}
	m.until("two of the zero value meet", func() bool { return zero[0].Connection(zero[1].ID()) != nil })
}

func tryIdentity(t *testing.T, m *meeting) {
	a, b := m.peer(node.Config{Metadata: map[string]any{"name": "a"}}), m.peer(node.Config{})
	if a.ID() != "" || a.Room() != "" || a.Active() || a.Joined() {
		t.Error("in a room before Join")
	}
	m.join(a)
	if a.ID() == "" || a.Room() != m.room || !a.Active() || !a.Joined() {
		t.Errorf("joined: id %q, room %q, active %v, joined %v", a.ID(), a.Room(), a.Active(), a.Joined())
	}
	if err := a.SetMetadata(map[string]any{"name": "ada", "hub": true}); err != nil {
		t.Fatal(err)
	}
	m.join(b)
	m.connected(b, a)
	if got := string(b.Connection(a.ID()).Metadata()); got != `{"name":"ada"}` {
		t.Errorf("metadata %s", got)
	}
	if err := a.SetMetadata(map[string]any{"x": func() {}}); err == nil || a.Metadata()["name"] != "ada" {
		t.Errorf("bad metadata: error %v, then %v", err, a.Metadata())
	}
	id := a.ID()
	a.Leave()
	if a.ID() != "" || a.Room() != "" || a.Active() || a.Joined() {
		t.Error("in a room after Leave")
	}
	m.join(a)
	if a.ID() == id {
		t.Error("the same id after joining again")
	}
}

// counting is a driver of one's own: it counts what it carries for another.
type counting struct {
	driver.Driver
	mu sync.Mutex
	n  int
}

func (c *counting) Publish(ctx context.Context, namespace string, packet []byte) error {
	c.mu.Lock()
	c.n++
	c.mu.Unlock()
	return c.Driver.Publish(ctx, namespace, packet)
}

func tryDriver(t *testing.T, m *meeting) {
	a, b := m.pair(node.Config{}, node.Config{})
	own := &counting{Driver: m.driver()}
	if err := b.SetDriver(own); !errors.Is(err, node.ErrActive) {
		t.Errorf("driver replaced in a room: %v", err)
	}
	b.Leave()
	if err := b.SetDriver(own); err != nil {
		t.Fatal(err)
	}
	m.join(b)
	m.connected(a, b)
	if own.n == 0 || b.Driver() != driver.Driver(own) {
		t.Errorf("%d packets over the new driver", own.n)
	}
}

// tryRelay: peers that may go through TURN only do not connect past it, and give
// up in their time. That they do connect through it is tested with a real server.
func tryRelay(t *testing.T, m *meeting) {
	nobody := []webrtc.ICEServer{{URLs: []string{"turn:127.0.0.1:9"}, Username: "u", Credential: "p"}}
	a := m.peer(node.Config{ICEServers: nobody, RelayOnly: true, ConnectTimeout: time.Second})
	b := m.peer(node.Config{ICEServers: nobody, RelayOnly: true, ConnectTimeout: time.Second})
	ended := make(chan error, 100)
	for _, p := range []*node.Peer{a, b} {
		p.OnConnection(func(e node.ConnectionEvent) {
			switch e.State {
			case conn.StateConnected:
				t.Error("connected without TURN")
			case conn.StateClosed:
				ended <- e.Err
			}
		})
		m.join(p)
	}
	if err := next(t, "timeout", ended); !errors.Is(err, mesh.ErrTimeout) && !errors.Is(err, mesh.ErrLeft) {
		t.Errorf("ended with %v, want %v", err, mesh.ErrTimeout)
	}
}

func tryConnections(t *testing.T, m *meeting) {
	a, b := m.pair(node.Config{Metadata: map[string]any{"name": "a"}}, node.Config{})
	c := m.peer(node.Config{})
	m.join(c)
	m.connected(a, b, c)
	if n := len(a.Connections()); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
	if a.Connection("nobody") != nil {
		t.Error("a connection to nobody")
	}
	toB, fromC := a.Connection(b.ID()), c.Connection(a.ID())
	if toB.ID() != b.ID() || toB.Via() != "" || toB.Hub() {
		t.Errorf("id %q, via %q, hub %v", toB.ID(), toB.Via(), toB.Hub())
	}
	if s := toB.Stats(); s.State != conn.StateConnected || !strings.HasPrefix(s.RemoteAddr, "127.0.0.1:") {
		t.Errorf("stats %+v", s)
	}

	// One stream for all, and another in its place for b alone.
	clip := newClip(t)
	for _, publish := range []func(publish.Stream) error{a.Publish, toB.Publish} {
		if err := publish(clip.stream("cam")); err != nil {
			t.Fatal(err)
		}
		clip = newClip(t)
	}
	fromA := b.Connection(a.ID())
	m.until("b and c see a stream", func() bool { return len(fromA.Streams()) == 1 && len(fromC.Streams()) == 1 })
	if got := fromA.Streams()[0]; got.Label != "cam" || len(got.Tracks) == 0 {
		t.Errorf("stream %+v", got)
	}
	a.Unpublish("cam")
	m.until("c does not see it any more", func() bool { return len(fromC.Streams()) == 0 })
	if len(fromA.Streams()) != 1 {
		t.Error("b lost the stream of its own")
	}
	toB.Unpublish("cam")
	m.until("b does not see it any more", func() bool { return len(fromA.Streams()) == 0 })

	// A channel with b alone.
	got := make(chan string, 10)
	b.OnMessage(func(e node.ChannelEvent) {
		text, err := e.Message.Text(t.Context(), 0)
		got <- fmt.Sprint(text, err)
	})
	if err := toB.Open(node.ChannelOptions{Label: "aside"}); err != nil {
		t.Fatal(err)
	}
	if err := toB.Send(t.Context(), onChannel(node.Text("psst"), "aside")); err != nil {
		t.Fatal(err)
	}
	if text := next(t, "message", got); text != "psst<nil>" {
		t.Errorf("message %q", text)
	}
	if n, others := len(toB.Channels()), len(fromC.Channels()); n != 1 || others != 0 {
		t.Errorf("%d channels with b, %d with c", n, others)
	}
	toB.CloseChannel("aside")
	m.until("channel closed at both ends", func() bool { return len(toB.Channels())+len(fromA.Channels()) == 0 })

	toB.Close()
	m.until("connection closed", func() bool { return toB.State() == conn.StateClosed })
	if err := toB.Publish(newClip(t).stream("late")); !errors.Is(err, node.ErrUnknownPeer) {
		t.Errorf("publish to one that has gone: %v", err)
	}
}

// clip is a test pattern that plays until the test ends.
type clip struct{ source.Source }

func newClip(t *testing.T) clip {
	t.Helper()
	s, err := source.Open(source.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var playing sync.WaitGroup
	playing.Go(func() { _ = s.Run(ctx) })
	t.Cleanup(func() { cancel(); playing.Wait() })
	return clip{s}
}

func (c clip) stream(label string) publish.Stream {
	return publish.Stream{Label: label, Tracks: c.Tracks()}
}

func onChannel(o node.Outgoing, label string) node.Outgoing {
	o.Channel = label
	return o
}

func tryStreams(t *testing.T, m *meeting) {
	a, b := m.pair(node.Config{}, node.Config{})
	events := make(chan string, 100)
	b.OnStream(func(e node.StreamEvent) { events <- fmt.Sprint(e.Label, " ", e.Added) })
	for _, bad := range []publish.Stream{
		{Label: "", Tracks: newClip(t).Tracks()},
		{Label: "a/b", Tracks: newClip(t).Tracks()},
		{Label: "none"},
		{Label: "nil", Tracks: []*publish.Track{nil}},
		{Label: "rate", Tracks: newClip(t).Tracks(), Video: publish.Encoding{Bitrate: -1}},
	} {
		if err := a.Publish(bad); err == nil {
			t.Errorf("stream %q was accepted", bad.Label)
		}
	}
	if err := a.Publish(newClip(t).stream("cam")); err != nil {
		t.Fatal(err)
	}
	if e := next(t, "stream", events); e != "cam true" {
		t.Errorf("event %q", e)
	}
	fromA := b.Connection(a.ID())
	m.until("sound and picture", func() bool { s := fromA.Streams(); return len(s) == 1 && len(s[0].Tracks) == 2 })
	// A source that can follow is asked to, in its place another comes.
	asked := make(chan publish.Encoding, 10)
	track := publish.NewTrack(publish.TrackConfig{
		ID: "t", Codec: codec.Default(codec.Video)[0],
		Encode: func(e publish.Encoding) error { asked <- e; return nil },
	})
	want := publish.Encoding{Bitrate: 300_000, FrameRate: 15, Scale: 2, Priority: publish.PriorityHigh}
	if err := a.Publish(publish.Stream{Label: "cam", Tracks: []*publish.Track{track}, Video: want}); err != nil {
		t.Fatal(err)
	}
	if got := next(t, "encoding", asked); got != want {
		t.Errorf("encoding %+v", got)
	}
	if s := a.Streams(); len(s) != 1 || s["cam"].Tracks[0] != track {
		t.Errorf("streams %+v", s)
	}
	if err := a.Publish(newClip(t).stream("second")); err != nil {
		t.Fatal(err)
	}
	if e := next(t, "second stream", events); e != "second true" {
		t.Errorf("event %q, a replacement should have none", e)
	}
	a.Unpublish("cam")
	if e := next(t, "removal", events); e != "cam false" {
		t.Errorf("event %q", e)
	}
	if s := a.Streams(); len(s) != 1 {
		t.Errorf("streams %+v", s)
	}
}

func tryChannels(t *testing.T, m *meeting) {
	a, b := m.pair(node.Config{}, node.Config{})
	events := make(chan string, 100)
	b.OnChannel(func(e node.ChannelEvent) { events <- fmt.Sprint(e.Channel.Label(), " ", e.Channel.Options().ID) })
	zero := uint16(0)
	numbered := node.ChannelOptions{Label: "n", Negotiated: true, ID: 7}
	for _, o := range []node.ChannelOptions{{Label: "x"}, {Label: "x"}, {Label: "fast", Unordered: true, MaxRetransmits: &zero}, numbered} {
		if err := a.Open(o); err != nil {
			t.Fatal(err)
		}
	}
	for _, o := range []node.ChannelOptions{{Label: "x", Protocol: "p"}, {Negotiated: true, ID: 0}, {Label: "y", MaxRetransmits: &zero, MaxPacketLifeTime: &zero}} {
		if err := a.Open(o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
	if err := b.Open(numbered); err != nil {
		t.Fatal(err)
	}
	if got := a.Channels(); len(got) != 3 || got[0].Label != "fast" || got[1] != numbered {
		t.Errorf("channels %+v", got)
	}
	// One who comes later has them too.
	c := m.peer(node.Config{})
	m.join(c)
	for _, p := range []*node.Peer{b, c} {
		m.connected(p, a)
		want := 3
		if p == c {
			want = 2 // it has not opened the pre-negotiated one
		}
		from := p.Connection(a.ID())
		m.until("channels", func() bool { return len(from.Channels()) == want })
		i := slices.IndexFunc(from.Channels(), func(c *node.Channel) bool { return c.Label() == "fast" })
		if o := from.Channels()[i].Options(); !o.Unordered || o.MaxRetransmits == nil || *o.MaxRetransmits != 0 || from.Channels()[i].Peer() != a.ID() {
			t.Errorf("options at the other side: %+v", o)
		}
	}
	a.CloseChannel("x")
	a.CloseNegotiated(7)
	a.CloseChannel("nobody knows it")
	m.until("closed with all", func() bool {
		return len(b.Connection(a.ID()).Channels()) == 1 && len(c.Connection(a.ID()).Channels()) == 1
	})
	if got := a.Channels(); len(got) != 1 {
		t.Errorf("channels %+v", got)
	}
	if e := next(t, "channel event", events); e == "" {
		t.Error("an event of nothing")
	}
}

// extra is an addon that does everything that an addon can.
type extra struct {
	t       *testing.T
	fail    bool
	mu      sync.Mutex
	events  int
	packets int
	closed  int
}

func (x *extra) count(n *int) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return *n
}

func (x *extra) add(n *int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	*n++
}

func (x *extra) WritePacket(*publish.Packet) { x.add(&x.packets) }
func (x *extra) Close() error                { x.add(&x.closed); return nil }

func (x *extra) Attach(s *node.Scope) error {
	s.On(func(node.Event) { x.add(&x.events) }, node.GroupConnection, "ping")
	refuse := func(next node.VerifyFunc) node.VerifyFunc {
		return func(id string, metadata json.RawMessage) bool {
			return !strings.Contains(string(metadata), "banned") && next(id, metadata)
		}
	}
	choose := func(peer, label string, track *publish.Track) publish.Sink {
		if peer == "" || track.Kind() != codec.Video {
			return nil
		}
		return x
	}
	err := errors.Join(
		s.Publish(newClip(x.t).stream("extra")),
		s.Open(node.ChannelOptions{Label: "extra"}),
		s.Verify(refuse),
		s.Tap(choose),
	)
	if x.fail {
		return errors.New("made to fail")
	}
	return err
}

func tryAddons(t *testing.T, m *meeting) {
	a, b := m.pair(node.Config{}, node.Config{})
	if err := b.Publish(newClip(t).stream("cam")); err != nil {
		t.Fatal(err)
	}
	nothing := func(when string) {
		t.Helper()
		if len(a.Addons()) != 0 || len(a.Streams()) != 0 || len(a.Channels()) != 0 {
			t.Errorf("%s: addons %v, streams %v, channels %v", when, a.Addons(), a.Streams(), a.Channels())
		}
	}
	bad := &extra{t: t, fail: true}
	if err := a.Attach("bad", bad); err == nil {
		t.Error("the error of an addon was lost")
	}
	nothing("after a failed attach")
	if err := a.Attach("panics", node.AddonFunc(func(*node.Scope) error { panic("addon") })); err == nil {
		t.Error("the panic of an addon was lost")
	}
	nothing("after a panic in attach")

	x := &extra{t: t}
	if err := a.Attach("extra", x); err != nil {
		t.Fatal(err)
	}
	if err := a.Attach("extra", x); !errors.Is(err, node.ErrAttached) {
		t.Errorf("attached twice: %v", err)
	}
	if got := a.Addons(); !slices.Equal(got, []string{"extra"}) {
		t.Errorf("addons %v", got)
	}
	fromA := b.Connection(a.ID())
	m.until("the addon's stream and channel at the other side", func() bool {
		return len(fromA.Streams()) == 1 && len(fromA.Channels()) == 1
	})
	m.until("the addon sees media", func() bool { return x.count(&x.packets) > 10 })
	a.Emit("ping", nil)
	m.until("the addon hears events", func() bool { return x.count(&x.events) > 0 })
	banned := m.peer(node.Config{Metadata: map[string]any{"name": "banned"}})
	m.join(banned)
	m.connected(b, banned)
	if a.Connection(banned.ID()) != nil {
		t.Error("the addon's decision was not asked")
	}

	if !a.Detach("extra") || a.Detach("extra") {
		t.Error("detached not once")
	}
	nothing("after detach")
	m.until("stream and channel are gone at the other side", func() bool {
		return len(fromA.Streams())+len(fromA.Channels()) == 0
	})
	events, packets := x.count(&x.events), x.count(&x.packets)
	a.Emit("ping", nil)
	banned.Leave()
	m.join(banned)
	m.connected(a, banned) // nobody refuses any more
	if x.count(&x.events) != events || x.count(&x.closed) != 1 || x.count(&x.packets) > packets+1 {
		t.Error("a detached addon still hears, or its sink was not closed")
	}
	if bad.packets != 0 || bad.events != 0 {
		t.Error("an addon that failed to attach still hears")
	}
}

func tryJoin(t *testing.T, m *meeting) {
	a, b := m.pair(node.Config{}, node.Config{})
	id := a.ID()
	if err := a.Join(t.Context(), "elsewhere"); err != nil || a.ID() != id || a.Room() != m.room {
		t.Errorf("second join: %v, room %q", err, a.Room())
	}
	if err := b.Publish(newClip(t).stream("cam")); err != nil {
		t.Fatal(err)
	}
	closed := make(chan node.ConnectionEvent, 10)
	b.OnConnection(func(e node.ConnectionEvent) {
		if e.State == conn.StateClosed {
			closed <- e
		}
	})
	a.Leave()
	if n := len(a.Connections()); n != 0 || a.Joined() {
		t.Errorf("%d connections after Leave", n)
	}
	a.Leave() // again
	if e := next(t, "leaving", closed); e.ID != id || !errors.Is(e.Err, mesh.ErrLeft) {
		t.Errorf("the other side saw %v of %s", e.Err, e.ID)
	}
	refuseAll := func(string, json.RawMessage) bool { return false }
	if err := a.JoinWith(t.Context(), node.JoinOptions{Room: m.room, Metadata: map[string]any{"name": "again"}, Verify: refuseAll}); err != nil {
		t.Fatal(err)
	}
	if a.Metadata()["name"] != "again" {
		t.Errorf("metadata %v", a.Metadata())
	}
	if err := a.JoinWith(t.Context(), node.JoinOptions{Metadata: map[string]any{"x": func() {}}}); err != nil {
		t.Errorf("a join in a room looks at its options: %v", err)
	}
	a.Leave()
	if err := a.JoinWith(t.Context(), node.JoinOptions{Metadata: map[string]any{"x": func() {}}}); err == nil || a.Joined() {
		t.Error("joined with bad metadata")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Join(ctx, m.room); err == nil || a.Joined() {
		t.Error("joined with an ended context")
	}
}

func tryEvents(t *testing.T, m *meeting) {
	a, b := m.peer(node.Config{}), m.peer(node.Config{})
	var mu sync.Mutex
	got := map[string][]node.EventName{}
	hear := func(who string) func(node.Event) {
		return func(e node.Event) {
			mu.Lock()
			defer mu.Unlock()
			got[who] = append(got[who], e.Name)
		}
	}
	count := func(who string) int {
		mu.Lock()
		defer mu.Unlock()
		return len(got[who])
	}
	a.On(func(node.Event) { panic("handler") })
	release := make(chan struct{})
	a.On(func(node.Event) { <-release })
	a.On(hear("group"), node.GroupConnection)
	a.On(hear("two"), node.ConnectionConnected, node.StreamAdd)
	off := a.On(hear("off"), node.GroupConnection)
	a.On(hear("all off"), node.ConnectionNew)
	a.Once(hear("once"), node.GroupConnection)
	off()
	a.Off(node.ConnectionNew)
	m.join(a)
	m.join(b)
	m.connected(a, b)
	if err := b.Publish(newClip(t).stream("cam")); err != nil {
		t.Fatal(err)
	}
	m.until("events of both names", func() bool { return count("two") == 2 })
	close(release)
	mu.Lock()
	defer mu.Unlock()
	want := []node.EventName{node.ConnectionNew, node.ConnectionConnecting, node.ConnectionConnected}
	if !slices.Equal(got["group"], want) {
		t.Errorf("connection events %q, want %q", got["group"], want)
	}
	if !slices.Equal(got["two"], []node.EventName{node.ConnectionConnected, node.StreamAdd}) {
		t.Errorf("events of two names: %q", got["two"])
	}
	if len(got["off"])+len(got["all off"]) != 0 || len(got["once"]) != 1 {
		t.Errorf("after off %q, %q, once %q", got["off"], got["all off"], got["once"])
	}
}

func trySend(t *testing.T, m *meeting) {
	a, b := m.pair(node.Config{}, node.Config{})
	c := m.peer(node.Config{})
	if err := a.Send(t.Context(), node.Text("x")); !errors.Is(err, node.ErrNobody) {
		t.Errorf("sent on no channel: %v", err)
	}
	m.join(c)
	m.connected(a, c)
	type letter struct {
		to, label, body, info string
		kind                  channel.Type
	}
	got := make(chan letter, 100)
	for name, p := range map[string]*node.Peer{"b": b, "c": c} {
		p.OnMessage(func(e node.ChannelEvent) {
			body, err := e.Message.Bytes(t.Context(), 0)
			if err != nil {
				return
			}
			got <- letter{name, e.Channel.Label(), string(body), string(e.Message.Info), e.Message.Type}
		})
	}
	if err := a.Open(node.ChannelOptions{}); err != nil {
		t.Fatal(err)
	}
	long := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
	var mu sync.Mutex
	progress := map[string]int64{}
	file := node.Reader(bytes.NewReader(long), int64(len(long)))
	file.Info = map[string]any{"name": "a.bin"}
	file.Progress = func(peer string, sent, size int64) {
		mu.Lock()
		defer mu.Unlock()
		progress[peer] = sent
		if size != int64(len(long)) {
			t.Errorf("size %d in progress", size)
		}
	}
	for _, tt := range []struct {
		m    node.Outgoing
		want letter
	}{
		{node.Text("grüße"), letter{body: "grüße", kind: channel.Text}},
		{node.JSON(map[string]int{"n": 1}), letter{body: `{"n":1}`, kind: channel.JSON}},
		{node.Bytes([]byte{0, 255}), letter{body: "\x00\xff", kind: channel.Bytes}},
		{node.Bytes(nil), letter{kind: channel.Bytes}},
		{file, letter{body: string(long), info: `{"name":"a.bin"}`, kind: channel.Blob}},
	} {
		if err := a.Send(t.Context(), tt.m); err != nil {
			t.Fatal(err)
		}
		for range 2 { // everyone
			l := next(t, "message", got)
			want := tt.want
			want.to, want.label = l.to, node.DefaultChannel
			if l != want {
				t.Errorf("%s got %d bytes of type %v with %q, want %d of %v", l.to, len(l.body), l.kind, l.info, len(want.body), want.kind)
			}
		}
	}
	if progress[b.ID()] != int64(len(long)) || progress[c.ID()] != int64(len(long)) {
		t.Errorf("progress %v", progress)
	}

	// To some, and to some who are not there.
	one := node.Text("to c")
	one.To = []string{c.ID(), "nobody", c.ID()}
	err := a.Send(t.Context(), one)
	var failed *node.SendError
	if !errors.As(err, &failed) || failed.Peer != "nobody" || !errors.Is(err, node.ErrUnknownPeer) {
		t.Errorf("error %v", err)
	}
	if l := next(t, "message to c", got); l.to != "c" {
		t.Errorf("%s got what was for c", l.to)
	}

	// A pre-negotiated channel, by its number.
	numbered := node.ChannelOptions{Negotiated: true, ID: 9}
	for _, p := range []*node.Peer{a, b} {
		if err := p.Open(numbered); err != nil {
			t.Fatal(err)
		}
	}
	two := node.Text("to 9")
	two.ID, two.To = 9, []string{b.ID()}
	if err := a.Send(t.Context(), two); err != nil {
		t.Fatal(err)
	}
	if l := next(t, "message on 9", got); l.body != "to 9" {
		t.Errorf("got %q", l.body)
	}

	// Aborted by its context, and what cannot be sent.
	ctx, cancel := context.WithCancel(t.Context())
	endless := node.Reader(endless{}, -1)
	endless.Progress = func(_ string, sent, _ int64) {
		if sent > 100_000 {
			cancel()
		}
	}
	if err := a.Send(ctx, endless); !errors.Is(err, context.Canceled) {
		t.Errorf("aborted: %v", err)
	}
	for _, bad := range []node.Outgoing{node.JSON(func() {}), {Info: func() {}}, onChannel(node.Text("x"), "never opened")} {
		if err := a.Send(t.Context(), bad); err == nil {
			t.Errorf("%+v was sent", bad)
		}
	}
	if err := a.Send(t.Context(), node.Text("after all that")); err != nil {
		t.Error(err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

var _ io.Reader = endless{}

func tryVerify(t *testing.T, m *meeting) {
	asked := make(chan string, 100)
	a := m.peer(node.Config{Verify: func(id string, metadata json.RawMessage) bool {
		asked <- id + " " + string(metadata)
		return strings.Contains(string(metadata), "friend")
	}})
	m.join(a)
	stranger, friend := m.peer(node.Config{}), m.peer(node.Config{Metadata: map[string]any{"is": "friend"}})
	m.join(stranger)
	m.join(friend)
	m.connected(a, friend)
	m.connected(friend, stranger)
	if r := a.Connection(stranger.ID()); r != nil {
		t.Errorf("a stranger is %v", r.State())
	}
	if got := next(t, "decision", asked); !strings.HasPrefix(got, stranger.ID()) && !strings.HasPrefix(got, friend.ID()) {
		t.Errorf("asked about %q", got)
	}
}

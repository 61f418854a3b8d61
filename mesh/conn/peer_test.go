package conn

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	"github.com/pion/transport/v4/vnet"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/mesh/sdp"
	"github.com/weft-rtc/weft/mesh/signal"
)

// wan is a virtual network of two hosts, 10 ms apart, with seeded loss.
type wan struct {
	router *vnet.Router
	mu     sync.Mutex
	rng    *rand.Rand
	loss   int // per cent
}

func newWAN(t *testing.T) (*wan, [2]*vnet.Net) {
	t.Helper()
	r, err := vnet.NewRouter(&vnet.RouterConfig{
		CIDR: "10.0.0.0/24", MinDelay: 10 * time.Millisecond, LoggerFactory: quiet{}, QueueSize: 4096,
	})
	if err != nil {
		t.Fatal(err)
	}
	w := &wan{router: r, rng: rand.New(rand.NewPCG(1, 2))}
	r.AddChunkFilter(func(vnet.Chunk) bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.loss == 0 || w.rng.IntN(100) >= w.loss
	})
	var nets [2]*vnet.Net
	for i := range nets {
		n, err := vnet.NewNet(&vnet.NetConfig{StaticIPs: []string{fmt.Sprintf("10.0.0.%d", i+1)}})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.AddNet(n); err != nil {
			t.Fatal(err)
		}
		nets[i] = n
	}
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	return w, nets
}

func (w *wan) setLoss(percent int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.loss = percent
}

type quiet struct{}

func (quiet) NewLogger(string) logging.LeveledLogger {
	return logging.NewDefaultLeveledLoggerForScope("", logging.LogLevelDisabled, io.Discard)
}

func testLogger(name string) *slog.Logger {
	if os.Getenv("WEFT_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	level := slog.LevelInfo
	if os.Getenv("WEFT_LOG") == "debug" {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})).With("side", name)
}

// peer is a connection with the least of a link around it.
type peer struct {
	t      testing.TB
	name   string
	api    *API
	conn   *Conn
	other  *peer
	driver func([]byte) // takes signals in place of other

	queue chan func()
	quit  chan struct{}
	done  chan struct{}

	// Owned by the queue's goroutine.
	open     bool
	held     []signal.Candidate
	wishes   []sdp.Send
	longest  int  // bytes of our longest offer after the first
	ignored  int  // offers that collided and that we ignored
	collided int  // offers that collided and that we gave way to
	manual   bool // no offer of its own accord

	mu        sync.Mutex
	states    []State
	tracks    map[string]*track   // by mid
	sending   map[string]*sending // by id
	offers    int
	closes    int
	errs      []error
	app       [][]byte
	described bool               // what is sent carries dependency descriptors; set before it begins
	accept    func(*DataChannel) // takes channels of the other side; nil takes none
}

func newPeer(t testing.TB, name string, polite bool, cfg Config) *peer {
	t.Helper()
	cfg.Logger = testLogger(name)
	api, err := NewAPI(cfg)
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{
		t: t, name: name, api: api, queue: make(chan func(), 1024), quit: make(chan struct{}), done: make(chan struct{}),
		tracks: map[string]*track{}, sending: map[string]*sending{},
	}
	p.conn, err = api.New(Options{Polite: polite, Handler: p})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		for {
			select {
			case f := <-p.queue:
				f()
			case <-p.quit:
				return
			}
		}
	}()
	return p
}

// newPair makes two nodes on a virtual network; b is the polite one.
func newPair(t *testing.T, w *wan, nets [2]*vnet.Net) (a, b *peer) {
	t.Helper()
	a = newPeer(t, "a", false, Config{Net: nets[0]})
	b = newPeer(t, "b", true, Config{Net: nets[1]})
	a.other, b.other = b, a
	return a, b
}

// call runs f on the queue and waits for it.
func (p *peer) call(f func()) {
	done := make(chan struct{})
	p.queue <- func() { f(); close(done) }
	<-done
}

func (p *peer) do(f func()) {
	select {
	case p.queue <- f:
	case <-p.quit:
	}
}

// stop ends the queue.
func (p *peer) stop() {
	close(p.quit)
	<-p.done
}

func (p *peer) fail(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := fmt.Errorf(p.name+": "+format, args...)
	if !errors.Is(err, ErrClosed) { // a description that came too late
		p.errs = append(p.errs, err)
	}
}

// deliver sends a signal to the other side: over the control channel if it is
// open, else over a driver that takes 20 ms.
func (p *peer) deliver(kind byte, text string) {
	m := append([]byte{kind}, text...)
	if p.open {
		if err := p.conn.SendControl(m); err == nil {
			return
		}
	}
	if p.driver != nil {
		p.driver(m)
		return
	}
	time.AfterFunc(20*time.Millisecond, func() { p.other.do(func() { p.other.signal(m) }) })
}

func (p *peer) negotiate() {
	if p.manual || !p.conn.Stable() || !p.conn.Needed() {
		return
	}
	p.offer()
}

func (p *peer) offer() {
	o, err := p.conn.Offer(context.Background())
	if err != nil {
		p.fail("offer: %w", err)
		return
	}
	p.offers++
	p.longest = max(p.longest, len(o))
	p.deliver('o', o)
}

func (p *peer) signal(m []byte) {
	text := string(m[1:])
	switch m[0] {
	case 'o':
		collides := !p.conn.Stable()
		answer, ignored, err := p.conn.HandleOffer(context.Background(), text)
		if err != nil {
			p.fail("offer came: %w\n%s", err, text)
			return
		}
		if ignored {
			p.ignored++
			return
		}
		if collides {
			p.collided++
		}
		p.deliver('a', answer)
		p.flush()
		if p.open {
			p.negotiate()
		}
	case 'a':
		if err := p.conn.HandleAnswer(context.Background(), text); err != nil {
			p.fail("answer came: %w\n%s", err, text)
			return
		}
		p.flush()
		if p.open {
			p.negotiate()
		}
	case 'c':
		ufrag, candidate, _ := strings.Cut(text, " ")
		p.held = append(p.held, signal.Candidate{Candidate: candidate, UsernameFragment: &ufrag})
		p.flush()
	case 'x':
		p.mu.Lock()
		p.app = append(p.app, m[1:])
		p.mu.Unlock()
	}
}

func (p *peer) flush() {
	ufrag := p.conn.RemoteUfrag()
	p.held = slices.DeleteFunc(p.held, func(c signal.Candidate) bool {
		if c.Ufrag() != ufrag {
			return false
		}
		if err := p.conn.AddCandidate(c); err != nil {
			p.fail("candidate: %w", err)
		}
		return true
	})
}

// setSends changes the wishes and negotiates.
func (p *peer) setSends(change func([]sdp.Send) []sdp.Send) {
	p.do(func() {
		p.wishes = change(p.wishes)
		p.conn.SetSends(p.wishes)
		if p.open {
			p.negotiate()
		}
	})
}

func newSend(id string, kind codec.Kind) sdp.Send {
	s := sdp.Send{ID: id, Kind: kind, StreamID: "s" + id, TrackID: "t" + id, SSRC: rand.Uint32() | 1}
	if kind == codec.Video {
		s.RTXSSRC = rand.Uint32() | 1
	}
	return s
}

func (p *peer) add(id string, kind codec.Kind) {
	p.setSends(func(w []sdp.Send) []sdp.Send { return append(slices.Clone(w), newSend(id, kind)) })
}

func (p *peer) remove(id string) {
	p.setSends(func(w []sdp.Send) []sdp.Send {
		return slices.DeleteFunc(slices.Clone(w), func(s sdp.Send) bool { return s.ID == id })
	})
}

func (p *peer) close() {
	if err := p.conn.Close(); err != nil {
		p.t.Errorf("%s: Close: %v", p.name, err)
	}
	if err := p.api.Close(); err != nil {
		p.t.Errorf("%s: API.Close: %v", p.name, err)
	}
	p.mu.Lock()
	all := p.sending
	p.sending = map[string]*sending{}
	p.mu.Unlock()
	for _, s := range all {
		s.stop()
	}
}

func (p *peer) noErrors() {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, err := range p.errs {
		p.t.Error(err)
	}
}

func (p *peer) ConnState(s State) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.states = append(p.states, s)
}

func (p *peer) ConnCandidate(c signal.Candidate) {
	p.do(func() { p.deliver('c', c.Ufrag()+" "+c.Candidate) })
}

func (p *peer) ControlOpen() { p.do(func() { p.open = true; p.negotiate() }) }

func (p *peer) ControlMessage(m []byte) { p.do(func() { p.signal(m) }) }

func (p *peer) ControlClosed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closes++
}

func (p *peer) ChannelOpened(d *DataChannel) {
	p.mu.Lock()
	accept := p.accept
	p.mu.Unlock()
	if accept != nil {
		accept(d)
	}
}

func (p *peer) TrackOpened(r *Receiver) {
	p.mu.Lock()
	defer p.mu.Unlock()
	tr := &track{r: r, seqs: map[uint16]int{}, layers: map[string]map[uint16]bool{}}
	p.tracks[r.Mid()] = tr
	r.SetSink(tr)
}

func (p *peer) TrackClosed(r *Receiver) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if tr := p.tracks[r.Mid()]; tr == nil || tr.r != r {
		p.errs = append(p.errs, fmt.Errorf("%s: TrackClosed for %s, which is not open", p.name, r.Mid()))
	}
	delete(p.tracks, r.Mid())
}

func (p *peer) SendReady(s *Sender) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range s.Layers() {
		if id := l.ID() + "/" + l.RID(); p.sending[id] == nil {
			p.sending[id] = startSending(l, p.described)
		}
	}
	if len(s.Layers()) == 0 && p.sending[s.ID()] == nil {
		p.sending[s.ID()] = startSending(s, p.described)
	}
}

func (p *peer) SendClosed(s *Sender) {
	p.mu.Lock()
	x := p.sending[s.ID()]
	delete(p.sending, s.ID())
	p.mu.Unlock()
	if x != nil && x.s != s {
		p.fail("SendClosed of %s is about another Sender", s.ID())
	}
	if x != nil {
		x.stop()
	}
}

// inBubble runs a test of a pair in virtual time, and fails on a goroutine that
// is left.
func inBubble(t *testing.T, f func(t *testing.T, w *wan, a, b *peer)) {
	synctest.Test(t, func(t *testing.T) {
		w, nets := newWAN(t)
		a, b := newPair(t, w, nets)
		defer tearDown(t, w, a, b)
		f(t, w, a, b)
	})
}

func tearDown(t *testing.T, w *wan, peers ...*peer) {
	w.setLoss(0)
	for _, p := range peers {
		p.close()
	}
	time.Sleep(time.Second) // late deliveries, in virtual time
	for _, p := range peers {
		p.stop()
		p.noErrors()
	}
	if err := w.router.Stop(); err != nil {
		t.Error(err)
	}
}

// connect brings the pair up, a offering.
func connect(t *testing.T, a, b *peer) {
	t.Helper()
	a.do(a.negotiate)
	eventually(t, "both connected and control open", func() bool { return a.up() && b.up() })
}

func (p *peer) up() bool {
	open := false
	p.call(func() { open = p.open })
	return open && p.conn.State() == StateConnected
}

// eventually waits up to 30 s of virtual time.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 3000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("not within 30 s: %s", what)
}

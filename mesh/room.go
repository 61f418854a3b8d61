package mesh

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/weft-rtc/weft/mesh/conn"
	"github.com/weft-rtc/weft/mesh/driver"
	"github.com/weft-rtc/weft/mesh/signal"
)

// Config says what a room is made of. Driver, API and Handler are required.
type Config struct {
	Name     string          // room name, see signal.ValidRoom
	Driver   driver.Driver   // carries the signaling; not closed by the room
	Signal   signal.Config   // codec options; all peers of a room must agree
	API      *conn.API       // makes connections
	Handler  Handler         // learns what happens
	Metadata json.RawMessage // JSON object announced to others, nil for none
	// Verify decides whether to connect to a peer, by id and metadata; nil
	// accepts everybody. It is called on the driver's goroutine and must not
	// block; if it panics the peer is refused.
	Verify func(id signal.PeerID, metadata json.RawMessage) bool
	// ConnectTimeout bounds the time until a connection and its control channel
	// are up, and the time that it may stay disconnected. Zero means
	// DefaultConnectTimeout, negative switches it off.
	ConnectTimeout time.Duration
	// Logger gets what an operator should know; nil discards.
	Logger *slog.Logger
}

// Room is the membership of one peer in one room. Its methods may be called
// from any goroutine.
type Room struct {
	cfg   Config
	codec *signal.Codec
	held  *signal.CandidateQueue // candidates that came before their connection
	log   *slog.Logger

	ctx    context.Context // ends with Leave
	cancel context.CancelFunc
	tasks  sync.WaitGroup // links and pending announcements
	undo   []func()       // subscriptions and watch, undone by Leave

	mu       sync.Mutex
	links    map[signal.PeerID]*Link
	left     bool
	rejoin   bool // an announcement after a failure is on its way
	failures int  // announcements after failures since a link got ready
	metadata json.RawMessage
	budget   *rate.Limiter // announces that may be answered
}

// Join enters a room: it subscribes to both namespaces, announces itself, and
// returns. If the driver is not active it announces when it becomes so. ctx
// bounds the subscribing only; Leave ends the membership.
func Join(ctx context.Context, cfg Config) (*Room, error) {
	if err := signal.ValidRoom(cfg.Name); err != nil {
		return nil, err
	}
	if cfg.Driver == nil || cfg.API == nil || cfg.Handler == nil {
		return nil, errors.New("mesh: Config needs Driver, API and Handler")
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = DefaultConnectTimeout
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	codec, err := signal.New(cfg.Signal)
	if err != nil {
		return nil, err
	}
	r := &Room{
		cfg:      cfg,
		codec:    codec,
		held:     new(signal.CandidateQueue),
		log:      cfg.Logger.With("room", cfg.Name, "self", string(codec.ID())),
		links:    map[signal.PeerID]*Link{},
		metadata: cfg.Metadata,
		budget:   rate.NewLimiter(announceRate, announceBurst),
	}
	r.ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for _, ns := range []string{codec.RoomNamespace(cfg.Name), codec.PeerNamespace(codec.ID())} {
		unsubscribe, err := cfg.Driver.Subscribe(ctx, ns, r.receive)
		if err != nil {
			r.Leave()
			return nil, fmt.Errorf("subscribe to room %q: %w", cfg.Name, err)
		}
		r.undo = append(r.undo, func() {
			if err := unsubscribe(); err != nil {
				r.log.Debug("unsubscribe", "err", err)
			}
		})
	}
	r.undo = append(r.undo, cfg.Driver.Watch(func(active bool) {
		if active {
			r.Announce()
		}
	}))
	r.Announce()
	return r, nil
}

// ID returns the id of the local peer in this room; each Join makes a new one.
func (r *Room) ID() signal.PeerID { return r.codec.ID() }

// Name returns the room's name.
func (r *Room) Name() string { return r.cfg.Name }

// Links returns the links that are not closed, in no order.
func (r *Room) Links() []*Link {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]*Link, 0, len(r.links))
	for _, l := range r.links {
		if l.State() != conn.StateClosed {
			all = append(all, l)
		}
	}
	return all
}

// SetMetadata replaces what later invokes and offers say of the local peer.
func (r *Room) SetMetadata(m json.RawMessage) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.metadata = m
}

// Announce makes the local peer known to the room. Peers that are not linked
// answer with an invoke. It does nothing while the driver is inactive.
func (r *Room) Announce() {
	if !r.cfg.Driver.Active() {
		return
	}
	packet, err := r.codec.Encode("", signal.Message{Type: signal.Announce})
	if err == nil {
		err = r.cfg.Driver.Publish(r.ctx, r.codec.RoomNamespace(r.cfg.Name), packet)
	}
	if err != nil && r.ctx.Err() == nil {
		r.cfg.Handler.RoomError(fmt.Errorf("announce: %w", err))
	}
}

// Leave stops listening, closes every link and returns when all is gone. It is
// idempotent. It must not be called from a Handler method. Packets that the
// driver still delivers have no effect.
func (r *Room) Leave() {
	r.mu.Lock()
	if r.left {
		r.mu.Unlock()
		r.tasks.Wait()
		return
	}
	r.left = true
	links := make([]*Link, 0, len(r.links))
	for _, l := range r.links {
		links = append(links, l)
	}
	undo := r.undo
	r.mu.Unlock()
	for _, f := range undo {
		f()
	}
	r.cancel()
	for _, l := range links {
		l.Close()
	}
	r.tasks.Wait()
}

// receive takes a packet from the driver, on the driver's goroutine. A panic is
// the end of that packet alone.
func (r *Room) receive(packet []byte) {
	defer func() {
		if v := recover(); v != nil {
			r.log.Error("signaling packet dropped", "panic", v)
		}
	}()
	m, err := r.codec.Decode(packet)
	if err != nil {
		if !errors.Is(err, signal.ErrOwnPacket) {
			r.cfg.Handler.RoomError(fmt.Errorf("signaling packet: %w", err))
		}
		return
	}
	switch m.Type {
	case signal.Announce:
		r.invoke(m.From)
	case signal.Invoke:
		r.dial(m)
	case signal.Offer:
		r.offered(m)
	case signal.Answer:
		if l := r.link(m.From); l != nil {
			l.take(len(m.Description.SDP), func() { l.answered(*m.Description) })
		}
	case signal.Candidates:
		r.candidates(m)
	}
}

// invoke answers an announce, always, whether or not the peer is known.
func (r *Room) invoke(to signal.PeerID) {
	r.mu.Lock()
	ok := !r.left && r.budget.Allow()
	m := signal.Message{Type: signal.Invoke, Metadata: r.metadata}
	r.mu.Unlock()
	if !ok {
		return
	}
	if err := r.send(to, m); err != nil {
		r.cfg.Handler.RoomError(fmt.Errorf("invoke %s: %w", to, err))
	}
}

// dial answers an invoke with a link that makes the first offer.
func (r *Room) dial(m signal.Message) {
	if l := r.accept(m); l != nil {
		l.do(l.negotiate)
	}
}

// offered hands an offer to its link, making one for a peer not known yet. An
// offer to a link that is ending waits until its id is free.
func (r *Room) offered(m signal.Message) {
	r.mu.Lock()
	l := r.links[m.From]
	ending := l != nil && l.ended()
	if ending {
		l.next = &m
	}
	r.mu.Unlock()
	if ending {
		return
	}
	if l == nil {
		l = r.accept(m)
	}
	if l == nil {
		return
	}
	l.take(len(m.Description.SDP)+len(m.Metadata), func() {
		if m.Metadata != nil {
			l.metadata.Store(&m.Metadata)
		}
		l.offeredAnew(m)
	})
}

// succeed ends a link whose peer has begun a new connection with offer m, under
// the id that both had. The new link begins when the old one is gone.
func (r *Room) succeed(l *Link, m signal.Message) {
	r.mu.Lock()
	l.next = &m
	r.mu.Unlock()
	l.fail(ErrReplaced)
}

// accept makes a link to the sender of m, unless there is one or Verify refuses.
func (r *Room) accept(m signal.Message) *Link {
	if r.link(m.From) != nil {
		return nil
	}
	if r.cfg.Verify != nil && !r.cfg.Verify(m.From, m.Metadata) {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.left || r.links[m.From] != nil {
		return nil
	}
	if len(r.links) >= maxLinks {
		r.log.Warn("room is full, peer not linked", "peer", string(m.From), "links", len(r.links))
		return nil
	}
	l, err := newLink(r, m.From, m.Metadata)
	if err != nil {
		r.log.Error("make connection", "peer", string(m.From), "err", err)
		return nil
	}
	r.links[m.From] = l
	r.tasks.Go(l.run)
	return l
}

// candidates hands candidates to their link, or keeps them for one to come.
func (r *Room) candidates(m signal.Message) {
	if l := r.link(m.From); l != nil {
		size := 0
		for _, c := range m.Candidates {
			size += len(c.Candidate)
		}
		l.take(size, func() { l.candidates(m.Candidates) })
		return
	}
	for _, c := range m.Candidates {
		r.held.Hold(m.From, c)
	}
}

func (r *Room) link(id signal.PeerID) *Link {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.links[id]
}

// send encodes m and publishes it to a peer's own namespace.
func (r *Room) send(to signal.PeerID, m signal.Message) error {
	packet, err := r.codec.Encode(to, m)
	if err != nil {
		return err
	}
	return r.cfg.Driver.Publish(r.ctx, r.codec.PeerNamespace(to), packet)
}

// forget removes an ended link, with all that was kept under its id. A link
// that ended against the will of both sides makes the room announce again.
func (r *Room) forget(l *Link, err error) {
	r.mu.Lock()
	if r.links[l.id] == l {
		delete(r.links, l.id)
	}
	next, left := l.next, r.left
	if next == nil && !errors.Is(err, ErrLeft) && !errors.Is(err, ErrClosed) && r.announceLater(min(r.failures, rejoinBackoff)) {
		r.failures++
	}
	r.mu.Unlock()
	if next != nil && !left {
		l.guard(func() { r.offered(*next) }) // Verify may panic
		return
	}
	r.held.Forget(l.id)
	r.codec.Forget(l.id)
}

// succeeded says that a link got ready.
func (r *Room) succeeded() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = 0
}

// announceLater announces after the jitter, the time doubled so many times. It
// reports false if that is under way already. r.mu is held.
func (r *Room) announceLater(doubled int) bool {
	if r.left || r.rejoin {
		return false
	}
	r.rejoin = true
	r.tasks.Go(func() { // joined by Leave
		timer := time.NewTimer((rejoinDelay + rand.N(rejoinJitter)) << doubled)
		defer timer.Stop()
		select {
		case <-timer.C:
			r.mu.Lock()
			r.rejoin = false
			r.mu.Unlock()
			r.Announce()
		case <-r.ctx.Done():
		}
	})
	return true
}

// Rejoin announces the local peer again after a short random delay, for an
// owner that lost the peer through which it reached the others.
func (r *Room) Rejoin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.announceLater(0)
}

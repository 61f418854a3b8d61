package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/weft-rtc/weft/mesh"
	"github.com/weft-rtc/weft/mesh/conn"
	"github.com/weft-rtc/weft/mesh/driver"
	"github.com/weft-rtc/weft/mesh/driver/memory"
	"github.com/weft-rtc/weft/mesh/signal"
)

// Config says what a Peer is made of. Its zero value works: a peer that meets
// others of the same process over memory signaling.
type Config struct {
	// Driver carries the signaling. Nil means the process-wide memory bus. A
	// driver given here is not closed by the Peer.
	Driver driver.Driver
	// Metadata is announced to others: any JSON object of at most 16 KiB. The
	// key "hub" is set by the role.
	Metadata map[string]any
	// Hub makes the Peer forward everyone's streams to everyone else.
	Hub bool
	// Verify decides whether to connect to a peer; nil accepts everybody. It is
	// called on the driver's goroutine, must not block, and must not call Join,
	// Leave or Close.
	Verify func(id string, metadata json.RawMessage) bool
	// Conn makes the connections; it is not closed by the Peer. Nil means one of
	// the Peer's own, made by Join from ICEServers and RelayOnly.
	Conn *conn.API
	// ICEServers are the STUN and TURN servers of every connection; none by
	// default. Ignored when Conn is given.
	ICEServers []webrtc.ICEServer
	// RelayOnly lets media flow through TURN only. Ignored when Conn is given.
	RelayOnly bool
	// ConnectTimeout bounds the time that a connection takes to be up, and that
	// it may stay disconnected; zero means 15 s, negative switches it off.
	ConnectTimeout time.Duration
	// Signal holds options of the signaling codec, on which all peers of a room
	// must agree. The zero value is the library's default.
	Signal signal.Config
	// Logger gets what an operator should know; nil discards.
	Logger *slog.Logger
}

// processBus is where peers without a driver meet.
var processBus = memory.NewBus()

// Errors that callers may want to tell apart.
var (
	// ErrClosed: Close was called.
	ErrClosed = errors.New("peer is closed")
	// ErrLabel: a label is empty, too long, or has a slash, which only a hub
	// puts there.
	ErrLabel = errors.New("invalid label")
)

// Peer is this member of a room. Its methods may be called from any goroutine.
type Peer struct {
	cfg    Config
	log    *slog.Logger
	events *events

	ownDriver bool // made by New, set once

	joining sync.Mutex // held by Join, Leave and Close, one at a time
	closed  bool       // guarded by joining
	api     *conn.API  // of the room; guarded by joining

	mu      sync.Mutex
	role    role
	table   table
	remotes map[string]*RemotePeer // reached directly, by id
	room    *mesh.Room             // nil outside a room
	stale   bool                   // subscriptions have to be reconciled
	dirty   bool                   // rosters have to be sent
	newRole bool                   // and before that

	wake  chan struct{} // capacity 1: one of these was set
	begun chan func()   // tracks that began, from reading goroutines
	stop  context.CancelFunc
	run   sync.WaitGroup

	flowing []flowing // of the loop, kept to be used again
}

// New checks cfg and returns a Peer that is in no room yet. It starts nothing.
func New(cfg Config) (*Peer, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Peer{
		cfg:     cfg,
		log:     cfg.Logger,
		events:  &events{log: cfg.Logger},
		table:   table{},
		remotes: map[string]*RemotePeer{},
		wake:    make(chan struct{}, 1),
		begun:   make(chan func(), 256),
	}
	if cfg.Hub {
		p.role = roleHub
	}
	if _, err := p.metadata(p.role); err != nil {
		return nil, err
	}
	if cfg.Driver == nil {
		p.cfg.Driver = processBus.Driver()
		p.ownDriver = true
	}
	return p, nil
}

// metadata is what is announced, with the role in it; nil when there is none.
func (p *Peer) metadata(as role) (json.RawMessage, error) {
	m := maps.Clone(p.cfg.Metadata)
	delete(m, "hub")
	if as == roleHub {
		if m == nil {
			m = map[string]any{}
		}
		m["hub"] = true
	}
	if len(m) == 0 {
		return nil, nil
	}
	b, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("Config.Metadata: %w", err)
	}
	if len(b) > signal.MaxMetadata {
		return nil, fmt.Errorf("Config.Metadata: %d bytes as JSON, at most %d", len(b), signal.MaxMetadata)
	}
	return b, nil
}

// Join enters a room and returns when the Peer listens there. A Peer that is in
// a room already stays there: the second Join does nothing. ctx bounds the
// joining only. It waits for a Leave that is under way. After Close it fails
// with ErrClosed.
func (p *Peer) Join(ctx context.Context, room string) error {
	p.joining.Lock()
	defer p.joining.Unlock()
	if p.closed {
		return fmt.Errorf("join: %w", ErrClosed)
	}
	if p.current() != nil {
		return nil
	}
	p.api = p.cfg.Conn
	if p.api == nil {
		var err error
		if p.api, err = conn.NewAPI(conn.Config{ICEServers: p.cfg.ICEServers, RelayOnly: p.cfg.RelayOnly, Logger: p.log}); err != nil {
			return fmt.Errorf("join: %w", err)
		}
	}
	p.mu.Lock()
	as := p.role
	p.mu.Unlock()
	metadata, err := p.metadata(as)
	if err != nil { // not here: New and SetHub have tried
		p.closeAPI()
		return err
	}
	p.events.start()
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p.stop = cancel
	r, err := mesh.Join(ctx, mesh.Config{
		Name:           room,
		Driver:         p.cfg.Driver,
		Signal:         p.cfg.Signal,
		API:            p.api,
		Handler:        (*wiring)(p),
		Metadata:       metadata,
		Verify:         p.verify,
		ConnectTimeout: p.cfg.ConnectTimeout,
		Logger:         p.log,
	})
	if err != nil {
		cancel()
		p.events.stop()
		p.closeAPI()
		return fmt.Errorf("join: %w", err)
	}
	p.mu.Lock()
	p.room = r
	if p.role != as { // by a SetHub meanwhile
		p.announceRole()
	}
	p.mu.Unlock()
	p.run.Go(func() { p.loop(running) }) // joined by Leave
	return nil
}

// Leave closes every connection and returns when all is gone. Publications of
// the Peer itself stay in the table for the next Join. It is idempotent, and may
// be called from an event handler; the last events are delivered after it.
func (p *Peer) Leave() {
	p.joining.Lock()
	defer p.joining.Unlock()
	p.leave()
}

// leave is called with joining held.
func (p *Peer) leave() {
	r := p.current()
	if r == nil {
		return
	}
	r.Leave()
	p.stop()
	p.run.Wait()
	p.mu.Lock()
	p.room = nil
	p.mu.Unlock()
	p.closeAPI()
	p.events.stop()
}

// Close leaves the room for good and waits until all handlers have returned. It
// is idempotent. It must not be called from an event handler.
func (p *Peer) Close() error {
	p.joining.Lock()
	p.leave()
	first := !p.closed
	p.closed = true
	p.joining.Unlock()
	p.events.wait()
	if first && p.ownDriver {
		return p.cfg.Driver.Close()
	}
	return nil
}

// closeAPI closes an API that the Peer made itself. joining is held.
func (p *Peer) closeAPI() {
	if p.api != p.cfg.Conn {
		if err := p.api.Close(); err != nil {
			p.log.Debug("close connections", "err", err)
		}
	}
	p.api = nil
}

func (p *Peer) current() *mesh.Room {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.room
}

// ID returns the id of this membership; a new one is made by each Join. It is
// empty outside a room.
func (p *Peer) ID() string {
	if r := p.current(); r != nil {
		return string(r.ID())
	}
	return ""
}

// Room returns the room's name, empty outside a room.
func (p *Peer) Room() string {
	if r := p.current(); r != nil {
		return r.Name()
	}
	return ""
}

// SetHub changes the role while the room is running: what already flows goes
// on, what the new rule adds or ends is negotiated. Peers that know of rosters
// learn of the role at once, others when they connect anew. It fails only if the
// metadata has no room for the role, and then changes nothing.
func (p *Peer) SetHub(hub bool) error {
	as := roleMesh
	if hub {
		as = roleHub
	}
	if _, err := p.metadata(as); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.role != as {
		p.role = as
		p.announceRole()
	}
	return nil
}

// announceRole tells the others of a change of role; p.mu is held.
func (p *Peer) announceRole() {
	if metadata, err := p.metadata(p.role); err == nil && p.room != nil {
		p.room.SetMetadata(metadata)
	}
	p.newRole = true
	p.changed()
}

// verify accepts a peer. One that is not a hub itself and knows a hub keeps to
// the hub.
func (p *Peer) verify(id signal.PeerID, metadata json.RawMessage) bool {
	if p.cfg.Verify != nil && !p.cfg.Verify(string(id), metadata) {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.role == roleHub || isHub(metadata) || p.hub() == nil
}

// hub returns a hub that is connected; p.mu is held.
func (p *Peer) hub() *RemotePeer {
	for _, r := range p.remotes {
		if r.hub && r.ready {
			return r
		}
	}
	return nil
}

// OnConnection registers f for peers that come, change and go. Handlers are
// called one at a time on a goroutine of the Peer's own; off removes f again.
func (p *Peer) OnConnection(f func(ConnectionEvent)) (off func()) { return on(p.events, f) }

// OnStream registers f for remote streams that are added and removed.
func (p *Peer) OnStream(f func(StreamEvent)) (off func()) { return on(p.events, f) }

// OnTrack registers f for tracks of remote streams.
func (p *Peer) OnTrack(f func(TrackEvent)) (off func()) { return on(p.events, f) }

// OnError registers f for errors that have no effect on the room, such as a
// signaling packet that cannot be read.
func (p *Peer) OnError(f func(error)) (off func()) { return on(p.events, f) }

func checkLabel(label string) error {
	switch {
	case label == "":
		return fmt.Errorf("%w: empty", ErrLabel)
	case len(label) > maxLabel:
		return fmt.Errorf("%w: %d bytes, at most %d", ErrLabel, len(label), maxLabel)
	case strings.Contains(label, "/"):
		return fmt.Errorf("%w: %q has a slash", ErrLabel, label)
	}
	return nil
}

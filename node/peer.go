package node

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"

	"github.com/weft-rtc/weft/mesh"
	"github.com/weft-rtc/weft/mesh/conn"
	"github.com/weft-rtc/weft/mesh/driver"
	"github.com/weft-rtc/weft/mesh/driver/memory"
	"github.com/weft-rtc/weft/mesh/signal"
)

// processBus is where peers without a driver meet.
var processBus = memory.NewBus()

// Peer is this member of a room. Its methods may be called from any goroutine.
type Peer struct {
	cfg    Config
	events *dispatch
	active atomic.Int32 // calls of Join under way

	joining sync.Mutex // held by Join, Leave and Close, one at a time
	closed  bool       // guarded by joining
	api     *conn.API  // of the room; guarded by joining

	mu         sync.Mutex
	log        *slog.Logger // names the room of the last Join
	driver     driver.Driver
	ownDriver  bool           // made by the Peer
	meta       map[string]any // replaced, never changed in place
	joinVerify VerifyFunc     // of this membership; nil: that of cfg
	channels   map[channelKey]ChannelOptions
	addons     map[string]*Scope
	attached   []*Scope // the same in the order of their attaching
	sealed     bool     // takes no addons any more
	role       role
	table      table
	remotes    map[string]*remote  // reached directly, by id
	guests     map[*Guest]struct{} // all whose end is not done with
	doors      *conn.API           // makes the connections of guests; nil: none may come
	room       *mesh.Room          // nil outside a room
	stale      bool                // subscriptions have to be reconciled
	dirty      bool                // rosters have to be sent
	gone       RefusedStats        // of remotes that are gone
	newRole    bool                // and before that

	wake  chan struct{} // capacity 1: one of these was set
	begun chan func()   // tracks that began, from reading goroutines
	stop  context.CancelFunc
	run   sync.WaitGroup

	speakers speakers  // of the loop
	flowing  []flowing // of the loop, kept to be used again
}

// New checks cfg and returns a Peer that is in no room yet. It starts nothing.
// Errors name the field that is wrong.
func New(cfg Config) (*Peer, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Peer{
		cfg:      cfg,
		log:      cfg.Logger,
		events:   newDispatch(cfg.Logger),
		driver:   cfg.Driver,
		meta:     maps.Clone(cfg.Metadata),
		table:    table{},
		remotes:  map[string]*remote{},
		guests:   map[*Guest]struct{}{},
		channels: map[channelKey]ChannelOptions{},
		addons:   map[string]*Scope{},
		wake:     make(chan struct{}, 1),
		begun:    make(chan func(), 256),
	}
	if cfg.Hub {
		p.role = roleHub
	}
	if p.driver == nil {
		p.driver = processBus.Driver()
		p.ownDriver = true
	}
	return p, nil
}

// JoinOptions say more than the name of a room.
type JoinOptions struct {
	Room string // empty: DefaultRoom
	// Metadata, if not nil, replaces the Peer's, as SetMetadata does.
	Metadata map[string]any
	// Verify, if not nil, replaces that of the Config for this membership.
	Verify VerifyFunc
}

// Join enters a room, DefaultRoom if the name is empty, and returns when the
// Peer listens there. A Peer that is in a room already stays there: the second
// Join does nothing. ctx bounds the joining only. It waits for a Leave that is
// under way. After Close it fails with ErrClosed.
func (p *Peer) Join(ctx context.Context, room string) error {
	return p.JoinWith(ctx, JoinOptions{Room: room})
}

// JoinWith is Join with options.
func (p *Peer) JoinWith(ctx context.Context, o JoinOptions) error {
	p.active.Add(1)
	defer p.active.Add(-1)
	p.joining.Lock()
	defer p.joining.Unlock()
	if p.closed {
		return fmt.Errorf("join: %w", ErrClosed)
	}
	if p.current() != nil {
		return nil
	}
	if o.Room == "" {
		o.Room = DefaultRoom
	}
	if o.Metadata != nil {
		if err := p.SetMetadata(o.Metadata); err != nil {
			return fmt.Errorf("join: %w", err)
		}
	}
	if err := p.openAPI(); err != nil {
		return fmt.Errorf("join: %w", err)
	}
	if err := p.enter(ctx, o); err != nil {
		p.closeAPI()
		return fmt.Errorf("join: %w", err)
	}
	return nil
}

// enter joins the room with the Peer's API; joining is held.
func (p *Peer) enter(ctx context.Context, o JoinOptions) error {
	p.mu.Lock()
	as, d := p.role, p.driver
	metadata, err := marshalMetadata(p.meta, as)
	p.joinVerify = o.Verify
	p.log = p.cfg.Logger.With("room", o.Room)
	p.mu.Unlock()
	if err != nil { // not here: New, SetMetadata and SetHub have tried
		return err
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r, err := mesh.Join(ctx, mesh.Config{
		Name:           o.Room,
		Driver:         d,
		Signal:         p.cfg.Signal,
		API:            p.api,
		Handler:        (*wiring)(p),
		Metadata:       metadata,
		Verify:         p.verify,
		ConnectTimeout: p.cfg.ConnectTimeout,
		Logger:         p.cfg.Logger,
	})
	if err != nil {
		cancel()
		return err
	}
	p.stop = cancel
	p.mu.Lock()
	p.room, p.doors = r, p.api
	p.announceMetadata() // a SetHub or SetMetadata may have come meanwhile
	if p.role != as {
		p.newRole = true
	}
	p.changed()
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
	p.dismiss()
	r.Leave()
	p.stop()
	p.run.Wait()
	p.follow() // the loop may have ended before it saw what has gone
	p.mu.Lock()
	p.room = nil
	p.mu.Unlock()
	p.closeAPI()
}

// Close leaves the room for good, detaches the addons, and waits until all
// handlers have returned, 5 s at most. It is idempotent. It must not be called
// from an event handler.
func (p *Peer) Close() error {
	p.joining.Lock()
	p.leave()
	first := !p.closed
	p.closed = true
	p.joining.Unlock()
	p.detachAll()
	p.events.close()
	if first && p.ownDriver {
		return p.Driver().Close()
	}
	return nil
}

// openAPI makes an API of the Peer's own if none was given. joining is held.
func (p *Peer) openAPI() (err error) {
	p.api = p.cfg.Conn
	if p.api == nil {
		p.api, err = conn.NewAPI(conn.Config{ICEServers: p.cfg.ICEServers, RelayOnly: p.cfg.RelayOnly, Logger: p.log})
	}
	return err
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

// Active reports whether the Peer is in a room or about to be.
func (p *Peer) Active() bool { return p.active.Load() > 0 || p.Joined() }

// Joined reports whether the Peer is in a room.
func (p *Peer) Joined() bool { return p.current() != nil }

// Driver returns what carries the signaling.
func (p *Peer) Driver() driver.Driver {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.driver
}

// SetDriver replaces what carries the signaling, from the next Join on; nil
// means the process-wide memory bus. The one before is closed only if the Peer
// has made it itself. It fails with ErrActive in a room.
func (p *Peer) SetDriver(d driver.Driver) error {
	p.joining.Lock()
	defer p.joining.Unlock()
	if p.current() != nil {
		return fmt.Errorf("set driver: %w", ErrActive)
	}
	p.mu.Lock()
	old, own := p.driver, p.ownDriver
	p.driver, p.ownDriver = d, d == nil
	if d == nil {
		p.driver = processBus.Driver()
	}
	p.mu.Unlock()
	if own {
		return old.Close()
	}
	return nil
}

// Metadata returns a copy of what is announced of the Peer, without the role.
func (p *Peer) Metadata() map[string]any {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.meta)
}

// SetMetadata replaces what is announced of the Peer: any JSON object of at most
// 16 KiB. Peers that are connected already learn of it when they connect anew.
// It fails if the object cannot be written or is too long, and then changes
// nothing.
func (p *Peer) SetMetadata(m map[string]any) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := marshalMetadata(m, p.role); err != nil {
		return fmt.Errorf("metadata: %w", err)
	}
	p.meta = maps.Clone(m)
	p.announceMetadata()
	return nil
}

// announceMetadata lets the room say what is so now; p.mu is held.
func (p *Peer) announceMetadata() {
	if m, err := marshalMetadata(p.meta, p.role); err == nil && p.room != nil {
		p.room.SetMetadata(m)
	}
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
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := marshalMetadata(p.meta, as); err != nil {
		return fmt.Errorf("metadata: %w", err)
	}
	if p.role != as {
		p.role = as
		p.announceMetadata()
		p.newRole = true
		p.changed()
	}
	return nil
}

// verify accepts a peer. One that is not a hub itself and knows a hub keeps to
// the hub.
func (p *Peer) verify(id signal.PeerID, metadata json.RawMessage) bool {
	if f := p.verifier(); f != nil && !f(string(id), metadata) {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.role == roleHub || isHub(metadata) || p.hub() == nil
}

// hub returns a hub that is connected; p.mu is held.
func (p *Peer) hub() *remote {
	for _, r := range p.remotes {
		if r.hub && r.ready {
			return r
		}
	}
	return nil
}

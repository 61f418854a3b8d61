package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	roomIdle       = 60 * time.Second // a hub leaves a room that was empty for so long
	roomSweepEvery = 5 * time.Second  // how often emptiness is looked at
	roomJoin       = 10 * time.Second // for a hub to enter a room on the in-process bus
)

// Remote is one remote peer of a room, as the hub sees it.
type Remote struct {
	ID       string          `json:"id"`
	Metadata json.RawMessage `json:"metadata,omitempty"`
	State    string          `json:"state"`             // of its connection
	Streams  []string        `json:"streams,omitempty"` // labels
}

// hub reports whether the peer is itself a hub. Hubs do not keep one another in
// a room that is otherwise empty.
func (r Remote) hub() bool {
	var m struct {
		Hub bool `json:"hub"`
	}
	return json.Unmarshal(r.Metadata, &m) == nil && m.Hub
}

// member is what a room needs of its hub: a node.Peer, or a fake in tests.
type member interface {
	Join(ctx context.Context, room string) error
	ID() string
	Remotes() []Remote
	Close() error // leaves the room, idempotent, waits
}

// Errors of rooms.enter that the API answers differently.
var (
	errRoomsFull   = errors.New("serve: this hub is in as many rooms as it takes")
	errRoomsClosed = errors.New("serve: this server is stopping")
)

// rooms holds the hub's members, one for each room. A room appears when somebody
// asks for it and goes when it was empty of peers for roomIdle, unless pinned.
type rooms struct {
	make func(room string) (member, error)
	max  int
	log  *slog.Logger

	mu     sync.Mutex
	byName map[string]*room
	closed bool
}

// room is one entry. ready is closed once hub and err are final; both are then
// only read. used is guarded by rooms.mu.
type room struct {
	name   string
	pinned bool
	ready  chan struct{}
	hub    member
	err    error
	used   time.Time // last time that somebody was there or asked
}

func newRooms(limit int, log *slog.Logger, mk func(string) (member, error)) *rooms {
	return &rooms{make: mk, max: limit, log: log, byName: map[string]*room{}}
}

// enter makes the hub join the room, or waits for another caller's join of it,
// and returns the hub's peer id. A pinned room is never left. Any goroutine.
func (rs *rooms) enter(ctx context.Context, name string, pinned bool, now time.Time) (string, error) {
	rs.mu.Lock()
	r, ok := rs.byName[name]
	switch {
	case rs.closed:
		rs.mu.Unlock()
		return "", errRoomsClosed
	case !ok && len(rs.byName) >= rs.max:
		rs.mu.Unlock()
		return "", fmt.Errorf("%w (%d, --max-rooms)", errRoomsFull, rs.max)
	case !ok:
		r = &room{name: name, pinned: pinned, ready: make(chan struct{})}
		rs.byName[name] = r
	}
	r.used = now
	r.pinned = r.pinned || pinned
	rs.mu.Unlock()

	if !ok {
		rs.join(r, pinned) // not by ctx: others may wait for the same room
	}
	select {
	case <-r.ready:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	if r.err != nil {
		return "", r.err
	}
	return r.hub.ID(), nil
}

// join fills the entry in. A room that could not be entered is forgotten, so that
// the next caller tries again.
func (rs *rooms) join(r *room, pinned bool) {
	defer close(r.ready)
	hub, err := rs.make(r.name)
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), roomJoin)
		err = hub.Join(ctx, r.name)
		cancel()
		if err != nil {
			_ = hub.Close()
		}
	}
	if err == nil {
		r.hub = hub
		rs.log.Info("hub entered", "room", r.name, "id", hub.ID(), "pinned", pinned)
		return
	}
	r.err = fmt.Errorf("serve: hub could not enter room %q: %w", r.name, err)
	rs.log.Error("hub could not enter", "room", r.name, "error", err)
	rs.mu.Lock()
	delete(rs.byName, r.name)
	rs.mu.Unlock()
}

// get returns the entry of a room that the hub is in, nil otherwise.
func (rs *rooms) get(name string) *room {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if r := rs.byName[name]; r != nil && r.joined() {
		return r
	}
	return nil
}

// list returns the rooms that the hub is in, by name.
func (rs *rooms) list() []*room {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	var out []*room
	for _, r := range rs.byName {
		if r.joined() {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b *room) int { return strings.Compare(a.name, b.name) })
	return out
}

// joined reports whether hub may be used.
func (r *room) joined() bool {
	select {
	case <-r.ready:
		return r.err == nil
	default:
		return false
	}
}

// run leaves empty rooms until ctx ends. It blocks.
func (rs *rooms) run(ctx context.Context) {
	tick := time.NewTicker(roomSweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			for _, r := range rs.sweep(time.Now()) {
				rs.log.Info("hub left an empty room", "room", r.name)
				_ = r.hub.Close()
			}
		}
	}
}

// sweep takes out the rooms that have been empty for roomIdle; the caller closes
// their hubs.
func (rs *rooms) sweep(now time.Time) []*room {
	var gone []*room
	for _, r := range rs.list() {
		// Not under mu: the peer has locks of its own.
		occupied := slices.ContainsFunc(r.hub.Remotes(), func(p Remote) bool { return !p.hub() })
		rs.mu.Lock()
		switch {
		case occupied || r.pinned:
			r.used = now
		case now.Sub(r.used) >= roomIdle && rs.byName[r.name] == r:
			delete(rs.byName, r.name)
			gone = append(gone, r)
		}
		rs.mu.Unlock()
	}
	return gone
}

// close leaves every room and waits. Further enters fail. It is idempotent.
func (rs *rooms) close() {
	rs.mu.Lock()
	rs.closed = true
	all := rs.byName
	rs.byName = map[string]*room{}
	rs.mu.Unlock()
	var wg sync.WaitGroup
	for _, r := range all {
		wg.Go(func() {
			<-r.ready // a join in flight ends by its own timeout
			if r.err == nil {
				_ = r.hub.Close()
			}
		})
	}
	wg.Wait()
}

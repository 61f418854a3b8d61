package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeHub is a member that is joined at will.
type fakeHub struct {
	id      string
	joinErr error
	gate    chan struct{} // nil: Join returns at once

	mu      sync.Mutex
	remotes []Remote
	closed  int
}

func (f *fakeHub) Join(ctx context.Context, room string) error {
	if f.gate != nil {
		<-f.gate
	}
	return f.joinErr
}
func (f *fakeHub) ID() string { return f.id }
func (f *fakeHub) Remotes() []Remote {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.remotes
}
func (f *fakeHub) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed++
	return nil
}
func (f *fakeHub) set(r ...Remote) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.remotes = r
}
func (f *fakeHub) closes() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed
}

// hubFactory makes a fakeHub for each room and remembers them.
type hubFactory struct {
	mu   sync.Mutex
	made map[string][]*fakeHub
	next func(*fakeHub)
}

func (f *hubFactory) make(room string) (member, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.made == nil {
		f.made = map[string][]*fakeHub{}
	}
	h := &fakeHub{id: fmt.Sprintf("%s-%d", room, len(f.made[room]))}
	if f.next != nil {
		f.next(h)
	}
	f.made[room] = append(f.made[room], h)
	return h, nil
}

func testRooms(limit int, f *hubFactory) *rooms {
	return newRooms(limit, slog.New(slog.DiscardHandler), f.make)
}

func TestRoomsLeaveWhenEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &hubFactory{}
		rs := testRooms(10, f)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { rs.run(ctx) })
		for _, room := range []string{"empty", "busy", "pinned", "hubs"} {
			if _, err := rs.enter(ctx, room, room == "pinned", time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		f.made["busy"][0].set(Remote{ID: "a"})
		f.made["hubs"][0].set(Remote{ID: "b", Metadata: json.RawMessage(`{"hub":true}`)})

		time.Sleep(roomIdle - time.Second) // virtual time
		if got := len(rs.list()); got != 4 {
			t.Errorf("%d rooms before the time is up, want 4", got)
		}
		time.Sleep(roomSweepEvery + time.Second)
		var left []string
		for _, r := range rs.list() {
			left = append(left, r.name)
		}
		if got := strings.Join(left, " "); got != "busy pinned" {
			t.Errorf("rooms left: %q, want busy and pinned", got)
		}
		if f.made["empty"][0].closes() != 1 || f.made["hubs"][0].closes() != 1 {
			t.Error("a hub that left was not closed")
		}
		// Emptied, entered again: a new hub, the clock anew.
		f.made["busy"][0].set()
		time.Sleep(roomIdle + 2*roomSweepEvery)
		if rs.get("busy") != nil {
			t.Error("a room that emptied is still held")
		}
		if id, err := rs.enter(ctx, "busy", false, time.Now()); err != nil || id != "busy-1" {
			t.Errorf("entered again: %q, %v", id, err)
		}
		cancel()
		wg.Wait()
		rs.close()
		if f.made["pinned"][0].closes() != 1 {
			t.Error("close left a hub open")
		}
	})
}

func TestRoomsEnterOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		f := &hubFactory{next: func(h *fakeHub) { h.gate = gate }}
		rs := testRooms(1, f)
		var wg sync.WaitGroup
		ids := make([]string, 5)
		for i := range ids {
			wg.Go(func() { ids[i], _ = rs.enter(t.Context(), "r", false, time.Now()) })
		}
		synctest.Wait() // all wait for the one join
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := rs.enter(ctx, "r", false, time.Now()); !errors.Is(err, context.Canceled) {
			t.Errorf("a caller that gave up got %v", err)
		}
		if rs.get("r") != nil || len(rs.list()) != 0 {
			t.Error("a room that is still being joined is listed")
		}
		close(gate)
		wg.Wait()
		for i, id := range ids {
			if id != "r-0" {
				t.Errorf("caller %d got hub %q", i, id)
			}
		}
	})
}

func TestRoomsRefuse(t *testing.T) {
	f := &hubFactory{}
	rs := testRooms(1, f)
	now := time.Now()
	f.next = func(h *fakeHub) { h.joinErr = errors.New("no signaling") }
	if _, err := rs.enter(t.Context(), "a", false, now); err == nil || !strings.Contains(err.Error(), "no signaling") {
		t.Errorf("failed join: %v", err)
	}
	if f.made["a"][0].closes() != 1 {
		t.Error("the hub of a failed join was not closed")
	}
	f.next = nil
	if _, err := rs.enter(t.Context(), "a", false, now); err != nil {
		t.Errorf("the room of a failed join is lost: %v", err)
	}
	if _, err := rs.enter(t.Context(), "b", false, now); !errors.Is(err, errRoomsFull) {
		t.Errorf("one room too many: %v", err)
	}
	rs.close()
	rs.close()
	if _, err := rs.enter(t.Context(), "a", false, now); !errors.Is(err, errRoomsClosed) {
		t.Errorf("after close: %v", err)
	}
}

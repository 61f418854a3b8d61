package node

import (
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-rtc/weft/mesh/conn"
)

// seen collects event names.
type seen struct {
	mu    sync.Mutex
	names []EventName
}

func (s *seen) add(e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names = append(s.names, e.Name)
}

// take returns what came since the last take, when all is handled.
func (s *seen) take() []EventName {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	names := s.names
	s.names = nil
	return names
}

func newTestDispatch() *dispatch { return newDispatch(slog.New(slog.DiscardHandler)) }

func TestOnOnceOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTestDispatch()
		var all, group, one, both, once seen
		d.add(all.add, false, nil)
		off := d.add(group.add, false, []EventName{GroupStream})
		d.add(one.add, false, []EventName{StreamAdd})
		d.add(both.add, false, []EventName{TrackAdd, StreamAdd})
		d.add(once.add, true, []EventName{StreamRemove, TrackAdd})
		say := func(names ...EventName) {
			for _, n := range names {
				d.emit(Event{Name: n})
			}
		}
		check := func(what string, s *seen, want ...EventName) {
			t.Helper()
			if got := s.take(); !slices.Equal(got, want) {
				t.Errorf("%s: %q, want %q", what, got, want)
			}
		}
		say(StreamAdd, TrackAdd, StreamRemove, "streams", "my:own")
		check("all", &all, StreamAdd, TrackAdd, StreamRemove, "streams", "my:own")
		check("group", &group, StreamAdd, StreamRemove)
		check("one", &one, StreamAdd)
		check("both", &both, StreamAdd, TrackAdd)
		check("once", &once, TrackAdd)

		off()
		off() // again
		d.off([]EventName{StreamAdd})
		say(StreamAdd, TrackAdd, StreamRemove)
		check("all after off", &all, StreamAdd, TrackAdd, StreamRemove)
		check("group after off", &group)
		check("one after off", &one)
		check("both after off", &both, TrackAdd)
		check("once after once", &once)

		d.off(nil)
		say(TrackAdd)
		check("all after off of all", &all)
		check("both after off of all", &both)
	})
}

// TestHandlerTrouble: a handler that panics, blocks or is slow harms nobody else,
// and loses nothing but what is beyond its queue.
func TestHandlerTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTestDispatch()
		release := make(chan struct{})
		blocked, panics := 0, 0
		d.add(func(Event) { blocked++; <-release }, false, nil)
		d.add(func(Event) { panics++; panic("handler") }, false, nil)
		var good seen
		d.add(good.add, false, nil)
		for range eventQueue + 100 {
			d.emit(Event{Name: "x"})
			if n := len(good.take()); n != 1 {
				t.Fatalf("%d events beside a blocked handler, want 1", n)
			}
		}
		if blocked != 1 || panics != eventQueue+100 {
			t.Errorf("%d calls of the blocked handler, %d of the one that panics", blocked, panics)
		}
		close(release)
		synctest.Wait()
		if blocked != eventQueue+1 {
			t.Errorf("%d calls after the block, want the queue and one", blocked)
		}
		d.emit(Event{Name: "x"})
		synctest.Wait()
		if blocked != eventQueue+2 {
			t.Error("no event after a full queue")
		}
	})
}

// TestCloseWithHandlers: closing waits for handlers, but not for ever.
func TestCloseWithHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTestDispatch()
		handled := 0
		d.add(func(Event) { <-time.After(time.Second); handled++ }, false, nil)
		d.emit(Event{Name: "x"})
		d.emit(Event{Name: "x"})
		var closing sync.WaitGroup
		for range 2 {
			closing.Go(d.close)
		}
		closing.Wait()
		if handled != 2 {
			t.Errorf("%d events handled before close returned, want 2", handled)
		}
		d.emit(Event{Name: "x"})

		d = newTestDispatch()
		release := make(chan struct{})
		d.add(func(Event) { <-release }, false, nil)
		d.emit(Event{Name: "x"})
		start := time.Now()
		d.close()
		if took := time.Since(start); took != handlerPatience {
			t.Errorf("close waited %v for a handler that does not return, want %v", took, handlerPatience)
		}
		close(release)
	})
}

// TestNamed: events of the Peer's own have the names that the constants say.
func TestNamed(t *testing.T) {
	for want, data := range map[EventName]any{
		ConnectionNew:          ConnectionEvent{State: conn.StateNew},
		ConnectionConnecting:   ConnectionEvent{State: conn.StateConnecting},
		ConnectionConnected:    ConnectionEvent{State: conn.StateConnected},
		ConnectionDisconnected: ConnectionEvent{State: conn.StateDisconnected},
		ConnectionFailed:       ConnectionEvent{State: conn.StateFailed},
		ConnectionClosed:       ConnectionEvent{State: conn.StateClosed},
		StreamAdd:              StreamEvent{Added: true},
		StreamRemove:           StreamEvent{},
		TrackAdd:               TrackEvent{Added: true},
		TrackRemove:            TrackEvent{},
		EventError:             errors.New("x"),
	} {
		if got := named(data).Name; got != want {
			t.Errorf("%T: %q, want %q", data, got, want)
		}
	}
}

// TestEmitAgain: a message stays with the handlers that have it when one of them
// emits its event under another name, and ends once.
func TestEmitAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := New(Config{})
		if err != nil {
			t.Fatal(err)
		}
		ended := 0
		h := &holds{last: func() { ended++ }}
		h.n.Add(1)
		release := make(chan struct{})
		var again Event
		p.OnMessage(func(e ChannelEvent) {
			again = Event{"my:message", e}
			p.Emit(again.Name, again.Data)
			<-release
		})
		p.events.emit(Event{ChannelMessage, ChannelEvent{Channel: new(Channel), held: h}})
		synctest.Wait()
		if ended != 0 {
			t.Error("message ended while a handler has it")
		}
		close(release)
		synctest.Wait()
		p.Emit(again.Name, again.Data)
		synctest.Wait()
		if ended != 1 {
			t.Errorf("message ended %d times, want once", ended)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestOffWhileQueued: what waits for a handler that is taken off is not
// delivered, for those of its names that are taken.
func TestOffWhileQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTestDispatch()
		release := make(chan struct{})
		var got []EventName
		d.add(func(e Event) { got = append(got, e.Name); <-release }, false, []EventName{"a", "b"})
		for _, n := range []EventName{"b", "a", "b"} {
			d.emit(Event{Name: n})
		}
		synctest.Wait()
		d.off([]EventName{"a"})
		close(release)
		synctest.Wait()
		if !slices.Equal(got, []EventName{"b", "b"}) {
			t.Errorf("handled %q, want only what it is still for", got)
		}
	})
}

package node

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/weft-rtc/weft/mesh/conn"
	"github.com/weft-rtc/weft/publish"
)

// ledger hears every event of a Peer and fails the test when they come in an
// order that must not be.
type ledger struct {
	t    *testing.T
	name string

	mu       sync.Mutex
	states   map[string]conn.State // of peers that are there, by id and via
	streams  map[string]map[*publish.Track]bool
	channels map[*Channel]EventName
	log      []string
}

func newLedger(t *testing.T, name string, p *Peer) *ledger {
	l := &ledger{
		t: t, name: name,
		states:   map[string]conn.State{},
		streams:  map[string]map[*publish.Track]bool{},
		channels: map[*Channel]EventName{},
	}
	p.On(l.hear)
	return l
}

func (l *ledger) hear(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.log) < 1000 {
		l.log = append(l.log, fmt.Sprint(e.Name))
	}
	switch d := e.Data.(type) {
	case ConnectionEvent:
		l.connection(d)
	case StreamEvent:
		l.stream(d)
	case TrackEvent:
		l.track(d)
	case ChannelEvent:
		l.channel(e.Name, d)
	}
}

func (l *ledger) fail(format string, args ...any) {
	l.t.Errorf("%s: %s", l.name, fmt.Sprintf(format, args...))
}

func (l *ledger) connection(e ConnectionEvent) {
	key := e.ID + " via " + e.Via
	before, known := l.states[key]
	first := conn.StateNew
	if e.Via != "" {
		first = conn.StateConnected
	}
	switch {
	case !known && e.State != first:
		l.fail("first event of %s is %v", key, e.State)
	case known && e.State == first && e.Via == "":
		l.fail("%s is new and was %v", key, before)
	}
	if e.State == conn.StateClosed {
		delete(l.states, key)
		return
	}
	l.states[key] = e.State
}

func (l *ledger) stream(e StreamEvent) {
	key := e.Peer + "/" + e.Label
	tracks, known := l.streams[key]
	switch {
	case e.Added && known:
		l.fail("stream %s added twice", key)
	case !e.Added && !known:
		l.fail("stream %s removed and was not there", key)
	case !e.Added && len(tracks) > 0:
		l.fail("stream %s removed with %d tracks", key, len(tracks))
	case len(e.Tracks) == 0:
		l.fail("event of stream %s without tracks", key)
	}
	if e.Added {
		l.streams[key] = map[*publish.Track]bool{}
	} else {
		delete(l.streams, key)
	}
}

func (l *ledger) track(e TrackEvent) {
	key := e.Peer + "/" + e.Label
	tracks, known := l.streams[key]
	switch {
	case !known:
		l.fail("track event of %s, which is not there", key)
	case e.Added == tracks[e.Track]:
		l.fail("track of %s added %v, and was so", key, e.Added)
	case e.Added:
		tracks[e.Track] = true
	default:
		delete(tracks, e.Track)
	}
}

func (l *ledger) channel(name EventName, e ChannelEvent) {
	before, known := l.channels[e.Channel]
	ok := false
	switch name {
	case ChannelNew:
		ok = !known
	case ChannelOpen:
		ok = before == ChannelNew
	case ChannelMessage:
		ok = true // on its own goroutine, and so perhaps after the close
		name = before
	case ChannelClose:
		ok = known
	}
	if !ok {
		l.fail("channel %q of %s: %s after %q", e.Channel.Label(), e.Peer, name, before)
	}
	if name == ChannelClose {
		delete(l.channels, e.Channel)
	} else if known || name == ChannelNew {
		l.channels[e.Channel] = name
	}
}

// empty fails the test unless everything that came has gone.
func (l *ledger) empty() {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.states) + len(l.streams) + len(l.channels); n > 0 {
		l.fail("left over: connections %v, streams %v, %d channels",
			slices.Collect(maps.Keys(l.states)), slices.Collect(maps.Keys(l.streams)), len(l.channels))
	}
}

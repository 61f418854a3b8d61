package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/mesh/conn"
	"github.com/weft-rtc/weft/mesh/signal"
	"github.com/weft-rtc/weft/publish"
)

// TestHubGivesUp: peers that met through a hub find each other when it turns
// into an ordinary peer, and part again when it turns back.
func TestHubGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		hub := w.peer(Config{Hub: true}, false)
		a, b := w.peer(Config{}, false), w.peer(Config{}, false)
		seen := watch(b)
		c := newCamera()
		if err := a.Publish(publish.Stream{Label: "cam", Tracks: []*publish.Track{c.track}}); err != nil {
			t.Fatal(err)
		}
		c.run(5*time.Second, 1)
		for _, asHub := range []bool{false, true} {
			if err := hub.SetHub(asHub); err != nil {
				t.Fatal(err)
			}
			c.run(5*time.Second, 1)
			first := c.sent + 1
			c.run(2*time.Second, 1)
			synctest.Wait()
			if got, _ := seen(a.ID()).delivered(first, c.sent-3); got < 50 {
				t.Errorf("hub %v: %d of 60 packets", asHub, got)
			}
			for _, other := range b.Connections() {
				want := ""
				if asHub && other.ID() == a.ID() {
					want = hub.ID()
				}
				if other.Via() != want {
					t.Errorf("hub %v: %s is reached via %q, want %q", asHub, other.ID(), other.Via(), want)
				}
			}
		}
	})
}

// TestManyAtOnce: a dozen publishers join a hub in the same instant; everyone
// gets everyone's stream.
func TestManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		w.peer(Config{Hub: true}, false)
		const n = 12
		var peers []*Peer
		var cams []*camera
		for range n {
			p, c := w.peer(Config{}, false), newCamera()
			if err := p.Publish(publish.Stream{Label: "cam", Tracks: []*publish.Track{c.track}}); err != nil {
				t.Fatal(err)
			}
			peers, cams = append(peers, p), append(cams, c)
		}
		for range 10 {
			for _, c := range cams {
				c.frame(1)
			}
			<-time.After(500 * time.Millisecond)
		}
		synctest.Wait()
		for i, p := range peers {
			streams := 0
			for _, c := range p.Connections() {
				streams += len(c.Streams())
			}
			if streams != n-1 {
				t.Errorf("peer %d has %d streams, want %d", i, streams, n-1)
			}
		}
	})
}

// TestRosterFlood: a peer that changes what it says all the time does not keep
// the hub from telling the others who is there.
func TestRosterFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		hub, evil := w.peer(Config{Hub: true}, false), w.peer(Config{}, false)
		<-time.After(3 * time.Second)
		evil.mu.Lock()
		r := evil.remotes[hub.ID()]
		evil.mu.Unlock()
		if r == nil {
			t.Fatal("no link to the hub")
		}
		late := w.peer(Config{}, false)
		for i := range 500 {
			r.send(signal.EventRoster, roster{Direct: []string{fmt.Sprint(i)}})
			<-time.After(10 * time.Millisecond)
		}
		if got := len(late.Connections()); got != 2 {
			t.Errorf("late joiner knows of %d peers, want 2", got)
		}
	})
}

// TestMembershipMisuse: joining, leaving and closing twice, at once, and from a
// handler.
func TestMembershipMisuse(t *testing.T) {
	p, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	p.Leave() // in no room
	ctx := context.Background()
	if err := p.Join(ctx, "a\x00b"); err == nil {
		t.Error("a bad room name was accepted")
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if err := p.Join(ctx, "misuse"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	id := p.ID()
	if id == "" || p.Room() != "misuse" {
		t.Errorf("id %q in room %q", id, p.Room())
	}
	left := make(chan struct{})
	p.OnError(func(error) {
		p.Leave()
		close(left)
	})
	p.emit(errors.New("made up"))
	<-left
	if p.ID() != "" {
		t.Error("in a room after Leave from a handler")
	}
	if err := p.Join(ctx, "misuse"); err != nil || p.ID() == id {
		t.Errorf("join again: %v, same id: %v", err, p.ID() == id)
	}
	for range 4 {
		all.Go(func() {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if err := p.Join(ctx, "misuse"); !errors.Is(err, ErrClosed) {
		t.Errorf("join after close: %v, want %v", err, ErrClosed)
	}
}

// TestSetHubRefused: a role that the metadata has no room for is not taken.
func TestSetHubRefused(t *testing.T) {
	full := map[string]any{"s": strings.Repeat(".", signal.MaxMetadata-len(`{"s":""}`))}
	p, err := New(Config{Metadata: full})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.SetHub(true); err == nil || p.role != roleMesh {
		t.Errorf("error %v, role %v", err, p.role)
	}
}

// TestInboundBegins: a track begins with its first packet that is not padding,
// and is announced again while there is no room to announce it.
func TestInboundBegins(t *testing.T) {
	var begun []*publish.Track
	refuse := true
	in := &inbound{recv: &conn.Receiver{}}
	in.began = func(track *publish.Track) bool {
		if !refuse {
			begun = append(begun, track)
		}
		return !refuse
	}
	vp8, vp9 := codec.Codec{Name: codec.VP8, ClockRate: 90000}, codec.Codec{Name: codec.VP9, ClockRate: 90000}
	seq := uint16(0)
	packet := func(c codec.Codec, payload string) {
		seq++
		in.ReceiveRTP(&conn.Incoming{
			Header: rtp.Header{Version: 2, SSRC: 7, SequenceNumber: seq}, Payload: []byte(payload), Codec: c, Arrival: time.Unix(int64(seq)*10, 0),
		})
	}
	packet(vp8, "")
	if in.track.Load() != nil {
		t.Fatal("padding began a track")
	}
	packet(vp8, "a")
	packet(vp9, "") // padding of a codec that may follow
	refuse = false
	packet(vp8, "")
	packet(vp8, "b")
	if len(begun) != 1 || begun[0] != in.track.Load() {
		t.Fatalf("%d tracks announced, want 1", len(begun))
	}
	if s := begun[0].Stats(); s.Packets != 3 || s.Padding != 1 {
		t.Errorf("%d packets, %d of padding, want 3 and 1", s.Packets, s.Padding)
	}
	packet(vp9, "c")
	if len(begun) != 2 || !begun[0].Ended() || begun[1].Codec() != vp9 {
		t.Errorf("%d tracks announced, want a second for the second codec", len(begun))
	}
}

package mesh

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-rtc/weft/mesh/signal"
)

// TestRejoinBackoff: links that fail one after the other make a room announce
// ever more seldom, until one gets ready.
func TestRejoinBackoff(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		a := s.join(Config{})
		announced := make(chan struct{}, 100)
		spy := s.bus.Driver()
		defer spy.Close()
		_, err := spy.Subscribe(context.Background(), a.room.codec.RoomNamespace("room"), func([]byte) { announced <- struct{}{} })
		if err != nil {
			t.Fatal(err)
		}
		end := time.After(5 * time.Minute)
		count := 0
		for failing := true; failing; {
			for range 10 { // many at once count as one
				a.room.forget(&Link{id: "x"}, ErrTimeout)
			}
			select {
			case <-announced:
				count++
			case <-end:
				failing = false
			}
		}
		if count < 8 || count > 25 {
			t.Errorf("%d announcements in 5 minutes of failures, want about 14", count)
		}
		<-announced
		a.room.succeeded()
		a.room.forget(&Link{id: "x"}, ErrTimeout)
		start := time.Now()
		<-announced
		if d := time.Since(start); d > rejoinDelay+rejoinJitter {
			t.Errorf("announced %v after the first failure", d)
		}
	})
}

// TestUnreachable: a failure of ICE is no leaving, the room announces again.
func TestUnreachable(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		a, b := s.join(Config{ConnectTimeout: -1}), s.join(Config{ConnectTimeout: -1})
		pass(3 * time.Second)
		linked(t, a, b)
		id := b.room.ID()
		if err := s.router.Stop(); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		if err := s.router.Start(); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		linked(t, a, b)
		if err := a.closed[id]; err != ErrUnreachable && err != ErrLeft {
			t.Errorf("the link ended with %v", err)
		}
	})
}

func TestVerifyPanics(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		a := s.join(Config{Verify: func(_ signal.PeerID, m json.RawMessage) bool {
			if strings.Contains(string(m), "bad") {
				panic("verify")
			}
			return true
		}})
		s.join(Config{Metadata: json.RawMessage(`{"name":"bad"}`)})
		pass(3 * time.Second)
		good := s.join(Config{})
		pass(3 * time.Second)
		synctest.Wait()
		if a.ready[good.room.ID()] == nil || len(a.ready) != 1 {
			t.Errorf("%d links, want the one to the good peer", len(a.ready))
		}
	})
}

// TestLinkBytes: what waits on a link is bounded in bytes as well.
func TestLinkBytes(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		a, b := s.join(Config{}), s.join(Config{})
		pass(3 * time.Second)
		linked(t, a, b)
		l := a.ready[b.room.ID()]
		busy := make(chan struct{})
		l.do(func() { <-busy })
		const size = 256 << 10
		for range linkBytes / size {
			(*linkConn)(l).ControlMessage(make([]byte, size))
		}
		select {
		case <-l.done:
			t.Fatal("closed too early")
		default:
		}
		(*linkConn)(l).ControlMessage(make([]byte, size))
		<-l.done
		close(busy)
		synctest.Wait()
		if err := a.closed[b.room.ID()]; err != ErrOverflow {
			t.Errorf("the link ended with %v, want %v", err, ErrOverflow)
		}
		pass(5 * time.Second) // it is made anew
		linked(t, a, b)
	})
}

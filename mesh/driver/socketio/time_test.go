package socketio

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/weft-rtc/weft/mesh/driver"
)

// inBubble runs a test of one driver and a relay in virtual time.
func inBubble(t *testing.T, set func(r *relay), f func(t *testing.T, r *relay, d *Driver, log *records)) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(t)
		set(r)
		network := newPipes()
		server := &http.Server{Handler: r}
		served := make(chan struct{})
		go func() { defer close(served); _ = server.Serve(network) }()
		var log records
		d := connect(t, Config{URL: "http://relay", Logger: slog.New(&log), dial: network.dial})
		f(t, r, d, &log)
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		r.stop()
		_ = server.Close()
		<-served
		time.Sleep(time.Minute) // timers that are left, in virtual time
	})
}

func TestSilentServer(t *testing.T) {
	inBubble(t, func(*relay) {}, func(t *testing.T, _ *relay, d *Driver, log *records) {
		changes := watch(d)
		begun := time.Now()
		if <-changes {
			t.Fatal("active twice")
		}
		if d := time.Since(begun); d != 45*time.Second {
			t.Errorf("noticed after %v", d)
		}
		if !<-changes {
			t.Fatal("not active again")
		}
		if !strings.Contains(log.String(), "silent") {
			t.Errorf("log:\n%s", log)
		}
	})
}

// Pings keep a connection, and are answered: the relay would report anything
// but a pong.
func TestPings(t *testing.T) {
	inBubble(t, func(r *relay) { r.pingEach = 25 * time.Second }, func(t *testing.T, _ *relay, d *Driver, log *records) {
		changes := watch(d)
		time.Sleep(10 * time.Minute)
		if len(changes) != 0 || !d.Active() {
			t.Errorf("log:\n%s", log)
		}
	})
}

func TestMissingAcknowledgement(t *testing.T) {
	inBubble(t, func(r *relay) { r.deaf = true }, func(t *testing.T, _ *relay, d *Driver, log *records) {
		changes := watch(d)
		time.Sleep(time.Second)
		begun := time.Now()
		if err := d.Publish(t.Context(), "room", []byte("x")); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took != 0 {
			t.Errorf("publish took %v", took)
		}
		time.Sleep(5 * time.Second)
		if err := d.Publish(t.Context(), "room", []byte("y")); err != nil {
			t.Fatal(err)
		}
		if <-changes {
			t.Fatal("active twice")
		}
		if d := time.Since(begun); d != ackTimeout {
			t.Errorf("noticed after %v", d)
		}
		if !<-changes {
			t.Fatal("not active again")
		}
		if !strings.Contains(log.String(), "acknowledged nothing") {
			t.Errorf("log:\n%s", log)
		}
	})
}

// A server that reads nothing stops the publisher, but not for ever, and never
// one whose context ends.
func TestBackPressure(t *testing.T) {
	hold := make(chan struct{})
	inBubble(t, func(r *relay) {
		hold = make(chan struct{})
		r.greet = func(*websocket.Conn, string) { <-hold }
	}, func(t *testing.T, _ *relay, d *Driver, _ *records) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		n := 0
		for err := error(nil); err == nil; n++ {
			if err = d.Publish(ctx, "room", []byte("x")); err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("publish: %v", err)
			}
		}
		if n != maxPublished+1 {
			t.Errorf("%d packets were taken", n-1)
		}
		begun := time.Now()
		if err := d.Publish(t.Context(), "room", []byte("x")); !errors.Is(err, driver.ErrInactive) {
			t.Errorf("publish: %v", err)
		}
		if took := time.Since(begun); took > writeTimeout {
			t.Errorf("ended after %v", took)
		}
		close(hold)
	})
}

// A wait that is given up leaves no subscription.
func TestSubscribeGivesUp(t *testing.T) {
	hold := make(chan struct{})
	inBubble(t, func(r *relay) {
		hold = make(chan struct{})
		r.greet = func(*websocket.Conn, string) { <-hold }
	}, func(t *testing.T, _ *relay, d *Driver, _ *records) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := d.Subscribe(ctx, "room", func([]byte) {}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		d.mu.Lock()
		if len(d.topics) != 0 {
			t.Errorf("%d topics", len(d.topics))
		}
		d.mu.Unlock()
		close(hold)
	})
}

// Close does not wait for a server that stands still.
func TestCloseIsBounded(t *testing.T) {
	hold := make(chan struct{})
	inBubble(t, func(r *relay) {
		hold = make(chan struct{})
		r.greet = func(*websocket.Conn, string) { <-hold }
	}, func(t *testing.T, _ *relay, d *Driver, _ *records) {
		if err := d.Publish(t.Context(), "room", []byte("x")); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took != closeGrace {
			t.Errorf("close took %v", took)
		}
		close(hold)
	})
}

// Neither does it wait for an attempt to connect.
func TestCloseWhileConnecting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := newPipes() // nobody accepts
		begun := time.Now()
		d := connect(t, Config{URL: "http://relay", dial: network.dial})
		if took := time.Since(begun); took != dialTimeout || d.Active() {
			t.Errorf("first attempt took %v", took)
		}
		time.Sleep(time.Second) // the next is under way
		begun = time.Now()
		if err := d.Close(); err != nil || time.Since(begun) != 0 {
			t.Errorf("close took %v: %v", time.Since(begun), err)
		}
	})
}

func TestNext(t *testing.T) {
	if n := next(3, time.Second); n != 4 {
		t.Errorf("attempt %d after a short connection", n)
	}
	if n := next(3, time.Minute); n != 0 {
		t.Errorf("attempt %d after a long connection", n)
	}
}

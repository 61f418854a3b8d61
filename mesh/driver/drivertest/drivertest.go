// Package drivertest is the conformance suite of signaling drivers: what every
// backend must do, whatever service it speaks to. Backends run it in their
// tests.
package drivertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/weft-rtc/weft/mesh/driver"
)

// guard bounds each wait, so that a failing driver fails the test instead of
// hanging it. Nothing is measured by it.
const guard = 30 * time.Second

// Run tests drivers. Each call of open returns two that are active and speak to
// the same service under names that no earlier pair used, or may use again; Run
// closes them.
func Run(t *testing.T, open func() (a, b driver.Driver)) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, a, b driver.Driver)
	}{
		{"delivers", delivers},
		{"keeps order", keepsOrder},
		{"keeps namespaces apart", keepsApart},
		{"serves all who listen", servesAll},
		{"copies packets", copies},
		{"carries large packets", carriesLarge},
		{"refuses too large packets", refusesTooLarge},
		{"unsubscribes", unsubscribes},
		{"survives a slow receiver", slowReceiver},
		{"is safe for concurrent use", concurrent},
		{"refuses bad arguments", badArguments},
		{"closes", closes},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := open()
			defer closeDriver(t, a)
			defer closeDriver(t, b)
			if !a.Active() || !b.Active() {
				t.Fatal("not active")
			}
			c.test(t, a, b)
		})
	}
}

// RunOutage tests what drivers do when the service goes and comes back. Each
// call of open returns a pair as for Run, and functions that end the service
// and begin it again; they need not wait until the drivers know.
func RunOutage(t *testing.T, open func() (a, b driver.Driver, down, up func())) {
	t.Run("comes back", func(t *testing.T) {
		a, b, down, up := open()
		defer closeDriver(t, a)
		defer closeDriver(t, b)
		outage(t, a, b, down, up)
	})
}

// Receive returns a receive function and the channel into which it puts a
// copy of each packet. The channel holds 10000.
func Receive() (func([]byte), <-chan string) {
	c := make(chan string, 10000)
	return func(p []byte) { c <- string(p) }, c
}

// Wait returns the next value of a channel, or ends the test.
func Wait[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), guard)
	defer cancel()
	select {
	case v := <-c:
		return v
	case <-ctx.Done():
		t.Fatalf("no %s", what)
		panic("unreachable")
	}
}

func closeDriver(t *testing.T, d driver.Driver) {
	t.Helper()
	if err := d.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func subscribe(t *testing.T, d driver.Driver, namespace string, receive func([]byte)) func() error {
	t.Helper()
	unsubscribe, err := d.Subscribe(t.Context(), namespace, receive)
	if err != nil {
		t.Fatalf("subscribe %s: %v", namespace, err)
	}
	return unsubscribe
}

func publish(t *testing.T, d driver.Driver, namespace, packet string) {
	t.Helper()
	if err := d.Publish(t.Context(), namespace, []byte(packet)); err != nil {
		t.Fatalf("publish to %s: %v", namespace, err)
	}
}

func expect(t *testing.T, c <-chan string, want string) {
	t.Helper()
	if got := Wait(t, c, "packet "+want); got != want {
		t.Fatalf("got packet %q, want %q", got, want)
	}
}

func delivers(t *testing.T, a, b driver.Driver) {
	receive, got := Receive()
	subscribe(t, b, "delivers", receive)
	publish(t, a, "delivers", "\x00\xff bytes")
	expect(t, got, "\x00\xff bytes")
	publish(t, a, "delivers", "")
	expect(t, got, "")
}

func keepsOrder(t *testing.T, a, b driver.Driver) {
	receive, got := Receive()
	subscribe(t, b, "order", receive)
	for i := range 1000 {
		publish(t, a, "order", fmt.Sprint(i))
	}
	for i := range 1000 {
		expect(t, got, fmt.Sprint(i))
	}
}

// Anything that came in on a wrong namespace would be in front of the last.
func keepsApart(t *testing.T, a, b driver.Driver) {
	receive, got := Receive()
	subscribe(t, b, "apart", receive)
	for _, other := range []string{"Apart", "apar", "apart1", "_", "-"} {
		publish(t, a, other, "for another")
	}
	publish(t, a, "apart", "mine")
	expect(t, got, "mine")
}

func servesAll(t *testing.T, a, b driver.Driver) {
	first, got1 := Receive()
	second, got2 := Receive()
	subscribe(t, b, "all", first)
	subscribe(t, b, "all", second)
	publish(t, a, "all", "x")
	expect(t, got1, "x")
	expect(t, got2, "x")
}

func copies(t *testing.T, a, b driver.Driver) {
	kept := make(chan []byte, 2)
	subscribe(t, b, "copies", func(p []byte) { kept <- p })
	packet := []byte("one")
	for _, text := range []string{"one", "two"} {
		copy(packet, text)
		if err := a.Publish(t.Context(), "copies", packet); err != nil {
			t.Fatal(err)
		}
	}
	clear(packet)
	one, two := Wait(t, kept, "packet"), Wait(t, kept, "packet")
	if string(one) != "one" || string(two) != "two" {
		t.Errorf("got %q and %q", one, two)
	}
}

func carriesLarge(t *testing.T, a, b driver.Driver) {
	receive, got := Receive()
	subscribe(t, b, "large", receive)
	for _, n := range []int{1, 1 << 16, 1 << 19} {
		packet := string(bytes.Repeat([]byte{byte(n >> 8)}, n))
		publish(t, a, "large", packet)
		if p := Wait(t, got, "large packet"); p != packet {
			t.Fatalf("%d bytes became %d others", n, len(p))
		}
	}
}

func refusesTooLarge(t *testing.T, a, b driver.Driver) {
	receive, got := Receive()
	subscribe(t, b, "large", receive)
	err := a.Publish(t.Context(), "large", make([]byte, 16<<20))
	if !errors.Is(err, driver.ErrTooLarge) {
		t.Errorf("error %v", err)
	}
	publish(t, a, "large", "next")
	expect(t, got, "next")
}

func unsubscribes(t *testing.T, a, b driver.Driver) {
	gone, got := Receive()
	stays, last := Receive()
	unsubscribe := subscribe(t, b, "leave", gone)
	subscribe(t, b, "leave", stays)
	publish(t, a, "leave", "before")
	expect(t, got, "before")
	expect(t, last, "before")
	for range 2 {
		if err := unsubscribe(); err != nil {
			t.Errorf("unsubscribe: %v", err)
		}
	}
	publish(t, a, "leave", "after")
	expect(t, last, "after")
	closeDriver(t, b) // all calls of receive have ended
	select {
	case p := <-got:
		t.Errorf("got %q after unsubscribing", p)
	default:
	}
	if err := unsubscribe(); err != nil {
		t.Errorf("unsubscribe after close: %v", err)
	}
}

// A receiver that stands still holds up neither the publisher nor the other
// subscriptions, and loses the newest packets. A witness on the same namespace
// says when each packet has come: the order between two namespaces is promised
// by nobody.
func slowReceiver(t *testing.T, a, b driver.Driver) {
	begun, proceed := make(chan struct{}), make(chan struct{})
	var once sync.Once
	var seen []string
	subscribe(t, b, "slow", func(p []byte) {
		once.Do(func() { close(begun); <-proceed })
		seen = append(seen, string(p))
	})
	witness, came := Receive()
	subscribe(t, b, "slow", witness)
	receive, got := Receive()
	subscribe(t, b, "quick", receive)
	const count = 3 * driver.QueuePackets
	for i := range count {
		publish(t, a, "slow", fmt.Sprint(i))
		expect(t, came, fmt.Sprint(i))
	}
	Wait(t, begun, "packet")
	// The last may have come to the witness first, and be the first to find room
	// in the other queue.
	publish(t, a, "slow", "end")
	expect(t, came, "end")
	publish(t, a, "quick", "still here")
	expect(t, got, "still here")
	close(proceed)
	publish(t, a, "quick", "again")
	expect(t, got, "again")
	closeDriver(t, b) // all calls of receive have ended
	seen = slices.DeleteFunc(seen, func(p string) bool { return p == "end" })
	if len(seen) == 0 || len(seen) > driver.QueuePackets+2 {
		t.Errorf("%d packets of %d came through a queue of %d", len(seen), count, driver.QueuePackets)
	}
	for i, p := range seen {
		if p != fmt.Sprint(i) {
			t.Fatalf("packet %d is %s", i, p)
		}
	}
}

func concurrent(t *testing.T, a, b driver.Driver) {
	const each = 100
	receive, got := Receive()
	subscribe(t, b, "busy", receive)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range each {
				if err := a.Publish(t.Context(), "busy", []byte("x")); err != nil {
					t.Errorf("publish: %v", err)
				}
			}
		})
		wg.Go(func() {
			for range each / 10 {
				unsubscribe, err := b.Subscribe(t.Context(), "busy", func([]byte) {})
				if err != nil {
					t.Errorf("subscribe: %v", err)
					return
				}
				cancel := b.Watch(func(bool) {})
				b.Active()
				cancel()
				if err := unsubscribe(); err != nil {
					t.Errorf("unsubscribe: %v", err)
				}
			}
		})
	}
	wg.Wait()
	for range 4 * each {
		expect(t, got, "x")
	}
}

func badArguments(t *testing.T, a, _ driver.Driver) {
	done, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx       context.Context
		namespace string
	}{
		"empty":      {t.Context(), ""},
		"everything": {t.Context(), ">"},
		"anything":   {t.Context(), "*"},
		"two tokens": {t.Context(), "a.b"},
		"a space":    {t.Context(), "a b"},
		"a newline":  {t.Context(), "a\r\nPUB"},
		"cancelled":  {done, "fine"},
	} {
		if _, err := a.Subscribe(c.ctx, c.namespace, func([]byte) {}); err == nil {
			t.Errorf("%s: subscribed", name)
		}
		if err := a.Publish(c.ctx, c.namespace, nil); err == nil {
			t.Errorf("%s: published", name)
		}
	}
	if _, err := a.Subscribe(t.Context(), "fine", nil); err == nil {
		t.Error("subscribed without a receive function")
	}
}

func closes(t *testing.T, a, b driver.Driver) {
	cancel := b.Watch(func(active bool) { t.Errorf("close was reported as %v", active) })
	unsubscribe := subscribe(t, b, "close", func([]byte) {})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() { closeDriver(t, b) })
	}
	wg.Wait()
	cancel()
	if b.Active() {
		t.Error("active after close")
	}
	if err := b.Publish(t.Context(), "close", nil); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("publish: %v", err)
	}
	if _, err := b.Subscribe(t.Context(), "close", func([]byte) {}); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("subscribe: %v", err)
	}
	if err := unsubscribe(); err != nil {
		t.Errorf("unsubscribe: %v", err)
	}
	b.Watch(func(bool) {})()
	publish(t, a, "close", "nobody listens")
}

// outage goes twice through: down is seen by both and nothing is sent or kept,
// up is seen by both, and old and new subscriptions work.
func outage(t *testing.T, a, b driver.Driver, down, up func()) {
	changes := func(d driver.Driver) <-chan bool {
		c := make(chan bool, 100)
		d.Watch(func(active bool) { c <- active })
		return c
	}
	seenA, seenB := changes(a), changes(b)
	b.Watch(func(bool) { t.Error("called after cancel") })()
	receive, got := Receive()
	subscribe(t, b, "old", receive)
	for round := range 2 {
		down()
		if Wait(t, seenA, "change") || Wait(t, seenB, "change") || a.Active() || b.Active() {
			t.Fatal("active without a service")
		}
		if err := a.Publish(t.Context(), "old", []byte("lost")); !errors.Is(err, driver.ErrInactive) {
			t.Fatalf("publish without a service: %v", err)
		}
		during := fmt.Sprint("during-", round)
		subscribe(t, b, during, receive)
		up()
		if !Wait(t, seenA, "change") || !Wait(t, seenB, "change") || !a.Active() || !b.Active() {
			t.Fatal("not active again")
		}
		publish(t, a, "old", "old")
		expect(t, got, "old")
		publish(t, a, during, "new")
		expect(t, got, "new")
	}
}

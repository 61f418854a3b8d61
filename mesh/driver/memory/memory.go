// Package memory is the signaling driver for peers within one process: tests,
// and programs that hold several peers. It needs no network and runs in virtual
// time (testing/synctest).
//
// A Bus stands for the messaging service and hands out its clients. Packets go
// straight from Publish into the bounded queues of those who listen.
package memory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/weft-rtc/weft/mesh/driver"
)

// Bus is a messaging service in memory. It is safe for concurrent use.
type Bus struct {
	dropped atomic.Uint64

	mu      sync.RWMutex
	active  bool
	drivers map[*client]struct{}
	subs    map[string]map[*inbox]struct{} // by namespace
}

// NewBus returns a bus that is active and has no clients.
func NewBus() *Bus {
	return &Bus{
		active:  true,
		drivers: make(map[*client]struct{}),
		subs:    make(map[string]map[*inbox]struct{}),
	}
}

// Driver returns a new client of the bus. It does not get its own packets back.
func (b *Bus) Driver() driver.Driver {
	c := &client{bus: b}
	b.mu.Lock()
	b.drivers[c] = struct{}{}
	active := b.active
	b.mu.Unlock()
	c.state.Set(active)
	return c
}

// SetActive ends or begins an outage, for tests: while the bus is not active
// its clients are not, and nothing that they publish is delivered. It returns
// after all watchers were called.
func (b *Bus) SetActive(active bool) {
	b.mu.Lock()
	b.active = active
	clients := make([]*client, 0, len(b.drivers))
	for c := range b.drivers {
		clients = append(clients, c)
	}
	b.mu.Unlock()
	for _, c := range clients {
		c.state.Set(active)
	}
}

// Dropped returns the number of packets that found a queue full.
func (b *Bus) Dropped() uint64 { return b.dropped.Load() }

// publish puts a packet into the queues of all who listen but its sender.
func (b *Bus) publish(from *client, namespace string, packet []byte) error {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if !b.active {
		return driver.ErrInactive
	}
	listeners := b.subs[namespace]
	if len(listeners) == 0 {
		return nil
	}
	packet = bytes.Clone(packet)
	for in := range listeners {
		if in.owner != from && in.Put(packet) > 0 {
			b.dropped.Add(1)
		}
	}
	return nil
}

// inbox is the queue of a subscription, and whose it is.
type inbox struct {
	*driver.Inbox
	owner     *client
	namespace string
}

// client is a driver on a bus.
type client struct {
	bus   *Bus
	state driver.State
	wg    sync.WaitGroup // one goroutine for each subscription
}

func (c *client) Active() bool { return c.state.Active() }

func (c *client) Watch(changed func(active bool)) (cancel func()) { return c.state.Watch(changed) }

func (c *client) Subscribe(ctx context.Context, namespace string, receive func(packet []byte)) (func() error, error) {
	if err := c.check(ctx, namespace); err != nil {
		return nil, err
	}
	if receive == nil {
		return nil, errors.New("memory: receive is nil")
	}
	in := &inbox{driver.NewInbox(), c, namespace}
	if err := c.attach(in, receive); err != nil {
		return nil, err
	}
	return func() error { c.bus.detach(in); return nil }, nil
}

// attach enters an inbox into the bus and starts its goroutine, which Close
// joins.
func (c *client) attach(in *inbox, receive func(packet []byte)) error {
	b := c.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, open := b.drivers[c]; !open {
		return driver.ErrClosed
	}
	listeners := b.subs[in.namespace]
	if listeners == nil {
		listeners = make(map[*inbox]struct{})
		b.subs[in.namespace] = listeners
	}
	listeners[in] = struct{}{}
	c.wg.Go(func() { in.Run(slog.Default(), receive) })
	return nil
}

func (b *Bus) detach(in *inbox) {
	b.mu.Lock()
	b.remove(in)
	b.mu.Unlock()
	in.Close()
}

// remove takes an inbox out of the table. The bus is locked.
func (b *Bus) remove(in *inbox) {
	listeners := b.subs[in.namespace]
	delete(listeners, in)
	if len(listeners) == 0 {
		delete(b.subs, in.namespace)
	}
}

func (c *client) Publish(ctx context.Context, namespace string, packet []byte) error {
	if err := c.check(ctx, namespace); err != nil {
		return err
	}
	if len(packet) > driver.MaxPacket {
		return fmt.Errorf("%w: %d bytes, at most %d", driver.ErrTooLarge, len(packet), driver.MaxPacket)
	}
	return c.bus.publish(c, namespace, packet)
}

// check refuses calls that cannot be served.
func (c *client) check(ctx context.Context, namespace string) error {
	if c.state.Closed() {
		return driver.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("memory: %w", err)
	}
	return driver.CheckNamespace(namespace)
}

func (c *client) Close() error {
	c.state.Close()
	b := c.bus
	var own []*inbox
	b.mu.Lock()
	delete(b.drivers, c)
	for _, listeners := range b.subs {
		for in := range listeners {
			if in.owner == c {
				own = append(own, in)
			}
		}
	}
	for _, in := range own {
		b.remove(in)
	}
	b.mu.Unlock()
	for _, in := range own {
		in.Close()
	}
	c.wg.Wait()
	return nil
}

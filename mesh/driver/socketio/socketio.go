// Package socketio is the signaling driver for Socket.IO: a client of Engine.IO
// 4 and Socket.IO 5, as servers speak them since Socket.IO 3, over WebSocket
// from the first request on.
//
// The server is one of the user's own that relays. It answers the events
// "subscribe" and "unsubscribe", each with a namespace, and "publish", with a
// namespace and an array of numbers, all with an acknowledgement; it sends
// "message", with the same two, to the other subscribers of the namespace.
// testdata/relay.mjs is such a server.
//
// The driver keeps trying to connect for ever, at the beginning too.
// Subscriptions are restored before it becomes active again; packets are never
// kept back for a later connection. It takes a connection for dead if the
// server is silent for longer than it said it would be, or has not acknowledged
// an event after 10 s. Binary events, which no relay of this protocol sends, are
// dropped, and so is all else that is not expected.
package socketio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/weft-rtc/weft/mesh/driver"
)

// Driver is a client of a Socket.IO server.
type Driver struct {
	// set once
	t     *target
	log   *slog.Logger
	drops drops
	life  context.Context // ends at Close
	stop  context.CancelFunc

	state driver.State

	mu     sync.Mutex
	closed bool
	topics map[string]*topic // by namespace
	now    *session          // nil without a connection
	ready  bool              // all topics were restored on now
	wg     sync.WaitGroup    // the loop, and one goroutine for each subscription
}

// topic is a namespace that has subscriptions. The server knows it once.
type topic struct {
	boxes  []*driver.Inbox
	placed <-chan struct{} // closed by the acknowledgement of this connection's subscribe
}

var _ driver.Driver = (*Driver)(nil)

// New connects to the server. It blocks for the first attempt, at most 10 s. If
// that fails the driver is returned all the same, not active, and goes on
// trying; errors are those of the configuration.
func New(config Config) (*Driver, error) {
	t, err := config.target()
	if err != nil {
		return nil, err
	}
	log := config.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	d := &Driver{t: t, log: log.With("driver", "socketio"), topics: make(map[string]*topic)}
	d.drops.log = d.log
	d.life, d.stop = context.WithCancel(context.Background())
	tried := make(chan struct{})
	d.wg.Go(func() { d.run(tried) })
	<-tried
	return d, nil
}

// Active implements driver.Driver.
func (d *Driver) Active() bool { return d.state.Active() }

// Watch implements driver.Driver.
func (d *Driver) Watch(changed func(active bool)) (cancel func()) { return d.state.Watch(changed) }

// Subscribe implements driver.Driver. While active it waits until the server
// has acknowledged the subscription. A panic in receive is logged and costs
// that packet alone.
func (d *Driver) Subscribe(ctx context.Context, namespace string, receive func(packet []byte)) (func() error, error) {
	if err := d.check(ctx, namespace); err != nil {
		return nil, err
	}
	if receive == nil {
		return nil, errors.New("socketio: receive is nil")
	}
	in := driver.NewInbox()
	placed, ended, err := d.attach(namespace, in, receive)
	if err != nil {
		return nil, err
	}
	detach := sync.OnceFunc(func() { d.detach(namespace, in) })
	select {
	case <-placed:
	case <-ended: // it is restored with the next connection
	case <-ctx.Done():
		detach()
		return nil, fmt.Errorf("socketio: subscribe: %w", ctx.Err())
	case <-d.life.Done():
		return nil, driver.ErrClosed
	}
	return func() error { detach(); return nil }, nil
}

// attach enters an inbox and starts its goroutine, which Close joins. The
// caller is to wait for one of the channels.
func (d *Driver) attach(namespace string, in *driver.Inbox, receive func([]byte)) (placed, ended <-chan struct{}, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, nil, driver.ErrClosed
	}
	t := d.topics[namespace]
	if t == nil {
		t = &topic{}
		if d.now != nil {
			t.placed = d.now.out.add(subscribe, namespace)
		}
		d.topics[namespace] = t
	}
	t.boxes = append(t.boxes, in)
	d.wg.Go(func() { in.Run(d.log, receive) })
	if !d.ready {
		none := make(chan struct{})
		close(none)
		return none, none, nil
	}
	return t.placed, d.now.ctx.Done(), nil
}

// detach takes an inbox out again.
func (d *Driver) detach(namespace string, in *driver.Inbox) {
	in.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.topics[namespace]
	if t == nil {
		return
	}
	t.boxes = slices.DeleteFunc(t.boxes, func(o *driver.Inbox) bool { return o == in })
	if len(t.boxes) > 0 {
		return
	}
	delete(d.topics, namespace)
	if d.now != nil && !d.closed {
		d.now.out.add(unsubscribe, namespace)
	}
}

// deliver puts a packet into the queues of those who listen. The session's
// reader calls it.
func (d *Driver) deliver(namespace string, p []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.topics[namespace]
	if t == nil {
		d.drops.add(dropUnwanted)
		return
	}
	for _, in := range t.boxes {
		if in.Put(p) > 0 {
			d.drops.add(dropFull)
		}
	}
}

// Publish implements driver.Driver. It waits for nothing, unless more packets
// are on their way than the server keeps up with: 1024 that it has not
// acknowledged, or 4 MiB that have not left.
func (d *Driver) Publish(ctx context.Context, namespace string, packet []byte) error {
	if err := d.check(ctx, namespace); err != nil {
		return err
	}
	if len(packet) > driver.MaxPacket {
		return fmt.Errorf("%w: %d bytes, at most %d", driver.ErrTooLarge, len(packet), driver.MaxPacket)
	}
	d.mu.Lock()
	s, ready := d.now, d.ready
	d.mu.Unlock()
	if !ready {
		return d.inactive()
	}
	if size := d.t.eventSize(publish, namespace, packet); size > s.maxPayload {
		return fmt.Errorf("%w: %d bytes become %d, at most %d", driver.ErrTooLarge, len(packet), size, s.maxPayload)
	}
	err := s.out.publish(ctx, s.ctx.Done(), namespace, bytes.Clone(packet))
	switch {
	case errors.Is(err, driver.ErrInactive):
		return d.inactive()
	case err != nil:
		return fmt.Errorf("socketio: publish: %w", err)
	default:
		return nil
	}
}

// inactive is the error of a call that needs a connection.
func (d *Driver) inactive() error {
	if d.state.Closed() {
		return driver.ErrClosed
	}
	return driver.ErrInactive
}

// check refuses calls that cannot be served.
func (d *Driver) check(ctx context.Context, namespace string) error {
	if d.state.Closed() {
		return driver.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("socketio: %w", err)
	}
	return driver.CheckNamespace(namespace)
}

// Close implements driver.Driver. Packets that Publish has taken are still sent
// if that succeeds within a second.
func (d *Driver) Close() error {
	d.state.Close()
	d.mu.Lock()
	d.closed = true
	for _, t := range d.topics {
		for _, in := range t.boxes {
			in.Close()
		}
	}
	d.mu.Unlock()
	d.stop()
	d.wg.Wait()
	return nil
}

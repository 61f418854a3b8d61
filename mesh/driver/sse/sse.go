// Package sse is the signaling driver for Server-Sent Events in the form of
// Mercure: a GET with the namespace as topic opens an event stream for it, a
// POST with the same topic publishes, packets are in base64. It speaks to
// /.well-known/mercure of weft serve, to a Mercure hub, and to what imitates
// one. It needs nothing but the standard library.
//
// There is one stream for each namespace. The driver is active while all of its
// streams are open; while it has none, it is active when the service answers to
// a HEAD request, which it asks every 15 s and when a connection ends. It keeps
// trying to connect for ever, at the beginning too, and leaves the time between
// attempts to the service ("retry" fields, Retry-After) up to 30 s. Streams are
// open again before the driver becomes active; packets are never kept back for
// a later connection. No ids are remembered or sent (Last-Event-ID), because
// signaling that was missed is stale.
//
// A Mercure hub closes each stream after some time (write_timeout, 10 minutes by
// default), and the driver is inactive until it is open again. Peers that know
// each other do not notice. Publish waits for the service's answer, so a peer
// that is to answer many at once does it one round trip after another.
//
// Over HTTP/1.1 each stream takes a connection, over HTTP/2 (https only) all
// share one. A proxy is taken from the environment, as net/http does.
package sse

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-rtc/weft/mesh/driver"
)

const (
	// maxRetry bounds what the service may ask for instead.
	maxRetry = 30 * time.Second
)

// Driver is a client of one service. Make it with New.
type Driver struct {
	// set once
	endpoint *endpoint
	idle     time.Duration // 0: never
	log      *slog.Logger
	http     *transport
	posts    chan struct{} // has one element for each POST under way
	kick     chan struct{} // asks for a probe, buffered
	change   chan struct{} // something that active depends on changed, buffered
	life     context.Context
	end      context.CancelFunc

	state driver.State
	drops drops

	mu        sync.Mutex
	streams   map[string]*stream // by namespace, those that somebody listens on
	reachable bool               // the service answered when last asked
	lost      bool               // active was to be false since change was last taken
	wg        sync.WaitGroup     // all goroutines and calls of Publish; mu orders Add before Wait
}

var _ driver.Driver = (*Driver)(nil)

// Drops counts packets that came and were not given to a receive function.
type Drops struct {
	Queue    uint64 // the subscription's queue was full
	TooLarge uint64 // longer than driver.MaxPacket
	Encoding uint64 // not base64
}

type drops struct{ queue, tooLarge, encoding atomic.Uint64 }

// New connects to the service: it asks once whether it is there, which takes at
// most 5 s. If it is not, the driver is returned all the same, not active, and
// goes on trying; errors are those of the configuration.
func New(config Config) (*Driver, error) {
	return newDriver(config, (&net.Dialer{}).DialContext)
}

func newDriver(config Config, dial dialFunc) (*Driver, error) {
	e, err := config.endpoint()
	if err != nil {
		return nil, err
	}
	log := config.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	d := &Driver{
		endpoint: e,
		idle:     config.IdleTimeout,
		log:      log.With("driver", "sse"),
		posts:    make(chan struct{}, maxPosts),
		kick:     make(chan struct{}, 1),
		change:   make(chan struct{}, 1),
		streams:  make(map[string]*stream),
	}
	if d.idle == 0 {
		d.idle = DefaultIdleTimeout
	}
	d.idle = max(d.idle, 0)
	d.life, d.end = context.WithCancel(context.Background())
	d.http = newTransport(e, config.TLS, d.dialer(dial), func() { signal(d.kick) })
	err = d.probe()
	if err == nil {
		d.reachable = true
		d.set(true)
	} else {
		d.log.Debug("cannot connect", "url", e.String(), "err", err)
	}
	d.wg.Go(d.tell)
	d.wg.Go(func() { d.watch(err == nil) })
	return d, nil
}

// dialer makes dial end with the driver: net/http goes on with an attempt whose
// request was given up, for the next one.
func (d *Driver) dialer(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(d.life, cancel)()
		return dial(ctx, network, addr)
	}
}

// signal puts an element into a channel that holds one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// delay is the wait before an attempt to connect that follows attempt attempts
// without success: doubled each time, and spread by random in [0,1) over half
// of it, so that the peers of a service that comes back do not come all at
// once. What the service asks for, floor, is the least.
func delay(attempt int, floor time.Duration, random float64) time.Duration {
	wait := driver.Delay(attempt, random)
	if floor = min(floor, maxRetry); floor <= 0 {
		return wait
	}
	return max(wait, floor+time.Duration(random*float64(floor/4)))
}

// pause waits before the next attempt; false means that ctx has ended.
func pause(ctx context.Context, attempt int, floor time.Duration) bool {
	timer := time.NewTimer(delay(attempt, floor, rand.Float64()))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Active implements driver.Driver.
func (d *Driver) Active() bool { return d.state.Active() }

// Watch implements driver.Driver.
func (d *Driver) Watch(changed func(active bool)) (cancel func()) { return d.state.Watch(changed) }

// Drops returns what was dropped so far.
func (d *Driver) Drops() Drops {
	return Drops{Queue: d.drops.queue.Load(), TooLarge: d.drops.tooLarge.Load(), Encoding: d.drops.encoding.Load()}
}

// Subscribe implements driver.Driver. While active it waits until the service
// has opened the stream, and fails with a *StatusError if the service refuses
// it. A stream that fails for another reason, later, or while the driver is not
// active is tried again for ever.
func (d *Driver) Subscribe(ctx context.Context, namespace string, receive func(packet []byte)) (func() error, error) {
	if err := d.check(ctx, namespace); err != nil {
		return nil, err
	}
	if receive == nil {
		return nil, errors.New("sse: receive is nil")
	}
	in := driver.NewInbox()
	s, err := d.attach(namespace, in, receive)
	if err != nil {
		return nil, err
	}
	unsubscribe := func() error { d.detach(s, in); return nil }
	select {
	case <-s.settled:
		if s.refused != nil {
			_ = unsubscribe() // returns nil
			return nil, fmt.Errorf("sse: subscribe: %w", s.refused)
		}
		return unsubscribe, nil
	case <-ctx.Done():
		_ = unsubscribe()
		return nil, fmt.Errorf("sse: subscribe: %w", ctx.Err())
	case <-d.life.Done():
		_ = unsubscribe() // Close may not know of the inbox: the stream may have been refused
		return nil, driver.ErrClosed
	}
}

// attach gives an inbox its goroutine and its place at the namespace's stream,
// which is made if there is none.
func (d *Driver) attach(namespace string, in *driver.Inbox, receive func(packet []byte)) (*stream, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.life.Err() != nil {
		return nil, driver.ErrClosed
	}
	s := d.streams[namespace]
	if s == nil {
		s = newStream(d, namespace)
		if !d.state.Active() || d.lost {
			s.move(lost) // nobody waits, and the driver becomes active with it only
		}
		d.streams[namespace] = s
		d.wg.Go(s.run)
	}
	s.inboxes[in] = struct{}{}
	d.wg.Go(func() { in.Run(d.log, receive) })
	return s, nil
}

// detach takes an inbox away, and its stream with the last.
func (d *Driver) detach(s *stream, in *driver.Inbox) {
	in.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(s.inboxes, in)
	if len(s.inboxes) > 0 {
		return
	}
	s.cancel()
	if d.streams[s.namespace] == s {
		delete(d.streams, s.namespace)
		d.changed()
		if !d.reachable {
			signal(d.kick) // there may be no other stream to tell
		}
	}
}

// check refuses calls that cannot be served.
func (d *Driver) check(ctx context.Context, namespace string) error {
	if d.state.Closed() {
		return driver.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("sse: %w", err)
	}
	return driver.CheckNamespace(namespace)
}

// Close implements driver.Driver. Requests under way are given up.
func (d *Driver) Close() error {
	d.state.Close()
	d.mu.Lock()
	d.end()
	for _, s := range d.streams {
		for in := range s.inboxes {
			in.Close()
		}
	}
	d.mu.Unlock()
	d.wg.Wait()
	d.http.close()
	return nil
}

package socketio

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/weft-rtc/weft/mesh/driver"
)

const (
	// dialTimeout bounds one attempt to connect, TLS and all handshakes included.
	dialTimeout = 10 * time.Second
)

// run connects, and again when the connection is lost, until Close. It closes
// tried after the first attempt, when the log says how that went.
func (d *Driver) run(tried chan struct{}) {
	first := sync.OnceFunc(func() { close(tried) })
	defer first()
	defer d.t.client.CloseIdleConnections()
	attempt, last := 0, ""
	for d.life.Err() == nil {
		s, err := d.open()
		if err != nil {
			attempt++
			d.failed(err, &last)
			first()
		} else {
			begun := time.Now()
			err = d.serve(s, first)
			first()
			last = ""
			attempt = next(attempt, time.Since(begun))
			if d.life.Err() == nil {
				d.log.Warn("disconnected", "err", err, "unacknowledged", s.out.lost())
			}
		}
		d.pause(driver.Delay(attempt, rand.Float64()))
	}
}

// failed logs an attempt that failed: a new reason, and what stays the same
// only for those who look closely.
func (d *Driver) failed(err error, last *string) {
	if d.life.Err() != nil {
		return
	}
	if text := err.Error(); text != *last {
		*last = text
		d.log.Warn("cannot connect", "url", d.t.name, "err", err)
		return
	}
	d.log.Debug("cannot connect", "url", d.t.name, "err", err)
}

// open makes one attempt.
func (d *Driver) open() (*session, error) {
	ctx, cancel := context.WithTimeout(d.life, dialTimeout)
	defer cancel()
	ws, err := d.t.dial(ctx)
	if err != nil {
		return nil, err
	}
	s := newSession(d.t, ws, &d.drops, d.deliver)
	if err := s.handshake(ctx); err != nil {
		s.end(err)
		_ = ws.CloseNow() // there is nothing to lose
		return nil, err
	}
	return s, nil
}

// serve keeps a connection until it is lost or Close is called, and returns
// why. It calls ready when the driver is active.
func (d *Driver) serve(s *session, ready func()) error {
	var wg sync.WaitGroup
	wg.Go(s.read)
	wg.Go(s.write)
	if d.restore(s) {
		d.log.Info("connected", "url", d.t.name)
		d.state.Set(true)
	}
	ready()
	select {
	case <-s.ctx.Done():
	case <-d.life.Done():
		s.out.finish()
		grace := time.AfterFunc(closeGrace, func() { s.end(driver.ErrClosed) })
		<-s.ctx.Done()
		grace.Stop()
	}
	d.mu.Lock()
	d.now, d.ready = nil, false
	d.mu.Unlock()
	d.state.Set(false)
	_ = s.ws.CloseNow() // the session has ended
	wg.Wait()
	return context.Cause(s.ctx)
}

// restore subscribes to all topics on a new connection and makes it the one in
// use when the server has acknowledged them all, those included that were added
// meanwhile. It returns false if the session or the driver ends first.
func (d *Driver) restore(s *session) bool {
	d.mu.Lock()
	d.now = s // from now on attach and detach tell the server themselves
	for namespace, t := range d.topics {
		t.placed = s.out.add(subscribe, namespace)
	}
	d.mu.Unlock()
	for {
		missing := d.missing()
		if len(missing) == 0 {
			return s.ctx.Err() == nil
		}
		for _, placed := range missing {
			select {
			case <-placed:
			case <-s.ctx.Done():
				return false
			case <-d.life.Done():
				return false
			}
		}
	}
}

// missing returns what still has to be acknowledged. If that is nothing the
// connection is ready.
func (d *Driver) missing() []<-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	var missing []<-chan struct{}
	for _, t := range d.topics {
		select {
		case <-t.placed:
		default:
			missing = append(missing, t.placed)
		}
	}
	d.ready = len(missing) == 0
	return missing
}

// pause waits, at most until Close.
func (d *Driver) pause(wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-d.life.Done():
	}
}

// next counts the attempts since the last connection that was of use: one that
// lasted for as long as the longest wait. A server that accepts and drops at
// once is not to be asked ten times a second.
func next(attempt int, lasted time.Duration) int {
	if lasted >= driver.MaxDelay {
		return 0
	}
	return attempt + 1
}

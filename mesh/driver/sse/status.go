package sse

import (
	"context"
	"math/rand/v2"
	"net/http"
	"time"
)

const (
	// probeInterval is the time between two questions whether the service is
	// there, which are asked only while there is no stream.
	probeInterval = 15 * time.Second
	// probeSpacing is the least such time when connections end.
	probeSpacing = 2 * time.Second
	// probeTimeout bounds the wait for an answer.
	probeTimeout = 5 * time.Second
)

// ready reports whether packets can be sent and received. d.mu is held.
func (d *Driver) ready() bool {
	if len(d.streams) == 0 {
		return d.reachable
	}
	for _, s := range d.streams {
		if s.status == lost {
			return false
		}
	}
	return true
}

// changed notes that something changed that ready depends on. d.mu is held.
func (d *Driver) changed() {
	if !d.ready() {
		d.lost = true
	}
	signal(d.change)
}

// tell sets the state until the driver is closed. It alone does, so that those
// who watch see the changes in order, and they may call the driver meanwhile. A
// loss is told even if it was made good before its turn came: packets may be
// missing.
func (d *Driver) tell() {
	for {
		select {
		case <-d.life.Done():
			return
		case <-d.change:
		}
		d.mu.Lock()
		gone, ready := d.lost, d.ready()
		d.lost = !ready
		d.mu.Unlock()
		if gone {
			d.set(false)
		}
		d.set(ready)
	}
}

func (d *Driver) set(active bool) {
	switch {
	case active == d.state.Active():
		return
	case active:
		d.log.Info("connected", "url", d.endpoint.String())
	case !d.state.Closed():
		d.log.Warn("disconnected", "url", d.endpoint.String())
	}
	d.state.Set(active)
}

// watch asks whether the service is there while no stream tells it. kick makes
// it ask sooner: a connection has ended, or the service could not be reached.
func (d *Driver) watch(up bool) {
	attempt, last, wait := 1, time.Now(), probeInterval
	if !up {
		wait = delay(attempt, 0, 0)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-d.life.Done():
			return
		case <-d.kick:
			if up { // otherwise the next question is near
				timer.Reset(max(probeSpacing-time.Since(last), 0))
			}
			continue
		case <-timer.C:
		}
		if d.streaming() {
			up = true // as far as is known here
			timer.Reset(probeInterval)
			continue
		}
		err := d.probe()
		last, up = time.Now(), err == nil
		d.setReachable(up)
		if up {
			attempt, wait = 0, probeInterval
		} else {
			d.log.Debug("cannot connect", "url", d.endpoint.String(), "err", err)
			wait = delay(attempt, 0, rand.Float64())
		}
		attempt++
		timer.Reset(wait)
	}
}

func (d *Driver) streaming() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.streams) > 0
}

func (d *Driver) setReachable(up bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.reachable != up && len(d.streams) == 0 { // a stream knows better
		d.reachable = up
		d.changed()
	}
}

// probe asks whether the service is there. A complaint about the missing topic
// is a good answer; a gateway's that there is nothing behind it is none.
func (d *Driver) probe() error {
	ctx, cancel := context.WithTimeout(d.life, probeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, d.endpoint.url.String(), nil)
	if err != nil {
		return err
	}
	req.Header = d.endpoint.subscribe.Clone()
	resp, err := d.http.client.Do(req)
	if err != nil {
		return plain(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 500 {
		return newStatusError(resp)
	}
	return nil
}

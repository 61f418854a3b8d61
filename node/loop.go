package node

import (
	"context"
	"time"

	"github.com/weft-rtc/weft/mesh/conn"
	"github.com/weft-rtc/weft/mesh/signal"
	"github.com/weft-rtc/weft/subscribe"
)

const (
	// reportInterval is the time between sender reports. RFC 3550 section 6.2
	// asks for some seconds; one second makes lip sync start sooner.
	reportInterval = time.Second
	// rosterDelay collects changes, because many come together.
	rosterDelay = 50 * time.Millisecond
	// dripInterval is how often forwarders that still replay a kept group of
	// pictures may go on, for tracks that have no packets of their own just then.
	dripInterval = 50 * time.Millisecond
)

// loop does what comes round by time. It is the Peer's one goroutine; Leave
// ends and joins it.
func (p *Peer) loop(ctx context.Context) {
	reports := time.NewTicker(reportInterval)
	defer reports.Stop()
	drips := time.NewTicker(dripInterval)
	defer drips.Stop()
	rosters := time.NewTimer(time.Hour)
	rosters.Stop()
	defer rosters.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-reports.C:
			p.each(func(s flowing) { s.report(now) })
		case now := <-drips.C:
			p.each(func(s flowing) { s.forward.Tick(now) })
		case <-p.wake:
			rosters.Reset(rosterDelay)
		case <-rosters.C:
			p.sendRosters()
		case f := <-p.begun:
			f()
		}
	}
}

// flowing is a subscription that was negotiated.
type flowing struct {
	forward *subscribe.Forwarder
	sender  *conn.Sender
}

func (s flowing) report(now time.Time) {
	if pkts := s.forward.Report(now); len(pkts) > 0 {
		_ = s.sender.WriteRTCP(pkts) // one that is lost is followed by the next
	}
}

// each calls f for every subscription that flows, outside the lock.
func (p *Peer) each(f func(flowing)) {
	p.flowing = p.flowing[:0]
	p.mu.Lock()
	for _, r := range p.remotes {
		for _, s := range r.subs {
			if s.sender != nil && s.muted == "" {
				p.flowing = append(p.flowing, flowing{s.forward, s.sender})
			}
		}
	}
	p.mu.Unlock()
	for _, s := range p.flowing {
		f(s)
	}
	clear(p.flowing)
}

// sendRosters tells everyone what changed: a hub who is behind it, a peer which
// other peers it reaches directly.
func (p *Peer) sendRosters() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.dirty {
		return
	}
	p.dirty = false
	again := false
	for _, r := range p.remotes {
		again = r.ready && r.sendRoster() || again
	}
	if again {
		p.touch()
	}
}

// sendRoster tells a peer who is behind this hub, or a hub which peers this
// peer reaches itself, and reports whether that has to be done again. Peer.mu is
// held.
func (r *RemotePeer) sendRoster() (again bool) {
	switch {
	case r.peer.role == roleHub:
		return r.send(signal.EventRoster, r.rosterFor())
	case r.hub:
		return r.send(signal.EventRoster, roster{Direct: r.peer.direct()})
	}
	return false
}

// direct lists the peers, hubs excepted, that are reached directly.
func (p *Peer) direct() []string {
	ids := []string{}
	for id, r := range p.remotes {
		if r.ready && !r.hub {
			ids = append(ids, id)
		}
	}
	return ids
}

package node

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/weft-rtc/weft/mesh/conn"
	"github.com/weft-rtc/weft/mesh/signal"
	"github.com/weft-rtc/weft/subscribe"
)

const (
	// reportInterval is the time between sender reports. RFC 3550 section 6.2
	// asks for some seconds; one second makes lip sync start sooner.
	reportInterval = time.Second
	// settleDelay and rosterDelay collect changes, because many come together:
	// what follows them is work for every remote peer, and a roster grows with
	// the room, so that its delay does as well.
	settleDelay = 20 * time.Millisecond
	// settleMost is what settleDelay grows to while changes keep coming, fourfold
	// each time: thirty who join within a second make some five offers to everyone,
	// each with all that is new, and nobody's picture is later than this.
	settleMost     = 300 * time.Millisecond
	rosterDelay    = 50 * time.Millisecond
	rosterDelayFor = 3 * time.Millisecond // more for each remote peer
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
	ranks := time.NewTicker(speakersInterval)
	defer ranks.Stop()
	settle, rosters := newDelay(), newDelay()
	defer settle.timer.Stop()
	defer rosters.timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-reports.C:
			p.each(func(s flowing) { s.report(now) })
			p.throttleViews(now)
			p.tellLayers(now)
			p.followLayers()
		case now := <-ranks.C:
			p.rank(now)
		case now := <-drips.C:
			p.each(func(s flowing) { s.forward.Tick(now) })
		case <-p.wake:
			settle.grow(time.Now(), settleDelay, settleMost)
			rosters.start(rosterDelay + time.Duration(p.count())*rosterDelayFor)
		case <-settle.timer.C:
			p.settle()
			settle.end(time.Now())
		case <-rosters.timer.C:
			rosters.end(time.Now())
			p.sendRosters()
		case f := <-p.begun:
			f()
		}
	}
}

// delay runs from the first of several changes, however many follow.
type delay struct {
	timer   *time.Timer
	running bool
	took    time.Duration // the last one
	ended   time.Time     // when it did
}

func newDelay() *delay {
	d := &delay{timer: time.NewTimer(time.Hour)}
	d.timer.Stop()
	return d
}

func (d *delay) start(after time.Duration) {
	if !d.running {
		d.running, d.took = true, after
		d.timer.Reset(after)
	}
}

// grow is start with least, or with four times what the one before took, most at
// most, if that ended no longer ago than most.
func (d *delay) grow(now time.Time, least, most time.Duration) {
	if now.Sub(d.ended) < most {
		least = max(least, min(4*d.took, most))
	}
	d.start(least)
}

// end says that the delay is over.
func (d *delay) end(now time.Time) { d.running, d.ended = false, now }

// count returns the number of remote peers.
func (p *Peer) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.remotes)
}

// settle makes the subscriptions of all remote peers what table and rule say,
// each under a lock of its own: in a large room all together take long.
func (p *Peer) settle() {
	p.mu.Lock()
	stale, newRole := p.stale, p.newRole
	p.stale, p.newRole = false, false
	all := slices.Collect(maps.Values(p.remotes))
	p.mu.Unlock()
	if newRole { // before the streams whose labels need it
		p.sendRosters()
	}
	if !stale {
		return
	}
	for _, r := range all {
		p.mu.Lock()
		r.reconcile()
		p.mu.Unlock()
	}
	p.follow()
}

// flowing is a subscription that was negotiated.
type flowing struct {
	remote  *remote
	forward *subscribe.Forwarder
	sender  *conn.Sender
}

// do calls f; a panic there is the end of that one remote peer.
func (s flowing) do(f func(flowing)) {
	defer func() {
		if v := recover(); v != nil {
			s.remote.log.Error("forwarder panicked, peer closed", "panic", v)
			s.remote.link.Close()
		}
	}()
	f(s)
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
			if s.sender == nil || s.muted != "" {
				continue
			}
			if !s.layered() {
				p.flowing = append(p.flowing, flowing{r, s.forward, s.sender})
				continue
			}
			for _, l := range s.layers {
				if l.sender != nil {
					p.flowing = append(p.flowing, flowing{r, l.forward, l.sender})
				}
			}
		}
	}
	p.mu.Unlock()
	for _, s := range p.flowing {
		s.do(f)
	}
	clear(p.flowing)
}

// sendRosters tells everyone what changed: a hub who is behind it, a peer which
// other peers it reaches directly. Only the loop calls it, so that rosters arrive
// in order.
func (p *Peer) sendRosters() {
	p.mu.Lock()
	dirty := p.dirty
	p.dirty = false
	all := slices.Collect(maps.Values(p.remotes))
	p.mu.Unlock()
	if !dirty {
		return
	}
	again := false
	for _, r := range all {
		again = r.sendRoster() || again
	}
	if again {
		p.mu.Lock()
		p.touch()
		p.mu.Unlock()
	}
}

// sendRoster sends a remote peer what it has to know, if anything, and reports
// whether that has to be done again.
func (r *remote) sendRoster() (again bool) {
	ro, role, ok := r.roster()
	if !ok {
		return false
	}
	if again = r.send(signal.EventRoster, ro); !again {
		r.told = role
	}
	return again
}

// roster makes the roster for r: who is behind this hub; to a hub, which peers
// this peer reaches itself; or that this peer is no hub any more.
func (r *remote) roster() (ro roster, role role, ok bool) {
	p := r.peer
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !r.ready || r.guest != nil:
		return roster{}, p.role, false
	case p.role == roleHub:
		return r.rosterFor(), p.role, true
	case r.hub:
		return roster{Direct: p.direct()}, p.role, true
	}
	return roster{}, p.role, r.told == roleHub
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

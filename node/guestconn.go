package node

import (
	"github.com/weft-rtc/weft/mesh"
	"github.com/weft-rtc/weft/mesh/conn"
	"github.com/weft-rtc/weft/mesh/signal"
)

// guestConn hears of a guest's connection, on its goroutine.
type guestConn Guest

func (g *guestConn) guest() *Guest { return (*Guest)(g) }

// ConnState: Failed and Closed end a guest, since there is nobody to restart ICE
// but the guest itself, which does it sooner.
func (g *guestConn) ConnState(s conn.State) {
	p := g.peer
	p.mu.Lock()
	defer p.mu.Unlock()
	switch s {
	case conn.StateFailed:
		g.guest().fail(mesh.ErrUnreachable)
		return
	case conn.StateClosed:
		g.guest().fail(mesh.ErrLeft)
		return
	case conn.StateConnected:
		g.deadline.Stop()
		g.r.ready = true
		p.touch()
	default:
		g.guest().await()
	}
	if g.r.state == conn.StateClosed {
		return
	}
	if p.remotes[g.id] != g.r {
		g.r.state = s // told when it is the one
		return
	}
	p.became(g.r, s, nil)
}

func (g *guestConn) TrackOpened(recv *conn.Receiver) {
	g.peer.mu.Lock()
	defer g.peer.mu.Unlock()
	if g.view == nil && g.r.state != conn.StateClosed {
		g.peer.opened(g.r, &inbound{recv: recv, label: guestLabel, slot: recv.Kind().String()})
	}
}

func (g *guestConn) TrackClosed(recv *conn.Receiver) {
	g.peer.mu.Lock()
	defer g.peer.mu.Unlock()
	g.peer.trackEnded(g.r, recv)
}

func (g *guestConn) SendReady(s *conn.Sender) {
	g.peer.mu.Lock()
	defer g.peer.mu.Unlock()
	if g.view != nil {
		g.view.bind(s)
	}
}

func (g *guestConn) SendClosed(s *conn.Sender) {
	g.peer.mu.Lock()
	defer g.peer.mu.Unlock()
	if sub := g.r.subs[s.ID()]; sub != nil {
		sub.unbind()
	}
}

func (g *guestConn) ConnCandidate(signal.Candidate)  { /* all are in the description */ }
func (g *guestConn) ControlOpen()                    { /* there is no control channel */ }
func (g *guestConn) ControlMessage([]byte)           { /* likewise */ }
func (g *guestConn) ControlClosed()                  { /* likewise */ }
func (g *guestConn) ChannelOpened(*conn.DataChannel) { /* nor another */ }

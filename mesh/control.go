package mesh

import (
	"github.com/weft-rtc/weft/mesh/conn"
	"github.com/weft-rtc/weft/mesh/signal"
)

// linkConn is what a Link's connection calls, on a goroutine of the connection.
// Signaling is queued for the link's goroutine. Tracks are handed up at once, so
// that no packet of a new track finds nobody listening.
type linkConn Link

func (c *linkConn) link() *Link { return (*Link)(c) }

// ConnState follows the connection and minds the deadline.
func (c *linkConn) ConnState(s conn.State) {
	l := c.link()
	l.do(func() {
		l.state.Store(int32(s))
		switch s {
		case conn.StateConnected:
			l.arrived()
			if l.ready { // wishes that met an ICE restart
				l.openWishes()
			}
		case conn.StateDisconnected:
			if t := l.room.cfg.ConnectTimeout; t > 0 {
				l.deadline.Reset(t)
			}
		case conn.StateFailed, conn.StateClosed:
			err := l.conn.Err()
			switch {
			case err != nil:
			case s == conn.StateFailed:
				err = ErrUnreachable
			default:
				err = ErrLeft
			}
			l.fail(err)
			return
		}
		l.room.cfg.Handler.LinkState(l, s, nil)
	})
}

// arrived ends the time to connect: the connection is up, and so is its control
// channel, without which nothing can come of it.
func (l *Link) arrived() {
	if l.ready && l.State() == conn.StateConnected {
		l.deadline.Stop()
	}
}

func (c *linkConn) ConnCandidate(cand signal.Candidate) {
	l := c.link()
	l.do(func() { l.localCandidate(cand) })
}

// ControlOpen moves signaling onto the control channel.
func (c *linkConn) ControlOpen() {
	l := c.link()
	l.do(func() {
		l.sendBatch()
		l.ready = true
		l.arrived()
		l.room.succeeded()
		l.room.cfg.Handler.LinkReady(l)
		l.openWishes()
		l.do(l.renegotiate) // after the channels that LinkReady has wished for
	})
}

// ControlClosed ends the link: that is how a peer says that it leaves.
func (c *linkConn) ControlClosed() { c.link().do(func() { c.link().fail(ErrLeft) }) }

// ControlMessage reads one event. Events that cannot be read are dropped, as
// the protocol wants it.
func (c *linkConn) ControlMessage(b []byte) {
	l := c.link()
	l.take(len(b), func() {
		event, payload, err := signal.DecodeControl(b)
		if err != nil {
			l.log.Debug("control message dropped", "err", err)
			return
		}
		switch event {
		case signal.EventSignal:
			var s signal.Signal
			if s, err = signal.DecodeSignal(payload); err == nil {
				l.signaled(s)
			}
		case signal.EventChannel:
			var r signal.ChannelRequest
			if r, err = signal.DecodeChannelRequest(payload); err == nil {
				l.channelRequested(r)
			}
		default:
			l.room.cfg.Handler.LinkEvent(l, event, payload)
		}
		if err != nil {
			l.log.Debug("control event dropped", "event", event, "err", err)
		}
	})
}

func (l *Link) signaled(s signal.Signal) {
	if s.Labels != nil {
		l.labels.Store(&s.Labels) // at once, even if the offer is then ignored
	}
	switch d := s.Description; {
	case d == nil:
		if s.Candidate != nil && !l.ignored() {
			l.addCandidate(*s.Candidate)
		}
	case d.Type == "offer":
		l.offered(*d)
	case d.Type == "answer":
		l.answered(*d)
	default:
		l.log.Debug("description of unknown type dropped", "type", d.Type)
	}
}

func (c *linkConn) TrackOpened(r *conn.Receiver) {
	l := c.link()
	label := r.StreamID()
	if labels := l.labels.Load(); labels != nil && (*labels)[label] != "" {
		label = (*labels)[label]
	}
	l.room.cfg.Handler.LinkTrack(l, r, label)
}

func (c *linkConn) TrackClosed(r *conn.Receiver) { c.room.cfg.Handler.LinkTrackEnded(c.link(), r) }

func (c *linkConn) SendReady(s *conn.Sender) { c.room.cfg.Handler.LinkSend(c.link(), s) }

func (c *linkConn) SendClosed(s *conn.Sender) { c.room.cfg.Handler.LinkSendEnded(c.link(), s) }

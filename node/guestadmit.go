package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/mesh"
	"github.com/weft-rtc/weft/mesh/conn"
	"github.com/weft-rtc/weft/mesh/sdp"
)

// Admit lets a guest in, or returns one of the errors above. ctx bounds it. The Peer
// has to be a hub in a room.
func (p *Peer) Admit(ctx context.Context, cfg GuestConfig) (*Guest, error) {
	if cfg.Stream == "" {
		cfg.Stream = DefaultGuestStream
	}
	kinds, acceptable, err := readGuestOffer(cfg)
	if err != nil {
		return nil, fmt.Errorf("admit: %w", err)
	}
	if !acceptable && cfg.Watch == nil {
		return nil, fmt.Errorf("admit: %w: one audio and one video at most, which are sent", ErrGuestOffer)
	}
	g, err := p.receive(cfg, kinds)
	if err == nil && acceptable {
		err = g.answerOffer(ctx)
		if errors.Is(err, ErrGuestOffer) && cfg.Watch != nil {
			g.refuse(err)
			g, err = p.receive(cfg, kinds)
			acceptable = false
		}
	}
	if err == nil && !acceptable {
		err = g.makeCounter(ctx)
	}
	if err == nil {
		err = g.welcome()
	}
	if err != nil {
		if g != nil {
			g.refuse(err)
		}
		return nil, fmt.Errorf("admit: %w", err)
	}
	return g, nil
}

// readGuestOffer returns the kinds that a guest's offer has, of one that is not
// acceptable all kinds.
func readGuestOffer(cfg GuestConfig) (kinds []codec.Kind, acceptable bool, err error) {
	sections, err := sdp.ReadSections(cfg.Offer)
	if err != nil {
		return nil, false, fmt.Errorf("%w: %w", ErrGuestDescription, err)
	}
	acceptable = true
	for _, s := range sections {
		kind := codec.ParseKind(s.Kind)
		if !s.Live || kind == 0 { // an application section is declined
			continue
		}
		wanted := s.Sends
		if cfg.Watch != nil {
			wanted = s.Receives
		}
		acceptable = acceptable && wanted && !slices.Contains(kinds, kind)
		kinds = append(kinds, kind)
	}
	if acceptable = acceptable && len(kinds) > 0; !acceptable {
		kinds = []codec.Kind{codec.Audio, codec.Video}
	}
	return kinds, acceptable, nil
}

// receive makes a guest and its place among the remote peers.
func (p *Peer) receive(cfg GuestConfig, kinds []codec.Kind) (*Guest, error) {
	metadata, err := marshalMetadata(cfg.Metadata, roleMesh)
	if err != nil {
		return nil, fmt.Errorf("metadata: %w", err)
	}
	g := &Guest{peer: p, cfg: cfg, metadata: metadata, done: make(chan struct{}), timeout: p.cfg.ConnectTimeout}
	if g.timeout == 0 {
		g.timeout = mesh.DefaultConnectTimeout
	}
	p.mu.Lock()
	g.id = p.guestID(cfg)
	doors := p.doors
	p.mu.Unlock()
	if doors == nil {
		return nil, ErrNoGuests
	}
	if verify := p.verifier(); verify != nil && !cfg.Vetted && !verify(g.id, metadata) {
		return nil, ErrGuestRefused
	}
	g.log = p.cfg.Logger.With("room", p.Room(), "guest", g.id)
	g.conn, err = doors.New(conn.Options{
		Polite: true, Handler: (*guestConn)(g), Logger: g.log,
		Complete: true, SendOnly: cfg.Watch != nil, Near: cfg.Near,
	})
	if err != nil {
		return nil, err
	}
	if err := g.settle(doors, kinds); err != nil {
		_ = g.conn.Close()
		return nil, err
	}
	return g, nil
}

// guestID returns the id of who publishes a stream already, or a new one. Peer.mu
// is held.
func (p *Peer) guestID(cfg GuestConfig) string {
	if cfg.Watch == nil {
		for g := range p.guests {
			if g.view == nil && g.cfg.Stream == cfg.Stream && g.r.state != conn.StateClosed {
				return g.id
			}
		}
	}
	return rand.Text()
}

// settle enters a guest.
func (g *Guest) settle(doors *conn.API, kinds []codec.Kind) error {
	p := g.peer
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.doors != doors || p.role != roleHub:
		return ErrNoGuests
	case len(p.guests) >= maxGuests:
		return ErrTooManyGuests
	}
	g.r = p.newRemote((*guestParty)(g))
	g.r.guest = g
	if g.cfg.Watch != nil {
		g.view = newView(g, kinds)
		if !g.cfg.Watch.Wait && len(g.view.sources()) == 0 {
			return ErrNothingToWatch
		}
		g.conn.SetSends(g.view.sends())
	}
	g.deadline = time.AfterFunc(time.Hour, func() { g.fail(mesh.ErrTimeout) })
	g.await()
	p.guests[g] = struct{}{}
	if p.remotes[g.id] == nil {
		p.remotes[g.id] = g.r
		p.emit(ConnectionEvent{ID: g.id, Metadata: g.metadata, State: conn.StateNew})
	}
	g.follow()
	return nil
}

// await begins the time in which the guest has to be connected; Peer.mu is held.
func (g *Guest) await() {
	if g.timeout > 0 {
		g.deadline.Reset(g.timeout)
	} else {
		g.deadline.Stop()
	}
}

// answerOffer answers the guest's offer: all of it, or nothing.
func (g *Guest) answerOffer(ctx context.Context) error {
	g.negotiation.Lock()
	defer g.negotiation.Unlock()
	answer, _, err := g.conn.HandleOffer(ctx, g.cfg.Offer)
	switch {
	case err == nil:
	case ctx.Err() != nil, errors.Is(err, conn.ErrClosed), errors.Is(err, conn.ErrNoAddress):
		return err
	default:
		return fmt.Errorf("%w: %w", ErrGuestDescription, err)
	}
	sections, err := sdp.ReadSections(answer)
	if err != nil {
		return err
	}
	for _, s := range sections {
		if !s.Live && codec.ParseKind(s.Kind) != 0 && offered(g.cfg.Offer, s.Mid) {
			return fmt.Errorf("%w: no codec of its %s is ours, or it is not in the bundle", ErrGuestOffer, s.Kind)
		}
	}
	g.answer = answer
	return nil
}

// offered reports whether a section lives in an offer.
func offered(offer, mid string) bool {
	sections, _ := sdp.ReadSections(offer)
	return slices.ContainsFunc(sections, func(s sdp.Section) bool { return s.Live && s.Mid == mid })
}

// makeCounter makes an offer of ours in the place of an answer.
func (g *Guest) makeCounter(ctx context.Context) (err error) {
	g.negotiation.Lock()
	defer g.negotiation.Unlock()
	g.counter = true
	g.answer, err = g.conn.Counter(ctx)
	return err
}

// welcome makes it count that the guest ends, unless it has ended already.
func (g *Guest) welcome() error {
	g.peer.mu.Lock()
	defer g.peer.mu.Unlock()
	if g.r.state == conn.StateClosed {
		return g.why
	}
	g.admitted = true
	return nil
}

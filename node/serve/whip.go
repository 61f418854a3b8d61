package serve

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/weft-rtc/weft/mesh/conn"
	"github.com/weft-rtc/weft/mesh/sdp"
	"github.com/weft-rtc/weft/mesh/whip"
	"github.com/weft-rtc/weft/node"
	"github.com/weft-rtc/weft/node/serve/access"
)

// maxStreamName bounds the name of a guest's stream, in bytes.
const maxStreamName = 128

// whipPaths are where WHIP and WHEP are served.
var whipPaths = []string{"/whip/", "/whep/", "/api/whip", "/api/whip/", "/api/whep", "/api/whep/"}

func isWHIP(path string) bool {
	for _, p := range whipPaths {
		if path == p || strings.HasSuffix(p, "/") && strings.HasPrefix(path, p) {
			return true
		}
	}
	return false
}

// mountWHIP serves WHIP and WHEP, where there is a hub.
func (s *Server) mountWHIP(mux *http.ServeMux) {
	if s.rooms == nil {
		return
	}
	cfg := whip.Config{
		Backend:    guests{s},
		Access:     s.whipAccess,
		Origin:     newOrigins(s.cfg.AllowOrigins).tell,
		ICEServers: s.cfg.ICEServers,
		Logger:     s.log.With("part", "whip"),
	}
	if s.cfg.Tokens != nil { // the bearer of /api/whip is a token, which says which room
		cfg.Key = func(token string) (room, stream string) { return s.gate.RoomOf(access.NewSecret(token)), "" }
	}
	s.whip = whip.New(cfg)
	for _, method := range []string{"GET ", "POST ", "PATCH ", "DELETE ", "OPTIONS ", "PUT "} {
		for _, path := range whipPaths {
			mux.Handle(method+path, s.whip)
		}
	}
}

// whipAccess asks the gate, in the words of WHIP.
func (s *Server) whipAccess(r *http.Request, action whip.Action, room, stream string) error {
	wanted := access.Publish
	if action == whip.Play {
		wanted = access.Watch
	}
	err := s.gate.Request(r, string(wanted), room, stream)
	switch {
	case err == nil:
		return nil
	case access.StatusOf(err) == http.StatusUnauthorized:
		return fmt.Errorf("%w: %w", whip.ErrUnauthorized, err)
	case access.StatusOf(err) == http.StatusForbidden:
		return fmt.Errorf("%w: %w", whip.ErrForbidden, err)
	default:
		return fmt.Errorf("%w: %w", whip.ErrFull, err)
	}
}

// guests lets the clients of WHIP and WHEP into rooms.
type guests struct{ server *Server }

// admitter is a member that takes guests.
type admitter interface {
	Admit(ctx context.Context, cfg node.GuestConfig) (*node.Guest, error)
}

// Begin makes the hub enter the room, if it is not there, and lets a guest in.
func (g guests) Begin(ctx context.Context, o whip.Offer) (whip.Session, whip.Answer, error) {
	var none whip.Answer
	cfg, err := guestConfig(o)
	if err != nil {
		return nil, none, err
	}
	if g.server.full(o.Room) {
		return nil, none, fmt.Errorf("%w: %w", whip.ErrFull, g.server.gate.Refused.Count(errRoomFull))
	}
	cfg.Vetted = !g.server.gate.Open() // by whipAccess, since a guest has no admission
	_, err = g.server.rooms.enter(ctx, o.Room, false, time.Now())
	if errors.Is(err, errRoomsFull) || errors.Is(err, errRoomsClosed) {
		return nil, none, fmt.Errorf("%w: %w", whip.ErrFull, err)
	}
	if err != nil {
		return nil, none, err
	}
	entry := g.server.rooms.get(o.Room)
	if entry == nil { // left in this moment
		return nil, none, whip.ErrFull
	}
	hub, ok := entry.hub.(admitter)
	if !ok {
		return nil, none, whip.ErrNotFound
	}
	guest, err := hub.Admit(ctx, cfg)
	if err != nil {
		return nil, none, guestError(err)
	}
	text, counter := guest.Answer()
	if o.Action == whip.Play {
		return guestPlayer{guestSession{guest}}, whip.Answer{SDP: text, Counter: counter}, nil
	}
	return guestSession{guest}, whip.Answer{SDP: text}, nil
}

// guestConfig makes a guest of an offer.
func guestConfig(o whip.Offer) (node.GuestConfig, error) {
	if err := validRoom(o.Room); err != nil {
		return node.GuestConfig{}, fmt.Errorf("%w: %w", whip.ErrName, err)
	}
	name := o.Query.Get("name")
	for _, s := range []string{o.Stream, name} {
		if len(s) > maxStreamName || strings.ContainsFunc(s, unicode.IsControl) {
			return node.GuestConfig{}, fmt.Errorf("%w: more than %d bytes, or characters that cannot be shown", whip.ErrName, maxStreamName)
		}
	}
	cfg := node.GuestConfig{Offer: o.SDP, Near: o.Near, Ended: func(error) { o.Ended() }}
	if o.Action == whip.Play {
		cfg.Watch = &node.Watch{Stream: o.Stream, Wait: o.Query.Has("wait")}
	} else {
		cfg.Stream = o.Stream
		if name == "" {
			name = o.Stream
		}
		if name == "" {
			name = node.DefaultGuestStream
		}
	}
	if name != "" {
		cfg.Metadata = map[string]any{"name": name}
	}
	return cfg, nil
}

// guestErrors are what the errors of guests mean to a client.
var guestErrors = []struct{ err, is error }{
	{node.ErrGuestDescription, whip.ErrMalformed},
	{node.ErrGuestOffer, whip.ErrUnacceptable},
	{node.ErrGuestRefused, whip.ErrForbidden},
	{node.ErrNothingToWatch, whip.ErrNotPublished},
	{node.ErrTooManyGuests, whip.ErrFull},
	{node.ErrNoGuests, whip.ErrFull},
	{node.ErrNoLayer, whip.ErrUnacceptable},
	{conn.ErrNoDescription, whip.ErrConflict},
	{conn.ErrTooManyCandidates, whip.ErrUnacceptable},
	{conn.ErrClosed, whip.ErrNotFound},
}

func guestError(err error) error {
	for _, e := range guestErrors {
		if errors.Is(err, e.err) {
			return fmt.Errorf("%w: %w", e.is, err)
		}
	}
	return err
}

// guestSession is a guest as a session of WHIP.
type guestSession struct{ guest *node.Guest }

// Fragment takes candidates, or an ICE restart.
func (s guestSession) Fragment(ctx context.Context, f sdp.Fragment) (sdp.Fragment, error) {
	ours, err := s.guest.HandleFragment(ctx, f)
	var text *sdp.Error
	if errors.As(err, &text) {
		return ours, fmt.Errorf("%w: %w", whip.ErrMalformed, err)
	}
	return ours, guestError(err)
}

// End ends the guest.
func (s guestSession) End() { s.guest.Close() }

// guestPlayer is a guest as a session of WHEP.
type guestPlayer struct{ guestSession }

// Accept takes the answer to an offer of ours.
func (p guestPlayer) Accept(ctx context.Context, answer string) error {
	err := p.guest.HandleAnswer(ctx, answer)
	var text *sdp.Error
	if errors.As(err, &text) {
		return fmt.Errorf("%w: %w", whip.ErrMalformed, err)
	}
	return err
}

// Choose takes which layer is wanted.
func (p guestPlayer) Choose(c whip.Choice) error {
	return guestError(p.guest.Choose(node.GuestChoice{Name: c.Encoding, Spatial: c.Spatial, Temporal: c.Temporal}))
}

// Status says what there is to see.
func (p guestPlayer) Status() whip.Status {
	st := p.guest.Status()
	out := whip.Status{Active: st.Active, Viewers: st.Viewers}
	if st.Mid == "" {
		return out
	}
	m := whip.Media{Mid: st.Mid}
	for _, l := range st.Layers {
		m.Layers = append(m.Layers, whip.Layer{
			Encoding: l.Name, Spatial: l.Spatial, Width: l.Width, Height: l.Height,
			Bitrate: l.Bitrate, Active: l.Active, Current: l.Current,
		})
	}
	out.Media = append(out.Media, m)
	return out
}

package node

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/weft-rtc/weft/mesh"
	"github.com/weft-rtc/weft/mesh/conn"
	"github.com/weft-rtc/weft/mesh/sdp"
	"github.com/weft-rtc/weft/mesh/signal"
)

// Errors of guests.
var (
	// ErrGuest: a guest takes neither streams meant for it alone nor data channels.
	ErrGuest = errors.New("peer is a guest")
	// ErrNoGuests: the Peer is not in a room, is about to leave it, or is no hub.
	ErrNoGuests = errors.New("no guests here")
	// ErrTooManyGuests: there are as many as a room takes.
	ErrTooManyGuests = errors.New("too many guests")
	// ErrGuestOffer: what a guest offers cannot be served as a whole.
	ErrGuestOffer = errors.New("offer is not acceptable")
	// ErrGuestDescription: its description cannot be read.
	ErrGuestDescription = errors.New("description cannot be read")
	// ErrGuestRefused: Verify does not let it in.
	ErrGuestRefused = errors.New("guest is refused")
	// ErrNothingToWatch: nothing is published that the guest asks for.
	ErrNothingToWatch = errors.New("nothing to watch")
	// ErrGuestReplaced ends a guest whose stream another one publishes since.
	ErrGuestReplaced = errors.New("guest was replaced")
)

const (
	// DefaultGuestStream is what a guest's stream is called that has no name.
	DefaultGuestStream = "live"
	// guestLabel is under which label a guest's stream is in the room: that of
	// somebody's camera, which is how pages show it.
	guestLabel = "camera"
	maxGuests  = 1024 // in a room
)

// GuestConfig describes a guest: somebody without a link, who publishes one stream
// or watches, and whose signaling is one exchange (WHIP, WHEP).
type GuestConfig struct {
	// Offer is its description. Nothing else is needed.
	Offer string
	// Stream is the name of what it publishes, DefaultGuestStream if empty. A guest
	// that publishes under the name of one who is here takes over its place, once its
	// media come: who watches need not know.
	Stream string
	// Watch is what it wants to see; nil: it publishes.
	Watch *Watch
	// Metadata is what others are told of it, as of any peer. One that watches and
	// says nothing of itself is not listed in rosters.
	Metadata map[string]any
	// Near is the address of ours that it has reached, if known.
	Near netip.Addr
	// Ended is called once when a guest that was admitted is gone, with the reason, on
	// a goroutine of its own.
	Ended func(error)
	// Vetted guests were let in by whoever admits them; Verify is not asked.
	Vetted bool
}

// Watch says what a guest sees.
type Watch struct {
	// Stream is the name of a guest's stream, or the name or id of a peer; empty: the
	// whole room, the sound of who speaks and the picture of who leads.
	Stream string
	// Wait lets it in though nothing is published yet.
	Wait bool
}

// Guest is somebody who was admitted. Its methods may be called from any
// goroutine, also when it is gone.
type Guest struct {
	// Set once.
	peer     *Peer
	cfg      GuestConfig
	id       string
	metadata json.RawMessage
	log      *slog.Logger
	conn     *conn.Conn
	timeout  time.Duration // to be connected, and connected again; 0: none
	answer   string
	counter  bool
	done     chan struct{} // closed when all of it is gone

	negotiation sync.Mutex // orders what is done to conn

	end sync.Once
	why error // set before done is closed

	// Guarded by Peer.mu.
	r        *remote
	view     *view // nil: it publishes
	deadline *time.Timer
	admitted bool
}

// ID returns the guest's id, by which others know it.
func (g *Guest) ID() string { return g.id }

// Answer returns the answer to the guest's offer, or an offer of ours, a counter,
// that HandleAnswer takes the answer to.
func (g *Guest) Answer() (description string, counter bool) { return g.answer, g.counter }

// HandleAnswer takes the answer to a counter.
func (g *Guest) HandleAnswer(ctx context.Context, answer string) error {
	g.negotiation.Lock()
	defer g.negotiation.Unlock()
	return g.conn.HandleAnswer(ctx, answer)
}

// HandleFragment takes candidates of the guest, or an ICE restart: then the
// fragment returned is our side of it.
func (g *Guest) HandleFragment(ctx context.Context, f sdp.Fragment) (sdp.Fragment, error) {
	g.negotiation.Lock()
	defer g.negotiation.Unlock()
	return g.conn.HandleFragment(ctx, f)
}

// Done is closed when the guest is gone.
func (g *Guest) Done() <-chan struct{} { return g.done }

// Close ends the guest. It does not wait; Done tells of the end.
func (g *Guest) Close() { g.fail(mesh.ErrClosed) }

// fail ends the guest for a reason. It does not wait, and may be called with
// Peer.mu held.
func (g *Guest) fail(err error) {
	g.end.Do(func() {
		g.why = err
		go g.finish() // joined by Leave, through done
	})
}

// refuse ends a guest that was not admitted, and waits.
func (g *Guest) refuse(err error) {
	g.fail(err)
	<-g.done
}

func (g *Guest) finish() {
	defer close(g.done)
	if err := g.conn.Close(); err != nil {
		g.log.Debug("close connection", "err", err)
	}
	p := g.peer
	p.mu.Lock()
	g.deadline.Stop()
	delete(p.guests, g)
	if p.remotes[g.id] == g.r {
		p.became(g.r, conn.StateClosed, g.why)
	} else { // another one has its id, or has had it all the time
		g.r.state = conn.StateClosed
		p.lost(g.r)
	}
	admitted := g.admitted
	p.mu.Unlock()
	if admitted && g.cfg.Ended != nil {
		g.cfg.Ended(g.why)
	}
}

// dismiss ends all guests, lets in no others, and waits.
func (p *Peer) dismiss() {
	p.mu.Lock()
	p.doors = nil
	var all []*Guest
	for g := range p.guests {
		all = append(all, g)
	}
	p.mu.Unlock()
	for _, g := range all {
		g.Close()
	}
	for _, g := range all {
		<-g.done
	}
}

// present reports whether r is who has its id now. A guest whose media come takes
// the place of the one that publishes the same stream. Peer.mu is held.
func (p *Peer) present(r *remote) bool {
	now := p.remotes[r.id]
	if r.guest == nil || now == r || r.state == conn.StateClosed {
		return now == r
	}
	p.remotes[r.id] = r
	if now != nil && now.guest != nil {
		r.since = now.since
		now.guest.fail(ErrGuestReplaced)
	}
	p.emit(ConnectionEvent{ID: r.id, Metadata: r.link.Metadata(), State: r.state})
	p.changed()
	return true
}

// succeeded cleans up after a guest whose place another one has: the tracks that
// that one does not send go. Peer.mu is held.
func (p *Peer) succeeded(r *remote) {
	heir := p.remotes[r.id]
	if heir == nil {
		return
	}
	kept := map[string]bool{}
	for _, in := range heir.in {
		kept[in.name()] = true
	}
	for _, in := range r.in {
		if !kept[in.name()] {
			p.vacate(r, in)
		}
	}
}

// unlisted reports whether others are not told of a guest. It may be nil.
func (g *Guest) unlisted() bool { return g != nil && g.cfg.Watch != nil && len(g.cfg.Metadata) == 0 }

// called reports whether a remote peer goes by a name: as a guest that of its
// stream, else what its metadata say, or its id.
func (r *remote) called(name string) bool {
	if r.guest != nil {
		return r.guest.view == nil && r.guest.cfg.Stream == name
	}
	var m struct {
		Name any `json:"name"`
	}
	return r.id == name || strings.TrimSpace(name) != "" && json.Unmarshal(r.link.Metadata(), &m) == nil && m.Name == name
}

// guestParty is a Guest in the place of a link.
type guestParty Guest

func (g *guestParty) ID() signal.PeerID                      { return signal.PeerID(g.id) }
func (g *guestParty) Metadata() json.RawMessage              { return g.metadata }
func (g *guestParty) Conn() *conn.Conn                       { return g.conn }
func (g *guestParty) Close()                                 { (*Guest)(g).Close() }
func (g *guestParty) SetSends([]sdp.Send, map[string]string) { /* its sections are what it offered */ }
func (g *guestParty) SendEvent(signal.Event, any) error      { return nil } // it has no control channel
func (g *guestParty) OpenChannel(ChannelOptions)             { /* nor others */ }
func (g *guestParty) ForgetChannel(ChannelOptions)           { /* likewise */ }

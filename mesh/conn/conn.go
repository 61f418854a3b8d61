package conn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/pion/webrtc/v4"

	"github.com/weft-rtc/weft/mesh/sdp"
	"github.com/weft-rtc/weft/mesh/signal"
)

// Options are what one connection needs to know.
type Options struct {
	// Polite is our side of the glare rule (WIRE 8): the polite side gives way.
	Polite bool
	// Handler is told what happens.
	Handler Handler
	// Complete is for a party that cannot be told of candidates later (WHIP, WHEP):
	// its descriptions hold all of ours, and no data channels. See complete.go.
	Complete bool
	// SendOnly takes no media of the other side (WHEP).
	SendOnly bool
	// Near is the address of ours at which the other side has reached us already,
	// if it is known: with Complete its candidate comes first.
	Near netip.Addr
	// Logger takes what is worth a line; nil is the API's.
	Logger *slog.Logger
}

// phase is how far the first exchange of descriptions is. After it, the session
// alone knows whether an offer of ours is pending.
type phase uint8

const (
	phaseNew     phase = iota // no description yet
	phaseOffered              // our data-only offer is out
	phaseCounter              // likewise with media, see complete.go
	phaseUp                   // the first exchange is done
)

// Conn is one connection to a remote party. Methods are to be called from one
// goroutine (the link's) unless they say otherwise.
type Conn struct {
	// Set once.
	api      *API
	polite   bool
	complete bool
	near     netip.Addr
	log      *slog.Logger
	events   *events

	// Owned by the negotiating goroutine.
	session   *sdp.Session
	phase     phase
	offer     string // our first offer, while phaseOffered
	mid       string // of the application section, what pion knows it by
	dead      bool   // pion knows it with port 0: there is no SCTP
	theirs    string // with Complete: the other side's description, for a restart
	restart   bool   // the next Offer restarts ICE
	setup     string // our DTLS role as descriptions say it, "active" or "passive"
	local     sdp.Local
	offered   *sdp.Local // new credentials in the offer that is out; nil none
	receivers map[string]*Receiver
	senders   map[string]*Sender

	candidates int    // that pion got of the other side's description
	countedFor string // its user name fragment

	transport atomic.Pointer[transport] // replaced when the first offers collide

	state state

	// Guarded by mu.
	mu      sync.Mutex
	err     error // why the connection failed
	closing bool
	closed  chan struct{} // closed when Close has finished its work

	control sync.Mutex    // orders SendControl, which reads the buffered amount first
	sends   atomic.Uint64 // calls of SendControl that sent
	failed  atomic.Bool

	offers, offerBytes, sections atomic.Uint64 // made, length and sections of the last one

	wished atomic.Pointer[map[uint32]struct{}] // SSRCs of the wishes; replaced, never changed

	stop chan struct{} // closed by Close and fail: goroutines end

	pion    sync.Mutex // guards pending, and orders descriptions given to pion
	pending *restart   // what pion is to do soon

	// Goroutines of fail and post, joined by Close.
	workMu sync.Mutex
	noWork bool
	work   sync.WaitGroup
}

// New makes a connection in StateNew; nothing is sent before Offer or
// HandleOffer. It may be called from any goroutine.
func (a *API) New(o Options) (*Conn, error) {
	log := o.Logger
	if log == nil {
		log = a.log
	}
	if o.Handler == nil {
		return nil, errors.New("conn: Options.Handler is nil")
	}
	c := &Conn{
		api:       a,
		polite:    o.Polite,
		complete:  o.Complete,
		near:      o.Near,
		log:       log,
		events:    newEvents(o.Handler),
		session:   sdp.NewSession(sdp.Config{Polite: o.Polite, Application: !o.Complete, SendOnly: o.SendOnly}),
		receivers: map[string]*Receiver{},
		senders:   map[string]*Sender{},
		closed:    make(chan struct{}),
		stop:      make(chan struct{}),
	}
	t, err := newTransport(c, webrtc.DTLSRoleServer)
	if err != nil {
		return nil, err
	}
	c.transport.Store(t)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		t.close()
		return nil, ErrClosed
	}
	a.conns[c] = struct{}{}
	// Joined by Close.
	go c.events.run(func(r any) { c.fail(fmt.Errorf("conn: panic in the handler: %v", r)) })
	return c, nil
}

// Offer makes a description of ours: the data-only one first, a full one later.
// It fails with ErrNotStable while another one waits for its answer.
func (c *Conn) Offer(ctx context.Context) (string, error) {
	if err := c.usable(ctx); err != nil {
		return "", err
	}
	switch c.phase {
	case phaseNew:
		offer, err := c.firstOffer()
		return c.count(offer), err
	case phaseOffered:
		return "", ErrNotStable
	}
	if c.session.State() != sdp.Stable {
		return "", ErrNotStable
	}
	if c.restart {
		c.restart = false
		c.offerRestart()
	}
	offer, err := c.session.Offer()
	if err != nil {
		return "", fmt.Errorf("conn: make offer: %w", err)
	}
	return c.count(offer), nil
}

// count notes an offer of ours for Stats.
func (c *Conn) count(offer string) string {
	if offer != "" {
		c.offers.Add(1)
		c.offerBytes.Store(uint64(len(offer)))
		c.sections.Store(uint64(strings.Count(offer, "\nm=")))
	}
	return offer
}

// HandleOffer takes an offer of the other side and returns our answer. An offer
// that collides with ours is ignored by the impolite side: then there is no
// answer and no error. After an error the connection should be closed.
func (c *Conn) HandleOffer(ctx context.Context, offer string) (answer string, ignored bool, err error) {
	if err := c.usable(ctx); err != nil {
		return "", false, err
	}
	if c.phase == phaseOffered {
		if !c.polite {
			return "", true, nil
		}
		if err := c.replace(webrtc.DTLSRoleServer); err != nil {
			return "", false, err
		}
	}
	if c.phase == phaseNew {
		answer, err = c.firstAnswer(ctx, offer)
		return answer, false, err
	}
	if c.session.State() != sdp.Stable && !c.polite {
		return "", true, nil
	}
	c.forgetRestart()
	r, err := c.answerRestart(offer)
	if err != nil {
		return "", false, err
	}
	out, err := c.session.HandleOffer(offer)
	if err != nil {
		return "", false, fmt.Errorf("conn: handle offer: %w", err)
	}
	if r != nil {
		c.begin(r)
	}
	c.apply(out.Changes)
	return out.Answer, false, nil
}

// HandleAnswer takes the answer to our offer.
func (c *Conn) HandleAnswer(ctx context.Context, answer string) error {
	if err := c.usable(ctx); err != nil {
		return err
	}
	switch c.phase {
	case phaseNew:
		return errors.New("conn: an answer without an offer of ours")
	case phaseOffered:
		return c.firstAnswered(answer)
	case phaseCounter:
		return c.counterAnswered(answer)
	}
	changes, err := c.session.HandleAnswer(answer)
	if err != nil {
		return fmt.Errorf("conn: handle answer: %w", err)
	}
	if c.offered != nil {
		if !changes.Restarted {
			return errors.New("conn: the other side did not answer our ICE restart with new credentials")
		}
		c.begin(&restart{local: *c.offered, remote: changes.Remote})
	}
	c.apply(changes)
	return nil
}

// AddCandidate gives pion a candidate of the other side. Candidates with an
// empty text ("no more") and those of another ICE generation are dropped; beyond
// 256 for one generation it fails with ErrTooManyCandidates.
func (c *Conn) AddCandidate(candidate signal.Candidate) error {
	if candidate.Candidate == "" {
		return nil
	}
	if c.phase != phaseUp {
		return ErrNoDescription
	}
	if u := candidate.Ufrag(); u != "" && u != c.RemoteUfrag() {
		return nil
	}
	if c.hold(candidate) {
		return nil
	}
	return c.addCandidate(candidate)
}

// maxCandidates bounds the candidates of one ICE generation: pion keeps each and
// pairs it with all of ours. A host with many interfaces has some 30.
const maxCandidates = 256

// addCandidate counts the candidates that pion gets. c.pion is not held.
func (c *Conn) addCandidate(candidate signal.Candidate) error {
	if u := c.RemoteUfrag(); u != c.countedFor {
		c.countedFor, c.candidates = u, 0
	}
	if c.candidates++; c.candidates > maxCandidates {
		return ErrTooManyCandidates
	}
	return c.transport.Load().addCandidate(candidate)
}

// SetSends replaces the wishes: all local tracks that the other side should
// get. Nothing changes before the next Offer; see Needed.
func (c *Conn) SetSends(sends []sdp.Send) {
	wished := map[uint32]struct{}{}
	for _, s := range sends {
		wished[s.SSRC], wished[s.RTXSSRC] = struct{}{}, struct{}{}
		for _, l := range s.Layers {
			wished[l.SSRC], wished[l.RTXSSRC] = struct{}{}, struct{}{}
		}
	}
	c.wished.Store(&wished)
	c.session.SetSends(sends)
}

// wishes reports whether an SSRC of ours is that of a wish: the other side may
// agree to it again at any time.
func (c *Conn) wishes(ssrc uint32) bool {
	wished := c.wished.Load()
	if wished == nil {
		return false
	}
	_, ok := (*wished)[ssrc]
	return ok
}

// Needed reports whether an offer of ours would change something and may be
// made now.
func (c *Conn) Needed() bool {
	switch c.phase {
	case phaseNew:
		return true
	case phaseOffered:
		return false
	default:
		return c.session.Needed() || (c.restart && c.Stable())
	}
}

// Stable reports whether no offer of ours waits for its answer.
func (c *Conn) Stable() bool {
	return c.phase != phaseOffered && c.session.State() == sdp.Stable
}

// RemoteUfrag returns the ICE user name fragment of the other side's current
// description, "" before the first one.
func (c *Conn) RemoteUfrag() string { return c.session.Remote().Ufrag }

// Restart makes the next Offer restart ICE (RFC 8445 section 9). The old path is
// used until the other side has answered and its answer is acknowledged. While a
// restart of either side is under way it does nothing.
func (c *Conn) Restart() {
	if c.phase == phaseUp && c.offered == nil && c.settled() {
		c.restart = true
	}
}

// Err returns why the connection failed, nil if it did not. Any goroutine.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close ends the connection and returns when everything of it has stopped; no
// method of the Handler is called after that. The sinks of data channels hear
// ChannelClosed first of all; one whose ChannelMessage has not returned a second
// after the connection is down is not waited for any longer. Close may be called
// from any goroutine but the Handler's own and a sink's, and more than once.
func (c *Conn) Close() error {
	c.mu.Lock()
	first := !c.closing
	c.closing = true
	if first && c.err == nil {
		close(c.stop)
	}
	c.mu.Unlock()
	if !first {
		<-c.closed
		return nil
	}
	defer close(c.closed)
	c.transport.Load().close()
	c.workMu.Lock()
	c.noWork = true
	c.workMu.Unlock()
	c.work.Wait()
	c.state.set(StateClosed)
	c.events.close()
	c.api.mu.Lock()
	delete(c.api.conns, c)
	c.api.mu.Unlock()
	return nil
}

// fail ends the connection for a reason of its own: the handler hears
// StateFailed and then StateClosed, Err has the reason, and Close is still to
// be called. It does not block and may be called from any goroutine.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil || c.closing {
		return
	}
	c.err = err
	close(c.stop)
	c.failed.Store(true)
	c.log.Warn("connection failed", "error", err)
	c.report(StateFailed)
	// pion must not be closed from its own callbacks.
	c.spawn(func() {
		c.transport.Load().close()
		c.report(StateClosed)
	})
}

// spawn runs f on a goroutine that Close joins; after Close it does nothing.
func (c *Conn) spawn(f func()) {
	c.workMu.Lock()
	defer c.workMu.Unlock()
	if !c.noWork {
		c.work.Go(f)
	}
}

// report takes a state and tells the handler if it is news.
func (c *Conn) report(s State) {
	c.state.change(s, func() { c.post(0, func(h Handler) { h.ConnState(s) }) })
}

// post queues a call of the handler; one that is too slow loses the connection.
func (c *Conn) post(size int, call func(Handler)) {
	if !c.events.post(size, call) {
		c.spawn(func() { c.fail(ErrHandlerSlow) })
	}
}

// guard is deferred at the entry of everything that pion calls: a panic there
// closes this connection, not the process.
func (c *Conn) guard(where string) {
	if r := recover(); r != nil {
		c.fail(fmt.Errorf("conn: panic in %s: %v", where, r))
	}
}

// usable is the first line of every method that negotiates.
func (c *Conn) usable(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return ErrClosed
	}
	return c.err
}

// pionCandidate is a candidate in pion's words.
func pionCandidate(c signal.Candidate) webrtc.ICECandidateInit {
	return webrtc.ICECandidateInit{Candidate: c.Candidate, SDPMid: c.SDPMid, SDPMLineIndex: c.SDPMLineIndex}
}

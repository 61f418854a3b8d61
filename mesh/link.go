package mesh

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-rtc/weft/mesh/conn"
	"github.com/weft-rtc/weft/mesh/sdp"
	"github.com/weft-rtc/weft/mesh/signal"
)

// Link is the one connection to one remote peer: its negotiation and its
// control channel. Exported methods may be called from any goroutine.
//
//	            invoke            answer, ICE          channel opens
//	(created) ---------> offering ----------> connecting ----------> ready
//	     \    offer                               ^  |                 |
//	      \---------> answering ------------------/  |   negotiate <---/
//	                                                 v
//	          timeout, ICE failed, channel closed, Close: closed
type Link struct {
	// Set once.
	room *Room
	id   signal.PeerID
	conn *conn.Conn
	log  *slog.Logger
	// polite is our side of the glare rule.
	polite bool

	channels channels
	metadata atomic.Pointer[json.RawMessage]
	labels   atomic.Pointer[map[string]string] // stream id to label, as the remote peer says
	state    atomic.Int32                      // conn.State

	queue chan func()  // run in order by run
	held  atomic.Int64 // bytes of messages that wait in queue
	done  chan struct{}
	end   sync.Once
	why   error // reason of the end, set before done is closed

	next *signal.Message // offer that waits for this link's id; guarded by room.mu

	// Owned by the goroutine of run.
	ready    bool               // control channel open
	ignoring bool               // an offer was ignored and we are not stable yet
	batch    []signal.Candidate // local candidates not sent yet
	flush    *time.Timer        // sends the batch
	deadline *time.Timer        // ends a link that is not connected and ready
	answer   *time.Timer        // ends a link whose offer is not answered
	local    map[string]string  // stream id to label, as we say
	session  string             // origin of the remote descriptions, empty before the first
}

func newLink(r *Room, id signal.PeerID, metadata json.RawMessage) (*Link, error) {
	l := &Link{
		room:   r,
		id:     id,
		log:    r.log.With("peer", string(id)),
		polite: signal.Polite(r.ID(), id),
		queue:  make(chan func(), linkQueue),
		done:   make(chan struct{}),
	}
	l.metadata.Store(&metadata)
	l.flush, l.deadline, l.answer = stopped(), stopped(), stopped()
	c, err := r.cfg.API.New(conn.Options{
		Polite:  l.polite,
		Handler: (*linkConn)(l),
		Logger:  l.log,
	})
	l.conn = c
	return l, err
}

func stopped() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// ID returns the remote peer's id.
func (l *Link) ID() signal.PeerID { return l.id }

// Metadata returns what the remote peer announced of itself, nil for nothing.
func (l *Link) Metadata() json.RawMessage { return *l.metadata.Load() }

// State returns the connection's state.
func (l *Link) State() conn.State { return conn.State(l.state.Load()) }

// Conn returns the connection, for its statistics.
func (l *Link) Conn() *conn.Conn { return l.conn }

// SetSends says which local tracks the remote peer shall get, all of them, and
// the labels of their streams by stream id. The link negotiates what differs as
// soon as its control channel is open. It does not block.
func (l *Link) SetSends(sends []sdp.Send, labels map[string]string) {
	labels = maps.Clone(labels)
	l.do(func() {
		l.local = labels
		l.conn.SetSends(sends)
		l.renegotiate()
	})
}

// SendEvent sends a control event with payload as JSON. It fails when the
// channel is not open or holds too much unsent data.
func (l *Link) SendEvent(e signal.Event, payload any) error {
	m, err := signal.EncodeControl(e, payload)
	if err != nil {
		return err
	}
	return l.conn.SendControl(m)
}

// RestartICE makes the link look for new paths (RFC 8445 section 9) with its
// next offer, at once.
func (l *Link) RestartICE() {
	l.do(func() {
		if l.ready {
			l.conn.Restart()
			l.renegotiate()
		}
	})
}

// Close ends the link. It does not wait; the room's Leave does.
func (l *Link) Close() { l.fail(ErrClosed) }

// do queues a task for the link's goroutine. It never blocks: a link with too
// many tasks waiting is not keeping up and is closed.
func (l *Link) do(task func()) {
	select {
	case l.queue <- task:
	case <-l.done:
	default:
		l.fail(ErrOverflow)
	}
}

// take is do for a message of the remote peer, whose size in bytes counts.
func (l *Link) take(size int, task func()) {
	if l.held.Add(int64(size)) > linkBytes {
		l.fail(ErrOverflow)
		return
	}
	l.do(func() {
		l.held.Add(-int64(size))
		task()
	})
}

// fail ends the link for the reason given; only the first reason counts.
func (l *Link) fail(err error) {
	l.end.Do(func() {
		l.why = err
		close(l.done)
	})
}

// ended reports whether the link is closed, or about to be.
func (l *Link) ended() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// run is the link's goroutine. It ends with the link, which it cleans up.
func (l *Link) run() {
	defer l.finish()
	if t := l.room.cfg.ConnectTimeout; t > 0 {
		l.deadline.Reset(t)
	}
	for {
		select {
		case <-l.done:
			return
		default:
		}
		select {
		case <-l.done:
			return
		case task := <-l.queue:
			l.guard(task)
		case <-l.flush.C:
			l.guard(l.sendBatch)
		case <-l.deadline.C:
			l.fail(ErrTimeout)
		case <-l.answer.C:
			l.fail(ErrNoAnswer)
		}
	}
}

// guard keeps a panic inside the link that caused it.
func (l *Link) guard(task func()) {
	defer func() {
		if r := recover(); r != nil {
			l.log.Error("link panicked, closed", "panic", r)
			l.fail(fmt.Errorf("panic: %v", r))
		}
	}()
	task()
}

func (l *Link) finish() {
	l.flush.Stop()
	l.deadline.Stop()
	l.answer.Stop()
	if err := l.conn.Close(); err != nil {
		l.log.Debug("close connection", "err", err)
	}
	l.state.Store(int32(conn.StateClosed))
	l.guard(func() { l.room.cfg.Handler.LinkState(l, conn.StateClosed, l.why) })
	l.room.forget(l, l.why) // only now may there be a new link to the peer
}

func (l *Link) context() (context.Context, context.CancelFunc) {
	return context.WithTimeout(l.room.ctx, 5*time.Second)
}

// negotiate makes and sends an offer: the first one, which holds the data
// section only, or one that brings the media up to date.
func (l *Link) negotiate() {
	ctx, cancel := l.context()
	defer cancel()
	offer, err := l.conn.Offer(ctx)
	for errors.Is(err, sdp.ErrTooLarge) { // the others are offered without it; fewer each time
		l.log.Error("track not offered", "err", err)
		offer, err = l.conn.Offer(ctx)
	}
	if err != nil {
		l.fail(fmt.Errorf("make offer: %w", err))
		return
	}
	if l.ready {
		l.answer.Reset(DefaultConnectTimeout)
	}
	l.sendDescription(signal.Description{Type: "offer", SDP: offer})
}

// renegotiate makes an offer if there is something to say and it may be said.
func (l *Link) renegotiate() {
	if l.ready && l.conn.Stable() && l.conn.Needed() {
		l.negotiate()
	}
}

// offeredAnew applies an offer that came over the driver. One of another session
// is of a new connection: the peer has lost this one, and we do not know yet.
func (l *Link) offeredAnew(m signal.Message) {
	if l.session != "" && l.session != session(m.Description.SDP) {
		l.room.succeed(l, m)
		return
	}
	l.offered(*m.Description)
}

// session returns user name and session id of a description's origin, which stay
// the same as long as a connection lives (RFC 8829 section 5.2.2).
func session(sdp string) string {
	_, origin, _ := strings.Cut(sdp, "o=")
	fields := strings.Fields(origin)
	return strings.Join(fields[:min(2, len(fields))], " ")
}

// offered applies a remote offer: answered, or ignored in a collision that the
// impolite side wins.
func (l *Link) offered(d signal.Description) {
	ctx, cancel := l.context()
	defer cancel()
	answer, ignored, err := l.conn.HandleOffer(ctx, d.SDP)
	switch {
	case err != nil:
		l.broken("offer", err)
		return
	case ignored:
		l.ignoring = true
		l.room.held.Forget(l.id)
		return
	}
	l.session = session(d.SDP)
	l.answer.Stop() // an offer of ours that collided is forgotten
	l.ignoring = false
	l.sendDescription(signal.Description{Type: "answer", SDP: answer})
	l.takeHeld()
	l.renegotiate()
}

// answered applies the answer to an offer of ours.
func (l *Link) answered(d signal.Description) {
	ctx, cancel := l.context()
	defer cancel()
	if l.conn.Stable() {
		l.log.Debug("answer without an offer ignored")
		return
	}
	if err := l.conn.HandleAnswer(ctx, d.SDP); err != nil {
		// Nobody would offer again: a new link has to.
		l.fail(fmt.Errorf("remote answer: %w", err))
		return
	}
	l.session = session(d.SDP)
	l.answer.Stop()
	l.ignoring = false
	l.takeHeld()
	l.renegotiate()
}

// broken handles a description that cannot be applied. Before the control
// channel is open nothing can come of the link; later it goes on as it is.
func (l *Link) broken(what string, err error) {
	l.log.Warn("remote description refused", "what", what, "err", err)
	if !l.ready {
		l.fail(fmt.Errorf("remote %s: %w", what, err))
	}
}

// candidates takes remote candidates from the driver. Those that do not belong
// to the description in force wait for one that they belong to.
func (l *Link) candidates(cs []signal.Candidate) {
	if l.ignored() {
		return
	}
	ufrag := l.conn.RemoteUfrag()
	for _, c := range cs {
		if !signal.Applies(c, ufrag) {
			l.room.held.Hold(l.id, c)
			continue
		}
		l.addCandidate(c)
	}
}

// ignored reports whether candidates belong to an offer that was ignored.
func (l *Link) ignored() bool {
	if l.ignoring && l.conn.Stable() {
		l.ignoring = false
	}
	return l.ignoring
}

func (l *Link) takeHeld() {
	for _, c := range l.room.held.Take(l.id, l.conn.RemoteUfrag()) {
		l.addCandidate(c)
	}
}

func (l *Link) addCandidate(c signal.Candidate) {
	if c.Candidate == "" { // Firefox's end of candidates
		return
	}
	if err := l.conn.AddCandidate(c); err != nil {
		l.log.Debug("remote candidate not used", "err", err)
	}
}

// sendDescription sends over the control channel once it is open, before that
// over the driver.
func (l *Link) sendDescription(d signal.Description) {
	if l.ready {
		s := signal.Signal{Description: &d}
		if d.Type == "offer" {
			s.Labels = l.local
			if s.Labels == nil {
				s.Labels = map[string]string{}
			}
		}
		if l.sendSignal(s) {
			return
		}
	}
	m := signal.Message{Type: signal.Answer, Description: &d}
	if d.Type == "offer" {
		m.Type = signal.Offer
		l.room.mu.Lock()
		m.Metadata = l.room.metadata
		l.room.mu.Unlock()
	}
	if err := l.room.send(l.id, m); err != nil {
		l.fail(fmt.Errorf("send %s: %w", d.Type, err))
	}
}

// sendSignal sends over the control channel. It reports false when the channel
// has no path just now, because ICE restarts; the driver has to help out then.
func (l *Link) sendSignal(s signal.Signal) bool {
	m, err := signal.EncodeSignal(s)
	if err == nil {
		err = l.conn.SendControl(m)
	}
	if errors.Is(err, conn.ErrRestarting) {
		return false
	}
	if err != nil {
		l.fail(fmt.Errorf("control channel: %w", err))
	}
	return true
}

// localCandidate sends a candidate of ours by itself over the control channel,
// or queues it for the driver.
func (l *Link) localCandidate(c signal.Candidate) {
	if l.ready && l.sendSignal(signal.Signal{Candidate: &c}) {
		return
	}
	l.batch = append(l.batch, c)
	l.flush.Reset(candidateDebounce)
}

// sendBatch sends the queued candidates as one packet over the driver.
func (l *Link) sendBatch() {
	if len(l.batch) == 0 {
		return
	}
	batch := l.batch
	l.batch = nil
	if err := l.room.send(l.id, signal.Message{Type: signal.Candidates, Candidates: batch}); err != nil && !errors.Is(err, context.Canceled) {
		l.log.Warn("send candidates", "err", err)
	}
}

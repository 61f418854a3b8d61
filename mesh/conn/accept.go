package conn

import (
	"errors"
	"sync"
	"time"

	"github.com/pion/sctp"
)

// accept takes the streams that the other side begins, until the association
// ends. Joined by channels.wait.
func (cs *channels) accept() {
	defer close(cs.t.sctpClosed)
	defer cs.t.conn.guard("SCTP accept")
	before := make(chan struct{})
	close(before)
	for {
		s, err := cs.assoc.AcceptStream()
		if err != nil {
			return
		}
		if d := cs.take(s); d != nil {
			turn := turn{before: before, done: make(chan struct{})}
			before = turn.done
			cs.tasks.Go(func() { cs.greet(d, turn) })
		}
	}
}

// turn keeps channels in the order in which they were opened.
type turn struct {
	before <-chan struct{} // closed when the stream before has had its turn
	done   chan struct{}
}

// turnWait is how long a stream waits for the one before it, whose open message
// may never be complete.
const turnWait = 100 * time.Millisecond

func (t turn) wait() {
	timer := time.NewTimer(turnWait)
	defer timer.Stop()
	select {
	case <-t.before:
	case <-timer.C:
	}
}

// take makes the entry of a stream, nil if it is not for a channel: the control
// channel's, or one that we opened in that moment.
func (cs *channels) take(s *sctp.Stream) *DataChannel {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if s.StreamIdentifier() == 0 || cs.streams[s] != nil || cs.over != nil {
		return nil
	}
	if len(cs.streams) >= maxStreams {
		cs.t.conn.fail(ErrTooManyChannels)
		return nil
	}
	d := newDataChannel(cs.t, s, ChannelOptions{})
	d.greeted = make(chan struct{})
	cs.streams[s] = &entry{channel: d, claimed: make(chan struct{})}
	return d
}

// greet reads what a stream begins with: the open message of a channel (RFC 8832
// section 5.1), or a message on a pre-negotiated one that we have yet to open.
func (cs *channels) greet(d *DataChannel, turn turn) {
	defer close(d.greeted)
	pass := sync.OnceFunc(func() { close(turn.done) })
	defer pass()
	defer cs.t.conn.guard("channel open")
	_ = d.stream.SetReadDeadline(time.Now().Add(openWait))
	m, err := readMessage(d.stream)
	_ = d.stream.SetReadDeadline(time.Time{})
	turn.wait()
	if err != nil {
		cs.refuse(d, err)
		return
	}
	if m.kind != sctp.PayloadTypeWebRTCDCEP || cs.isOpen(d) {
		pass()
		cs.hold(d, m)
		return
	}
	o, err := decodeOpen(m.data)
	if err == nil {
		err = o.Validate()
	}
	if err == nil {
		err = cs.admit(d, o)
	}
	if err != nil {
		cs.refuse(d, err)
		return
	}
	cs.t.conn.post(0, func(h Handler) {
		h.ChannelOpened(d)
		if !d.hasSink() {
			d.close(nil)
		}
	})
}

func (cs *channels) isOpen(d *DataChannel) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	e := cs.streams[d.stream]
	return e != nil && e.open
}

// hold keeps the first message of a pre-negotiated channel until we open it.
func (cs *channels) hold(d *DataChannel, m message) {
	if len(m.data) > MaxChannelMessage {
		cs.refuse(d, ErrChannelTooLarge)
		return
	}
	d.first = &m
	cs.mu.Lock()
	claimed := cs.streams[d.stream].claimed
	cs.mu.Unlock()
	timer := time.NewTimer(openWait)
	defer timer.Stop()
	select {
	case <-claimed:
	case <-d.done:
	case <-timer.C:
		cs.refuse(d, errNotOpened)
	}
}

var errNotOpened = errors.New("conn: data on a stream that is no channel")

// admit takes a channel that the other side opens, and says so to it.
func (cs *channels) admit(d *DataChannel, o ChannelOptions) error {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	e := cs.streams[d.stream]
	if cs.over != nil || e == nil {
		return ErrClosed
	}
	if e.open || cs.count() >= MaxChannels || !cs.limit.Allow() {
		return ErrTooManyChannels
	}
	if _, err := d.stream.WriteSCTP([]byte{dcepAck}, sctp.PayloadTypeWebRTCDCEP); err != nil {
		return err
	}
	o.ID = d.id
	o.apply(d.stream)
	d.options = o
	e.open = true
	return nil
}

// refuse closes a stream that is not to be a channel, and counts it. One that
// OpenChannel has claimed meanwhile stays.
func (cs *channels) refuse(d *DataChannel, err error) {
	cs.mu.Lock()
	e := cs.streams[d.stream]
	claimed := e == nil || e.open
	if !claimed {
		d.end(err) // so that nobody can claim it any more
	}
	cs.mu.Unlock()
	if claimed {
		return
	}
	cs.t.in.drop(DropChannel)
	log := cs.t.conn.log.Debug
	cs.warn.Do(func() { log = cs.t.conn.log.Warn }) // the others are only counted
	log("data channel refused", "stream", d.id, "error", err)
	d.reset()
}

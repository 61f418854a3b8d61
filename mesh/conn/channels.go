package conn

import (
	"fmt"
	"sync"
	"time"

	"github.com/pion/sctp"
	"github.com/pion/webrtc/v4"
	"golang.org/x/time/rate"
)

// Bounds on what the other side can make us hold and do.
const (
	// maxStreams bounds the streams of a connection: channels, and those that
	// were refused or closed and whose reset the other side has not answered.
	// Chromium cannot have more than 1024.
	maxStreams = 1024
	// openWait is how long a stream may go without its open message, and the
	// first message of a pre-negotiated channel waits for us to open it.
	openWait = 10 * time.Second
	// openBurst and openRate: channels that the other side may open at once, and
	// a second. Each costs a goroutine and a call of the handler.
	openBurst = 512
	openRate  = 128
	// idRest is how long a stream id is not used again. An old reset that is
	// repeated because its answer was lost would hit the new channel.
	idRest = 10 * time.Second
	// firstID is where in-band ids begin: applications that pre-negotiate
	// take low ones.
	firstID = 256
	// sinkWait is how long Close waits for sinks that have heard ChannelClosed.
	sinkWait = time.Second
)

// channels are the data channels of a transport, and the streams that are not
// yet or no longer one.
type channels struct {
	t     *transport
	tasks sync.WaitGroup // accept and greet
	warn  sync.Once
	limit *rate.Limiter

	mu      sync.Mutex
	assoc   *sctp.Association // nil before SCTP is up
	over    error             // why no channel can be opened any more
	streams map[*sctp.Stream]*entry
	rest    map[uint16]time.Time // ids in-band, since when they are free
	next    uint16
	even    bool // our in-band ids: we are the DTLS client (RFC 8832 section 6)
}

// entry is what is known of a stream.
type entry struct {
	channel *DataChannel
	open    bool          // it is a channel: we opened it, or we took it
	claimed chan struct{} // closed when OpenChannel opens what the other side began
}

func newChannels(t *transport) *channels {
	return &channels{
		t:       t,
		limit:   rate.NewLimiter(openRate, openBurst),
		streams: map[*sctp.Stream]*entry{},
		rest:    map[uint16]time.Time{},
		next:    firstID,
	}
}

// OpenChannel opens a data channel: in band, or pre-negotiated. It may be called
// from any goroutine and does not block. Call SetSink on what it returns. It
// fails with ErrControlClosed before the control channel is open, with
// ErrTooManyChannels, and with ErrChannelID if a pre-negotiated id is in use,
// which it is until the other side has closed its end too.
func (c *Conn) OpenChannel(o ChannelOptions) (*DataChannel, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if !o.Negotiated {
		o.ID = 0
	}
	t := c.transport.Load()
	if !t.open.Load() {
		return nil, ErrControlClosed
	}
	return t.channels.open(o, time.Now())
}

func (cs *channels) open(o ChannelOptions, now time.Time) (*DataChannel, error) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	switch {
	case cs.over != nil:
		return nil, cs.over
	case cs.assoc == nil:
		return nil, ErrControlClosed
	case cs.count() >= MaxChannels || len(cs.streams) >= maxStreams:
		return nil, ErrTooManyChannels
	}
	if o.Negotiated {
		return cs.openNegotiated(o)
	}
	id, ok := cs.freeID(now)
	if !ok {
		return nil, fmt.Errorf("%w: all stream ids were used in the last %v", ErrTooManyChannels, idRest)
	}
	o.ID = id
	s, err := cs.assoc.OpenStream(id, sctp.PayloadTypeWebRTCBinary)
	if err == nil {
		_, err = s.WriteSCTP(encodeOpen(o), sctp.PayloadTypeWebRTCDCEP)
	}
	if err != nil {
		return nil, fmt.Errorf("conn: open channel: %w", err)
	}
	d := newDataChannel(cs.t, s, o)
	cs.streams[s] = &entry{channel: d, open: true}
	return d, nil
}

// openNegotiated opens a stream without a word; cs.mu is held. The other side
// may have sent on it already.
func (cs *channels) openNegotiated(o ChannelOptions) (*DataChannel, error) {
	for _, e := range cs.streams {
		switch {
		case e.channel.id != o.ID:
		case e.open || e.channel.isDone():
			return nil, ErrChannelID
		default:
			o.apply(e.channel.stream)
			e.channel.options = o
			e.open = true
			close(e.claimed)
			return e.channel, nil
		}
	}
	s, err := cs.assoc.OpenStream(o.ID, sctp.PayloadTypeWebRTCBinary)
	if err != nil {
		return nil, fmt.Errorf("conn: open channel: %w", err)
	}
	o.apply(s)
	d := newDataChannel(cs.t, s, o)
	cs.streams[s] = &entry{channel: d, open: true}
	return d, nil
}

// count returns how many channels are open; cs.mu is held.
func (cs *channels) count() int {
	n := 0
	for _, e := range cs.streams {
		if e.open && !e.channel.isDone() {
			n++
		}
	}
	return n
}

// freeID returns an id of our parity that is not in use and has rested, going
// round so that each rests as long as can be; cs.mu is held.
func (cs *channels) freeID(now time.Time) (uint16, bool) {
	used := map[uint16]bool{0: true}
	for _, e := range cs.streams {
		used[e.channel.id] = true
	}
	for range MaxChannelID + 1 {
		id := cs.next
		cs.next = (cs.next + 1) % (MaxChannelID + 1)
		if used[id] || (id%2 == 0) != cs.even {
			continue
		}
		if since, ok := cs.rest[id]; ok && now.Sub(since) < idRest {
			continue
		}
		return id, true
	}
	return 0, false
}

// remove forgets a stream that was reset both ways, or is gone with everything.
func (cs *channels) remove(d *DataChannel) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	delete(cs.streams, d.stream)
	if d.id <= MaxChannelID && (d.id%2 == 0) == cs.even {
		cs.rest[d.id] = time.Now()
	}
}

// buffered returns how many bytes wait or are on their way on all streams.
func (cs *channels) buffered() int {
	cs.mu.Lock()
	a := cs.assoc
	cs.mu.Unlock()
	return a.BufferedAmount()
}

// setRole says which stream ids are ours.
func (cs *channels) setRole(client bool) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.even = client
}

// adopt takes the association over from pion, unless all is over already.
func (cs *channels) adopt(s *webrtc.SCTPTransport) error {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.over != nil || cs.assoc != nil {
		return nil
	}
	a, err := takeAssociation(s)
	if err != nil || a == nil {
		return err
	}
	cs.assoc = a
	return tuneAssociation(a)
}

// start begins to take what the other side opens; the control channel is open.
func (cs *channels) start() {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.assoc != nil && cs.over == nil {
		cs.tasks.Go(cs.accept)
	}
}

// reason says why a connection ended, to a sink.
func (cs *channels) reason() error {
	if err := cs.t.conn.Err(); err != nil {
		return err
	}
	return ErrClosed
}

// end lets every sink know that the connection is over. Nothing opens any more.
func (cs *channels) end() {
	reason := cs.reason()
	cs.mu.Lock()
	if cs.over == nil {
		cs.over = reason
	}
	cs.mu.Unlock()
	for _, d := range cs.all() {
		d.end(reason)
	}
}

func (cs *channels) all() []*DataChannel {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	all := make([]*DataChannel, 0, len(cs.streams))
	for _, e := range cs.streams {
		all = append(all, e.channel)
	}
	return all
}

// abort ends the association, as pion would have done, which ends all reading.
func (cs *channels) abort() {
	cs.mu.Lock()
	a := cs.assoc
	cs.mu.Unlock()
	if a != nil {
		a.Abort("")
	}
}

// wait joins the goroutines. A sink that does not return though it has heard
// ChannelClosed is left to itself.
func (cs *channels) wait() {
	cs.tasks.Wait()
	timer := time.NewTimer(sinkWait)
	defer timer.Stop()
	for _, d := range cs.all() {
		if !d.isStarted() {
			continue
		}
		select {
		case <-d.gone:
		case <-timer.C:
			cs.t.conn.log.Error("a data channel's sink does not return", "channel", d.Label())
			return
		}
	}
}

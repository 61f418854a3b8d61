package node

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync/atomic"

	"github.com/weft-rtc/weft/mesh"
	"github.com/weft-rtc/weft/mesh/channel"
	"github.com/weft-rtc/weft/mesh/conn"
)

// DefaultChannel is the label that an empty one means.
const DefaultChannel = "default"

// ChannelOptions describe a data channel. The label is what others know it by;
// one that is pre-negotiated is known by its number instead, on both sides.
type ChannelOptions = conn.ChannelOptions

// Errors of data channels.
var (
	// ErrChannelExists: the label or number is in use with other options.
	ErrChannelExists = errors.New("channel exists with other options")
	// ErrNoChannel: there is no channel of that label or number.
	ErrNoChannel = errors.New("no such channel")
	// ErrNobody: there is nobody to send to.
	ErrNobody = errors.New("nobody to send to")
	// ErrUnknownPeer: there is no remote peer of that id.
	ErrUnknownPeer = errors.New("unknown peer")
	// ErrBehindHub: the peer is behind a hub, which does not pass data channels on.
	ErrBehindHub = errors.New("peer is behind a hub")
)

// channelKey is what a channel is known by: its label, or the number of one that
// is pre-negotiated.
type channelKey struct {
	label string
	id    uint16
}

func keyOf(o ChannelOptions) channelKey {
	if o.Negotiated {
		return channelKey{id: o.ID}
	}
	return channelKey{label: o.Label}
}

func (k channelKey) String() string {
	if k.id != 0 {
		return fmt.Sprint("channel ", k.id)
	}
	return fmt.Sprintf("channel %q", k.label)
}

// normal fills in what an empty label means, and checks the rest.
func normal(o ChannelOptions) (ChannelOptions, error) {
	if o.Label == "" && !o.Negotiated {
		o.Label = DefaultChannel
	}
	return o, o.Validate()
}

// sameOptions compares what is behind the pointers.
func sameOptions(a, b ChannelOptions) bool {
	same := func(a, b *uint16) bool { return a == b || a != nil && b != nil && *a == *b }
	ok := same(a.MaxPacketLifeTime, b.MaxPacketLifeTime) && same(a.MaxRetransmits, b.MaxRetransmits)
	a.MaxPacketLifeTime, a.MaxRetransmits, b.MaxPacketLifeTime, b.MaxRetransmits = nil, nil, nil, nil
	return ok && a == b
}

// Open registers a data channel: it is opened with every remote peer that is
// reached directly, now and later. It does not wait; ChannelOpen events tell of
// each. Opening again with the same options does nothing, with others it fails
// with ErrChannelExists.
func (p *Peer) Open(o ChannelOptions) error {
	o, err := normal(o)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if old, ok := p.channels[keyOf(o)]; ok {
		if !sameOptions(old, o) {
			return fmt.Errorf("open %s: %w", keyOf(o), ErrChannelExists)
		}
		return nil
	}
	p.channels[keyOf(o)] = o
	for _, r := range p.remotes {
		r.open(o)
	}
	return nil
}

// CloseChannel closes the data channel of that label with every remote peer, and
// opens it with no other any more. An unknown one is no error. What is being
// sent or received on it fails.
func (p *Peer) CloseChannel(label string) {
	p.closeChannel(channelKey{label: cmp.Or(label, DefaultChannel)})
}

// CloseNegotiated is CloseChannel for a pre-negotiated channel, by its number.
func (p *Peer) CloseNegotiated(id uint16) { p.closeChannel(channelKey{id: id}) }

func (p *Peer) closeChannel(key channelKey) {
	p.mu.Lock()
	delete(p.channels, key)
	var all []*Channel
	for _, r := range p.remotes {
		if c := r.unwish(key); c != nil {
			all = append(all, c)
		}
	}
	p.mu.Unlock()
	for _, c := range all {
		c.Close()
	}
}

// Channels returns the data channels that Open has registered, in the order of
// their labels and numbers.
func (p *Peer) Channels() []ChannelOptions {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]ChannelOptions, 0, len(p.channels))
	for _, o := range p.channels {
		all = append(all, o)
	}
	slices.SortFunc(all, func(a, b ChannelOptions) int {
		return cmp.Or(cmp.Compare(a.Label, b.Label), cmp.Compare(a.ID, b.ID))
	})
	return all
}

// Channel is one data channel to one remote peer, opened by either side. Its
// methods may be called from any goroutine.
type Channel struct {
	remote   *remote
	data     *conn.DataChannel
	messages *channel.Channel
	waiting  atomic.Int32 // messages that handlers have not finished with
	log      *slog.Logger
}

// Label returns the channel's label; it may be empty if it is pre-negotiated.
func (c *Channel) Label() string { return c.data.Label() }

// Options returns what the channel was opened with.
func (c *Channel) Options() ChannelOptions { return c.data.Options() }

// Peer returns the id of the remote peer.
func (c *Channel) Peer() string { return c.remote.id }

// Close closes the channel with this one remote peer. It does not wait.
func (c *Channel) Close() { _ = c.messages.Close() } // what fails has ended the channel already

// open wishes for a channel, unless there is one; Peer.mu is held.
func (r *remote) open(o ChannelOptions) {
	if r.guest != nil {
		return
	}
	if r.channel(keyOf(o)) == nil {
		r.wishes[keyOf(o)] = true
	}
	r.link.OpenChannel(o)
}

// unwish takes a wish back, and returns the channel of that key, to be closed, if
// there is one already; Peer.mu is held.
func (r *remote) unwish(key channelKey) *Channel {
	delete(r.wishes, key)
	r.link.ForgetChannel(ChannelOptions{Label: key.label, Negotiated: key.id != 0, ID: key.id})
	r.tell()
	return r.channel(key)
}

// tell wakes those who wait for a channel; Peer.mu is held.
func (r *remote) tell() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// channel returns the channel of that key that is not closed; Peer.mu is held.
func (r *remote) channel(key channelKey) *Channel {
	for _, c := range r.channels {
		if keyOf(c.data.Options()) == key && !c.ended() {
			return c
		}
	}
	return nil
}

// LinkChannel takes a data channel that either side has opened.
func (w *wiring) LinkChannel(l *mesh.Link, d *conn.DataChannel) {
	p := w.peer()
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.remote(l)
	c := &Channel{
		remote: r,
		data:   d,
		log:    r.log.With("channel", d.Label()),
	}
	c.messages = channel.New(channel.Config{
		Label:   d.Label(),
		Framed:  d.Options().Framed(),
		Pipe:    d,
		Receive: c.receive,
		Open:    c.open,
		Closed:  c.closed,
		Logger:  c.log,
	})
	r.channels = append(r.channels, c)
	delete(r.wishes, keyOf(d.Options()))
	r.tell()
	p.events.emit(Event{ChannelNew, ChannelEvent{Peer: r.id, Channel: c}})
	d.SetSink(c.messages)
}

// ended reports whether the channel is closed, which closed tells of later.
func (c *Channel) ended() bool {
	select {
	case <-c.data.Done():
		return true
	default:
		return false
	}
}

func (c *Channel) emit(name EventName, err error) {
	c.remote.peer.events.emit(Event{name, ChannelEvent{Peer: c.remote.id, Channel: c, Err: err}})
}

// maxWaiting bounds the messages of a channel that handlers have not finished
// with. Beyond it they are refused, so that their senders know.
const maxWaiting = 64

// receive hands on a message that begins to come in. What handlers leave unread
// is refused; where there is none it is read for nothing, as nobody misses it.
func (c *Channel) receive(m *channel.Message) {
	if c.waiting.Add(1) > maxWaiting {
		c.waiting.Add(-1)
		m.Abort()
		return
	}
	end := m.Abort
	if !c.remote.peer.events.wanted(ChannelMessage) {
		end = func() { _, _ = io.Copy(io.Discard, m) }
	}
	h := &holds{last: func() { end(); c.waiting.Add(-1) }}
	h.n.Add(1) // emit's own
	c.remote.peer.events.emit(Event{ChannelMessage, ChannelEvent{Peer: c.remote.id, Channel: c, Message: m, held: h}})
}

func (c *Channel) open() { c.emit(ChannelOpen, nil) }

func (c *Channel) closed(err error) {
	p := c.remote.peer
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(c.remote.channels, c)
	if i < 0 {
		return
	}
	c.remote.channels = slices.Delete(c.remote.channels, i, i+1)
	c.emit(ChannelClose, err)
}

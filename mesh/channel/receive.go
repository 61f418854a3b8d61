package channel

import (
	"bytes"
	"fmt"
	"slices"
	"time"
)

const (
	// maxUnfinished is how many messages a channel may have begun and not
	// finished; the oldest fails beyond. Peers that send one after another, as
	// all known ones do, have one.
	maxUnfinished = 16
	// maxUnread is how many windows all of them hold.
	maxUnread = 4
	// blockLimit is how long the pipe is not read because a reader does not
	// read. It holds up every channel of the connection.
	blockLimit = 2 * time.Second
	// slack is the memory of a packet that is allowed beside its chunk, and what
	// keeping it costs.
	slack = 64
)

var errBySender = fmt.Errorf("%w by the sender", ErrAborted)

// ChannelMessage takes a message of the pipe, which owns b no longer. It blocks
// while the window is full, for at most 2 s in which nothing is read from it.
func (c *Channel) ChannelMessage(b []byte, text bool) {
	if text || !c.config.Framed {
		c.receiveRaw(b, text)
		return
	}
	p, err := decode(b)
	if err != nil {
		c.dropped(DropMalformed, err)
		return
	}
	if len(b) > len(p.chunk)+slack {
		p.chunk = bytes.Clone(p.chunk) // b is not kept for it
	}
	switch {
	case p.ask:
		c.asked(p)
	case p.abort:
		c.abortedBySender(p.id)
	default:
		c.receive(p)
	}
}

// receiveRaw hands over a message that is not framed, complete as it is.
func (c *Channel) receiveRaw(b []byte, text bool) {
	m := c.newMessage(packet{kind: uint32(Bytes), chunk: b})
	if text {
		m.Type = Text
	}
	m.Raw = true
	c.mu.Lock()
	open := c.cause == nil
	m.store(b)
	m.finish()
	c.mu.Unlock()
	if open {
		c.deliver(m)
	}
}

func (c *Channel) abortedBySender(id uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m := c.incoming[id]; m != nil {
		m.fail(errBySender)
	}
}

// receive takes a data packet: the beginning, a chunk, the end of a message, or
// all of these.
func (c *Channel) receive(p packet) {
	var begun *Message
	var replies replies
	if p.begins() {
		begun = c.newMessage(p)
	}
	c.mu.Lock()
	if begun != nil {
		c.admit(begun, &replies)
	}
	m := c.incoming[p.id]
	if m != nil {
		m.receive(p, &replies)
	}
	c.mu.Unlock()
	switch {
	case m == nil:
		c.dropped(DropUnknown, nil)
	case begun != nil:
		c.deliver(begun)
		begun.reconsider(&replies)
	}
	replies.send(c)
}

// reconsider takes back what was to be said of a message that Receive has given
// up at once: a short one would be acknowledged though nobody reads it.
func (m *Message) reconsider(replies *replies) {
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	if m.err == nil {
		return
	}
	*replies = slices.DeleteFunc(*replies, func(p packet) bool { return p.id == m.id })
	if m.complete {
		replies.add(refusal(m.id))
	}
}

// admit enters a message that begins, at the cost of the one that it replaces
// and of the oldest of too many. It does not on a closed channel.
func (c *Channel) admit(m *Message, replies *replies) {
	if c.cause != nil {
		return
	}
	if old := c.incoming[m.id]; old != nil {
		old.fail(fmt.Errorf("%w: the sender used its id again", ErrAborted))
	}
	if len(c.incoming) == maxUnfinished {
		old := c.oldest(func(*Message) bool { return true })
		old.refuse(fmt.Errorf("%w: at most %d", ErrTooMany, maxUnfinished), replies)
	}
	c.wasGivenUp(m.id)
	c.begun++
	m.order = c.begun
	c.incoming[m.id] = m
}

// giveUp remembers an incoming message that failed here. A Peerix sender sends on
// to the end, waits for the acknowledgement and then aborts, in a way that cannot
// be told from a refusal of our message with the same id.
func (c *Channel) giveUp(id uint32) {
	if len(c.refused) == maxUnfinished {
		c.refused = slices.Delete(c.refused, 0, 1)
	}
	c.refused = append(c.refused, id)
}

// wasGivenUp reports whether an id is remembered, and forgets it.
func (c *Channel) wasGivenUp(id uint32) bool {
	i := slices.Index(c.refused, id)
	if i >= 0 {
		c.refused = slices.Delete(c.refused, i, i+1)
	}
	return i >= 0
}

// makeRoom lets go of the oldest messages with something unread until n bytes
// fit into what the channel may hold.
func (c *Channel) makeRoom(n int, replies *replies) {
	for c.unread+n > maxUnread*c.config.Window {
		old := c.oldest(func(m *Message) bool { return m.cost > 0 })
		if old == nil {
			return
		}
		old.stall(fmt.Errorf("%w: %d windows are full", ErrStalled, maxUnread), replies)
	}
}

// oldest returns the unfinished message that began first among those that fit.
func (c *Channel) oldest(fits func(*Message) bool) (old *Message) {
	for _, m := range c.incoming {
		if fits(m) && (old == nil || m.order < old.order) {
			old = m
		}
	}
	return old
}

// deliver hands a message to the application.
func (c *Channel) deliver(m *Message) {
	if c.config.Receive == nil {
		return
	}
	if !c.contain("Receive", func() { c.config.Receive(m) }) {
		c.dropped(DropPanic, nil)
		m.Abort()
	}
}

// replies are packets that are sent once the lock is released.
type replies []packet

func (r *replies) add(p packet) { *r = append(*r, p) }

func (r replies) send(c *Channel) {
	for _, p := range r {
		c.reply(p)
	}
}

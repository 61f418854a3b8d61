package channel

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"sync"
	"time"
)

// DefaultMaxBody is what Bytes, Text and JSON of a Message read at most, in
// bytes, where they are told no other limit.
const DefaultMaxBody = 16 << 20

// Message is an incoming message. It is an io.Reader and an io.WriterTo of the
// content, which may still be on its way: what is read makes room for more. One
// goroutine reads at a time; all else may be called from any.
//
// A message that is not read holds up its sender. Whoever does not want it, or
// not all of it, calls Abort.
type Message struct {
	// Label is that of the channel.
	Label string
	// Type is what the sender says of the content. Types that are not known are
	// Bytes.
	Type Type
	// Info is what came with the message, valid JSON, or nil.
	Info json.RawMessage
	// Raw says that the message was not framed: a text frame (then Type is
	// Text), or one of a channel that is not framed. It is complete, without
	// Info, and was not acknowledged.
	Raw bool

	// set once
	c       *Channel
	id      uint32
	order   uint64 // among the messages of the channel
	discard bool   // nobody reads it

	// guarded by Channel.mu
	cond     sync.Cond // something below has changed
	chunks   queue     // unread
	cost     int       // of chunks in bytes, slack for each included
	received int64     // bytes
	index    uint32    // of the next chunk
	consumed uint32    // chunks that were read
	reads    uint64    // that took something
	limit    uint32    // chunks with a lower index have room, as the sender knows
	granted  time.Time // when it was told
	err      error     // why the message failed
	complete bool
	watched  time.Time   // when the reader has stalled; zero if nobody waits for it
	watchdog *time.Timer // fires then, or later
}

// newMessage returns the message that a packet begins.
func (c *Channel) newMessage(p packet) *Message {
	m := &Message{
		Label:   c.config.Label,
		Type:    Type(p.kind),
		Info:    c.infoOf(p),
		c:       c,
		id:      p.id,
		discard: c.config.Receive == nil,
	}
	if m.Type > Bytes {
		m.Type = Bytes
	}
	m.cond.L = &c.mu
	return m
}

// Read reads content. It blocks until there is some, and returns io.EOF only
// once all was read of a message that is complete. A message that failed gives
// what had arrived, then the error: ErrAborted, ErrClosed, ErrGap, ErrTooMany;
// after ErrStalled and Abort nothing more.
func (m *Message) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	b, err := m.read(context.Background(), len(p))
	return copy(p, b), err
}

// WriteTo writes the content to w until it ends or fails. The message is not
// aborted when w fails.
func (m *Message) WriteTo(w io.Writer) (written int64, err error) {
	for {
		b, err := m.read(context.Background(), math.MaxInt)
		if err == io.EOF {
			return written, nil
		}
		if err != nil {
			return written, err
		}
		n, err := w.Write(b)
		written += int64(n)
		if err == nil && n < len(b) {
			err = io.ErrShortWrite
		}
		if err != nil {
			return written, err
		}
	}
}

// Bytes reads the rest of the content into memory, at most limit bytes (0 or
// less: DefaultMaxBody). A longer message is aborted and is ErrTooLarge; when
// ctx ends it is aborted too. Other errors are those of Read.
func (m *Message) Bytes(ctx context.Context, limit int) ([]byte, error) {
	if limit <= 0 {
		limit = DefaultMaxBody
	}
	stop := context.AfterFunc(ctx, m.wake)
	defer stop()
	var body []byte
	for {
		b, err := m.read(ctx, math.MaxInt)
		if err == io.EOF {
			return body, nil
		}
		if err == nil && len(b) > limit-len(body) {
			err = m.failure(fmt.Errorf("%w: more than %d bytes", ErrTooLarge, limit))
		}
		if err != nil {
			m.Abort() // does nothing where it was the message that failed
			return nil, err
		}
		body = append(body, b...)
	}
}

// Text is Bytes as a string. Nothing checks that it is UTF-8.
func (m *Message) Text(ctx context.Context, limit int) (string, error) {
	b, err := m.Bytes(ctx, limit)
	return string(b), err
}

// JSON reads like Bytes and unmarshals the content into v.
func (m *Message) JSON(ctx context.Context, limit int, v any) error {
	b, err := m.Bytes(ctx, limit)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return m.failure(err)
	}
	return nil
}

// Received returns how many bytes of the content have arrived, read or not.
func (m *Message) Received() int64 {
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	return m.received
}

// Err returns why the message failed or that it was aborted; nil while it goes
// on and once it is complete.
func (m *Message) Err() error {
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	return m.err
}

// Abort refuses the rest and forgets what is unread: the sender is told if it
// has not sent all, and reads return ErrAborted from now on. It is idempotent
// and changes nothing for a message that failed or was read to its end.
func (m *Message) Abort() {
	var replies replies
	err := fmt.Errorf("%w by the receiver", ErrAborted)
	m.c.mu.Lock()
	switch {
	case !m.over():
		m.refuse(err, &replies)
	case m.err == nil && !m.chunks.empty():
		m.err = m.failure(err)
	}
	m.drop()
	m.c.mu.Unlock()
	replies.send(m.c)
}

// wake lets readers look at what has changed.
func (m *Message) wake() {
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	m.cond.Broadcast()
}

// read returns up to limit bytes of one chunk, and sends the window update that
// is due with it.
func (m *Message) read(ctx context.Context, limit int) ([]byte, error) {
	var replies replies
	m.c.mu.Lock()
	b, err := m.take(ctx, limit, &replies)
	m.c.mu.Unlock()
	replies.send(m.c)
	return b, err
}

// take waits for content and takes it. The lock is held.
func (m *Message) take(ctx context.Context, limit int, replies *replies) ([]byte, error) {
	for m.chunks.empty() {
		switch {
		case m.err != nil:
			return nil, m.err
		case m.complete:
			return nil, io.EOF
		case ctx.Err() != nil:
			return nil, m.failure(ctx.Err())
		}
		m.cond.Wait()
	}
	b, last := m.chunks.pop(limit)
	cost := len(b)
	if last {
		cost += slack
		m.consumed++
	}
	m.cost -= cost
	m.reads++
	if !m.over() {
		m.c.unread -= cost
		m.grant(replies)
		m.watch(true)
		m.cond.Broadcast() // the reading goroutine may wait for room
	}
	return b, nil
}

// over reports whether nothing more will come. Like all below it is called with
// the lock held.
func (m *Message) over() bool { return m.complete || m.err != nil }

// finish takes it that the message is complete.
func (m *Message) finish() {
	m.complete = true
	m.leave()
}

// fail ends a message that is not over. What has arrived can still be read.
func (m *Message) fail(err error) {
	m.err = m.failure(err)
	m.leave()
}

// refuse fails the message and tells its sender.
func (m *Message) refuse(err error, replies *replies) {
	m.fail(err)
	m.c.giveUp(m.id)
	replies.add(refusal(m.id))
}

func (m *Message) failure(err error) error {
	return fmt.Errorf("channel %q: receive: %w", m.Label, err)
}

// leave takes a message that has just come to its end from the unfinished ones.
func (m *Message) leave() {
	m.c.unread -= m.cost
	m.watch(false)
	if m.c.incoming[m.id] == m {
		delete(m.c.incoming, m.id)
	}
	m.cond.Broadcast()
}

// drop forgets what is unread of a message that is over.
func (m *Message) drop() {
	m.chunks = queue{}
	m.cost = 0
}

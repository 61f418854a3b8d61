package channel

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

const (
	// sendBuffer is how many bytes may be unsent; a packet that would go beyond
	// waits (WIRE 2) until sendLow are left. That is more than the 32 KiB of
	// browsers, so that the pipe never runs dry while the sender wakes up.
	sendBuffer = 256 * 1024
	sendLow    = 128 * 1024
	// askTimeout is how long the send buffer may stand still, and how long an
	// acknowledgement may take after that is empty (WIRE 11).
	askTimeout = 10 * time.Second
	// freeChunks are sent before the other side has told its window: no more
	// than may be in the send buffer, so that waiting for the window takes no
	// longer than waiting for that. windowTimeout is how long; a peer that has
	// told none then does not know of windows, and is not waited for again.
	freeChunks    = sendBuffer / (ChunkSize + slack)
	windowTimeout = 500 * time.Millisecond
	// lookEvery is how often a sender that waits looks whether anything moves.
	lookEvery = time.Second
	// maxID is the last transfer id before 1 comes again.
	maxID = 0xffff
)

// Outgoing is a message to send.
type Outgoing struct {
	// Type says what Body is. 0 is Bytes.
	Type Type
	// Info goes with the message: any JSON, at most MaxInfo bytes. Nil for none;
	// channels that are not framed have none.
	Info json.RawMessage
	// Body is the content; nil is empty. It is read on the goroutine that called
	// Send, one chunk ahead of what is sent, and is not closed. A Read that
	// blocks holds up Send and every later message of the channel: it is not
	// interrupted by a context or an abort.
	Body io.Reader
	// Size is the length of Body in bytes where that is known, else 0 or less.
	// It is for Progress only.
	Size int64
	// Progress is called on the goroutine that called Send, after each chunk
	// that was handed to the pipe, with the bytes so far and Size, which is -1
	// where not known. Nil: nothing is called.
	Progress func(sent, total int64)
}

// check returns an error if m cannot go over the channel.
func (m *Outgoing) check(framed bool) error {
	switch {
	case m.Type > Bytes:
		return fmt.Errorf("unknown type %d", uint32(m.Type))
	case m.Info == nil:
		return nil
	case !framed:
		return fmt.Errorf("%w: the channel is not framed", ErrInfo)
	case len(m.Info) > MaxInfo:
		return fmt.Errorf("%w: %d bytes, at most %d", ErrInfo, len(m.Info), MaxInfo)
	case !json.Valid(m.Info):
		return fmt.Errorf("%w: not JSON", ErrInfo)
	default:
		return nil
	}
}

// progress reports bytes.
func (m *Outgoing) progress(sent int64) {
	if m.Progress == nil {
		return
	}
	total := m.Size
	if total <= 0 {
		total = -1
	}
	m.Progress(sent, total)
}

// Send sends a message and returns nil once the other side has acknowledged all
// of it. It blocks; the messages of a channel go out strictly one after another,
// in the order of the calls. It must not be called on the pipe's reading
// goroutine (from Receive, say), which brings the acknowledgement. A channel that
// is not open yet is waited for, for at most 10 s.
//
// When ctx ends, Send returns its error and the other side is told. Other errors:
// ErrClosed; ErrAborted, the other side refused the rest; ErrTimeout, nothing
// left the send buffer for 10 s or no acknowledgement came; ErrStalled, the
// reader on the other side has made no room for twice the StallTimeout; ErrInfo; and
// those of Body. After any error the message may or may not have been delivered,
// though only after ErrTimeout, ErrClosed or one of ctx can it be complete there.
//
// On a channel that is not framed all of Body becomes one raw message, a text
// frame for Text and else binary, of at most MaxRaw bytes (ErrTooLarge). There
// are no acknowledgements: nil then means that the pipe took it.
func (c *Channel) Send(ctx context.Context, m Outgoing) error {
	if err := c.send(ctx, &m); err != nil {
		return fmt.Errorf("channel %q: send: %w", c.config.Label, err)
	}
	return nil
}

func (c *Channel) send(ctx context.Context, m *Outgoing) error {
	if err := m.check(c.config.Framed); err != nil {
		return err
	}
	if m.Type == 0 {
		m.Type = Bytes
	}
	if err := c.takeTurn(ctx); err != nil {
		return err
	}
	defer func() { <-c.turn }()
	if c.config.Framed {
		return c.sendFramed(ctx, m)
	}
	return c.sendRaw(ctx, m)
}

// takeTurn waits for the messages before this one, and for the channel to open.
func (c *Channel) takeTurn(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	case <-c.closed:
		return c.closedError()
	}
	err := c.awaitOpen(ctx)
	if err != nil {
		<-c.turn
	}
	return err
}

func (c *Channel) awaitOpen(ctx context.Context) error {
	select {
	case <-c.closed:
		return c.closedError()
	case <-c.opened:
		return nil
	default:
	}
	timer := time.NewTimer(askTimeout)
	defer timer.Stop()
	select {
	case <-c.opened:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-c.closed:
		return c.closedError()
	case <-timer.C:
		return fmt.Errorf("%w: the channel did not open for %v", ErrTimeout, askTimeout)
	}
}

func (c *Channel) closedError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cause
}

// sendFramed sends the packets of a message and waits for the acknowledgement.
func (c *Channel) sendFramed(ctx context.Context, m *Outgoing) error {
	t := c.begin()
	defer t.end() // also after a panic of Body or Progress
	bufs := bufferPool.Get().(*buffers)
	defer bufferPool.Put(bufs)
	chunks := chunker{body: m.Body, bufs: &bufs.chunks}
	p := packet{
		has: hasID | hasIndex | hasType | hasDone | hasChunk,
		id:  t.id, kind: uint32(m.Type), info: m.Info,
	}
	if m.Info != nil {
		p.has |= hasInfo
	}
	size, sent := ChunkSize-len(m.Info), int64(0)
	for {
		var err error
		if p.chunk, p.done, err = chunks.next(size); err != nil {
			return fmt.Errorf("body: %w", err)
		}
		if err := t.send(ctx, &p, bufs.packet[:0]); err != nil {
			return err
		}
		sent += int64(len(p.chunk))
		m.progress(sent)
		if p.done {
			return t.await(ctx, acknowledged)
		}
		p.has &^= hasType | hasInfo
		p.index++
		size = ChunkSize
	}
}

// sendRaw sends a message as it is.
func (c *Channel) sendRaw(ctx context.Context, m *Outgoing) error {
	var body []byte
	if m.Body != nil {
		var err error
		if body, err = io.ReadAll(io.LimitReader(m.Body, MaxRaw+1)); err != nil {
			return fmt.Errorf("body: %w", err)
		}
	}
	if len(body) > MaxRaw {
		return fmt.Errorf("%w: more than %d bytes on a channel that is not framed", ErrTooLarge, MaxRaw)
	}
	t := &transfer{c: c, wake: make(chan struct{}, 1), size: len(body)}
	defer t.stop()
	err := t.await(ctx, drained)
	switch {
	case err != nil:
		return err
	case m.Type == Text:
		err = c.config.Pipe.SendText(string(body))
	default:
		err = c.config.Pipe.Send(body)
	}
	if err != nil {
		return c.pipeError(err)
	}
	m.progress(int64(len(body)))
	return nil
}

// pipeError is what a pipe's error means: it takes nothing any more.
func (c *Channel) pipeError(err error) error {
	if cause := c.closedError(); cause != nil {
		return cause
	}
	return fmt.Errorf("%w: %w", ErrClosed, err)
}

package channel

import (
	"context"
	"fmt"
	"time"
)

// transfer is the outgoing message whose turn it is. The goroutine of Send owns
// it; the reading goroutine tells it what the other side replies.
type transfer struct {
	c    *Channel
	id   uint32
	wake chan struct{} // a reply came

	// of the goroutine of Send
	started bool // something is on the wire
	size    int  // of the packet that is to be sent next
	index   uint32
	timer   *time.Timer

	// guarded by Channel.mu
	limited  bool   // the other side told its window
	limit    uint32 // chunks with a lower index have room
	updates  int    // of that
	complete bool   // the last chunk is on its way
	acked    bool
	refused  bool
}

// begin makes the transfer for the next message.
func (c *Channel) begin() *transfer {
	t := &transfer{c: c, wake: make(chan struct{}, 1)}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lastID = c.lastID%maxID + 1
	t.id = c.lastID
	c.out = t
	return t
}

// end takes the transfer back, and tells the other side if it was not finished.
func (t *transfer) end() {
	t.stop()
	c := t.c
	c.mu.Lock()
	c.out = nil
	abort := t.started && !t.acked && !t.refused && c.cause == nil
	c.mu.Unlock()
	if abort {
		c.reply(abortion(t.id))
	}
}

func (t *transfer) stop() {
	if t.timer != nil {
		t.timer.Stop()
	}
}

// send sends a packet when there is room for it; buf is memory for it.
func (t *transfer) send(ctx context.Context, p *packet, buf []byte) error {
	b := p.append(buf)
	t.size, t.index = len(b), p.index
	if err := t.await(ctx, granted); err != nil {
		return err
	}
	if err := t.await(ctx, drained); err != nil {
		return err
	}
	if p.done {
		t.c.mu.Lock()
		t.complete = true
		t.c.mu.Unlock()
	}
	if err := t.c.config.Pipe.Send(b); err != nil {
		return t.c.pipeError(err)
	}
	t.started = true
	return nil
}

// stage is what a transfer waits for.
type stage uint8

const (
	granted      stage = iota // room in the window of the other side
	drained                   // room in the send buffer
	acknowledged              // the acknowledgement
)

// reached reports whether the wait is over.
func (t *transfer) reached(s stage) bool {
	if s == drained {
		return t.c.config.Pipe.Buffered() <= max(sendLow, sendBuffer-t.size)
	}
	t.c.mu.Lock()
	defer t.c.mu.Unlock()
	switch {
	case s == acknowledged:
		return t.acked
	case t.limited:
		return t.index < t.limit
	default:
		return t.index < freeChunks || t.c.plain
	}
}

// ended returns why the transfer cannot go on, if so.
func (t *transfer) ended(ctx context.Context) error {
	t.c.mu.Lock()
	acked, refused, cause := t.acked, t.refused, t.c.cause
	t.c.mu.Unlock()
	switch {
	case acked:
		return nil
	case refused:
		return fmt.Errorf("%w by the other side", ErrAborted)
	case cause != nil:
		return cause
	default:
		return ctx.Err()
	}
}

// patience is how long nothing may move until a stage is reached.
func (t *transfer) patience(s stage) time.Duration {
	if s != granted {
		return askTimeout
	}
	t.c.mu.Lock()
	defer t.c.mu.Unlock()
	if t.limited || t.c.window {
		return 2 * t.c.config.StallTimeout
	}
	return windowTimeout
}

// unlimited takes it that the other side knows no windows, if it never told one.
func (t *transfer) unlimited() bool {
	t.c.mu.Lock()
	defer t.c.mu.Unlock()
	t.c.plain = !t.c.window
	return t.c.plain
}

// await waits for a stage. It gives up when nothing has moved for too long: the
// send buffer for askTimeout, the window of the other side for twice the
// StallTimeout. (The receiver, which knows better, gives up after one.)
func (t *transfer) await(ctx context.Context, s stage) error {
	var since time.Time // when something last moved
	var last int
	for {
		if err := t.ended(ctx); err != nil {
			return err
		}
		if t.reached(s) {
			return nil
		}
		now, mark := time.Now(), t.mark(s)
		if since.IsZero() || mark < last {
			since = now
		}
		last = mark
		patience := t.patience(s) // a window may have become known
		if now.Sub(since) >= patience {
			if s == granted && t.unlimited() {
				return nil
			}
			return t.late(s, patience)
		}
		t.arm(min(lookEvery, patience-now.Sub(since)))
		select {
		case <-ctx.Done():
		case <-t.c.closed:
		case <-t.wake:
		case <-t.c.low:
		case <-t.timer.C:
		}
	}
}

// mark returns a number that falls with each progress: with what is in the send
// buffer, or with each window update.
func (t *transfer) mark(s stage) int {
	if s != granted {
		return t.c.config.Pipe.Buffered()
	}
	t.c.mu.Lock()
	defer t.c.mu.Unlock()
	return -t.updates
}

// arm lets the timer fire after d.
func (t *transfer) arm(d time.Duration) {
	if t.timer == nil {
		t.timer = time.NewTimer(d)
	} else {
		t.timer.Reset(d)
	}
}

// late is the error for a stage that was not reached in time.
func (t *transfer) late(s stage, patience time.Duration) error {
	switch s {
	case granted:
		return fmt.Errorf("%w on the other side for %v", ErrStalled, patience)
	case drained:
		return fmt.Errorf("%w: nothing left the send buffer for %v", ErrTimeout, patience)
	default:
		return fmt.Errorf("%w: no acknowledgement for %v", ErrTimeout, patience)
	}
}

// asked takes a packet with ask, on the reading goroutine: a reply to a message
// of ours, or the end of one of theirs, because Peerix asks even there.
func (c *Channel) asked(p packet) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.abort && !c.window && c.abortedByAsking(p.id) {
		return
	}
	isUpdate := !p.abort && !p.done && p.has&hasIndex != 0
	if isUpdate {
		c.window, c.plain = true, false
	}
	t := c.out
	if t == nil || t.id != p.id {
		return
	}
	switch {
	case p.abort:
		t.refused = true
	case p.done && t.complete:
		t.acked = true
	case isUpdate:
		t.limited, t.limit = true, max(t.limit, p.index)
		t.updates++
	}
	notify(t.wake)
}

// abortedByAsking reports whether an abort with ask is that of a Peerix sender
// for its own message, which then ends. Weft senders do not ask.
func (c *Channel) abortedByAsking(id uint32) bool {
	m := c.incoming[id]
	if m == nil {
		return c.wasGivenUp(id)
	}
	m.fail(errBySender)
	return true
}

package node

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/weft-rtc/weft/mesh/channel"
	"github.com/weft-rtc/weft/mesh/conn"
)

// openPatience is how long Send waits for a channel that is not open yet.
const openPatience = 10 * time.Second

// Outgoing is one message to send. Text, JSON, Bytes and Reader make one; the
// fields may be set after that.
type Outgoing struct {
	Channel string   // label; empty: DefaultChannel
	ID      uint16   // number of a pre-negotiated channel, in place of a label
	To      []string // ids of remote peers; empty: everyone who is connected directly
	Type    channel.Type
	Body    io.Reader
	Size    int64 // of Body in bytes, for Progress; negative if unknown
	Info    any   // goes with the message as JSON, 16 kB at most; nil: none
	// Progress, if not nil, is called after each chunk handed to the connection,
	// with the bytes so far and Size, on a goroutine of Send's for each peer.
	Progress func(peer string, sent, size int64)

	err error // of making it
}

// Text returns a message that receivers get as text.
func Text(s string) Outgoing {
	return Outgoing{Type: channel.Text, Body: bytes.NewReader([]byte(s)), Size: int64(len(s))}
}

// JSON returns a message of v as JSON. An error in that is returned by Send.
func JSON(v any) Outgoing {
	b, err := json.Marshal(v)
	return Outgoing{Type: channel.JSON, Body: bytes.NewReader(b), Size: int64(len(b)), err: err}
}

// Bytes returns a message of bytes. They must not be changed before Send returns.
func Bytes(b []byte) Outgoing {
	return Outgoing{Type: channel.Bytes, Body: bytes.NewReader(b), Size: int64(len(b))}
}

// Reader returns a message of what r yields, of any length, which browsers get
// as a Blob. Size is negative if unknown. Send reads r to its end, once, however
// many receivers there are, and only as fast as the slowest of them takes it.
func Reader(r io.Reader, size int64) Outgoing {
	return Outgoing{Type: channel.Blob, Body: r, Size: size}
}

// SendError says which peer did not get a message, and why.
type SendError struct {
	Peer string
	Err  error
}

// Error implements error.
func (e *SendError) Error() string { return fmt.Sprintf("send to %s: %v", e.Peer, e.Err) }

// Unwrap returns the reason.
func (e *SendError) Unwrap() error { return e.Err }

// Send sends a message and returns when every receiver has confirmed it, or has
// failed, each with a *SendError of its own in the joined error; the others get
// it all the same. On a channel that is not framed (unordered, or with a
// protocol) nothing is confirmed. ctx aborts it, but for a Read of Body that
// blocks: that is waited for, and later messages of the channels with it. A panic
// of Body or Progress is an error of the peers that it concerns.
//
// Without To it goes to everyone who is connected directly and has the channel;
// with nobody there it fails with ErrNobody. A channel that is registered but
// not open yet is waited for, 10 s at most.
func (p *Peer) Send(ctx context.Context, m Outgoing) error {
	if m.err != nil {
		return fmt.Errorf("send: %w", m.err)
	}
	if m.Body == nil {
		m.Body = bytes.NewReader(nil)
	}
	var info json.RawMessage
	if m.Info != nil {
		var err error
		if info, err = json.Marshal(m.Info); err != nil {
			return fmt.Errorf("send: info: %w", err)
		}
	}
	to, failed := p.receivers(m)
	if len(to) == 0 {
		return cmp.Or(errors.Join(failed...), fmt.Errorf("send: %w", ErrNobody))
	}
	bodies := split(ctx, m.Body, len(to))
	var mu sync.Mutex
	var sending sync.WaitGroup
	for i, r := range to {
		sending.Go(func() {
			defer bodies[i].close()
			out := channel.Outgoing{Type: m.Type, Info: info, Body: bodies[i], Size: m.Size}
			if m.Progress != nil {
				out.Progress = func(sent, size int64) { m.Progress(r.id, sent, size) }
			}
			if err := p.sendTo(ctx, r, m.key(), out); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed = append(failed, &SendError{r.id, err})
			}
		})
	}
	sending.Wait()
	return errors.Join(failed...)
}

func (m Outgoing) key() channelKey {
	if m.ID != 0 {
		return channelKey{id: m.ID}
	}
	return channelKey{label: cmp.Or(m.Channel, DefaultChannel)}
}

// receivers returns whom m goes to, and an error for each of whom it cannot.
func (p *Peer) receivers(m Outgoing) (to []*remote, failed []error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(m.To) == 0 {
		for _, r := range p.remotes {
			if r.ready && (r.wishes[m.key()] || r.channel(m.key()) != nil) {
				to = append(to, r)
			}
		}
		return to, nil
	}
	asked := map[string]bool{}
	for _, id := range m.To {
		if asked[id] {
			continue
		}
		asked[id] = true
		if r := p.remotes[id]; r != nil {
			to = append(to, r)
			continue
		}
		failed = append(failed, &SendError{id, p.absence(id)})
	}
	return to, failed
}

// absence says why there is no connection to a peer; p.mu is held.
func (p *Peer) absence(id string) error {
	for _, hub := range p.remotes {
		if hub.behind[id] != nil {
			return ErrBehindHub
		}
	}
	return ErrUnknownPeer
}

// sendTo sends to one peer. A panic of Progress fails that.
func (p *Peer) sendTo(ctx context.Context, r *remote, key channelKey, out channel.Outgoing) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	c, err := r.await(ctx, key)
	if err != nil {
		return err
	}
	return c.messages.Send(ctx, out)
}

// await returns the channel of that key, when there is one. That it is open is
// waited for by its Send.
func (r *remote) await(ctx context.Context, key channelKey) (*Channel, error) {
	timer := time.NewTimer(openPatience)
	defer timer.Stop()
	for {
		r.peer.mu.Lock()
		c, changed, gone := r.channel(key), r.changed, r.state == conn.StateClosed
		wished := r.wishes[key]
		r.peer.mu.Unlock()
		switch {
		case c != nil:
			return c, nil
		case gone:
			return nil, channel.ErrClosed
		case !wished:
			return nil, ErrNoChannel
		}
		select {
		case <-changed:
		case <-timer.C:
			return nil, channel.ErrTimeout
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

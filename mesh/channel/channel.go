package channel

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
)

// Defaults and bounds of a Config.
const (
	// DefaultStallTimeout is how long a reader may stand still while the sender
	// waits for it.
	DefaultStallTimeout = 30 * time.Second
	// DefaultWindow is the receive window of a message in bytes, 64 full packets.
	DefaultWindow = 1 << 20
	// MinWindow is the smallest window in bytes: a sender has up to 256 KiB on
	// their way before it learns how large the window is.
	MinWindow = 512 << 10
	// MaxWindow is the largest window in bytes.
	MaxWindow = 64 << 20
)

// Config describes a channel. Only Pipe is required.
type Config struct {
	// Label is the channel's label, for messages, errors and logs.
	Label string
	// Framed says that messages are framed on this channel: it is ordered and
	// has no protocol.
	Framed bool
	// Pipe carries the packets.
	Pipe Pipe
	// Receive is called when a message begins, on the pipe's reading goroutine,
	// with the content of its first packet already in it. It must not block: it
	// hands the message to whoever reads it, and where too many wait already it
	// calls Message.Abort. A peer may send any number of short messages, which
	// the window does not bound. Nil discards messages; they are acknowledged all
	// the same.
	Receive func(*Message)
	// Open is called once when the channel is open, Closed once when it is
	// closed, with the cause if it did not end by itself; both on the pipe's
	// reading goroutine. They must not block. Nil: nothing is called.
	Open   func()
	Closed func(error)
	// Logger gets what peers do wrong. Nil discards it.
	Logger *slog.Logger
	// StallTimeout is how long a reader that holds up its sender may read
	// nothing. 0 is DefaultStallTimeout. It is 2 s where the sender knows no
	// windows and sends more than there is room for.
	StallTimeout time.Duration
	// Window bounds the bytes of a message that wait for their reader, with 64
	// bytes added for each packet; all unfinished messages of the channel hold at
	// most four windows. 0 is DefaultWindow; others are taken into the range from
	// MinWindow to MaxWindow.
	Window int
}

// Channel sends and receives messages over one pipe. Its methods may be called
// from any goroutine, except those of the pipe's sink (ChannelOpen,
// ChannelMessage, ChannelClosed), which belong to the pipe's reading goroutine.
type Channel struct {
	// set once
	config Config
	log    *slog.Logger
	opened chan struct{} // closed when the channel is open
	closed chan struct{} // closed when it is closed
	low    chan struct{} // the send buffer has become low
	turn   chan struct{} // held by the Send whose message is on its way

	drops    drops
	onOpen   sync.Once
	onClosed sync.Once

	// guarded by mu
	mu       sync.Mutex
	window   bool  // the other side has told a window: it is a Weft
	plain    bool  // it was waited for in vain: it knows no windows
	cause    error // why the channel is closed, nil before
	lastID   uint32
	out      *transfer // of the Send whose turn it is
	incoming map[uint32]*Message
	refused  []uint32 // incoming messages given up here, the last few ids
	begun    uint64   // messages that began, which orders them
	unread   int      // the cost of what the unfinished messages hold
}

// New returns a channel over config.Pipe. It starts nothing; it is to be set as
// the pipe's sink.
func New(config Config) *Channel {
	if config.StallTimeout <= 0 {
		config.StallTimeout = DefaultStallTimeout
	}
	if config.Window == 0 {
		config.Window = DefaultWindow
	}
	config.Window = min(max(config.Window, MinWindow), MaxWindow)
	log := config.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	c := &Channel{
		config:   config,
		log:      log.With("channel", config.Label),
		opened:   make(chan struct{}),
		closed:   make(chan struct{}),
		low:      make(chan struct{}, 1),
		turn:     make(chan struct{}, 1),
		incoming: make(map[uint32]*Message),
	}
	config.Pipe.OnLow(sendLow, func() { notify(c.low) })
	return c
}

// notify wakes whoever waits on a channel of capacity 1, now or later.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Label returns the label of the configuration.
func (c *Channel) Label() string { return c.config.Label }

// Framed reports whether messages are framed: have a type, an info, any length
// and an acknowledgement.
func (c *Channel) Framed() bool { return c.config.Framed }

// Dropped returns how often something was dropped for a reason.
func (c *Channel) Dropped(reason Drop) uint64 {
	if reason >= numDrops {
		return 0
	}
	return c.drops[reason].Load()
}

// ChannelOpen takes it that the pipe is open.
func (c *Channel) ChannelOpen() {
	c.onOpen.Do(func() {
		close(c.opened)
		if c.config.Open != nil {
			c.contain("Open", c.config.Open)
		}
	})
}

// ChannelClosed takes it that the pipe is closed, with the cause or nil. Every
// message that is going on fails with ErrClosed. It is called last.
func (c *Channel) ChannelClosed(err error) {
	c.end(err)
	c.onClosed.Do(func() {
		if c.config.Closed != nil {
			c.contain("Closed", func() { c.config.Closed(err) })
		}
	})
}

// Close fails every message that is going on with ErrClosed, at once, and closes
// the pipe. It does not wait for messages to be complete. Idempotent.
func (c *Channel) Close() error {
	c.end(nil)
	return c.config.Pipe.Close()
}

// end fails everything that is going on.
func (c *Channel) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return
	}
	c.cause = ErrClosed
	if err != nil {
		c.cause = fmt.Errorf("%w: %w", ErrClosed, err)
	}
	close(c.closed)
	for _, m := range c.incoming {
		m.fail(c.cause)
	}
}

// contain calls f and survives a panic in it, which is the application's.
func (c *Channel) contain(name string, f func()) (ok bool) {
	defer func() {
		if r := recover(); r != nil {
			c.log.Error("a function of the application panicked", "function", name, "panic", r, "stack", string(debug.Stack()))
		}
	}()
	f()
	return true
}

// maxReplies bounds what may be unsent when a reply is sent, in bytes. Our own
// messages stay far below; a peer that asks for replies and does not take them
// is not worth memory.
const maxReplies = 1 << 20

// reply sends a packet without content. It does not block.
func (c *Channel) reply(p packet) {
	if c.config.Pipe.Buffered() > maxReplies {
		c.dropped(DropReply, nil)
		return
	}
	if err := c.config.Pipe.Send(p.append(make([]byte, 0, 24))); err != nil {
		c.dropped(DropReply, err)
	}
}

// dropped counts, and logs the first of each kind.
func (c *Channel) dropped(reason Drop, err error) {
	if c.drops.add(reason) {
		c.log.Warn("dropped", "reason", reason.String(), "error", err)
	}
}

// infoOf returns a copy of what a packet has as info, nil if that is not usable.
func (c *Channel) infoOf(p packet) json.RawMessage {
	if p.has&hasInfo == 0 {
		return nil
	}
	if len(p.info) > MaxInfo || !json.Valid(p.info) {
		c.dropped(DropInfo, nil)
		return nil
	}
	return append(json.RawMessage(nil), p.info...)
}

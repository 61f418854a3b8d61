package channel

import (
	"fmt"
	"sync/atomic"
)

// ChunkSize is the content of a full packet in bytes; the first packet of a
// message holds fewer by the length of its info (WIRE 2).
const ChunkSize = 16*1024 - maxHeader

// MaxInfo is the longest info of a message in bytes: at least one byte of the
// first chunk is left for the content.
const MaxInfo = ChunkSize - 1

// MaxRaw is the longest message on an unframed channel in bytes, what browsers
// announce.
const MaxRaw = 256 * 1024

// Type says what the content of a message is. It is an advice to the receiver:
// nothing checks the content against it.
type Type uint32

// The types, with their numbers on the wire.
const (
	Text  Type = iota + 1 // UTF-8
	JSON                  // one JSON value in UTF-8
	Blob                  // bytes that were a Blob or File in a browser
	Bytes                 // any bytes
)

// String returns the lower-case name of the type, or its number.
func (t Type) String() string {
	switch t {
	case Text:
		return "text"
	case JSON:
		return "json"
	case Blob:
		return "blob"
	case Bytes:
		return "bytes"
	default:
		return fmt.Sprintf("type %d", uint32(t))
	}
}

// Pipe is one data channel; a DataChannel of mesh/conn is one. All methods may
// be called from any goroutine.
type Pipe interface {
	// Send and SendText hand a message to the send buffer. They do not block and
	// do not keep b. They fail once the pipe is closed and never take it up again.
	Send(b []byte) error
	SendText(s string) error
	// Buffered returns how many bytes of what was sent are still on their way.
	Buffered() int
	// OnLow sets the function that is called each time Buffered falls to
	// threshold bytes or fewer from above. f does not block.
	OnLow(threshold int, f func())
	// Close closes the pipe. It is idempotent and does not wait.
	Close() error
}

// Drop is a reason for not using something that arrived, or for not sending a
// reply to it.
type Drop uint8

// The drop reasons.
const (
	DropMalformed Drop = iota // a packet that cannot be read
	DropUnknown               // a chunk of no message that is going on
	DropInfo                  // an info that is no JSON or is too long; the message goes on
	DropReply                 // a reply, because the pipe is closed or too much is unsent
	DropPanic                 // a message whose Receive panicked
	numDrops
)

// String returns the name of the reason.
func (d Drop) String() string {
	switch d {
	case DropMalformed:
		return "malformed"
	case DropUnknown:
		return "unknown"
	case DropInfo:
		return "info"
	case DropReply:
		return "reply"
	case DropPanic:
		return "panic"
	default:
		return fmt.Sprintf("drop %d", uint8(d))
	}
}

// drops counts by reason.
type drops [numDrops]atomic.Uint64

// add counts one and reports whether it was the first of its kind.
func (d *drops) add(reason Drop) bool { return d[reason].Add(1) == 1 }

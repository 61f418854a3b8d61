package channel

import "errors"

// Errors that a caller may branch on. They come wrapped, with the channel's
// label and what happened.
var (
	// ErrClosed means that the channel was closed before the message was
	// complete, or that its pipe takes nothing any more.
	ErrClosed = errors.New("channel closed")
	// ErrTimeout means that for 10 s nothing of what was sent left the send
	// buffer, or that no acknowledgement came.
	ErrTimeout = errors.New("timeout")
	// ErrAborted means that the message was given up: by the other side, or here
	// by Message.Abort.
	ErrAborted = errors.New("aborted")
	// ErrStalled means that the reader of the message stopped: here for a
	// Message, on the other side for Send.
	ErrStalled = errors.New("reader stalled")
	// ErrGap means that a chunk of the message is missing.
	ErrGap = errors.New("chunk missing")
	// ErrTooLarge means that a message is longer than was allowed.
	ErrTooLarge = errors.New("too large")
	// ErrTooMany means that a message was given up because the other side began
	// too many others without finishing any.
	ErrTooMany = errors.New("too many unfinished messages")
	// ErrInfo means that the info of a message is no JSON, is longer than
	// MaxInfo, or is given for a channel that carries none.
	ErrInfo = errors.New("invalid info")
)

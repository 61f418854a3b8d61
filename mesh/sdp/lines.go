package sdp

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Bounds of what is read. A Chromium offer of 61 sections has 200 kB, and no
// browser sends a control message above 256 KiB.
const (
	maxDescription = 256 << 10 // bytes
	maxLine        = 8 << 10   // bytes; the longest seen is an fmtp with parameter sets
	maxExtensions  = 64        // for each section
	maxSSRCs       = 64        // for each section
	maxRIDs        = 16        // for each section
	maxFeedback    = 512       // for each section
	maxCandidates  = 128       // for each description
	maxToken       = 256       // bytes of a mid, ufrag, password, stream or track id
)

// ErrTooLarge is wrapped by errors about a description, a line or a list that is
// beyond a bound.
var ErrTooLarge = errors.New("too large")

// Error says where a description is malformed.
type Error struct {
	Line    int    // counted from 1; 0 if it is about a whole section
	Section int    // index of the m-line; -1 before the first
	What    string // what is wrong
	Err     error  // a sentinel such as ErrTooLarge, or nil
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("sdp: ")
	if e.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", e.Line)
	}
	if e.Section >= 0 {
		fmt.Fprintf(&b, "section %d: ", e.Section)
	}
	b.WriteString(e.What)
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

// Unwrap returns the sentinel.
func (e *Error) Unwrap() error { return e.Err }

// quote shortens foreign text for a message.
func quote(s string) string {
	const most = 40
	if len(s) > most {
		return strconv.Quote(s[:most]) + "..."
	}
	return strconv.Quote(s)
}

// isToken reports whether s can stand where RFC 8866 has a token: printable,
// without spaces, and short enough to be repeated in our own descriptions.
func isToken(s string) bool {
	if s == "" || len(s) > maxToken {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// next cuts the first space-separated word from s.
func next(s string) (word, rest string) {
	word, rest, _ = strings.Cut(strings.TrimLeft(s, " "), " ")
	return word, rest
}

// payloadType reads an RTP payload type.
func payloadType(s string) (uint8, bool) {
	n, err := strconv.ParseUint(s, 10, 8)
	return uint8(n), err == nil && n <= 127
}

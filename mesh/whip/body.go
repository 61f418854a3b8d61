package whip

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"time"
)

// Bounds on what a client sends.
const (
	maxSDP      = 128 << 10 // of bytes of a description; a browser's with simulcast has 10,000
	maxFragment = 64 << 10
	maxJSON     = 4 << 10
	// bodyTime is how long a body may take to come in.
	bodyTime = 10 * time.Second
)

// The media types.
const (
	typeSDP      = "application/sdp"
	typeFragment = "application/trickle-ice-sdpfrag"
	typeJSON     = "application/json"
)

// readBody reads a body of one of the types, and returns which.
func (e *Endpoint) readBody(w http.ResponseWriter, r *http.Request, limit int64, types ...string) (body, kind string, err error) {
	kind, _, err = mime.ParseMediaType(r.Header.Get("Content-Type"))
	known := false
	for _, t := range types {
		known = known || err == nil && kind == t
	}
	if !known {
		return "", "", fault(http.StatusUnsupportedMediaType, "Content-Type has to be "+strings.Join(types, " or "))
	}
	// Servers other than net/http's have no deadlines; their bound is their own.
	deadlines := http.NewResponseController(w)
	_ = deadlines.SetReadDeadline(time.Now().Add(e.bodyTime))
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	_ = deadlines.SetReadDeadline(time.Time{})
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return "", "", fault(http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is longer than %d bytes", limit))
	case errors.Is(err, os.ErrDeadlineExceeded):
		w.Header().Set("Connection", "close")
		return "", "", fault(http.StatusRequestTimeout, "the body took longer than "+e.bodyTime.String())
	case err != nil:
		return "", "", fault(http.StatusBadRequest, "the body could not be read")
	}
	return string(b), kind, nil
}

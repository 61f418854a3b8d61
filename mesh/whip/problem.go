package whip

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"
)

// problem is an RFC 9457 problem document.
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
}

func (p *problem) Error() string { return p.Detail }

// fault makes an error that has its status already.
func fault(status int, detail string) error {
	return &problem{http.StatusText(status), status, detail}
}

// statuses are those of a Backend's errors.
var statuses = []struct {
	err    error
	status int
}{
	{ErrMalformed, http.StatusBadRequest},
	{ErrName, http.StatusBadRequest},
	{ErrUnauthorized, http.StatusUnauthorized},
	{ErrForbidden, http.StatusForbidden},
	{ErrNotFound, http.StatusNotFound},
	{ErrNotPublished, http.StatusConflict},
	{ErrConflict, http.StatusConflict},
	{ErrUnacceptable, http.StatusUnprocessableEntity},
	{ErrFull, http.StatusServiceUnavailable},
}

// refuse answers with an error.
func (e *Endpoint) refuse(w http.ResponseWriter, r *http.Request, err error) {
	p, known := asProblem(err)
	h := w.Header()
	switch {
	case !known && r.Context().Err() != nil: // nobody listens
		p = &problem{http.StatusText(http.StatusRequestTimeout), http.StatusRequestTimeout, "the request was given up"}
	case !known:
		e.log.Error("session not begun", "path", r.URL.Path, "error", err)
	case p.Status == http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="weft"`)
	case errors.Is(err, ErrNotPublished):
		h.Set("Retry-After", seconds(retryPublished))
	case p.Status == http.StatusServiceUnavailable:
		h.Set("Retry-After", seconds(retryFull))
	}
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}

// asProblem returns the problem document of an error, and whether it says more
// than that something went wrong here.
func asProblem(err error) (p *problem, known bool) {
	if errors.As(err, &p) {
		return p, true
	}
	for _, s := range statuses {
		if errors.Is(err, s.err) {
			return &problem{http.StatusText(s.status), s.status, err.Error()}, true
		}
	}
	status := http.StatusInternalServerError
	return &problem{http.StatusText(status), status, "the server could not do it"}, false
}

func seconds(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }

package whip

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/weft-rtc/weft/mesh/sdp"
)

// session is one that has begun.
type session struct {
	id     string
	action Action
	room   string

	backend Session // set before the session is entered
	gone    bool    // guarded by Endpoint.mu: it has ended, perhaps before it was entered
	done    chan struct{}

	mu         sync.Mutex // orders PATCH
	counter    bool       // our offer waits for its answer
	generation int        // of ICE
}

// tag is the ETag of the present ICE generation.
func (s *session) tag() string {
	return `"` + s.id[:8] + "-" + strconv.Itoa(s.generation) + `"`
}

// maxEnded bounds the ids that are remembered, so that a second DELETE is none of
// something unknown.
const maxEnded = 1024

// reserve makes a session, if there is room for one.
func (e *Endpoint) reserve(t target) (*session, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.sessions)+e.reserved >= e.cfg.MaxSessions {
		return nil, fault(http.StatusServiceUnavailable, "there are as many sessions as this server takes")
	}
	e.reserved++
	return &session{id: rand.Text(), action: t.action, room: t.room, done: make(chan struct{})}, nil
}

// release gives up what reserve took.
func (e *Endpoint) release() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.reserved--
}

// enter makes a session known.
func (e *Endpoint) enter(s *session) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !s.gone {
		e.sessions[s.id] = s
	}
}

// forget takes it that a session has ended.
func (e *Endpoint) forget(s *session) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s.gone {
		return
	}
	s.gone = true
	close(s.done)
	delete(e.sessions, s.id)
	e.ended[s.id] = struct{}{}
	if e.order = append(e.order, s.id); len(e.order) > maxEnded {
		delete(e.ended, e.order[0])
		e.order = e.order[1:]
	}
}

// find returns the session of a path, nil if there is none; ended says that it has
// ended.
func (e *Endpoint) find(t target) (s *session, ended bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s = e.sessions[t.session]
	if s != nil && (s.action != t.action || !t.api && s.room != t.room) {
		return nil, false
	}
	_, ended = e.ended[t.session]
	return s, ended
}

func (e *Endpoint) serveSession(w http.ResponseWriter, r *http.Request, t target) {
	s, ended := e.find(t)
	if s == nil {
		if ended && r.Method == http.MethodDelete && t.extension == "" {
			w.WriteHeader(http.StatusOK)
			return
		}
		e.refuse(w, r, fault(http.StatusNotFound, "there is no such session, or it has ended"))
		return
	}
	var err error
	switch {
	case t.extension == "events" && (r.Method == http.MethodGet || r.Method == http.MethodPost):
		err = e.events(w, r, s)
	case t.extension == "layer" && r.Method == http.MethodPost:
		err = e.choose(w, r, s)
	case t.extension != "":
		e.notAllowed(w, r, t)
	case r.Method == http.MethodPatch:
		err = e.patch(w, r, s)
	case r.Method == http.MethodDelete:
		s.backend.End()
		e.forget(s)
		w.WriteHeader(http.StatusOK)
	case r.Method == http.MethodGet, r.Method == http.MethodHead:
		w.WriteHeader(http.StatusNoContent)
	default:
		e.notAllowed(w, r, t)
	}
	if err != nil {
		e.refuse(w, r, err)
	}
}

// patch takes candidates, an ICE restart, or the answer to a counter-offer.
func (e *Endpoint) patch(w http.ResponseWriter, r *http.Request, s *session) error {
	w.Header().Set("Accept-Patch", typeFragment)
	types := []string{typeFragment}
	if s.action == Play {
		types = append(types, typeSDP)
	}
	body, kind, err := e.readBody(w, r, maxSDP, types...)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if kind == typeSDP {
		return s.accept(r.Context(), w, body)
	}
	if len(body) > maxFragment {
		return fault(http.StatusRequestEntityTooLarge, "the fragment is too long")
	}
	if err := s.precondition(r); err != nil {
		return err
	}
	f, err := sdp.ReadFragment(body)
	if err != nil {
		return fault(http.StatusBadRequest, err.Error())
	}
	ours, err := s.backend.Fragment(r.Context(), f)
	if err != nil {
		return err
	}
	if ours.Ufrag == "" {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	s.generation++
	w.Header().Set("ETag", s.tag())
	w.Header().Set("Content-Type", typeFragment)
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write([]byte(ours.String()))
	return nil
}

// precondition checks If-Match (RFC 9725 section 4.3): which generation of ICE a
// fragment is about has to be said. s.mu is held.
func (s *session) precondition(r *http.Request) error {
	match := r.Header.Values("If-Match")
	if len(match) == 0 {
		return fault(http.StatusPreconditionRequired, "If-Match has to name the ETag of the session, or *")
	}
	for _, list := range match {
		for tag := range strings.SplitSeq(list, ",") {
			if tag = strings.TrimSpace(tag); tag == "*" || tag == s.tag() {
				return nil
			}
		}
	}
	return fault(http.StatusPreconditionFailed, "ICE has been restarted since; the ETag is another")
}

// accept takes the answer to our offer. s.mu is held.
func (s *session) accept(ctx context.Context, w http.ResponseWriter, answer string) error {
	p, ok := s.backend.(Player)
	if !ok || !s.counter {
		return fault(http.StatusUnprocessableEntity, "no offer waits for an answer")
	}
	if err := p.Accept(ctx, answer); err != nil {
		if errors.Is(err, ErrMalformed) || errors.Is(err, ErrUnacceptable) {
			return err
		}
		return errors.Join(ErrUnacceptable, err)
	}
	s.counter = false
	w.WriteHeader(http.StatusNoContent)
	return nil
}

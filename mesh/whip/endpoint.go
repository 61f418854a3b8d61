package whip

import (
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"
)

// Config says what an Endpoint serves. Only Backend is needed.
type Config struct {
	Backend Backend
	// Access is asked before anything of a request's body is read: whether its
	// sender may do that. An error that wraps ErrUnauthorized or ErrForbidden is the
	// answer. Nil lets everybody in.
	Access func(r *http.Request, action Action, room, stream string) error
	// Key makes a room and a stream of the bearer token of /api/whip and /api/whep.
	// Nil takes it as "room" or "room/stream".
	Key func(token string) (room, stream string)
	// Origin reports whether pages of a request's origin may use it, and sets
	// Access-Control-Allow-Origin if so. Nil lets no page of another origin in.
	Origin func(w http.ResponseWriter, r *http.Request) bool
	// ICEServers are told to clients by Link headers.
	ICEServers []webrtc.ICEServer
	// MaxSessions bounds the sessions at a time; 0 is 1000.
	MaxSessions int
	// Logger gets what went wrong here; nil discards.
	Logger *slog.Logger
}

const defaultMaxSessions = 1000

// Endpoint serves WHIP and WHEP:
//
//	/whip/{room}[/{stream}]  /whep/{room}[/{stream}]   endpoints
//	/api/whip  /api/whep                               likewise, the token names the stream
//	…/{session}                                        what Location says
type Endpoint struct {
	cfg   Config
	log   *slog.Logger
	links []string // of ICE servers

	bodyTime time.Duration

	mu       sync.Mutex
	sessions map[string]*session
	reserved int                 // sessions that are about to be
	ended    map[string]struct{} // the last ones that ended
	order    []string            // the same, oldest first
}

// New makes an Endpoint.
func New(cfg Config) *Endpoint {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.MaxSessions <= 0 {
		cfg.MaxSessions = defaultMaxSessions
	}
	if cfg.Key == nil {
		cfg.Key = func(token string) (room, stream string) {
			room, stream, _ = strings.Cut(token, "/")
			return room, stream
		}
	}
	return &Endpoint{
		cfg: cfg, log: cfg.Logger, links: iceLinks(cfg.ICEServers), bodyTime: bodyTime,
		sessions: map[string]*session{}, ended: map[string]struct{}{},
	}
}

// Sessions returns how many there are.
func (e *Endpoint) Sessions() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.sessions) + e.reserved
}

// ServeHTTP serves one request.
func (e *Endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t, ok := parseTarget(r.URL.EscapedPath())
	allowed := r.Header.Get("Origin") == "" || e.cfg.Origin != nil && e.cfg.Origin(w, r)
	expose(w.Header())
	switch {
	case !ok:
		e.refuse(w, r, fault(http.StatusNotFound, "there is nothing at this path"))
	case !allowed:
		e.refuse(w, r, fault(http.StatusForbidden, "this request comes from another site's page"))
	case r.Method == http.MethodOptions:
		e.options(w, t)
	case t.session != "":
		e.serveSession(w, r, t)
	default:
		e.serveEndpoint(w, r, t)
	}
}

// serveEndpoint takes offers.
func (e *Endpoint) serveEndpoint(w http.ResponseWriter, r *http.Request, t target) {
	switch r.Method {
	case http.MethodPost:
		if err := e.begin(w, r, t); err != nil {
			e.refuse(w, r, err)
		}
	case http.MethodHead:
		if t.action == Play { // by which players find out what it is
			w.Header().Set("Content-Type", typeSDP)
		}
		w.WriteHeader(http.StatusOK)
	case http.MethodGet:
		w.WriteHeader(http.StatusNoContent)
	default:
		e.notAllowed(w, r, t)
	}
}

// begin makes a session of an offer.
func (e *Endpoint) begin(w http.ResponseWriter, r *http.Request, t target) error {
	if t.api {
		token, ok := bearer(r)
		if !ok {
			return fault(http.StatusUnauthorized, "Authorization: Bearer has to name the stream")
		}
		t.room, t.stream = e.cfg.Key(token)
	}
	if stream := r.URL.Query().Get("stream"); stream != "" && t.stream == "" {
		t.stream = stream
	}
	if e.cfg.Access != nil {
		if err := e.cfg.Access(r, t.action, t.room, t.stream); err != nil {
			return err
		}
	}
	w.Header().Set("Accept-Post", typeSDP)
	offer, _, err := e.readBody(w, r, maxSDP, typeSDP)
	if err != nil {
		return err
	}
	s, err := e.reserve(t)
	if err != nil {
		return err
	}
	defer e.release()
	var answer Answer
	s.backend, answer, err = e.cfg.Backend.Begin(r.Context(), Offer{
		Action: t.action, Room: t.room, Stream: t.stream, Query: r.URL.Query(),
		SDP: offer, Near: localAddr(r), Ended: func() { e.forget(s) },
	})
	if err != nil {
		return err
	}
	s.counter = answer.Counter
	e.enter(s)
	e.begun(w, t, s, answer)
	return nil
}

// begun answers that a session has begun.
func (e *Endpoint) begun(w http.ResponseWriter, t target, s *session, answer Answer) {
	h := w.Header()
	location := t.location(s.id)
	h.Set("Location", location)
	h.Set("ETag", s.tag())
	h.Set("Accept-Patch", typeFragment)
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", typeSDP)
	for _, link := range e.links {
		h.Add("Link", link)
	}
	if _, ok := s.backend.(Player); ok {
		h.Add("Link", "<"+location+"/events>; rel=\""+relEvents+"\"; events=\""+strings.Join(eventNames, ",")+"\"")
		h.Add("Link", "<"+location+"/layer>; rel=\""+relLayer+"\"")
	}
	status := http.StatusCreated
	if answer.Counter {
		status = http.StatusNotAcceptable
	}
	w.WriteHeader(status)
	_, _ = w.Write([]byte(answer.SDP))
}

// bearer returns the token of a request (RFC 6750 section 2.1).
func bearer(r *http.Request) (token string, ok bool) {
	kind, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	return token, strings.EqualFold(kind, "Bearer") && token != ""
}

// localAddr returns the address of ours that a request came to.
func localAddr(r *http.Request) netip.Addr {
	a, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return netip.Addr{}
	}
	p, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	return p.Addr().Unmap()
}

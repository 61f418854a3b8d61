package serve

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/weft-rtc/weft/node/serve/access"
)

// handler routes one request. Everything but the page is JSON or a stream.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /", s.page)
	mux.HandleFunc("GET /r/{room}", s.roomPage)
	mux.HandleFunc("GET /config.json", s.config)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, "ok\n")
	})
	if s.bridge != nil {
		mux.Handle("GET /nats", s.bridge)
	}
	if s.mqtt != nil {
		mux.Handle("GET /mqtt", s.mqtt)
	}
	if s.mercure != nil {
		for _, method := range []string{"GET ", "POST ", "OPTIONS "} {
			mux.Handle(method+mercurePath, s.mercure)
		}
	}
	mux.HandleFunc("GET /api/v1/rooms", s.listRooms)
	mux.HandleFunc("GET /api/v1/rooms/{room}", s.showRoom)
	mux.HandleFunc("POST /api/v1/rooms/{room}", s.enterRoom)
	mux.HandleFunc("POST /api/v1/rooms/{room}/admission", s.admit)
	mux.HandleFunc("POST /api/v1/rooms/{room}/verify", s.verify)
	mux.HandleFunc("GET /api/v1/refused", s.showRefused)
	mux.HandleFunc("OPTIONS /api/v1/", preflight)
	mux.HandleFunc("OPTIONS /config.json", preflight)
	mux.HandleFunc("GET /api/v1/qr", serveQR)
	mux.HandleFunc("POST /api/v1/qr", serveQR)

	s.mountWHIP(mux)

	cross := http.NewCrossOriginProtection()
	cross.AddInsecureBypassPattern(mercurePath) // it checks origins itself, as /nats does
	cross.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		writeProblem(w, http.StatusForbidden, "this request comes from another site's page; name its origin with --allow-origin")
	}))
	return s.guard(share(newOrigins(s.cfg.AllowOrigins), mux, cross.Handler(mux)))
}

// share lets pages of allowed origins use the API and read its answers. All
// other requests go to protected.
func share(allowed origins, open, protected http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isWHIP(r.URL.Path) { // it checks origins itself
			open.ServeHTTP(w, r)
			return
		}
		api := strings.HasPrefix(r.URL.Path, "/api/") || r.URL.Path == "/config.json"
		if api && allowed.tell(w, r) && r.Header.Get("Origin") != "" {
			open.ServeHTTP(w, r)
			return
		}
		protected.ServeHTTP(w, r)
	})
}

// guard sets what every answer carries and refuses foreign host names.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		if !s.rates.allow(clientOf(r.RemoteAddr), time.Now()) {
			refuse(w, s.gate.Refused.Count(&access.Error{Reason: access.ReasonRate, Detail: "too many requests from one address"}))
			return
		}
		if !s.hostAllowed(r.Host) {
			writeProblem(w, http.StatusForbidden,
				fmt.Sprintf("this server does not answer to the name %q; name it with --allow-origin", r.Host))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// problem is an RFC 9457 problem document.
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
}

func writeProblem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(problem{http.StatusText(status), status, detail})
}

// refuse answers with an error of package access, or of the bus.
func refuse(w http.ResponseWriter, err error) {
	status := access.StatusOf(err)
	var refusal *access.Error
	switch {
	case !errors.As(err, &refusal):
		status = http.StatusServiceUnavailable
	case status == http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="weft"`) // RFC 6750 section 3
	}
	if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "5")
	}
	writeProblem(w, status, err.Error())
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(v)
}

// roomName reads and checks {room}; false means that the answer is written.
func roomName(w http.ResponseWriter, r *http.Request) (string, bool) {
	name := r.PathValue("room")
	if err := validRoom(name); err != nil {
		writeProblem(w, http.StatusBadRequest, err.Error())
		return "", false
	}
	return name, true
}

func (s *Server) roomPage(w http.ResponseWriter, r *http.Request) {
	if _, ok := roomName(w, r); ok {
		s.page.document(w, r)
	}
}

// preflight answers for pages of other origins; share has said which of them may.
func preflight(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Methods", "GET, POST")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
	h.Set("Access-Control-Max-Age", mercurePreflightTime)
	w.WriteHeader(http.StatusNoContent)
}

// showRefused tells how many were turned away, by reason.
func (s *Server) showRefused(w http.ResponseWriter, r *http.Request) {
	if _, err := s.gate.Rooms(r.Context(), access.Query{Token: access.TokenOf(r), Address: r.RemoteAddr}); err != nil {
		refuse(w, err)
		return
	}
	all := s.gate.Refused.Snapshot()
	if s.rooms != nil {
		for _, entry := range s.rooms.list() {
			if h, ok := entry.hub.(*hub); ok {
				now := h.Stats().Refused
				all[access.ReasonTracks.String()] += now.Tracks
				all[access.ReasonBitrate.String()] += now.Bitrate
			}
		}
	}
	writeJSON(w, all)
}

// clientConfig is /config.json: how a page reaches signaling and ICE servers, in
// the shape that Peerix Talk reads, and whether rooms have a hub. Driver is
// empty and Signaling null where browsers cannot reach the broker.
type clientConfig struct {
	Driver     string             `json:"driver"`
	Signaling  *signalingConfig   `json:"signaling"`
	ICEServers []webrtc.ICEServer `json:"iceServers"`
	Hub        bool               `json:"hub"`
	// Access is "token" where a token is needed; ICE servers are then told only
	// to who has one.
	Access string `json:"access"`
}

type signalingConfig struct {
	Driver  string        `json:"driver"`
	Options signalOptions `json:"options"`
}

type signalOptions struct {
	Servers []string `json:"servers"`
	Prefix  string   `json:"prefix,omitempty"`
}

func (s *Server) config(w http.ResponseWriter, r *http.Request) {
	scheme := "ws"
	// A proxy that ends TLS says so; the answer concerns only who asked.
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		scheme = "wss"
	}
	servers, as := s.cfg.ICEServers, "open"
	if !s.gate.Open() {
		as = "token"
		if servers != nil && !s.known(r) {
			servers = nil
		}
	}
	if servers == nil {
		servers = []webrtc.ICEServer{}
	}
	config := clientConfig{Signaling: s.signalingConfig(scheme + "://" + r.Host), ICEServers: servers, Hub: s.rooms != nil, Access: as}
	if config.Signaling != nil {
		config.Driver = config.Signaling.Driver
	}
	writeJSON(w, config)
}

// known reports whether a request has a token for ?room=, or for any room.
func (s *Server) known(r *http.Request) bool {
	q := access.Query{Action: access.List, Token: access.TokenOf(r), Address: r.RemoteAddr}
	if room := r.URL.Query().Get("room"); room != "" {
		q.Action, q.Room = access.Join, room
	}
	_, err := s.gate.Check(r.Context(), q)
	return err == nil
}

// roomInfo describes one room of the API.
type roomInfo struct {
	Room  string   `json:"room"`
	Hub   bool     `json:"hub"`
	ID    string   `json:"id,omitempty"` // the hub's peer id
	Peers []Remote `json:"peers,omitempty"`
}

func (s *Server) listRooms(w http.ResponseWriter, r *http.Request) {
	visible, err := s.gate.Rooms(r.Context(), access.Query{Token: access.TokenOf(r), Address: r.RemoteAddr})
	if err != nil {
		refuse(w, err)
		return
	}
	out := struct {
		Rooms []roomInfo `json:"rooms"`
	}{[]roomInfo{}}
	if s.rooms != nil {
		for _, entry := range s.rooms.list() {
			if !visible(entry.name) {
				continue
			}
			out.Rooms = append(out.Rooms, entry.info())
		}
	}
	writeJSON(w, out)
}

func (s *Server) showRoom(w http.ResponseWriter, r *http.Request) {
	name, _, ok := s.allow(w, r, access.Join, "")
	if !ok {
		return
	}
	if s.rooms != nil {
		if entry := s.rooms.get(name); entry != nil {
			writeJSON(w, entry.info())
			return
		}
	}
	writeProblem(w, http.StatusNotFound, fmt.Sprintf("the hub is not in room %q; POST here makes it enter", name))
}

// info describes an entry whose join has succeeded.
func (r *room) info() roomInfo {
	return roomInfo{Room: r.name, Hub: true, ID: r.hub.ID(), Peers: r.hub.Remotes()}
}

func (s *Server) enterRoom(w http.ResponseWriter, r *http.Request) {
	name, _, ok := s.allow(w, r, access.Join, "")
	if !ok {
		return
	}
	if s.rooms == nil {
		writeJSON(w, roomInfo{Room: name})
		return
	}
	if s.full(name) {
		refuse(w, s.gate.Refused.Count(errRoomFull))
		return
	}
	id, err := s.rooms.enter(r.Context(), name, false, time.Now())
	switch {
	case errors.Is(err, errRoomsFull), errors.Is(err, errRoomsClosed):
		writeProblem(w, http.StatusServiceUnavailable, err.Error())
	case err != nil:
		writeProblem(w, http.StatusInternalServerError, err.Error())
	default:
		writeJSON(w, roomInfo{Room: name, Hub: true, ID: id})
	}
}

func serveQR(w http.ResponseWriter, r *http.Request) {
	text := r.URL.Query().Get("text")
	if r.Method == http.MethodPost { // a link with a token does not belong into a query
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, qrMaxText+1))
		if err != nil {
			writeProblem(w, http.StatusRequestEntityTooLarge, "the text is too long")
			return
		}
		text = string(body)
	}
	svg, err := qrSVG(text)
	if err != nil {
		writeProblem(w, http.StatusBadRequest, "?text= "+err.Error())
		return
	}
	w.Header().Set("Content-Type", "image/svg+xml")
	w.Header().Set("Cache-Control", "private, max-age=86400")
	_, _ = w.Write(svg)
}

// Package serve is the importable server around node.Peer: one HTTP port that
// carries the page, a JSON API and the embedded signaling, and one hub peer for
// each room that somebody asked for.
//
// It stands beside the media's way: packets go from a connection (mesh/conn)
// through node to other connections and never touch this package. Its own
// goroutines are the HTTP server's, the bridge's (bridge.go) and the sweep over
// empty rooms (rooms.go). It is the only package that links nats-server; an
// embedder who brings a bus uses node and does not pay for it.
//
// Who may use it decides an access.Gate: by tokens, by a webhook, or, on loopback
// and with Config.Open, not at all. It has no accounts of people.
package serve

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/weft-rtc/weft/mesh/whip"
	"github.com/weft-rtc/weft/node/serve/access"
)

// Defaults of Config.
const (
	DefaultListen   = "127.0.0.1:8080"
	DefaultUDPPort  = 7882
	DefaultMaxRooms = 1000
	DefaultMaxPeers = 500
	// DefaultMaxTracks is a camera and a screen with sound, and as much again
	// seven times.
	DefaultMaxTracks  = 32
	DefaultMaxBitrate = 50_000_000
	// DefaultRequests lets a page and all its files in some ten times a second.
	DefaultRequests = 300
)

const (
	headerTimeout   = 10 * time.Second
	readTimeout     = 30 * time.Second // for a request with its body; websockets and event streams have rules of their own
	writeTimeout    = time.Minute      // for its answer, the page's largest file is of some 20 kB
	idleTimeout     = 2 * time.Minute
	shutdownTimeout = 5 * time.Second // for requests in flight
	maxHeaderBytes  = 32 << 10
	pingEvery       = 30 * time.Second // of silence, on HTTP/2: event streams would keep a dead connection
	pingTimeout     = 15 * time.Second
)

// Config says what to serve. The zero value serves loopback with a hub.
type Config struct {
	// Listen is the HTTP address, host:port, default DefaultListen; port 0 is
	// any free port. A host other than loopback needs Open and is served as TLS.
	Listen string
	// UDP is the media address, host:port. The default is port 7882, on
	// 127.0.0.1 when Listen is loopback and on all interfaces otherwise; port 0
	// is any free port.
	UDP string
	// Open lets anybody who reaches a non-loopback address in.
	Open bool
	// Tokens are the keys by which tokens are checked; everybody then needs one,
	// on loopback as well. Not to be given together with Open or AuthWebhook.
	Tokens *access.Keys
	// AuthWebhook is the address of an application that is asked who may do what,
	// as access.Webhook does. Not to be given together with Open or Tokens.
	AuthWebhook access.Secret
	// TLSCert and TLSKey are PEM files, both or neither. Without them a
	// non-loopback address gets a self-signed certificate; with them loopback
	// speaks TLS as well.
	TLSCert, TLSKey string
	// Rooms are entered at start and never left.
	Rooms []string
	// NoHub serves signaling and page only: rooms are then meshes.
	NoHub bool
	// MaxRooms bounds the rooms that the hub is in, and those that are kept apart
	// on the embedded signaling; default DefaultMaxRooms.
	MaxRooms int
	// MaxPeers bounds the peers that the hub is connected to in one room, default
	// DefaultMaxPeers.
	MaxPeers int
	// MaxTracks bounds the tracks that the hub takes of one peer, default
	// DefaultMaxTracks.
	MaxTracks int
	// MaxBitrate bounds each of them, all its layers together, in bits a second;
	// what is more is dropped. Default DefaultMaxBitrate.
	MaxBitrate int64
	// MaxRequests bounds the HTTP requests of one address a second, and at once.
	// Loopback, where a proxy may be, is not counted. Default DefaultRequests.
	MaxRequests int
	// ICETCP is the address of ICE-TCP, host:port, for those whom no UDP reaches;
	// empty for none.
	ICETCP string
	// PublicIPs are addresses by which this machine is reached without having
	// them: behind a NAT that maps them one to one.
	PublicIPs []string
	// Signal is the URL of a broker that is used in place of the embedded bus, as
	// package mesh/driver/dial takes it; default SignalEmbedded. The routes of
	// signaling are then not served. Pages can reach it only if it is NATS over
	// WebSocket (ws://, wss://) and the URL has neither user nor query: those
	// are for the hub alone.
	Signal string
	// SignalPrefix is what that broker's users put in front of each namespace.
	SignalPrefix string
	// MQTT serves MQTT 3.1.1 over WebSocket at /mqtt beside NATS at /nats, in the
	// same rooms. It needs a store of at most 64 MiB in the directory for
	// temporary files while Run runs, and a TCP port of 127.0.0.1 that only this
	// server can use.
	MQTT bool
	// AllowOrigins are further origins, scheme://host[:port], whose pages may use
	// signaling and API, and whose hosts a reverse proxy may ask for.
	AllowOrigins []string
	// FrameAncestors are the sources that may show the page in a frame, as in
	// Content-Security-Policy; default nobody.
	FrameAncestors []string
	// ICEServers are given to the page, and used by the hub.
	ICEServers []webrtc.ICEServer
	// Ready is called once, on Run's goroutine, when everything is up.
	Ready func(Info)
	// Logger gets what people should know; nil discards.
	Logger *slog.Logger
}

// Info says where a running server is reached. It is what the command prints.
type Info struct {
	Ready  bool     `json:"ready"`
	URL    string   `json:"url"`             // the page
	URLs   []string `json:"urls"`            // the same by every address of this machine
	Signal string   `json:"signal"`          // for weft publish --signal: NATS over WebSocket, or the broker without user and query
	MQTT   string   `json:"mqtt,omitempty"`  // MQTT over WebSocket
	WHIP   string   `json:"whip,omitempty"`  // in front of a room's name: where OBS and others publish
	WHEP   string   `json:"whep,omitempty"`  // likewise: where players watch
	UDP    []string `json:"udp,omitempty"`   // media addresses of the hub
	TCP    []string `json:"tcp,omitempty"`   // the same by ICE-TCP
	Hub    bool     `json:"hub"`             // whether rooms get a hub
	Rooms  []string `json:"rooms,omitempty"` // entered at start
	// CertSHA256 is the fingerprint of the certificate in hexadecimal digits.
	CertSHA256 string `json:"cert_sha256,omitempty"`
}

// Server is one server. Make it with New; Run may be called once.
type Server struct {
	cfg     Config
	listen  address
	udp     address
	tcp     address // of ICE-TCP
	public  []netip.Addr
	rates   *rates
	broker  broker
	page    *page
	cert    *tls.Certificate // nil: plain HTTP
	log     *slog.Logger
	started atomic.Bool
	gate    *access.Gate
	admits  *access.Admissions
	hook    *access.Webhook // nil without

	// nil with a broker
	bridge  *bridge
	mqtt    *bridge // nil without MQTT as well
	mercure *mercure

	rooms *rooms         // nil without a hub
	whip  *whip.Endpoint // likewise
}

// New validates the configuration, reads the certificate and starts nothing.
func New(cfg Config) (*Server, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Listen == "" {
		cfg.Listen = DefaultListen
	}
	cfg.MaxRooms = cmp.Or(cfg.MaxRooms, DefaultMaxRooms)
	cfg.MaxPeers = cmp.Or(cfg.MaxPeers, DefaultMaxPeers)
	cfg.MaxTracks = cmp.Or(cfg.MaxTracks, DefaultMaxTracks)
	cfg.MaxBitrate = cmp.Or(cfg.MaxBitrate, DefaultMaxBitrate)
	cfg.MaxRequests = cmp.Or(cfg.MaxRequests, DefaultRequests)
	s := &Server{cfg: cfg, log: cfg.Logger, rates: newRates(cfg.MaxRequests)}
	var err error
	if s.listen, err = parseAddress("--listen", cfg.Listen); err != nil {
		return nil, err
	}
	if s.udp, err = mediaAddress(cfg.UDP, s.listen); err != nil {
		return nil, err
	}
	if cfg.ICETCP != "" {
		if s.tcp, err = parseAddress("--ice-tcp", cfg.ICETCP); err != nil {
			return nil, err
		}
		if _, err := s.tcp.addrPort(); err != nil {
			return nil, fmt.Errorf("serve: --ice-tcp %q: want an IP address and a port, for example 127.0.0.1:7881 or :7881", cfg.ICETCP)
		}
	}
	for _, text := range cfg.PublicIPs {
		ip, err := netip.ParseAddr(text)
		if err != nil || ip.IsUnspecified() || ip.Zone() != "" {
			return nil, fmt.Errorf("serve: --public-ip %q is no IP address", text)
		}
		s.public = append(s.public, ip.Unmap())
	}
	if s.broker, err = parseBroker(cfg.Signal, cfg.SignalPrefix); err != nil {
		return nil, err
	}
	if err := s.validate(); err != nil {
		return nil, err
	}
	if err := s.makeGate(); err != nil {
		return nil, err
	}
	root, err := fs.Sub(web, "web")
	if err != nil {
		return nil, fmt.Errorf("serve: page: %w", err)
	}
	if s.page, err = newPage(root, cfg.FrameAncestors); err != nil {
		return nil, err
	}
	if !s.listen.loopback || cfg.TLSCert != "" {
		cert, err := certificate(cfg.TLSCert, cfg.TLSKey, s.listen.host, time.Now())
		if err != nil {
			return nil, err
		}
		s.cert = &cert
	}
	return s, nil
}

func (s *Server) validate() error {
	cfg := s.cfg
	switch {
	case cfg.Tokens != nil && !cfg.AuthWebhook.Empty():
		return errors.New("serve: either tokens or --auth-webhook decide who is let in, not both")
	case cfg.Open && s.guarded():
		return errors.New("serve: --open lets everybody in, which tokens and --auth-webhook are there to prevent")
	case !s.listen.loopback && !cfg.Open && !s.guarded():
		return fmt.Errorf("serve: --listen %s is reachable by others and there are no tokens to keep strangers out: "+
			"name a key with --token-key-file (weft token --new-key makes one), add --open to let everybody in, or listen on loopback", cfg.Listen)
	case (cfg.TLSCert == "") != (cfg.TLSKey == ""):
		return errors.New("serve: --tls-cert and --tls-key go together; one of them is missing")
	case cfg.MQTT && !s.broker.embedded():
		return errors.New("serve: --mqtt is a way into the embedded signaling, which --signal replaces")
	case cfg.MaxRooms < 0:
		return fmt.Errorf("serve: --max-rooms %d is below 1", cfg.MaxRooms)
	case cfg.MaxPeers < 0, cfg.MaxTracks < 0, cfg.MaxBitrate < 0, cfg.MaxRequests < 0:
		return errors.New("serve: --max-peers, --max-tracks, --max-bitrate and --max-requests are above 0")
	case cfg.NoHub && len(cfg.Rooms) > 0:
		return errors.New("serve: --room needs the hub that --no-hub switches off")
	case len(cfg.Rooms) > cfg.MaxRooms:
		return fmt.Errorf("serve: %d rooms by --room are more than --max-rooms %d", len(cfg.Rooms), cfg.MaxRooms)
	}
	for _, name := range cfg.Rooms {
		if err := validRoom(name); err != nil {
			return fmt.Errorf("serve: --room: %w", err)
		}
	}
	for _, origin := range cfg.AllowOrigins {
		if err := validOrigin(origin); err != nil {
			return fmt.Errorf("serve: --allow-origin: %w", err)
		}
	}
	return nil
}

// guarded reports whether somebody decides who is let in.
func (s *Server) guarded() bool { return s.cfg.Tokens != nil || !s.cfg.AuthWebhook.Empty() }

// makeGate makes what decides it.
func (s *Server) makeGate() (err error) {
	s.gate = access.NewOpenGate()
	switch {
	case s.cfg.Tokens != nil:
		s.gate = access.NewTokenGate(s.cfg.Tokens)
	case s.guarded():
		if s.hook, err = access.NewWebhook(s.cfg.AuthWebhook.Reveal()); err != nil {
			return fmt.Errorf("serve: --auth-webhook: %w", err)
		}
		s.gate = access.NewHookGate(s.hook)
	}
	s.admits, err = access.NewAdmissions(s.cfg.Tokens)
	return err
}

// Run serves until ctx ends, then lets the hub say goodbye, closes what is open
// and returns nil. It blocks; it returns an error when a port is in use or a
// pinned room could not be entered. Call it once.
func (s *Server) Run(ctx context.Context) error {
	if s.started.Swap(true) {
		return errors.New("serve: Run was called twice")
	}
	listener, err := net.Listen("tcp", s.listen.String())
	if err != nil {
		return listenError("--listen", s.listen, err)
	}
	defer listener.Close()
	if s.hook != nil {
		defer s.hook.Close()
	}
	newDriver, info := s.broker.newDriver, s.info(listener.Addr())
	if s.broker.embedded() {
		bus, err := s.newBus()
		if err != nil {
			return err
		}
		defer bus.Close()
		newDriver = bus.newDriver
		s.openBus(bus)
		defer s.closeBus()
	}
	if !s.cfg.NoHub {
		media, err := newMedia(s)
		if err != nil {
			return err
		}
		defer media.Close()
		info.UDP, info.TCP = media.addresses(), media.tcpAddresses()
		s.rooms = newRooms(s.cfg.MaxRooms, s.log, media.hubs(newDriver, s.keeper))
		defer s.rooms.close()
	}
	return s.serve(ctx, listener, info)
}

// serve runs HTTP and the sweep over empty rooms until ctx ends or HTTP fails.
func (s *Server) serve(ctx context.Context, listener net.Listener, info Info) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := s.enterPinned(ctx); err != nil {
		return err
	}
	h := newHTTP(s, listener)
	var wg sync.WaitGroup
	defer wg.Wait()
	failed := make(chan error, 2) // one for each http.Server
	h.start(&wg, failed)
	if s.rooms != nil {
		wg.Go(func() { s.rooms.run(ctx) })
	}
	if s.cfg.Ready != nil {
		s.cfg.Ready(info)
	}
	var err error
	select {
	case <-ctx.Done():
		s.log.Info("stopping")
	case err = <-failed:
		err = fmt.Errorf("serve: HTTP: %w", err)
	}
	cancel()
	if s.rooms != nil {
		s.rooms.close() // while signaling still works, so that the others learn of it
	}
	s.closeBus()
	h.stop()
	return err
}

func (s *Server) enterPinned(ctx context.Context) error {
	for _, name := range s.cfg.Rooms {
		if _, err := s.rooms.enter(ctx, name, true, time.Now()); err != nil {
			return err
		}
	}
	return nil
}

// httpServers are the server and, where it speaks TLS, the one beside it that
// answers plain requests on the same port.
type httpServers struct {
	main, plain *http.Server
	mainL       net.Listener
	plainL      net.Listener
}

func newHTTP(s *Server, listener net.Listener) *httpServers {
	h := &httpServers{mainL: listener, main: s.httpServer(s.handler())}
	if s.cert != nil {
		h.main.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*s.cert}, MinVersion: tls.VersionTLS12}
		both := split(listener)
		h.mainL, h.plainL = both.secure, both.plain
		h.plain = s.httpServer(http.HandlerFunc(toHTTPS))
	}
	return h
}

func (s *Server) httpServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		HTTP2:             &http.HTTP2Config{SendPingTimeout: pingEvery, PingTimeout: pingTimeout},
		ErrorLog:          slog.NewLogLogger(s.log.With("part", "http").Handler(), slog.LevelDebug),
	}
}

// start serves on a goroutine for each server; wg joins them.
func (h *httpServers) start(wg *sync.WaitGroup, failed chan<- error) {
	report := func(err error) {
		if !errors.Is(err, http.ErrServerClosed) {
			failed <- err
		}
	}
	wg.Go(func() {
		if h.plain != nil {
			report(h.main.ServeTLS(h.mainL, "", ""))
		} else {
			report(h.main.Serve(h.mainL))
		}
	})
	if h.plain != nil {
		wg.Go(func() { report(h.plain.Serve(h.plainL)) })
	}
}

// stop gives requests in flight a moment and closes the port.
func (h *httpServers) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	for _, srv := range []*http.Server{h.main, h.plain} {
		if srv == nil {
			continue
		}
		if err := srv.Shutdown(ctx); err != nil {
			_ = srv.Close()
		}
	}
	_ = h.mainL.Close() // the splitter's goroutines too
}

// toHTTPS answers a plain request on the TLS port: browsers are sent on, others
// are told.
func toHTTPS(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Connection", "close")
	if r.Host == "" {
		writeProblem(w, http.StatusBadRequest, "this port speaks HTTPS; ask for https://")
		return
	}
	w.Header().Set("Location", "https://"+r.Host+r.URL.RequestURI())
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusTemporaryRedirect)
	_, _ = io.WriteString(w, "This port speaks HTTPS: browsers give camera and microphone to no page on plain HTTP.\n")
}

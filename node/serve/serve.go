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

	"github.com/weft-rtc/weft/mesh/whip"
	"github.com/weft-rtc/weft/node/serve/access"
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

package serve

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/pion/webrtc/v4"

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

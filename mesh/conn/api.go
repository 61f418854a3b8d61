package conn

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	pionnet "github.com/pion/transport/v4"
	"github.com/pion/webrtc/v4"
)

// Config says how a node's connections reach the network. Its zero value uses
// every interface but loopback, a socket per candidate, and no ICE servers.
type Config struct {
	// ICEServers are STUN and TURN servers.
	ICEServers []webrtc.ICEServer
	// RelayOnly uses candidates of TURN servers alone.
	RelayOnly bool
	// Net replaces the operating system's network, for tests; nil means real.
	Net pionnet.Net
	// Listen names UDP addresses that all connections share. An unspecified
	// address means one socket per interface address, port 0 any free port.
	// Empty means a socket of its own for each candidate.
	Listen []netip.AddrPort
	// ListenTCP names TCP addresses that all connections share, for those whom
	// no UDP reaches: ICE-TCP, of which this is the passive side (RFC 6544). An
	// unspecified address means all of the host's, port 0 any free port.
	ListenTCP []netip.AddrPort
	// PublicIPs are addresses by which others reach this host where it does not
	// have them itself: behind a NAT that maps them one to one. They are told
	// beside the host's own, with the ports of Listen and ListenTCP.
	PublicIPs []netip.Addr
	// Loopback uses 127.0.0.1, and ::1 if Listen names it, and nothing else.
	Loopback bool
	// IncludeLoopback uses loopback addresses as well as the others.
	IncludeLoopback bool
	// NoNACK asks for no retransmissions of what comes in, for tests.
	NoNACK bool
	// Logger takes what is worth a line; nil discards.
	Logger *slog.Logger
}

// API holds what the connections of a node share: the certificate, the UDP
// sockets, the settings. Its methods may be called from any goroutine.
type API struct {
	cfg   Config
	log   *slog.Logger
	mux   ice.UDPMux  // nil without Listen
	tcp   *tcpListen  // nil without ListenTCP
	sends *webrtc.API // makes the RTPSenders: it has no BufferFactory

	mu     sync.Mutex
	cert   *webrtc.Certificate
	conns  map[*Conn]struct{}
	closed bool
}

// certificateLife is how long a certificate is handed to new connections. pion
// makes them valid for a month and refuses an expired one.
const certificateLife = 7 * 24 * time.Hour

// NewAPI opens the sockets of cfg.Listen and makes the certificate.
func NewAPI(cfg Config) (*API, error) {
	log := cfg.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	a := &API{cfg: cfg, log: log, conns: map[*Conn]struct{}{}}
	if _, err := a.certificate(time.Now()); err != nil {
		return nil, err
	}
	if len(cfg.Listen) > 0 {
		mux, err := listen(cfg, pionLogs{log})
		if err != nil {
			return nil, err
		}
		a.mux = mux
	}
	if len(cfg.ListenTCP) > 0 {
		tcp, err := listenTCP(cfg.ListenTCP, pionLogs{log})
		if err != nil {
			return nil, errors.Join(err, a.Close())
		}
		a.tcp = tcp
	}
	a.sends = newPionAPI(webrtc.SettingEngine{LoggerFactory: pionLogs{log}})
	return a, nil
}

// newPionAPI makes an API that knows no codec, no header extension and no
// interceptor: pion as a transport only.
func newPionAPI(s webrtc.SettingEngine) *webrtc.API {
	return webrtc.NewAPI(
		webrtc.WithMediaEngine(&webrtc.MediaEngine{}),
		webrtc.WithInterceptorRegistry(&interceptor.Registry{}),
		webrtc.WithSettingEngine(s),
	)
}

// Addrs returns the UDP addresses of the shared sockets, none without Listen.
func (a *API) Addrs() []netip.AddrPort {
	if a.mux == nil {
		return nil
	}
	var out []netip.AddrPort
	for _, addr := range a.mux.GetListenAddresses() {
		if p, err := netip.ParseAddrPort(addr.String()); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// Close closes the connections that are still open, and then the sockets.
func (a *API) Close() error {
	a.mu.Lock()
	a.closed = true
	open := make([]*Conn, 0, len(a.conns))
	for c := range a.conns {
		open = append(open, c)
	}
	a.mu.Unlock()
	var errs []error
	for _, c := range open {
		errs = append(errs, c.Close())
	}
	if a.mux != nil {
		if err := a.mux.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, fmt.Errorf("conn: close UDP sockets: %w", err))
		}
	}
	if a.tcp != nil {
		errs = append(errs, a.tcp.Close())
	}
	return errors.Join(errs...)
}

// certificate returns the shared certificate, a new one when it is old.
func (a *API) certificate(now time.Time) (*webrtc.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cert != nil && now.Add(certificateLife).Before(a.cert.Expires()) {
		return a.cert, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("conn: certificate key: %w", err)
	}
	cert, err := webrtc.GenerateCertificate(key)
	if err != nil {
		return nil, fmt.Errorf("conn: certificate: %w", err)
	}
	a.cert = cert
	return cert, nil
}

// settings returns the settings of one PeerConnection but for its BufferFactory.
func (a *API) settings(answerer webrtc.DTLSRole) (webrtc.SettingEngine, error) {
	s := webrtc.SettingEngine{LoggerFactory: pionLogs{a.log}}
	// The DTLS server chooses the SRTP profile. A browser that chooses takes
	// AES-CM, which costs pion six times as much as AES-GCM.
	s.SetSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80)
	if err := s.SetAnsweringDTLSRole(answerer); err != nil {
		return s, fmt.Errorf("conn: DTLS role: %w", err)
	}
	// The address has proved itself by ICE, a HelloVerifyRequest (RFC 6347
	// section 4.2.1) would cost a round trip for nothing.
	s.SetDTLSInsecureSkipHelloVerify(true)
	// One more than we announce: pion ends the channel on a message of exactly
	// this size (its read loop compares with <).
	s.SetSCTPMaxMessageSize(MaxControlMessage + 1)
	// A PeerConnection that closes itself would not tell; the end of the control
	// channel does.
	s.DisableCloseByDTLS(true)
	s.DisableActiveTCP(true)
	s.SetNetworkTypes(a.networks())
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeQueryOnly)
	if a.cfg.Net != nil {
		s.SetNet(a.cfg.Net)
		s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	}
	if a.cfg.Loopback {
		s.SetIPFilter(func(ip net.IP) bool { return ip.IsLoopback() })
		s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	}
	s.SetIncludeLoopbackCandidate(a.cfg.Loopback || a.cfg.IncludeLoopback)
	if a.mux != nil {
		s.SetICEUDPMux(a.mux)
	}
	if a.tcp != nil {
		s.SetICETCPMux(a.tcp.mux)
	}
	return s, a.rewrite(&s)
}

// networks are the kinds of candidates that there may be.
func (a *API) networks() []webrtc.NetworkType {
	six := func(p netip.AddrPort) bool { return p.Addr().Is6() && !p.Addr().Is4In6() }
	all := []webrtc.NetworkType{webrtc.NetworkTypeUDP4}
	if !a.cfg.Loopback || slices.ContainsFunc(a.cfg.Listen, six) {
		all = append(all, webrtc.NetworkTypeUDP6)
	}
	if a.tcp != nil {
		all = append(all, webrtc.NetworkTypeTCP4)
		if !a.cfg.Loopback || slices.ContainsFunc(a.cfg.ListenTCP, six) {
			all = append(all, webrtc.NetworkTypeTCP6)
		}
	}
	return all
}

// rewrite adds the public addresses to the host's own.
func (a *API) rewrite(s *webrtc.SettingEngine) error {
	if len(a.cfg.PublicIPs) == 0 {
		return nil
	}
	rule := webrtc.ICEAddressRewriteRule{AsCandidateType: webrtc.ICECandidateTypeHost, Mode: webrtc.ICEAddressRewriteAppend}
	for _, ip := range a.cfg.PublicIPs {
		rule.External = append(rule.External, ip.String())
	}
	if err := s.SetICEAddressRewriteRules(rule); err != nil {
		return fmt.Errorf("conn: public addresses: %w", err)
	}
	return nil
}

// configuration returns what every PeerConnection gets.
func (a *API) configuration() (webrtc.Configuration, error) {
	cert, err := a.certificate(time.Now())
	if err != nil {
		return webrtc.Configuration{}, err
	}
	policy := webrtc.ICETransportPolicyAll
	if a.cfg.RelayOnly {
		policy = webrtc.ICETransportPolicyRelay
	}
	return webrtc.Configuration{
		Certificates:       []webrtc.Certificate{*cert},
		ICEServers:         a.cfg.ICEServers,
		ICETransportPolicy: policy,
	}, nil
}

package serve

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
)

// address is a validated listen address. An empty host means all interfaces.
type address struct {
	host     string
	port     uint16
	loopback bool
}

func (a address) String() string { return net.JoinHostPort(a.host, strconv.Itoa(int(a.port))) }

// parseAddress reads host:port; flag is named in errors.
func parseAddress(flag, s string) (address, error) {
	host, portText, err := net.SplitHostPort(s)
	if err != nil {
		return address{}, fmt.Errorf("serve: %s %q: want host:port, for example 127.0.0.1:8080 or :8080", flag, s)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return address{}, fmt.Errorf("serve: %s %q: port %q is not a number from 0 to 65535", flag, s, portText)
	}
	a := address{host: host, port: uint16(port)}
	if ip, err := netip.ParseAddr(host); err == nil {
		a.loopback = ip.Unmap().IsLoopback()
	} else {
		a.loopback = strings.EqualFold(host, "localhost")
	}
	return a, nil
}

// mediaAddress fills in the default: the port 7882, where the HTTP address is.
func mediaAddress(s string, http address) (address, error) {
	if s == "" {
		a := address{port: DefaultUDPPort}
		if http.loopback {
			a.host, a.loopback = "127.0.0.1", true
			if ip, err := netip.ParseAddr(http.host); err == nil && ip.Is6() && !ip.Is4In6() {
				a.host = http.host
			}
		}
		return a, nil
	}
	a, err := parseAddress("--udp", s)
	if err != nil {
		return a, err
	}
	if a.host == "localhost" {
		a.host = "127.0.0.1"
	}
	if _, err := a.addrPort(); err != nil {
		return a, fmt.Errorf("serve: --udp %q: want an IP address and a port, for example 127.0.0.1:7882 or :7882", s)
	}
	return a, nil
}

// addrPort is the address for a UDP socket.
func (a address) addrPort() (netip.AddrPort, error) {
	if a.host == "" {
		return netip.AddrPortFrom(netip.IPv4Unspecified(), a.port), nil
	}
	ip, err := netip.ParseAddr(a.host)
	return netip.AddrPortFrom(ip, a.port), err
}

// listenError names the address, the flag and, where the port is taken, the way
// out.
func listenError(flag string, a address, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("serve: %s %s is in use by another program; choose another port with %s host:port (port 0 takes any free one)", flag, a, flag)
	}
	return fmt.Errorf("serve: %s %s: %w", flag, a, err)
}

// info says where the server is reached once it listens at addr.
func (s *Server) info(addr net.Addr) Info {
	scheme, ws := "http", "ws"
	info := Info{Ready: true, Hub: !s.cfg.NoHub, Rooms: s.cfg.Rooms}
	if s.cert != nil {
		scheme, ws = "https", "wss"
		info.CertSHA256 = fingerprint(*s.cert)
	}
	port := s.listen.port
	if tcp, ok := addr.(*net.TCPAddr); ok {
		port = uint16(tcp.Port)
	}
	var first string
	for _, host := range reachableHosts(s.listen.host) {
		hp := net.JoinHostPort(host, strconv.Itoa(int(port)))
		if first == "" {
			first = hp
		}
		info.URLs = append(info.URLs, scheme+"://"+hp+"/")
	}
	info.URL = info.URLs[0]
	info.Signal = s.broker.shown
	if s.broker.embedded() {
		info.Signal = ws + "://" + first + "/nats"
	}
	if info.Hub {
		info.WHIP, info.WHEP = scheme+"://"+first+"/whip/", scheme+"://"+first+"/whep/"
	}
	if s.cfg.MQTT {
		info.MQTT = ws + "://" + first + "/mqtt"
	}
	return info
}

// reachableHosts names the hosts for URLs: what was listened on, or for all
// interfaces the addresses of this machine, best first.
func reachableHosts(host string) []string {
	ip, err := netip.ParseAddr(host)
	if host != "" && (err != nil || !ip.IsUnspecified()) {
		return []string{host}
	}
	var hosts []string
	for _, a := range localAddresses() {
		if a.To4() == nil && ip.Is4() {
			continue // 0.0.0.0 does not take IPv6
		}
		hosts = append(hosts, a.String())
	}
	return append(hosts, "localhost")
}

// validOrigin checks scheme://host[:port].
func validOrigin(s string) error {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.Path != "" || u.RawQuery != "" {
		return fmt.Errorf("%q is not an origin; want scheme://host or scheme://host:port without a path", s)
	}
	return nil
}

// hostAllowed guards a loopback server against DNS rebinding: a page from
// elsewhere whose name suddenly means 127.0.0.1 carries its own name in Host.
func (s *Server) hostAllowed(hostport string) bool {
	if !s.listen.loopback {
		return true
	}
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	if host == "" || strings.EqualFold(host, "localhost") || strings.HasSuffix(strings.ToLower(host), ".localhost") {
		return true
	}
	for _, origin := range s.cfg.AllowOrigins {
		u, err := url.Parse(origin)
		if err == nil && (strings.EqualFold(u.Host, hostport) || strings.EqualFold(u.Hostname(), host)) {
			return true
		}
	}
	return false
}

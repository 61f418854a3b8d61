package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"

	"github.com/weft-rtc/weft/mesh/conn"
	"github.com/weft-rtc/weft/mesh/driver"
	"github.com/weft-rtc/weft/mesh/signal"
	"github.com/weft-rtc/weft/node"
	"github.com/weft-rtc/weft/node/serve/access"
)

// validRoom is the one rule for room names, here and on the wire.
func validRoom(name string) error { return signal.ValidRoom(name) }

// media is what all hub peers of a server share: one UDP port, one certificate.
type media struct {
	api *conn.API
	log *slog.Logger
}

// newMedia opens the UDP port and that of ICE-TCP. On loopback only loopback is
// used.
func newMedia(s *Server) (*media, error) {
	listen, err := s.udp.addrPort()
	if err != nil {
		return nil, fmt.Errorf("serve: --udp %s: %w", s.udp, err)
	}
	cfg := conn.Config{
		ICEServers: s.cfg.ICEServers,
		Listen:     []netip.AddrPort{listen},
		PublicIPs:  s.public,
		Loopback:   listen.Addr().IsLoopback(),
		// A page on this machine may have no other way, for example offline.
		IncludeLoopback: true,
		Logger:          s.log,
	}
	if s.cfg.ICETCP != "" {
		tcp, err := s.tcp.addrPort()
		if err != nil {
			return nil, fmt.Errorf("serve: --ice-tcp %s: %w", s.tcp, err)
		}
		cfg.ListenTCP = []netip.AddrPort{tcp}
	}
	api, err := conn.NewAPI(cfg)
	if err != nil {
		flag, addr := "--udp", s.udp
		if strings.Contains(err.Error(), "listen on TCP") {
			flag, addr = "--ice-tcp", s.tcp
		}
		return nil, listenError(flag, addr, err)
	}
	return &media{api: api, log: s.log}, nil
}

// addresses are where media is received.
func (m *media) addresses() []string {
	var out []string
	for _, a := range m.api.Addrs() {
		out = append(out, a.String())
	}
	return out
}

// tcpAddresses are where it is received by TCP.
func (m *media) tcpAddresses() []string {
	var out []string
	for _, a := range m.api.TCPAddrs() {
		out = append(out, a.String())
	}
	return out
}

// Close closes the UDP port. Every hub must be closed before.
func (m *media) Close() error { return m.api.Close() }

// hubs returns the maker of hub peers, each with a driver of its own, as
// newRooms wants it. keeper makes the one who lets peers in.
func (m *media) hubs(newDriver func(room string, log *slog.Logger) (driver.Driver, error), keeper func(room string) *doorkeeper) func(room string) (member, error) {
	return func(room string) (member, error) {
		log := m.log.With("room", room)
		d, err := newDriver(room, log)
		if err != nil {
			return nil, err
		}
		k := keeper(room)
		k.log = log
		cfg := node.Config{
			Driver: d, Conn: m.api, Hub: true, Logger: m.log, Verify: k.verify,
			MaxTracks: k.maxTracks, MaxBitrate: k.maxBitrate,
		}
		if k.admits != nil {
			cfg.Rights = k.rights
		}
		if k.peer, err = node.New(cfg); err != nil {
			return nil, errors.Join(err, d.Close())
		}
		return &hub{Peer: k.peer, driver: d, keeper: k}, nil
	}
}

// keeper makes the doorkeeper of a room.
func (s *Server) keeper(room string) *doorkeeper {
	k := &doorkeeper{
		refused: &s.gate.Refused, room: room, maxPeers: s.cfg.MaxPeers, maxTracks: s.cfg.MaxTracks, maxBitrate: s.cfg.MaxBitrate,
	}
	if !s.gate.Open() {
		k.admits = s.admits
	}
	return k
}

// hub is a node.Peer with a driver of its own.
type hub struct {
	*node.Peer
	driver driver.Driver
	keeper *doorkeeper
	once   sync.Once
}

// Join enters the room and begins to let others in.
func (h *hub) Join(ctx context.Context, room string) error {
	if err := h.Peer.Join(ctx, room); err != nil || h.keeper.admits == nil {
		return err
	}
	return h.keeper.open()
}

// Close leaves the room, then closes the driver.
func (h *hub) Close() error {
	h.keeper.close()
	err := errors.Join(h.Peer.Close(), h.driver.Close())
	h.once.Do(func() {
		gone := h.Stats().Refused
		h.keeper.refused.Add(access.ReasonTracks, gone.Tracks)
		h.keeper.refused.Add(access.ReasonBitrate, gone.Bitrate)
	})
	return err
}

// Remotes lists the others of the room.
func (h *hub) Remotes() []Remote {
	out := []Remote{}
	for _, c := range h.Connections() {
		if c.Via() != "" || c.State() == conn.StateClosed {
			continue
		}
		r := Remote{ID: c.ID(), Metadata: node.PublicMetadata(c.Metadata()), State: c.State().String()}
		for _, s := range c.Streams() {
			r.Streams = append(r.Streams, s.Label)
		}
		out = append(out, r)
	}
	return out
}

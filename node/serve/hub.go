package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"

	"github.com/pion/webrtc/v4"

	"github.com/weft-rtc/weft/mesh/conn"
	"github.com/weft-rtc/weft/mesh/driver"
	"github.com/weft-rtc/weft/mesh/signal"
	"github.com/weft-rtc/weft/node"
)

// validRoom is the one rule for room names, here and on the wire.
func validRoom(name string) error { return signal.ValidRoom(name) }

// media is what all hub peers of a server share: one UDP port, one certificate.
type media struct {
	api *conn.API
	log *slog.Logger
}

// newMedia opens the UDP port. On loopback only loopback is used.
func newMedia(addr address, servers []webrtc.ICEServer, log *slog.Logger) (*media, error) {
	listen, err := addr.addrPort()
	if err != nil {
		return nil, fmt.Errorf("serve: --udp %s: %w", addr, err)
	}
	api, err := conn.NewAPI(conn.Config{
		ICEServers: servers,
		Listen:     []netip.AddrPort{listen},
		Loopback:   listen.Addr().IsLoopback(),
		// A page on this machine may have no other way, for example offline.
		IncludeLoopback: true,
		Logger:          log,
	})
	if err != nil {
		return nil, listenError("--udp", addr, err)
	}
	return &media{api: api, log: log}, nil
}

// addresses are where media is received.
func (m *media) addresses() []string {
	var out []string
	for _, a := range m.api.Addrs() {
		out = append(out, a.String())
	}
	return out
}

// Close closes the UDP port. Every hub must be closed before.
func (m *media) Close() error { return m.api.Close() }

// hubs returns the maker of hub peers, each with a driver of its own, as
// newRooms wants it. keeper makes the one who lets peers in, nil for none.
func (m *media) hubs(newDriver func(room string, log *slog.Logger) (driver.Driver, error), keeper func(room string) *doorkeeper) func(room string) (member, error) {
	return func(room string) (member, error) {
		log := m.log.With("room", room)
		d, err := newDriver(room, log)
		if err != nil {
			return nil, err
		}
		k := keeper(room)
		cfg := node.Config{Driver: d, Conn: m.api, Hub: true, Logger: m.log}
		if k != nil {
			k.guard(&cfg)
		}
		peer, err := node.New(cfg)
		if err != nil {
			return nil, errors.Join(err, d.Close())
		}
		if k != nil {
			k.peer, k.log = peer, log
		}
		return &hub{Peer: peer, driver: d, keeper: k}, nil
	}
}

// keeper makes the doorkeeper of a room, nil where everybody is let in.
func (s *Server) keeper(room string) *doorkeeper {
	if s.gate.Open() {
		return nil
	}
	return &doorkeeper{admits: s.admits, refused: &s.gate.Refused, room: room}
}

// hub is a node.Peer with a driver of its own.
type hub struct {
	*node.Peer
	driver driver.Driver
	keeper *doorkeeper // nil where everybody is let in
}

// Join enters the room and begins to let others in.
func (h *hub) Join(ctx context.Context, room string) error {
	if err := h.Peer.Join(ctx, room); err != nil || h.keeper == nil {
		return err
	}
	return h.keeper.open()
}

// Close leaves the room, then closes the driver.
func (h *hub) Close() error {
	h.keeper.close()
	return errors.Join(h.Peer.Close(), h.driver.Close())
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

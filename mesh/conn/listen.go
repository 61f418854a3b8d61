package conn

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/pion/ice/v4"
)

// socketBuffer is the kernel's receive and send buffer of a shared socket in
// bytes: 4 MiB is some 100 ms of 300 Mbit/s. The kernel may give less.
const socketBuffer = 4 << 20

// listen opens the shared sockets of cfg.Listen.
func listen(cfg Config, logs pionLogs) (ice.UDPMux, error) {
	var muxes []ice.UDPMux
	for _, addr := range cfg.Listen {
		mux, err := listenOne(cfg, addr, logs)
		if err != nil {
			for _, m := range muxes {
				_ = m.Close()
			}
			return nil, fmt.Errorf("conn: listen on UDP %s: %w", addr, err)
		}
		muxes = append(muxes, mux)
	}
	if len(muxes) == 1 {
		return muxes[0], nil
	}
	return ice.NewMultiUDPMuxDefault(muxes...), nil
}

// listenOne opens one address. A socket on an unspecified address cannot say
// which of the host's addresses a packet came to, so each gets its own.
func listenOne(cfg Config, addr netip.AddrPort, logs pionLogs) (ice.UDPMux, error) {
	log := logs.NewLogger("udpmux")
	if addr.Addr().IsUnspecified() {
		opts := []ice.UDPMuxFromPortOption{
			ice.UDPMuxFromPortWithNetworks(ice.NetworkTypeUDP4, ice.NetworkTypeUDP6),
			ice.UDPMuxFromPortWithReadBufferSize(socketBuffer),
			ice.UDPMuxFromPortWithWriteBufferSize(socketBuffer),
			ice.UDPMuxFromPortWithLogger(log),
		}
		if cfg.Loopback || cfg.IncludeLoopback {
			opts = append(opts, ice.UDPMuxFromPortWithLoopback())
		}
		if cfg.Loopback {
			opts = append(opts, ice.UDPMuxFromPortWithIPFilter(func(ip net.IP) bool { return ip.IsLoopback() }))
		}
		if cfg.Net != nil {
			opts = append(opts, ice.UDPMuxFromPortWithNet(cfg.Net))
		}
		return ice.NewMultiUDPMuxFromPort(int(addr.Port()), opts...)
	}
	local := net.UDPAddrFromAddrPort(addr)
	if cfg.Net != nil {
		c, err := cfg.Net.ListenUDP("udp", local)
		if err != nil {
			return nil, err
		}
		return ice.NewUDPMuxDefault(ice.UDPMuxParams{Logger: log, UDPConn: c, Net: cfg.Net}), nil
	}
	c, err := net.ListenUDP("udp", local)
	if err != nil {
		return nil, err
	}
	_ = c.SetReadBuffer(socketBuffer)
	_ = c.SetWriteBuffer(socketBuffer)
	return ice.NewUDPMuxDefault(ice.UDPMuxParams{Logger: log, UDPConn: c}), nil
}

package conn

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/ice/v4"
)

const (
	// tcpFirstWords is the time that a TCP connection has for its first STUN
	// request, and one of an unknown user for somebody to want it.
	tcpFirstWords = 10 * time.Second
	tcpReadBuffer = 64      // packets between a connection and its reader
	tcpWriteBytes = 1 << 20 // bytes that wait for a slow reader; what comes then is dropped
	tcpConns      = 4096    // of all together
	tcpConnsEach  = 64      // of one address; loopback is not counted
)

// tcpListen are the listeners of ICE-TCP behind one mux.
type tcpListen struct {
	mux       ice.TCPMux
	listeners []*boundedListener
}

func listenTCP(addrs []netip.AddrPort, logs pionLogs) (*tcpListen, error) {
	t := &tcpListen{}
	var muxes []ice.TCPMux
	for _, addr := range addrs {
		l, err := net.Listen("tcp", addr.String())
		if err != nil {
			return nil, errors.Join(fmt.Errorf("conn: listen on TCP %s: %w", addr, err), t.Close())
		}
		b := &boundedListener{Listener: l, by: map[netip.Addr]int{}}
		t.listeners = append(t.listeners, b)
		muxes = append(muxes, ice.NewTCPMuxDefault(ice.TCPMuxParams{
			Listener: b, Logger: logs.NewLogger("tcpmux"), ReadBufferSize: tcpReadBuffer, WriteBufferSize: tcpWriteBytes,
			FirstStunBindTimeout: tcpFirstWords, AliveDurationForConnFromStun: tcpFirstWords,
		}))
		t.mux = ice.NewMultiTCPMuxDefault(muxes...)
	}
	if len(muxes) == 1 {
		t.mux = muxes[0]
	}
	return t, nil
}

// Close ends the mux, its connections and listeners.
func (t *tcpListen) Close() error {
	if t.mux == nil {
		return nil
	}
	if err := t.mux.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("conn: close TCP sockets: %w", err)
	}
	return nil
}

// addrs are the addresses that are listened on.
func (t *tcpListen) addrs() (out []netip.AddrPort) {
	if t == nil {
		return nil
	}
	for _, l := range t.listeners {
		if p, err := netip.ParseAddrPort(l.Addr().String()); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// boundedListener closes at once what would be too many.
type boundedListener struct {
	net.Listener

	mu    sync.Mutex
	total int
	by    map[netip.Addr]int
}

// Accept implements net.Listener.
func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if who, ok := l.take(c); ok {
			return &boundedConn{Conn: c, done: sync.OnceFunc(func() { l.give(who) })}, nil
		}
		_ = c.Close()
	}
}

func (l *boundedListener) take(c net.Conn) (who netip.Addr, ok bool) {
	if p, err := netip.ParseAddrPort(c.RemoteAddr().String()); err == nil && !p.Addr().Unmap().IsLoopback() {
		who = p.Addr().Unmap().WithZone("")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total >= tcpConns || who.IsValid() && l.by[who] >= tcpConnsEach {
		return who, false
	}
	l.total++
	if who.IsValid() {
		l.by[who]++
	}
	return who, true
}

func (l *boundedListener) give(who netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total--
	if l.by[who]--; l.by[who] <= 0 {
		delete(l.by, who)
	}
}

// boundedConn is counted until it is closed.
type boundedConn struct {
	net.Conn
	done func()
}

// Close implements net.Conn.
func (c *boundedConn) Close() error {
	c.done()
	return c.Conn.Close()
}

// TCPAddrs returns the TCP addresses of the shared sockets, none without
// ListenTCP.
func (a *API) TCPAddrs() []netip.AddrPort { return a.tcp.addrs() }

package conn

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/weft-rtc/weft/mesh/signal"
)

// within waits up to 60 s of real time.
func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	limit := time.After(60 * time.Second)
	tick := time.NewTicker(15 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("not within 60 s: %s", what)
		}
	}
}

// lonely is told of states; nothing else happens without a candidate.
type lonely struct {
	Handler
	states     chan State
	candidates chan signal.Candidate
}

func (l lonely) ConnState(s State) { l.states <- s }

func (l lonely) ConnCandidate(c signal.Candidate) { l.candidates <- c }

// realPair makes two nodes on the loopback interface; b is the polite one.
func realPair(t *testing.T, ca, cb Config) (a, b *peer) {
	t.Helper()
	ca.Loopback, cb.Loopback = true, true
	a, b = newPeer(t, "a", false, ca), newPeer(t, "b", true, cb)
	a.other, b.other = b, a
	t.Cleanup(func() {
		for _, p := range []*peer{a, b} {
			_ = p.conn.Close()
			_ = p.api.Close()
			p.stop()
		}
	})
	return a, b
}

func meet(t *testing.T, a, b *peer) {
	t.Helper()
	a.do(a.negotiate)
	within(t, "both connected and control open", func() bool { return a.up() && b.up() })
}

func TestIPv6(t *testing.T) {
	six := Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("[::1]:0")}}
	a, b := realPair(t, six, six)
	meet(t, a, b)
	for _, p := range []*peer{a, b} {
		if s := p.conn.Stats(); !strings.HasPrefix(s.RemoteAddr, "[::1]:") {
			t.Errorf("%s is connected to %s", p.name, s.RemoteAddr)
		}
	}
}

// A host that no UDP reaches is reached by TCP.
func TestICETCP(t *testing.T) {
	one := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}
	a, b := realPair(t, Config{Listen: one, ListenTCP: one}, Config{})
	s := b.conn.transport.Load().settings
	s.DisableActiveTCP(false)
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeTCP4})
	meet(t, a, b)
	if got, want := b.conn.Stats().RemoteAddr, a.api.TCPAddrs()[0].String(); got != want {
		t.Errorf("connected to %s, want the TCP address %s", got, want)
	}
}

func TestPublicIP(t *testing.T) {
	one := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}
	api, err := NewAPI(Config{Listen: one, ListenTCP: one, Loopback: true, PublicIPs: []netip.Addr{netip.MustParseAddr("203.0.113.7")}})
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close()
	told := lonely{states: make(chan State, 100), candidates: make(chan signal.Candidate, 100)}
	c, err := api.New(Options{Handler: told})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Offer(t.Context()); err != nil {
		t.Fatal(err)
	}
	udp, tcp := api.Addrs()[0].Port(), api.TCPAddrs()[0].Port()
	missing := map[string]bool{
		fmt.Sprint("udp 203.0.113.7 ", udp): true, fmt.Sprint("udp 127.0.0.1 ", udp): true,
		fmt.Sprint("tcp 203.0.113.7 ", tcp): true, fmt.Sprint("tcp 127.0.0.1 ", tcp): true,
	}
	within(t, "every address is told", func() bool {
		for len(told.candidates) > 0 {
			f := strings.Fields((<-told.candidates).Candidate)
			delete(missing, f[2]+" "+f[4]+" "+f[5])
		}
		return len(missing) == 0
	})
}

// One address does not take all the connections that there may be.
func TestTCPIsBounded(t *testing.T) {
	l := &boundedListener{by: map[netip.Addr]int{}}
	from := func(addr string) net.Conn {
		return addressed{addr: net.TCPAddrFromAddrPort(netip.MustParseAddrPort(addr))}
	}
	for range tcpConnsEach {
		if _, ok := l.take(from("192.0.2.1:5")); !ok {
			t.Fatal("too few")
		}
	}
	who, ok := l.take(from("192.0.2.1:6"))
	if ok {
		t.Error("one more of the same address")
	}
	if _, ok := l.take(from("192.0.2.2:5")); !ok {
		t.Error("another address")
	}
	if _, ok := l.take(from("127.0.0.1:5")); !ok {
		t.Error("loopback")
	}
	l.give(who)
	if _, ok := l.take(from("192.0.2.1:6")); !ok {
		t.Error("after one has gone")
	}
	l.total = tcpConns
	if _, ok := l.take(from("192.0.2.9:5")); ok {
		t.Error("more than there may be")
	}
}

// addressed is a connection of which only the address counts.
type addressed struct {
	net.Conn
	addr net.Addr
}

func (a addressed) RemoteAddr() net.Addr { return a.addr }

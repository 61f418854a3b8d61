//go:build brokers

package conn

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/weft-rtc/weft/mesh/signal"
)

// startTURN runs coturn on a free port of the loopback interface, with the user
// weft and the password secret, and returns its URL. It ends with the test.
func startTURN(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("turnserver")
	if err != nil {
		t.Fatal("coturn is missing: apt-get install coturn")
	}
	port, dir := freePort(t), t.TempDir()
	// Relay addresses stand above the ports that the kernel hands out.
	low := 61000 + os.Getpid()%100*40
	config := filepath.Join(dir, "turnserver.conf")
	text := fmt.Sprintf(`listening-ip=127.0.0.1
listening-port=%d
relay-ip=127.0.0.1
min-port=%d
max-port=%d
allow-loopback-peers
lt-cred-mech
realm=weft.test
user=weft:secret
fingerprint
no-tls
no-dtls
no-cli
log-file=stdout
simple-log
pidfile=%s
userdb=%s
`, port, low, low+39, filepath.Join(dir, "pid"), filepath.Join(dir, "turndb"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	ctx, cancel := context.WithCancel(context.Background())
	coturn := exec.CommandContext(ctx, program, "-c", config)
	coturn.Stdout, coturn.Stderr = &said, &said
	if err := coturn.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = coturn.Wait()
		if t.Failed() {
			t.Logf("coturn:\n%s", &said)
		}
	})
	address := fmt.Sprintf("127.0.0.1:%d", port)
	within(t, "coturn listens", func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return "turn:" + address + "?transport=udp"
}

// freePort returns a port that is free for TCP and UDP.
func freePort(t *testing.T) int {
	t.Helper()
	for range 100 {
		l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		u, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		_ = l.Close()
		if err == nil {
			_ = u.Close()
			return port
		}
	}
	t.Fatal("no port is free for TCP and UDP")
	return 0
}

// relayOnly is for connections that may use nothing but a TURN server.
func relayOnly(url, password string) Config {
	return Config{
		RelayOnly:  true,
		Loopback:   true,
		ICEServers: []webrtc.ICEServer{{URLs: []string{url}, Username: "weft", Credential: password}},
	}
}

func TestTURN(t *testing.T) {
	cfg := relayOnly(startTURN(t), "secret")
	a, b := newPeer(t, "a", false, cfg), newPeer(t, "b", true, cfg)
	a.other, b.other = b, a
	t.Cleanup(func() {
		for _, p := range []*peer{a, b} {
			p.close()
		}
		for _, p := range []*peer{a, b} {
			p.stop()
			p.noErrors()
		}
	})
	a.do(a.negotiate)
	within(t, "both connected and control open", func() bool { return a.up() && b.up() })
	for _, p := range []*peer{a, b} {
		pair, err := p.conn.transport.Load().dtls.ICETransport().GetSelectedCandidatePair()
		if err != nil || pair == nil {
			t.Fatalf("%s: no candidate pair: %v", p.name, err)
		}
		if pair.Local.Typ != webrtc.ICECandidateTypeRelay || pair.Remote.Typ != webrtc.ICECandidateTypeRelay {
			t.Errorf("%s: selected %v", p.name, pair)
		}
		if s := p.conn.Stats(); s.RemoteType != "relay" {
			t.Errorf("%s: remote candidate is %s", p.name, s.RemoteType)
		}
		p.do(func() { p.deliver('x', "from "+p.name) })
	}
	for _, p := range []*peer{a, b} {
		within(t, "a control message", func() bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			return len(p.app) == 1 && string(p.app[0]) == "from "+p.other.name
		})
	}
}

// lines collects log records as text.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// A password that the TURN server does not know ends in StateFailed, and the log
// says what is wrong.
func TestTURNWrongPassword(t *testing.T) {
	cfg, log := relayOnly(startTURN(t), "wrong"), &lines{}
	cfg.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	api, err := NewAPI(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close()
	var conns [2]*Conn
	var told [2]lonely
	for i := range conns {
		told[i] = lonely{states: make(chan State, 100), candidates: make(chan signal.Candidate, 100)}
		if conns[i], err = api.New(Options{Polite: i == 1, Handler: told[i]}); err != nil {
			t.Fatal(err)
		}
		// 3 s without a candidate pair in place of 30.
		conns[i].transport.Load().settings.SetICETimeouts(time.Second, 2*time.Second, 500*time.Millisecond)
	}
	offer, err := conns[0].Offer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	answer, _, err := conns[1].HandleOffer(t.Context(), offer)
	if err != nil {
		t.Fatal(err)
	}
	if err := conns[0].HandleAnswer(t.Context(), answer); err != nil {
		t.Fatal(err)
	}
	for i, c := range conns {
		within(t, "the end of the attempt", func() bool { return c.State() == StateFailed })
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		for len(told[i].states) > 0 {
			if s := <-told[i].states; s == StateConnected {
				t.Error("connected")
			}
		}
		if n := len(told[i].candidates); n > 0 {
			t.Errorf("%d candidates", n)
		}
	}
	if !strings.Contains(log.String(), "TURN client 127.0.0.1:") || !strings.Contains(log.String(), "401: Unauthorized") {
		t.Errorf("log:\n%s", log)
	}
}

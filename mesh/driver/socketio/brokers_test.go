//go:build brokers

package socketio

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-rtc/weft/mesh/driver"
	"github.com/weft-rtc/weft/mesh/driver/drivertest"
)

// server is the socket.io server of npm with testdata/relay.mjs.
type server struct {
	t     testing.TB
	url   string
	node  *exec.Cmd
	stdin io.WriteCloser
}

func startServer(t testing.TB) *server {
	t.Helper()
	tools := os.Getenv("WEFT_TOOLS")
	if tools == "" {
		tools = filepath.Join("..", "..", "..", ".tools", "node_modules")
	}
	s := &server{t: t, node: exec.Command("node", filepath.Join("testdata", "relay.mjs"), tools)}
	s.node.Stderr = os.Stderr
	var err error
	if s.stdin, err = s.node.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := s.node.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.node.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.stdin.Close(); _ = s.node.Wait() })
	port, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("the server of npm does not start: %v; make tools installs it", err)
	}
	s.url = "http://127.0.0.1:" + strings.TrimSpace(port)
	return s
}

func (s *server) tell(word string) {
	if _, err := fmt.Fprintln(s.stdin, word); err != nil {
		s.t.Error(err)
	}
}

// rooms is the configuration for the namespace that has a token and a prefix.
func (s *server) rooms() Config {
	return Config{URL: s.url + "/rooms", Prefix: "peerix:", Auth: map[string]string{"token": "let me in"}}
}

func TestBrokerRun(t *testing.T) {
	s := startServer(t)
	drivertest.Run(t, func() (a, b driver.Driver) {
		return connect(t, Config{URL: s.url}), connect(t, Config{URL: s.url})
	})
}

func TestBrokerOutage(t *testing.T) {
	drivertest.RunOutage(t, func() (a, b driver.Driver, down, up func()) {
		s := startServer(t)
		return connect(t, s.rooms()), connect(t, s.rooms()), func() { s.tell("down") }, func() { s.tell("up") }
	})
}

// The server's process is killed.
func TestBrokerDies(t *testing.T) {
	s := startServer(t)
	d := connect(t, Config{URL: s.url})
	defer d.Close()
	changes := watch(d)
	if err := s.node.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if drivertest.Wait(t, changes, "change") {
		t.Error("active twice")
	}
}

func TestBrokerRefuses(t *testing.T) {
	s := startServer(t)
	config := s.rooms()
	var log records
	config.Auth, config.Logger = map[string]string{"token": "wrong"}, slog.New(&log)
	d := connect(t, config)
	defer d.Close()
	if d.Active() || !strings.Contains(log.String(), `refused by the server: "bad token"`) {
		t.Errorf("active %v, log:\n%s", d.Active(), &log)
	}
	config.Auth, config.URL, config.Namespace = nil, s.url, "/nowhere"
	other := connect(t, config)
	defer other.Close()
	if other.Active() || !strings.Contains(log.String(), `"Invalid namespace"`) {
		t.Errorf("active %v, log:\n%s", other.Active(), &log)
	}
	config.Path, config.Namespace = "/elsewhere", ""
	third := connect(t, config)
	defer third.Close()
	if third.Active() {
		t.Errorf("active where there is no server")
	}
}

func TestBrokerBinaryEvent(t *testing.T) {
	s := startServer(t)
	a, b := connect(t, Config{URL: s.url}), connect(t, Config{URL: s.url})
	defer a.Close()
	defer b.Close()
	receive, got := drivertest.Receive()
	for _, namespace := range []string{"as-binary", "usual"} {
		if _, err := b.Subscribe(t.Context(), namespace, receive); err != nil {
			t.Fatal(err)
		}
	}
	for _, namespace := range []string{"as-binary", "usual"} {
		if err := a.Publish(t.Context(), namespace, []byte(namespace)); err != nil {
			t.Fatal(err)
		}
	}
	if p := drivertest.Wait(t, got, "packet"); p != "usual" {
		t.Errorf("got %q", p)
	}
	if n := b.drops.count(dropBinary); n != 2 { // the event and its attachment
		t.Errorf("%d dropped", n)
	}
}

package nats_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"

	"github.com/weft-rtc/weft/mesh/driver"
	"github.com/weft-rtc/weft/mesh/driver/drivertest"
	"github.com/weft-rtc/weft/mesh/driver/nats"
)

// service is a NATS server that can be stopped and started again in place. As
// a provider of connections it stands for whichever server runs.
type service struct {
	t       testing.TB
	options server.Options

	mu  sync.Mutex
	now *server.Server
}

var errDown = errors.New("no server")

func newService(t testing.TB, options server.Options) *service {
	t.Helper()
	options.NoSigs, options.NoLog = true, true
	s := &service{t: t, options: options}
	s.up()
	t.Cleanup(s.down)
	return s
}

// inProcess has no listener at all.
func inProcess(t testing.TB) *service {
	return newService(t, server.Options{DontListen: true})
}

// overWebSocket listens on a free port of the loopback interface, with nothing
// but WebSocket.
func overWebSocket(t testing.TB) *service {
	s := newService(t, server.Options{
		DontListen: true,
		Websocket:  server.WebsocketOpts{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoTLS: true},
	})
	return s
}

func (s *service) up() {
	options := s.options
	now, err := server.NewServer(&options)
	if err != nil {
		s.t.Fatal(err)
	}
	now.Start()
	if !now.ReadyForConnections(30 * time.Second) {
		s.t.Fatal("server does not start")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = now
	// The next server must be found at the same place.
	s.options.Websocket.Port = options.Websocket.Port
}

func (s *service) down() {
	s.mu.Lock()
	now := s.now
	s.now = nil
	s.mu.Unlock()
	if now != nil {
		now.Shutdown()
		now.WaitForShutdown()
	}
}

// InProcessConn implements nats.InProcessConnProvider.
func (s *service) InProcessConn() (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now == nil {
		return nil, errDown
	}
	return s.now.InProcessConn()
}

// url is that of the WebSocket, with the path that our HTTP port has.
func (s *service) url() string {
	return fmt.Sprintf("ws://127.0.0.1:%d/nats", s.options.Websocket.Port)
}

func connect(t testing.TB, config nats.Config) driver.Driver {
	t.Helper()
	d, err := nats.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestInProcess(t *testing.T) {
	s := inProcess(t)
	drivertest.Run(t, func() (a, b driver.Driver) {
		c := nats.Config{InProcess: s, Prefix: "px."}
		return connect(t, c), connect(t, c)
	})
}

func TestWebSocket(t *testing.T) {
	s := overWebSocket(t)
	drivertest.Run(t, func() (a, b driver.Driver) {
		return connect(t, nats.Config{URL: s.url()}), connect(t, nats.Config{URL: s.url()})
	})
}

func TestOutage(t *testing.T) {
	drivertest.RunOutage(t, func() (a, b driver.Driver, down, up func()) {
		s := inProcess(t)
		return connect(t, nats.Config{InProcess: s}), connect(t, nats.Config{InProcess: s}), s.down, s.up
	})
}

func TestWebSocketOutage(t *testing.T) {
	drivertest.RunOutage(t, func() (a, b driver.Driver, down, up func()) {
		s := overWebSocket(t)
		return connect(t, nats.Config{URL: s.url()}), connect(t, nats.Config{URL: s.url()}), s.down, s.up
	})
}

// A driver may be made, and subscribe, before there is a server.
func TestFirstConnectIsRetried(t *testing.T) {
	s := inProcess(t)
	s.down()
	d := connect(t, nats.Config{InProcess: s})
	defer d.Close()
	changes := make(chan bool, 10)
	d.Watch(func(active bool) { changes <- active })
	if d.Active() {
		t.Error("active without a server")
	}
	receive, got := drivertest.Receive()
	if _, err := d.Subscribe(t.Context(), "early", receive); err != nil {
		t.Fatal(err)
	}
	if err := d.Publish(t.Context(), "early", nil); !errors.Is(err, driver.ErrInactive) {
		t.Errorf("publish without a server: %v", err)
	}
	s.up()
	if !drivertest.Wait(t, changes, "change") || !d.Active() {
		t.Fatal("not active")
	}
	other := connect(t, nats.Config{InProcess: s})
	defer other.Close()
	if err := other.Publish(t.Context(), "early", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if p := drivertest.Wait(t, got, "packet"); p != "x" {
		t.Errorf("got %q", p)
	}
}

// A driver that never found a server closes all the same.
func TestCloseWithoutServer(t *testing.T) {
	s := inProcess(t)
	s.down()
	d := connect(t, nats.Config{InProcess: s})
	if _, err := d.Subscribe(t.Context(), "ns", func([]byte) {}); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// The subject is the prefix with the namespace straight behind it, the packet
// the plain data, without headers and without echo.
func TestWireFormat(t *testing.T) {
	s := inProcess(t)
	nc, err := natsgo.Connect("", natsgo.InProcessServer(s))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	all := make(chan *natsgo.Msg, 10)
	if _, err := nc.ChanSubscribe(">", all); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	d := connect(t, nats.Config{InProcess: s, Prefix: "px."})
	defer d.Close()
	receive, got := drivertest.Receive()
	if _, err := d.Subscribe(t.Context(), "room", receive); err != nil {
		t.Fatal(err)
	}
	if err := d.Publish(t.Context(), "room", []byte("own")); err != nil {
		t.Fatal(err)
	}
	m := drivertest.Wait(t, all, "message")
	if m.Subject != "px.room" || m.Reply != "" || m.Header != nil || string(m.Data) != "own" {
		t.Errorf("subject %q, reply %q, header %v, data %q", m.Subject, m.Reply, m.Header, m.Data)
	}
	if err := nc.Publish("px.room", []byte("foreign")); err != nil {
		t.Fatal(err)
	}
	if p := drivertest.Wait(t, got, "packet"); p != "foreign" {
		t.Errorf("got %q", p)
	}
}

func TestConfigErrors(t *testing.T) {
	for name, c := range map[string]struct {
		config nats.Config
		want   string
	}{
		"no server":          {nats.Config{}, "Config.URL is empty"},
		"no URL":             {nats.Config{URL: "nats://[::1"}, "Config.URL"},
		"password in URL":    {nats.Config{URL: "nats://me:%secret@x"}, "Config.URL"},
		"port in URL":        {nats.Config{URL: "nats://me:secret@x:y"}, "Config.URL"},
		"blank in prefix":    {nats.Config{URL: "nats://x", Prefix: "a b"}, "Config.Prefix"},
		"wildcard in prefix": {nats.Config{URL: "nats://x", Prefix: "a.>"}, "Config.Prefix"},
		"empty token":        {nats.Config{URL: "nats://x", Prefix: "a..b"}, "Config.Prefix"},
		"dot in front":       {nats.Config{URL: "nats://x", Prefix: ".a"}, "Config.Prefix"},
		"system subject":     {nats.Config{URL: "nats://x", Prefix: "$SYS."}, "Config.Prefix"},
		"mixed schemes":      {nats.Config{URL: "nats://x,ws://y"}, "Config.URL"},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := nats.New(c.config)
			if err == nil {
				d.Close()
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("error %v, want %q in it", err, c.want)
			}
		})
	}
}

// Connects and disconnects are logged, without the credentials of the URL.
func TestLog(t *testing.T) {
	s := overWebSocket(t)
	var log records
	d := connect(t, nats.Config{URL: strings.Replace(s.url(), "ws://", "ws://me:secret@", 1), Logger: slog.New(&log)})
	changes := make(chan bool, 10)
	d.Watch(func(active bool) { changes <- active })
	s.down()
	drivertest.Wait(t, changes, "change")
	d.Close()
	text := log.String()
	if !strings.Contains(text, "connected") || !strings.Contains(text, "disconnected") || strings.Contains(text, "secret") {
		t.Errorf("log:\n%s", text)
	}
}

// records collects log records as text.
type records struct {
	slog.Handler
	mu   sync.Mutex
	text strings.Builder
}

func (r *records) Enabled(context.Context, slog.Level) bool { return true }

func (r *records) WithAttrs([]slog.Attr) slog.Handler { return r }

func (r *records) Handle(_ context.Context, record slog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintln(&r.text, record.Level, record.Message)
	record.Attrs(func(a slog.Attr) bool { fmt.Fprintln(&r.text, a); return true })
	return nil
}

func (r *records) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

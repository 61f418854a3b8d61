package mqtt_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/weft-rtc/weft/mesh/driver"
	"github.com/weft-rtc/weft/mesh/driver/drivertest"
	"github.com/weft-rtc/weft/mesh/driver/mqtt"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// service is a nats-server that speaks MQTT over TCP and WebSocket on ports of
// the loopback interface, and can be stopped and started again in place.
type service struct {
	t       testing.TB
	options server.Options
	now     *server.Server
}

func newService(t testing.TB, options server.Options) *service {
	t.Helper()
	options.DontListen, options.NoSigs, options.NoLog = true, true, true
	options.ServerName = "test"
	options.JetStream, options.StoreDir = true, t.TempDir()
	options.MQTT.Host, options.MQTT.Port = "127.0.0.1", server.RANDOM_PORT
	options.Websocket = server.WebsocketOpts{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoTLS: true}
	s := &service{t: t, options: options}
	s.up()
	t.Cleanup(s.down)
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
	s.now = now
	// The next server must be found at the same place.
	s.options.MQTT.Port, s.options.Websocket.Port = options.MQTT.Port, options.Websocket.Port
}

func (s *service) down() {
	if s.now != nil {
		s.now.Shutdown()
		s.now.WaitForShutdown()
		s.now = nil
	}
}

func (s *service) tcp() string { return fmt.Sprintf("mqtt://127.0.0.1:%d", s.options.MQTT.Port) }

func (s *service) ws() string { return fmt.Sprintf("ws://127.0.0.1:%d", s.options.Websocket.Port) }

func connect(t testing.TB, config mqtt.Config) driver.Driver {
	t.Helper()
	d, err := mqtt.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestTCP(t *testing.T) {
	s := newService(t, server.Options{})
	drivertest.Run(t, func() (a, b driver.Driver) {
		c := mqtt.Config{URL: s.tcp(), Prefix: "px/"}
		return connect(t, c), connect(t, c)
	})
}

func TestWebSocket(t *testing.T) {
	s := newService(t, server.Options{})
	drivertest.Run(t, func() (a, b driver.Driver) {
		c := mqtt.Config{URL: s.ws()}
		return connect(t, c), connect(t, c)
	})
}

func TestOutage(t *testing.T) {
	drivertest.RunOutage(t, func() (a, b driver.Driver, down, up func()) {
		s := newService(t, server.Options{})
		return connect(t, mqtt.Config{URL: s.tcp()}), connect(t, mqtt.Config{URL: s.ws()}), s.down, s.up
	})
}

// A driver may be made, and subscribe, before there is a broker.
func TestFirstConnectIsRetried(t *testing.T) {
	s := newService(t, server.Options{})
	s.down()
	d := connect(t, mqtt.Config{URL: s.tcp()})
	defer d.Close()
	changes := make(chan bool, 10)
	d.Watch(func(active bool) { changes <- active })
	if d.Active() {
		t.Error("active without a broker")
	}
	receive, got := drivertest.Receive()
	if _, err := d.Subscribe(t.Context(), "early", receive); err != nil {
		t.Fatal(err)
	}
	if err := d.Publish(t.Context(), "early", nil); !errors.Is(err, driver.ErrInactive) {
		t.Errorf("publish without a broker: %v", err)
	}
	s.up()
	if !drivertest.Wait(t, changes, "change") || !d.Active() {
		t.Fatal("not active")
	}
	other := connect(t, mqtt.Config{URL: s.tcp()})
	defer other.Close()
	if err := other.Publish(t.Context(), "early", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if p := drivertest.Wait(t, got, "packet"); p != "x" {
		t.Errorf("got %q", p)
	}
}

// A driver that never found a broker closes all the same.
func TestCloseWithoutBroker(t *testing.T) {
	s := newService(t, server.Options{})
	s.down()
	d := connect(t, mqtt.Config{URL: s.ws() + "," + s.tcp()})
	if _, err := d.Subscribe(t.Context(), "ns", func([]byte) {}); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// The next broker of the list is tried where the first is not there.
func TestSeveralBrokers(t *testing.T) {
	gone, s := newService(t, server.Options{}), newService(t, server.Options{})
	gone.down()
	d := connect(t, mqtt.Config{URL: gone.tcp() + ", " + s.tcp()})
	defer d.Close()
	if !d.Active() {
		t.Error("not active")
	}
}

func TestCredentials(t *testing.T) {
	o := server.Options{}
	o.MQTT.Username, o.MQTT.Password = "me@home", "secret:/"
	s := newService(t, o)
	at := url.UserPassword(o.MQTT.Username, o.MQTT.Password).String() + "@127"
	for _, u := range []string{s.tcp(), s.ws()} {
		d := connect(t, mqtt.Config{URL: strings.Replace(u, "127", at, 1)})
		if !d.Active() {
			t.Errorf("%s: not active", u)
		}
		d.Close()
		var log records
		d = connect(t, mqtt.Config{URL: strings.Replace(u, "127", "me:secret@127", 1), Logger: slog.New(&log)})
		if d.Active() {
			t.Errorf("%s: active with a wrong password", u)
		}
		d.Close()
		if text := log.String(); strings.Contains(text, "secret") {
			t.Errorf("log:\n%s", text)
		}
	}
}

// The topic is the prefix with the namespace straight behind it, which is a
// subject for those who speak NATS to the same server.
func TestMeetsNATS(t *testing.T) {
	s := newService(t, server.Options{})
	nc, err := natsgo.Connect("", natsgo.InProcessServer(s.now))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	all := make(chan *natsgo.Msg, 10)
	if _, err := nc.ChanSubscribe("px.*", all); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	d := connect(t, mqtt.Config{URL: s.tcp(), Prefix: "px/"})
	defer d.Close()
	receive, got := drivertest.Receive()
	if _, err := d.Subscribe(t.Context(), "room", receive); err != nil {
		t.Fatal(err)
	}
	if err := d.Publish(t.Context(), "other", []byte("from MQTT")); err != nil {
		t.Fatal(err)
	}
	m := drivertest.Wait(t, all, "message")
	if m.Subject != "px.other" || string(m.Data) != "from MQTT" {
		t.Errorf("subject %q, data %q", m.Subject, m.Data)
	}
	if err := nc.Publish("px.room", []byte("from NATS")); err != nil {
		t.Fatal(err)
	}
	if p := drivertest.Wait(t, got, "packet"); p != "from NATS" {
		t.Errorf("got %q", p)
	}
}

// The longest packet is one that a nats-server takes as it comes.
func TestLongestPacket(t *testing.T) {
	const longest = driver.MaxPacket - 64
	s := newService(t, server.Options{})
	d := connect(t, mqtt.Config{URL: s.ws()})
	defer d.Close()
	receive, got := drivertest.Receive()
	if _, err := d.Subscribe(t.Context(), "ns", receive); err != nil {
		t.Fatal(err)
	}
	if err := d.Publish(t.Context(), "ns", make([]byte, longest+1)); !errors.Is(err, driver.ErrTooLarge) {
		t.Errorf("one more: %v", err)
	}
	if err := d.Publish(t.Context(), "ns", make([]byte, longest)); err != nil {
		t.Fatal(err)
	}
	if p := drivertest.Wait(t, got, "packet"); len(p) != longest {
		t.Errorf("got %d bytes", len(p))
	}
}

func TestConfigErrors(t *testing.T) {
	for name, c := range map[string]struct {
		config mqtt.Config
		want   string
	}{
		"no broker":          {mqtt.Config{}, "Config.URL is empty"},
		"no URL":             {mqtt.Config{URL: "mqtt://me:secret@[::1"}, "Config.URL"},
		"scheme":             {mqtt.Config{URL: "nats://x"}, `scheme "nats"`},
		"one of two":         {mqtt.Config{URL: "mqtt://x,"}, "Config.URL"},
		"no host":            {mqtt.Config{URL: "mqtt://:1883"}, "host"},
		"path":               {mqtt.Config{URL: "mqtt://x/y"}, "path"},
		"password only":      {mqtt.Config{URL: "mqtt://:secret@x"}, "no user"},
		"user no text":       {mqtt.Config{URL: "mqtt://%ff@x"}, "UTF-8"},
		"blank in prefix":    {mqtt.Config{URL: "mqtt://x", Prefix: "a b"}, "Config.Prefix"},
		"wildcard in prefix": {mqtt.Config{URL: "mqtt://x", Prefix: "a/#"}, "Config.Prefix"},
		"level wildcard":     {mqtt.Config{URL: "mqtt://x", Prefix: "+/"}, "Config.Prefix"},
		"system topic":       {mqtt.Config{URL: "mqtt://x", Prefix: "$SYS/"}, "Config.Prefix"},
		"prefix no text":     {mqtt.Config{URL: "mqtt://x", Prefix: "\xff"}, "Config.Prefix"},
		"long prefix":        {mqtt.Config{URL: "mqtt://x", Prefix: strings.Repeat("x", 40_000)}, "Config.Prefix"},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := mqtt.New(c.config)
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
	s := newService(t, server.Options{})
	var log records
	d := connect(t, mqtt.Config{URL: strings.Replace(s.ws(), "ws://", "ws://me:secret@", 1) + "/mqtt?token=secret", Logger: slog.New(&log)})
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

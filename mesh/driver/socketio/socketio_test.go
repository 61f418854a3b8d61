package socketio

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/weft-rtc/weft/mesh/driver"
	"github.com/weft-rtc/weft/mesh/driver/drivertest"
)

func TestRun(t *testing.T) {
	r := newRelay(t)
	r.prefix = "peerix:"
	r.listen()
	ws := strings.Replace(r.url, "http://", "ws://", 1)
	drivertest.Run(t, func() (a, b driver.Driver) {
		return connect(t, Config{URL: ws + "/rooms", Prefix: "peerix:"}),
			connect(t, Config{URL: ws, Namespace: "/rooms", Prefix: "peerix:"})
	})
}

func TestOutage(t *testing.T) {
	drivertest.RunOutage(t, func() (a, b driver.Driver, down, up func()) {
		r := newRelay(t).listen()
		return connect(t, Config{URL: r.url}), connect(t, Config{URL: r.url}), r.stop, r.start
	})
}

// A driver may be made, and subscribe, before there is a server.
func TestFirstConnectIsRetried(t *testing.T) {
	r := newRelay(t).listen()
	r.stop()
	var log records
	d := connect(t, Config{URL: strings.Replace(r.url, "http://", "http://me:secret@", 1) + "/?token=secret", Logger: slog.New(&log)})
	defer d.Close()
	changes := watch(d)
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
	r.start()
	if !drivertest.Wait(t, changes, "change") || !d.Active() {
		t.Fatal("not active")
	}
	other := connect(t, Config{URL: r.url})
	defer other.Close()
	if err := other.Publish(t.Context(), "early", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if p := drivertest.Wait(t, got, "packet"); p != "x" {
		t.Errorf("got %q", p)
	}
	text := log.String()
	if !strings.Contains(text, `503 Service Unavailable" "down`) || !strings.Contains(text, "INFO connected") || strings.Contains(text, "secret") {
		t.Errorf("log:\n%s", text)
	}
}

// What the server sees of the configuration.
func TestHandshake(t *testing.T) {
	r := newRelay(t)
	seen := make(chan string, 1)
	r.admit = func(auth json.RawMessage) string { seen <- string(auth); return "" }
	r.listen()
	d := connect(t, Config{
		URL: strings.Replace(r.url, "http://", "http://me:pw@", 1) + "/n?a=1&EIO=3", Path: "/deep/io",
		Query: url.Values{"b": {"2", "3"}}, Header: http.Header{"X-Test": {"yes"}}, Auth: map[string]string{"token": "t"},
	})
	defer d.Close()
	if !d.Active() {
		t.Fatal("not active")
	}
	if auth := drivertest.Wait(t, seen, "connect packet"); auth != `{"token":"t"}` {
		t.Errorf("auth %s", auth)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	q := r.requests[0]
	user, password, _ := q.BasicAuth()
	if q.URL.Path != "/deep/io/" || q.URL.Query().Encode() != "EIO=4&a=1&b=2&b=3&transport=websocket" ||
		q.Header.Get("X-Test") != "yes" || user != "me" || password != "pw" {
		t.Errorf("request %v with %v", q.URL, q.Header)
	}
}

func TestTLS(t *testing.T) {
	r := newRelay(t)
	s := httptest.NewUnstartedServer(r)
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // it dislikes the stranger
	s.StartTLS()
	t.Cleanup(func() { r.stop(); s.Close() })
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	d := connect(t, Config{URL: strings.Replace(s.URL, "https://", "wss://", 1), TLS: &tls.Config{RootCAs: pool}})
	defer d.Close()
	if !d.Active() {
		t.Error("not active")
	}
	stranger := connect(t, Config{URL: s.URL, TLS: &tls.Config{RootCAs: x509.NewCertPool()}})
	defer stranger.Close()
	if stranger.Active() {
		t.Error("active with a server that nobody vouches for")
	}
}

// A refusal is logged with its reason, and tried again: credentials may be put
// right on the server.
func TestRefused(t *testing.T) {
	r := newRelay(t)
	admit := make(chan struct{})
	r.admit = func(json.RawMessage) string {
		select {
		case <-admit:
			return ""
		default:
			return "bad token"
		}
	}
	r.listen()
	var log records
	d := connect(t, Config{URL: r.url, Auth: struct{ Token string }{"secret"}, Logger: slog.New(&log)})
	defer d.Close()
	changes := watch(d)
	if d.Active() {
		t.Error("active in spite of a refusal")
	}
	close(admit)
	if !drivertest.Wait(t, changes, "change") {
		t.Error("not active")
	}
	if text := log.String(); strings.Count(text, "WARN cannot connect") != 1 || !strings.Contains(text, `"bad token"`) || strings.Contains(text, "secret") {
		t.Errorf("log:\n%s", text)
	}
}

// Whatever is in the header of the handshake goes to the server of the URL and
// to no other.
func TestRedirect(t *testing.T) {
	r := newRelay(t).listen()
	s := httptest.NewServer(http.RedirectHandler(r.url, http.StatusFound))
	defer s.Close()
	var log records
	d := connect(t, Config{URL: s.URL, Header: http.Header{"X-Token": {"secret"}}, Logger: slog.New(&log)})
	defer d.Close()
	if d.Active() || !strings.Contains(log.String(), "302 Found") {
		t.Errorf("active %v, log:\n%s", d.Active(), &log)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.requests) != 0 {
		t.Error("followed")
	}
}

// Handshakes that are none leave the driver inactive, not hanging or crashed.
func TestBadHandshakes(t *testing.T) {
	for name, open := range map[string]string{
		"not JSON":       `hello`,
		"no ping":        `{"sid":"x"}`,
		"endless ping":   `{"pingInterval":25000,"pingTimeout":9e15}`,
		"negative limit": `{"pingInterval":25000,"pingTimeout":20000,"maxPayload":-1}`,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRelay(t)
			r.open = open
			r.listen()
			d := connect(t, Config{URL: r.url})
			defer d.Close()
			if d.Active() {
				t.Error("active")
			}
		})
	}
}

// The server ends the namespace, or Engine.IO: the driver comes again.
func TestServerEnds(t *testing.T) {
	for _, farewell := range []string{"41%s", "1"} {
		t.Run(farewell[:1], func(t *testing.T) {
			r := newRelay(t)
			first := make(chan *websocket.Conn, 10)
			r.greet = func(ws *websocket.Conn, _ string) { first <- ws }
			r.listen()
			d := connect(t, Config{URL: r.url + "/n"})
			defer d.Close()
			changes := watch(d)
			say(drivertest.Wait(t, first, "connection"), strings.Replace(farewell, "%s", "/n,", 1))
			if drivertest.Wait(t, changes, "change") || !drivertest.Wait(t, changes, "change") {
				t.Error("not first inactive, then active")
			}
		})
	}
}

// What is not expected is dropped, by name, and harms nothing.
func TestDrops(t *testing.T) {
	r := newRelay(t)
	greeted := make(chan *websocket.Conn, 1)
	r.greet = func(ws *websocket.Conn, _ string) { greeted <- ws }
	r.listen()
	d := connect(t, Config{URL: r.url + "/n"})
	defer d.Close()
	ws := drivertest.Wait(t, greeted, "connection")
	receive, got := drivertest.Receive()
	if _, err := d.Subscribe(t.Context(), "room", receive); err != nil {
		t.Fatal(err)
	}
	say(ws, `451-/n,["message","room",{"_placeholder":true,"num":0}]`)
	if err := ws.Write(t.Context(), websocket.MessageBinary, []byte{1, 2, 3}); err != nil {
		t.Fatal(err)
	}
	say(ws, `42/n,["message","room",[`+strings.Repeat("255,", driver.MaxPacket)+`255]]`)
	say(ws, strings.Repeat("4", maxMessage+1))
	say(ws, `9`)
	say(ws, `4`)
	say(ws, `42/n,["message","room",[256]]`)
	say(ws, `42/n,["message","room"]`)
	say(ws, `42["message","room",[1]]`)
	say(ws, `42/n,["news","room",[1]]`)
	say(ws, `43/n,99[]`)
	say(ws, `42/n,["message","elsewhere",[1]]`)
	say(ws, `6`)
	say(ws, ``)
	say(ws, `42/n,7["message","room",[111,107],"offset"]`)
	if p := drivertest.Wait(t, got, "packet"); p != "ok" {
		t.Errorf("got %q", p)
	}
	for reason, want := range map[string]uint64{
		dropBinary: 2, dropLong: 2, dropMalformed: 4, dropNamespace: 1, dropEvent: 1, dropAck: 1, dropUnwanted: 1, dropFull: 0,
	} {
		if n := d.drops.count(reason); n != want {
			t.Errorf("%s: %d dropped, want %d", reason, n, want)
		}
	}
	if !d.Active() {
		t.Error("not active")
	}
}

// The limit that the server names is that of the whole message.
func TestMaxPayload(t *testing.T) {
	r := newRelay(t)
	r.open = `{"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000}`
	r.listen()
	d := connect(t, Config{URL: r.url})
	defer d.Close()
	for _, c := range []struct {
		bytes int
		value byte
		fits  bool
	}{{450, 9, true}, {500, 9, false}, {230, 255, true}, {250, 255, false}} {
		p := make([]byte, c.bytes)
		for i := range p {
			p[i] = c.value
		}
		if err := d.Publish(t.Context(), "room", p); errors.Is(err, driver.ErrTooLarge) == c.fits {
			t.Errorf("%d bytes of %d: %v", c.bytes, c.value, err)
		}
	}
}

// Close sends what Publish has taken: a peer's farewell comes right before it.
func TestCloseSendsTheRest(t *testing.T) {
	r := newRelay(t).listen()
	a, b := connect(t, Config{URL: r.url}), connect(t, Config{URL: r.url})
	defer b.Close()
	receive, got := drivertest.Receive()
	if _, err := b.Subscribe(t.Context(), "room", receive); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if err := a.Publish(t.Context(), "room", fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if p := drivertest.Wait(t, got, "packet"); p != fmt.Sprint(i) {
			t.Fatalf("got %q, want %d", p, i)
		}
	}
}

// A receive function that panics loses that packet and no more.
func TestReceivePanics(t *testing.T) {
	r := newRelay(t).listen()
	a, b := connect(t, Config{URL: r.url}), connect(t, Config{URL: r.url})
	defer a.Close()
	defer b.Close()
	got := make(chan string, 2)
	if _, err := b.Subscribe(t.Context(), "room", func(p []byte) { got <- string(p[:1]) }); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"", "x"} {
		if err := a.Publish(t.Context(), "room", []byte(p)); err != nil {
			t.Fatal(err)
		}
	}
	if p := drivertest.Wait(t, got, "packet"); p != "x" {
		t.Errorf("got %q", p)
	}
}

func TestConfigErrors(t *testing.T) {
	for name, c := range map[string]struct {
		config Config
		want   string
	}{
		"no URL":                {Config{}, "Config.URL is empty"},
		"bad URL":               {Config{URL: "http://me:secret@[::1"}, "Config.URL"},
		"other scheme":          {Config{URL: "nats://x"}, `Config.URL has scheme "nats"`},
		"no host":               {Config{URL: "http:///n"}, "Config.URL names no host"},
		"comma in path":         {Config{URL: "http://x/a,b"}, "Config.URL: namespace"},
		"namespace":             {Config{URL: "http://x", Namespace: "n"}, "Config.Namespace"},
		"long namespace":        {Config{URL: "http://x", Namespace: "/" + strings.Repeat("n", 300)}, "Config.Namespace"},
		"line break in prefix":  {Config{URL: "http://x", Prefix: "a\n"}, "Config.Prefix"},
		"prefix is not UTF-8":   {Config{URL: "http://x", Prefix: "\xff"}, "Config.Prefix"},
		"auth is a string":      {Config{URL: "http://x", Auth: "secret"}, "Config.Auth"},
		"auth is a channel":     {Config{URL: "http://x", Auth: make(chan int)}, "Config.Auth"},
		"blank in header name":  {Config{URL: "http://x", Header: http.Header{"a b": {"c"}}}, "Config.Header"},
		"line break in a value": {Config{URL: "http://x", Header: http.Header{"A": {"secret\n"}}}, "Config.Header"},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := New(c.config)
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

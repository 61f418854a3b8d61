package sse

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/weft-rtc/weft/mesh/driver"
	"github.com/weft-rtc/weft/mesh/driver/drivertest"
)

func TestDriver(t *testing.T) {
	s := newService(t, newHub())
	drivertest.Run(t, func() (a, b driver.Driver) {
		return connect(t, Config{URL: s.url()}), connect(t, Config{URL: s.url()})
	})
}

func TestOutage(t *testing.T) {
	drivertest.RunOutage(t, func() (a, b driver.Driver, down, up func()) {
		s := newService(t, newHub())
		return connect(t, Config{URL: s.url()}), connect(t, Config{URL: s.url()}), s.down, s.up
	})
}

// Over HTTP/2 all streams and requests share a connection, which Close closes.
func TestHTTP2(t *testing.T) {
	h, protocols := newHub(), make(chan string, 100)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		protocols <- r.Proto + " " + r.RemoteAddr
		h.ServeHTTP(w, r)
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	d := connect(t, Config{URL: s.URL, TLS: s.Client().Transport.(*http.Transport).TLSClientConfig})
	defer d.Close()
	receive, got := drivertest.Receive()
	for _, namespace := range []string{"one", "two", "three"} {
		if _, err := d.Subscribe(t.Context(), namespace, receive); err != nil {
			t.Fatal(err)
		}
		if err := d.Publish(t.Context(), namespace, []byte(namespace)); err != nil {
			t.Fatal(err)
		}
		if p := drivertest.Wait(t, got, "packet"); p != namespace {
			t.Errorf("got %q", p)
		}
	}
	first := <-protocols
	if !strings.HasPrefix(first, "HTTP/2.0 ") {
		t.Errorf("speaks %s", first)
	}
	for range 6 {
		if next := <-protocols; next != first {
			t.Errorf("another connection: %s, %s", first, next)
		}
	}
}

// A certificate that is not trusted leaves the driver inactive.
func TestTLSIsChecked(t *testing.T) {
	s := httptest.NewUnstartedServer(newHub())
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	s.StartTLS()
	defer s.Close()
	d := connect(t, Config{URL: "sse+" + s.URL, TLS: &tls.Config{}})
	defer d.Close()
	if d.Active() {
		t.Error("active")
	}
}

// What the Peerix library's driver sends (fetch with URLSearchParams) and
// takes, byte by byte.
func TestWireFormat(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	type request struct{ head, kind, body string }
	requests := make(chan request, 10)
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				r := bufio.NewReader(c)
				for {
					req, err := http.ReadRequest(r)
					if err != nil {
						return
					}
					body, _ := io.ReadAll(req.Body)
					requests <- request{req.Method + " " + req.RequestURI, req.Header.Get("Content-Type") + req.Header.Get("Accept"), string(body)}
					if req.Method == http.MethodGet {
						_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\ndata: +/v7/w==\n\n")
					} else {
						_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
					}
				}
			}()
		}
	}()
	d := connect(t, Config{URL: "http://" + listener.Addr().String() + "/hub?x=1"})
	defer d.Close()
	if r := <-requests; r.head != "HEAD /hub?x=1" {
		t.Errorf("asks with %+v", r)
	}
	receive, got := drivertest.Receive()
	if _, err := d.Subscribe(t.Context(), "dcjHO465qA-_", receive); err != nil {
		t.Fatal(err)
	}
	if p := drivertest.Wait(t, got, "packet"); p != "\xfb\xfb\xfb\xff" {
		t.Errorf("got %q", p)
	}
	if r := <-requests; r != (request{"GET /hub?x=1&topic=dcjHO465qA-_", "text/event-stream", ""}) {
		t.Errorf("listens with %+v", r)
	}
	for packet, want := range map[string]string{
		"\xfb\xfb\xfb\xff": "topic=room&data=%2B%2Fv7%2Fw%3D%3D",
		"abc":              "topic=room&data=YWJj",
		"":                 "topic=room&data=",
	} {
		if err := d.Publish(t.Context(), "room", []byte(packet)); err != nil {
			t.Fatal(err)
		}
		if r := <-requests; r != (request{"POST /hub?x=1&topic=room", "application/x-www-form-urlencoded", want}) {
			t.Errorf("publishes %q with %+v", packet, r)
		}
	}
}

// A driver may be made, and subscribe, before there is a service.
func TestFirstConnectIsRetried(t *testing.T) {
	h := newHub()
	s := newService(t, h)
	s.down()
	d := connect(t, Config{URL: s.url()})
	defer d.Close()
	changes := make(chan bool, 10)
	d.Watch(func(active bool) { changes <- active })
	if d.Active() {
		t.Error("active without a service")
	}
	receive, got := drivertest.Receive()
	if _, err := d.Subscribe(t.Context(), "early", receive); err != nil {
		t.Fatal(err)
	}
	if err := d.Publish(t.Context(), "early", nil); !errors.Is(err, driver.ErrInactive) {
		t.Errorf("publish without a service: %v", err)
	}
	s.up()
	if !drivertest.Wait(t, changes, "change") || !d.Active() {
		t.Fatal("not active")
	}
	h.send("early", "x")
	if p := drivertest.Wait(t, got, "packet"); p != "x" {
		t.Errorf("got %q", p)
	}
}

// A call that waits ends with its context, and with the driver.
func TestCallsEnd(t *testing.T) {
	begun := make(chan struct{}, 10)
	s := newService(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodHead {
			_, _ = io.Copy(io.Discard, r.Body)
			begun <- struct{}{}
			<-r.Context().Done()
		}
	}))
	d := connect(t, Config{URL: s.url()})
	calls := map[string]func(ctx context.Context) error{
		"publish":   func(ctx context.Context) error { return d.Publish(ctx, "a", nil) },
		"subscribe": func(ctx context.Context) error { _, err := d.Subscribe(ctx, "a", func([]byte) {}); return err },
	}
	for name, call := range calls {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- call(ctx) }()
		<-begun
		cancel()
		if err := drivertest.Wait(t, done, "end"); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	done := make(chan error, 2)
	for _, call := range calls {
		go func() { done <- call(t.Context()) }()
		<-begun
	}
	d.Close()
	for range calls {
		if err := drivertest.Wait(t, done, "end"); !errors.Is(err, driver.ErrClosed) {
			t.Errorf("error %v", err)
		}
	}
}

// Packets that nobody can use are counted, and the next one comes through.
func TestDrops(t *testing.T) {
	h := newHub()
	d := connect(t, Config{URL: newService(t, h).url()})
	defer d.Close()
	receive, got := drivertest.Receive()
	if _, err := d.Subscribe(t.Context(), "a", receive); err != nil {
		t.Fatal(err)
	}
	h.publish("a", "{}")
	h.publish("a", strings.Repeat("A", maxEvent))
	h.publish("a", strings.Repeat("A", maxEvent-6))
	h.send("a", string(bytes.Repeat([]byte{1}, driver.MaxPacket)))
	h.send("a", "next")
	if p := drivertest.Wait(t, got, "packet"); len(p) != driver.MaxPacket {
		t.Errorf("got %d bytes", len(p))
	}
	if p := drivertest.Wait(t, got, "packet"); p != "next" {
		t.Errorf("got %q", p)
	}
	if drops := d.Drops(); drops != (Drops{Encoding: 1, TooLarge: 2}) {
		t.Errorf("drops %+v", drops)
	}
}

func TestDelay(t *testing.T) {
	for _, c := range []struct {
		attempt int
		floor   time.Duration
		random  float64
		want    time.Duration
	}{
		{0, 0, 0, 100 * time.Millisecond},
		{1, 0, 0, 100 * time.Millisecond},
		{1, 0, 0.5, 150 * time.Millisecond},
		{2, 0, 0, 200 * time.Millisecond},
		{6, 0, 0, 2 * time.Second},
		{6, 0, 0.5, 3 * time.Second},
		{1 << 40, 0, 0.5, 3 * time.Second},
		{-1, 0, 0, 100 * time.Millisecond},
		{1, time.Second, 0, time.Second},
		{1, time.Second, 0.5, 1125 * time.Millisecond},
		{6, time.Second, 0, 2 * time.Second},
		{1, time.Hour, 0, 30 * time.Second},
	} {
		if got := delay(c.attempt, c.floor, c.random); got != c.want {
			t.Errorf("delay(%d, %v, %v) = %v, want %v", c.attempt, c.floor, c.random, got, c.want)
		}
	}
}

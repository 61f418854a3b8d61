package sse

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/weft-rtc/weft/mesh/driver/drivertest"
)

// Both kinds of requests carry what is configured.
func TestCredentials(t *testing.T) {
	for name, c := range map[string]struct {
		config             Config
		user               string
		publish, subscribe string
	}{
		"none":       {Config{}, "", "", ""},
		"token":      {Config{Token: "t"}, "", "Bearer t", "Bearer t"},
		"two tokens": {Config{Token: "t", SubscribeToken: "s"}, "", "Bearer t", "Bearer s"},
		"subscriber": {Config{SubscribeToken: "s"}, "", "", "Bearer s"},
		"user":       {Config{}, "me:p%40ss@", "Basic bWU6cEBzcw==", "Basic bWU6cEBzcw=="},
		"header":     {Config{Header: http.Header{"authorization": {"x"}}}, "", "x", "x"},
	} {
		t.Run(name, func(t *testing.T) {
			seen := make(chan string, 10)
			h := newHub()
			s := newService(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				seen <- r.Method + " " + r.Header.Get("Authorization") + r.Header.Get("X-Extra") + r.URL.Query().Get("authorization")
				h.ServeHTTP(w, r)
			}))
			config := c.config
			config.URL = "http://" + c.user + s.addr + "?authorization=jwt"
			if config.Header == nil {
				config.Header = http.Header{"X-Extra": {"+"}}
				c.publish, c.subscribe = c.publish+"+", c.subscribe+"+"
			}
			d := connect(t, config)
			defer d.Close()
			if _, err := d.Subscribe(t.Context(), "a", func([]byte) {}); err != nil {
				t.Fatal(err)
			}
			if err := d.Publish(t.Context(), "a", nil); err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"HEAD " + c.subscribe + "jwt", "GET " + c.subscribe + "jwt", "POST " + c.publish + "jwt"} {
				if got := drivertest.Wait(t, seen, "request"); got != want {
					t.Errorf("got %q, want %q", got, want)
				}
			}
		})
	}
}

func TestConfigErrors(t *testing.T) {
	for name, c := range map[string]struct {
		config Config
		want   string
	}{
		"no URL":             {Config{}, "Config.URL is empty"},
		"bad URL":            {Config{URL: "http://me:secret@[::1"}, "Config.URL"},
		"scheme":             {Config{URL: "ws://x"}, "Config.URL has the scheme"},
		"no host":            {Config{URL: "http:///x"}, "Config.URL has no host"},
		"topic":              {Config{URL: "http://x?topic=a"}, "Config.URL has a topic"},
		"token":              {Config{URL: "http://x", Token: "a\nb"}, "Config.Token"},
		"subscribe token":    {Config{URL: "http://x", SubscribeToken: "a\nb"}, "Config.SubscribeToken"},
		"token and user":     {Config{URL: "http://me@x", Token: "a"}, "exclude each other"},
		"header and token":   {Config{URL: "http://x", Token: "a", Header: http.Header{"Authorization": {"b"}}}, "Config.Header"},
		"header name":        {Config{URL: "http://x", Header: http.Header{"a b": {"b"}}}, "Config.Header"},
		"header value":       {Config{URL: "http://x", Header: http.Header{"A": {"b\r\nC: d"}}}, "Config.Header"},
		"header of our own":  {Config{URL: "http://x", Header: http.Header{"content-type": {"b"}}}, "Config.Header"},
		"header of its kind": {Config{URL: "http://x", Header: http.Header{"Last-Event-ID": {"b"}}}, "Config.Header"},
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

// Connects and disconnects are logged, without what is secret in the URL.
func TestLog(t *testing.T) {
	s := newService(t, newHub())
	var log text
	d := connect(t, Config{URL: "http://me:secret@" + s.addr + "?authorization=secret", Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	changes := make(chan bool, 10)
	d.Watch(func(active bool) { changes <- active })
	if _, err := d.Subscribe(t.Context(), "a", func([]byte) {}); err != nil {
		t.Fatal(err)
	}
	s.down()
	drivertest.Wait(t, changes, "change")
	err := d.Publish(t.Context(), "a", nil)
	d.Close()
	if all := log.String() + fmt.Sprint(err); !strings.Contains(all, "connected") || !strings.Contains(all, "disconnected") || strings.Contains(all, "secret") {
		t.Errorf("log:\n%s", all)
	}
}

// text is a log that may be written to by many.
type text struct {
	mu sync.Mutex
	b  strings.Builder
}

func (t *text) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.Write(p)
}

func (t *text) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}

package sse

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/weft-rtc/weft/mesh/driver"
	"github.com/weft-rtc/weft/mesh/driver/drivertest"
)

// answers is a service that gives the same answer to every POST.
func answers(status int, body string) http.Handler {
	h := newHub()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			h.ServeHTTP(w, r)
			return
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
}

func TestPublishErrors(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
		is     error
		want   string
	}{
		{413, "too much", driver.ErrTooLarge, `"too much"`},
		{401, "", ErrUnauthorized, "401 Unauthorized"},
		{403, "not this topic\n", ErrForbidden, `403 Forbidden: "not this topic"`},
		{400, "\x1b[31m" + strings.Repeat("x", 1000), nil, `400 Bad Request: "\x1b[31mx`},
		{500, "", nil, "500 Internal Server Error"},
		{304, "", nil, "304 Not Modified"},
	} {
		d := connect(t, Config{URL: newService(t, answers(c.status, c.body)).url()})
		err := d.Publish(t.Context(), "a", []byte("x"))
		var status *StatusError
		if !errors.As(err, &status) || status.Status != c.status || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 300 {
			t.Errorf("%d: error %v, want one with %q", c.status, err, c.want)
		}
		if c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%d: error %v is not %v", c.status, err, c.is)
		}
		if !d.Active() {
			t.Errorf("%d: not active after a refused packet", c.status)
		}
		d.Close()
	}
	for _, status := range []int{200, 201, 204} {
		d := connect(t, Config{URL: newService(t, answers(status, "")).url()})
		if err := d.Publish(t.Context(), "a", []byte("x")); err != nil {
			t.Errorf("%d: %v", status, err)
		}
		d.Close()
	}
}

// A stream that the service refuses is an error of Subscribe and does no harm
// to the others.
func TestSubscribeRefused(t *testing.T) {
	h := newHub()
	s := newService(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.FormValue("topic") {
		case "secret":
			http.Error(w, "no", http.StatusForbidden)
		case "page":
			_, _ = io.WriteString(w, "<html>")
		default:
			h.ServeHTTP(w, r)
		}
	}))
	d := connect(t, Config{URL: s.url()})
	defer d.Close()
	d.Watch(func(active bool) { t.Errorf("active changed to %v", active) })
	receive, got := drivertest.Receive()
	if _, err := d.Subscribe(t.Context(), "fine", receive); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Subscribe(t.Context(), "secret", receive); !errors.Is(err, ErrForbidden) {
		t.Errorf("error %v", err)
	}
	if _, err := d.Subscribe(t.Context(), "page", receive); err == nil || !strings.Contains(err.Error(), "<html>") {
		t.Errorf("error %v", err)
	}
	h.send("fine", "x")
	if p := drivertest.Wait(t, got, "packet"); p != "x" {
		t.Errorf("got %q", p)
	}
}

// Redirects are followed where nothing is lost or given away by it.
func TestRedirects(t *testing.T) {
	seen := make(chan string, 10)
	h := newHub()
	there := newService(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Method + " " + r.Header.Get("Authorization") + " " + r.Header.Get("X-Key") + r.Header.Get("Referer")
		h.ServeHTTP(w, r)
	}))
	host, status := there.addr, http.StatusTemporaryRedirect
	here := newService(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://"+host+r.URL.RequestURI(), status)
	}))
	d := connect(t, Config{URL: here.url(), Token: "t", Header: http.Header{"X-Key": {"k"}}})
	defer d.Close()
	receive, got := drivertest.Receive()
	if _, err := d.Subscribe(t.Context(), "a", receive); err != nil {
		t.Fatal(err)
	}
	if err := d.Publish(t.Context(), "a", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if p := drivertest.Wait(t, got, "packet"); p != "x" {
		t.Errorf("got %q", p)
	}
	for _, want := range []string{"HEAD Bearer t k", "GET Bearer t k", "POST Bearer t k"} {
		if r := drivertest.Wait(t, seen, "request"); r != want {
			t.Errorf("same host: got %q, want %q", r, want)
		}
	}
	host = strings.Replace(there.addr, "127.0.0.1", "localhost", 1) // another name is another host
	if err := d.Publish(t.Context(), "a", nil); err != nil {
		t.Fatal(err)
	}
	if r := drivertest.Wait(t, seen, "request"); r != "POST  " {
		t.Errorf("another host got %q", r)
	}
	status = http.StatusFound
	if err := d.Publish(t.Context(), "a", nil); err == nil || !strings.Contains(err.Error(), "lose the packet") {
		t.Errorf("a POST that became a GET: %v", err)
	}
}

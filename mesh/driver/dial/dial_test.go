package dial

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestNew: every scheme has its driver, which waits for its service.
func TestNew(t *testing.T) {
	for _, scheme := range Schemes {
		u := scheme + "://user:secret@127.0.0.1:1"
		if scheme == "memory" {
			u = "memory:"
		}
		d, err := New(u, Options{})
		if err != nil {
			t.Errorf("%s: %v", scheme, err)
			continue
		}
		want := "*" + strings.TrimSuffix(strings.Split(scheme, "+")[0], "s") + "."
		switch scheme {
		case "nats", "tls", "ws", "wss":
			want = "*nats."
		case "sse+http", "sse+https":
			want = "*sse."
		}
		if got := fmt.Sprintf("%T", d); !strings.HasPrefix(got, want) {
			t.Errorf("%s: driver %s, want %s", scheme, got, want)
		}
		if d.Active() != (scheme == "memory") {
			t.Errorf("%s: active %v", scheme, d.Active())
		}
		if err := d.Close(); err != nil {
			t.Errorf("%s: close: %v", scheme, err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for _, u := range []string{"", "127.0.0.1", "http://user:secret@127.0.0.1", "mqtt+tcp://127.0.0.1", "gopher://user:secret@127.0.0.1", "gopher://secret@127.0.0.1", "gopher://x?authorization=secret", "secret@127.0.0.1", "nats://user:%secret@x", "sse+http://", "nats://\x7f"} {
		d, err := New(u, Options{})
		if err == nil {
			t.Errorf("%q: accepted", u)
			_ = d.Close()
			continue
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the error tells the password: %v", u, err)
		}
	}
	if _, err := New("gopher://x", Options{}); !errors.Is(err, ErrScheme) {
		t.Errorf("error %v, want %v", err, ErrScheme)
	}
	if _, err := New("sse+http://x", Options{Prefix: "p"}); err == nil {
		t.Error("a prefix for SSE was accepted")
	}
}

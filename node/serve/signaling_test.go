package serve

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// externalBroker is a nats-server of somebody else, with WebSocket at ws.
func externalBroker(t *testing.T) (srv *server.Server, ws string) {
	t.Helper()
	opts := &server.Options{
		DontListen: true, NoSigs: true, NoLog: true,
		Websocket: server.WebsocketOpts{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoTLS: true},
	}
	srv, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(30 * time.Second) {
		t.Fatal("the broker does not start")
	}
	return srv, "ws://" + net.JoinHostPort("127.0.0.1", fmt.Sprint(opts.Websocket.Port))
}

// With a broker the hub listens there, there is no other signaling, and the
// page is told.
func TestSignalOfABroker(t *testing.T) {
	srv, ws := externalBroker(t)
	info := start(t, Config{Signal: ws, SignalPrefix: "px.", Rooms: []string{"demo"}})
	if n := srv.NumSubscriptions(); n < 2 {
		t.Errorf("the hub has %d subscriptions at the broker, want those of room and peer", n)
	}
	if info.Signal != ws {
		t.Errorf("signal is %s, want %s", info.Signal, ws)
	}
	_, _, body := request(t, http.DefaultClient, "GET", info.URL+"config.json")
	if want := `"driver":"nats","signaling":{"driver":"nats","options":{"servers":["` + ws + `"],"prefix":"px."}}`; !strings.Contains(body, want) {
		t.Errorf("config %s, want %s in it", body, want)
	}
	for _, path := range []string{"nats", "mqtt", ".well-known/mercure?topic=a"} {
		if status, _, _ := request(t, http.DefaultClient, "GET", info.URL+path); status != http.StatusNotFound {
			t.Errorf("%s: status %d", path, status)
		}
	}
}

// The server starts without its broker: rooms wait for it.
func TestSignalBeforeItsBroker(t *testing.T) {
	info := start(t, Config{Signal: "nats://127.0.0.1:1", Rooms: []string{"demo"}})
	if status, _, body := request(t, http.DefaultClient, "GET", info.URL+"api/v1/rooms/demo"); status != http.StatusOK {
		t.Errorf("status %d: %s", status, body)
	}
}

// Pages get no credentials, and are told where there is no way for them.
func TestSignalForPages(t *testing.T) {
	for url, want := range map[string]string{
		"wss://a/x,wss://b":       `"servers":["wss://a/x","wss://b"]`,
		"wss://me:secret@a":       `"driver":"","signaling":null`,
		"wss://a?token=secret":    `"driver":"","signaling":null`,
		"wss://a,wss://secret@b":  `"driver":"","signaling":null`,
		"nats://me:secret@a:4222": `"driver":"","signaling":null`,
		"mqtt+wss://a":            `"driver":"","signaling":null`,
	} {
		info := start(t, Config{Signal: url, NoHub: true})
		_, _, body := request(t, http.DefaultClient, "GET", info.URL+"config.json")
		if !strings.Contains(body, want) || strings.Contains(body+info.Signal, "secret") {
			t.Errorf("%s: config %s and signal %s, want %s", url, body, info.Signal, want)
		}
	}
	for _, url := range []string{"secret@host", "gopher://secret@host", "nats://me:secret@host:x", "nats://%secret"} {
		if _, err := New(Config{Signal: url}); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: error %v", url, err)
		}
	}
}

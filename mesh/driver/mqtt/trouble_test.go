package mqtt_test

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/weft-rtc/weft/mesh/driver/drivertest"
	"github.com/weft-rtc/weft/mesh/driver/mqtt"
)

// scripted is a broker that does as the test says, connection by connection.
// It returns its URL.
func scripted(t *testing.T, serve ...func(conn net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { l.Close(); wg.Wait() })
	wg.Go(func() {
		for i := 0; ; i++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				if _, err := packets.ReadPacket(conn); err == nil {
					serve[min(i, len(serve)-1)](conn)
				}
			})
		}
	})
	return "mqtt://" + l.Addr().String()
}

// obey accepts, confirms the first subscription, says what it was given, and
// reads until the client has gone.
func obey(says ...[]byte) func(net.Conn) { return obeyWith(0, says...) }

// obeyWith answers the subscription with a code.
func obeyWith(code byte, says ...[]byte) func(net.Conn) {
	return func(conn net.Conn) {
		conn.Write([]byte{0x20, 2, 0, 0})
		if p, err := packets.ReadPacket(conn); err == nil {
			if sub, ok := p.(*packets.SubscribePacket); ok {
				conn.Write([]byte{0x90, 3, byte(sub.MessageID >> 8), byte(sub.MessageID), code})
			}
		}
		for _, b := range says {
			conn.Write(b)
		}
		io.Copy(io.Discard, conn)
	}
}

// message is a packet that publishes to topic ns.
func message(flags byte, payload string) []byte {
	return append([]byte{0x30 | flags, byte(4 + len(payload)), 0, 2, 'n', 's'}, payload...)
}

// Retained messages are old, and long ones are for somebody else; neither ends
// the connection.
func TestIgnored(t *testing.T) {
	long := append([]byte{0x30, 0x80, 0x80, 0x80, 0x01, 0, 2, 'n', 's'}, make([]byte, 1<<21-4)...)
	url := scripted(t, obey(message(1, "retained"), long, message(0, "fresh")))
	d := connect(t, mqtt.Config{URL: url})
	defer d.Close()
	receive, got := drivertest.Receive()
	if _, err := d.Subscribe(t.Context(), "ns", receive); err != nil {
		t.Fatal(err)
	}
	if p := drivertest.Wait(t, got, "packet"); p != "fresh" {
		t.Errorf("got %.20q", p)
	}
}

// A broker that breaks the protocol is left, and the next connection works.
func TestBadBroker(t *testing.T) {
	for name, says := range map[string][]byte{
		"garbage":            []byte("HTTP/1.1 400 Bad Request\r\n\r\n"),
		"many answers":       {0x90, 7, 0, 1, 0, 0, 0, 0, 0},
		"quality of service": message(2, "xx"),
		"huge":               {0x20, 0xff, 0xff, 0xff, 0x7f},
		"topic too long":     {0x30, 3, 0xff, 0xff, 'x'},
	} {
		t.Run(name, func(t *testing.T) {
			url := scripted(t, obey(says), obey(message(0, "good")))
			d := connect(t, mqtt.Config{URL: url})
			defer d.Close()
			receive, got := drivertest.Receive()
			if _, err := d.Subscribe(t.Context(), "ns", receive); err != nil {
				t.Fatal(err)
			}
			if p := drivertest.Wait(t, got, "packet"); p != "good" {
				t.Errorf("got %q", p)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	var log records
	url := scripted(t, func(conn net.Conn) { conn.Write([]byte{0x20, 2, 0, 5}) })
	d := connect(t, mqtt.Config{URL: url, Logger: slog.New(&log)})
	if d.Active() {
		t.Error("active")
	}
	d.Close()
	if text := log.String(); !strings.Contains(text, "refused") {
		t.Errorf("log:\n%s", text)
	}
	url = scripted(t, obeyWith(0x80))
	d = connect(t, mqtt.Config{URL: url})
	defer d.Close()
	if _, err := d.Subscribe(t.Context(), "ns", func([]byte) {}); !errors.Is(err, mqtt.ErrRefused) {
		t.Errorf("error %v", err)
	}
}

// A WebSocket is opened where the URL says, and nowhere else.
func TestRedirectIsRefused(t *testing.T) {
	there := make(chan struct{}, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/there" {
			there <- struct{}{}
			return
		}
		http.Redirect(w, r, "/there", http.StatusFound)
	}))
	defer s.Close()
	d, err := mqtt.New(mqtt.Config{URL: "ws" + strings.TrimPrefix(s.URL, "http")})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	select {
	case <-there:
		t.Error("the redirect was followed")
	default:
	}
}

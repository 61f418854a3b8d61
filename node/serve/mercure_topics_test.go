package serve

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/weft-rtc/weft/mesh/driver"
	"github.com/weft-rtc/weft/node/serve/access"
)

// A server that stops ends streams properly, and bodies that do not come.
func TestMercureStops(t *testing.T) {
	s := &restartable{t: t, cfg: Config{NoHub: true, Listen: "127.0.0.1:0"}}
	s.up()
	resp, err := http.Get(s.info.URL + mercurePath[1:] + "?topic=a")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	c, err := net.Dial("tcp", s.cfg.Listen)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "POST "+mercurePath+"?topic=a HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"+
		"Content-Length: 100\r\nExpect: 100-continue\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("%q, %v", line, err)
	}
	s.down()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != mercureHello {
		t.Errorf("stream ended with %q, %v", body, err)
	}
	http.DefaultClient.CloseIdleConnections()
}

// testMercure serves the endpoint alone, on a bus of its own.
func testMercure(t *testing.T) (m *mercure, b *bus, at string) {
	t.Helper()
	b, err := newBus(slog.New(slog.DiscardHandler), newTenants(10, false))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	m = newMercure(b, openDoor(b), nil, slog.New(slog.DiscardHandler))
	srv := httptest.NewServer(m)
	t.Cleanup(func() {
		m.Close()
		srv.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return m, b, srv.URL + mercurePath
}

// open opens a stream and reads its beginning.
func openStream(t *testing.T, url string) (status int, body io.ReadCloser) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode == http.StatusOK {
		if _, err := io.ReadFull(resp.Body, make([]byte, len(mercureHello))); err != nil {
			t.Fatal(err)
		}
	}
	return resp.StatusCode, resp.Body
}

// Streams need few connections to the bus, and none when they are gone.
func TestMercureConnections(t *testing.T) {
	m, b, at := testMercure(t)
	const count = busMaxSubscriptions + 6
	var bodies []io.Reader
	for i := range count {
		for range 2 {
			_, body := openStream(t, fmt.Sprint(at, "?topic=t", i))
			bodies = append(bodies, body)
		}
	}
	if n := b.srv.NumClients(); n != 2 {
		t.Errorf("%d streams have %d connections to the bus, want 2", len(bodies), n)
	}
	for i := range count {
		if err := m.topics.publish(fmt.Sprint("t", i), []byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	for i, body := range bodies {
		want := "data: " + base64.StdEncoding.EncodeToString([]byte{byte(i / 2)}) + "\n\n"
		got := make([]byte, len(want))
		if _, err := io.ReadFull(body, got); err != nil || string(got) != want {
			t.Fatalf("stream %d: %q, %v, want %q", i, got, err, want)
		}
	}
	m.Close()
	m.topics.mu.Lock()
	defer m.topics.mu.Unlock()
	if len(m.topics.lines) != 0 || len(m.topics.open) != 0 || m.streams.used != 0 || m.bodies.used != 0 {
		t.Errorf("left: %d connections, %d topics, %d streams, %d bytes", len(m.topics.lines), len(m.topics.open), m.streams.used, m.bodies.used)
	}
}

// Streams end when the bus goes, so that their readers know.
func TestMercureLosesTheBus(t *testing.T) {
	_, b, at := testMercure(t)
	_, body := openStream(t, at+"?topic=a")
	b.Close()
	if rest, err := io.ReadAll(body); err != nil || len(rest) != 0 {
		t.Errorf("%q, %v", rest, err)
	}
	if status, _ := openStream(t, at+"?topic=a"); status != http.StatusServiceUnavailable {
		t.Errorf("a stream without a bus: %d", status)
	}
}

func TestMercureStreamLimit(t *testing.T) {
	m, _, at := testMercure(t)
	m.streams.total = 2
	for _, want := range []int{200, 200, 503} {
		if status, _ := openStream(t, at+"?topic=a"); status != want {
			t.Errorf("status %d, want %d", status, want)
		}
	}
	m.bodies.total = 10
	resp, err := http.Post(at, "application/x-www-form-urlencoded", strings.NewReader("topic=a&data=YQ"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("too much at once: %d, %v", resp.StatusCode, resp.Header)
	}
}

func FuzzUpdate(f *testing.F) {
	f.Add("", "topic=a&data=YQ%3D%3D")
	f.Add("topic=a", "topic=a&data=%2B%2Fv7%2Fw%3D%3D")
	f.Add("topic=a&topic=b", "data=====")
	f.Fuzz(func(t *testing.T, query, body string) {
		q, _ := url.ParseQuery(query)
		form, err := url.ParseQuery(body)
		if err != nil {
			return
		}
		topic, packet, status, err := update(q["topic"], form)
		if (err == nil) != (status == 0) {
			t.Errorf("status %d with error %v", status, err)
		}
		if err == nil && (driver.CheckNamespace(topic) != nil || len(topic) > mercureMaxTopic || len(packet) > busMaxPayload) {
			t.Errorf("took topic %q and %d bytes", topic, len(packet))
		}
	})
}

// openDoor lets everybody into a bus.
func openDoor(b *bus) *doorway { return &doorway{gate: access.NewOpenGate(), rooms: b.rooms} }

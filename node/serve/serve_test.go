package serve

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/weft-rtc/weft/node/serve/access"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs a server on free ports until the test ends.
func start(t *testing.T, cfg Config) Info {
	t.Helper()
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	cfg.UDP = "127.0.0.1:0"
	ready := make(chan Info, 1)
	cfg.Ready = func(i Info) { ready <- i }
	srv, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	select {
	case i := <-ready:
		return i
	case err := <-done:
		done <- err
		t.Fatalf("Run: %v", err)
		return Info{}
	}
}

// request sends one request and returns status, header and body.
func request(t *testing.T, client *http.Client, method, url string, header ...string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(body)
}

func TestConfigErrors(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"no port", Config{Listen: "localhost"}, "host:port"},
		{"port text", Config{Listen: "127.0.0.1:http"}, "not a number"},
		{"port high", Config{Listen: "127.0.0.1:70000"}, "0 to 65535"},
		{"not open", Config{Listen: ":8080"}, "--open"},
		{"not open v6", Config{Listen: "[::]:8080"}, "--open"},
		{"cert only", Config{TLSCert: "x"}, "go together"},
		{"cert missing", Config{TLSCert: "/none", TLSKey: "/none"}, "/none"},
		{"room control", Config{Rooms: []string{"a\nb"}}, "control"},
		{"room without hub", Config{NoHub: true, Rooms: []string{"a"}}, "--no-hub"},
		{"rooms", Config{MaxRooms: 1, Rooms: []string{"a", "b"}}, "--max-rooms"},
		{"negative", Config{MaxRooms: -1}, "--max-rooms"},
		{"udp name", Config{UDP: "example.org:1"}, "--udp"},
		{"signal scheme", Config{Signal: "gopher://x"}, "--signal"},
		{"signal memory", Config{Signal: "memory:"}, "--signal"},
		{"signal host", Config{Signal: "nats://"}, "--signal"},
		{"signal of two", Config{Signal: "nats://x,"}, "--signal"},
		{"signal prefix", Config{SignalPrefix: "px."}, "--signal-prefix"},
		{"signal prefix of SSE", Config{Signal: "sse+http://x", SignalPrefix: "px."}, "--signal-prefix"},
		{"MQTT of a broker", Config{Signal: "nats://x", MQTT: true}, "--mqtt"},
		{"open with tokens", Config{Open: true, AuthWebhook: access.NewSecret("http://x/")}, "--open"},
		{"webhook", Config{AuthWebhook: access.NewSecret("x")}, "--auth-webhook"},
		{"public IP", Config{PublicIPs: []string{"example.org"}}, "--public-ip"},
		{"ICE-TCP", Config{ICETCP: "example.org:1"}, "--ice-tcp"},
		{"limits", Config{MaxPeers: -1}, "--max-peers"},
		{"origin", Config{AllowOrigins: []string{"example.org"}}, "--allow-origin"},
	} {
		if _, err := New(c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
}

func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	for flag, cfg := range map[string]Config{
		"--listen " + l.Addr().String():   {Listen: l.Addr().String(), UDP: "127.0.0.1:0"},
		"--udp " + u.LocalAddr().String(): {Listen: "127.0.0.1:0", UDP: u.LocalAddr().String()},
	} {
		srv, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		err = srv.Run(t.Context())
		if err == nil || !strings.Contains(err.Error(), flag) || !strings.Contains(err.Error(), "in use") {
			t.Errorf("%s: %v", flag, err)
		}
	}
}

func TestHTTP(t *testing.T) {
	info := start(t, Config{Rooms: []string{"pinned"}, MaxRooms: 2})
	base := strings.TrimSuffix(info.URL, "/")
	for _, c := range []struct {
		method, path string
		header       []string
		status       int
		want         string
	}{
		{"GET", "/", nil, 200, "<html"},
		{"GET", "/r/a", nil, 200, "<html"},
		{"GET", "/r/a%2Fb", nil, 200, "<html"},
		{"GET", "/r/a%01", nil, 400, "control"},
		{"GET", "/r/" + strings.Repeat("x", 129), nil, 400, "128"},
		{"GET", "/none.js", nil, 404, "/none.js"},
		{"GET", "/test/", nil, 404, ""},
		{"GET", "/healthz", nil, 200, "ok"},
		{"GET", "/config.json", nil, 200, `"servers":["ws://` + base[len("http://"):] + `/nats"]`},
		{"GET", "/config.json", []string{"X-Forwarded-Proto", "https"}, 200, `"wss://`},
		{"GET", "/config.json", []string{"Host", "evil.example"}, 403, "--allow-origin"},
		{"GET", "/config.json", []string{"Host", "localhost:1"}, 200, "localhost:1"},
		{"GET", "/api/v1/rooms", nil, 200, `"room":"pinned"`},
		{"GET", "/api/v1/rooms/pinned", nil, 200, `"hub":true`},
		{"GET", "/api/v1/rooms/other", nil, 404, "not in room"},
		{"POST", "/api/v1/rooms/other", []string{"Origin", "https://evil.example"}, 403, "another site"},
		{"POST", "/api/v1/rooms/other", nil, 200, `"hub":true,"id":"`},
		{"POST", "/api/v1/rooms/third", nil, 503, "--max-rooms"},
		{"POST", "/api/v1/rooms/a%01", nil, 400, "control"},
		{"DELETE", "/api/v1/rooms/other", nil, 405, ""},
		{"GET", "/api/v1/qr?text=http://x/", nil, 200, "<svg"},
		{"GET", "/api/v1/qr", nil, 400, "0 bytes"},
		{"GET", "/api/v1/qr?text=" + strings.Repeat("x", 513), nil, 400, "513 bytes"},
		{"GET", "/nats", nil, 426, ""},
	} {
		status, _, body := request(t, http.DefaultClient, c.method, base+c.path, c.header...)
		if status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s %s: %d %.200q, want %d with %q", c.method, c.path, status, body, c.status, c.want)
		}
	}
}

func TestPageHeaders(t *testing.T) {
	info := start(t, Config{NoHub: true, FrameAncestors: []string{"https://a.example"}})
	status, h, _ := request(t, http.DefaultClient, "GET", info.URL)
	if status != 200 || !strings.Contains(h.Get("Content-Security-Policy"), "frame-ancestors https://a.example") {
		t.Errorf("%d, policy %q", status, h.Get("Content-Security-Policy"))
	}
	status, _, _ = request(t, http.DefaultClient, "GET", info.URL, "If-None-Match", h.Get("ETag"))
	if status != http.StatusNotModified {
		t.Errorf("with its ETag: %d, want 304", status)
	}
	_, _, body := request(t, http.DefaultClient, "POST", info.URL+"api/v1/rooms/a")
	var r roomInfo
	if err := json.Unmarshal([]byte(body), &r); err != nil || r.Hub || r.Room != "a" {
		t.Errorf("without a hub: %s, %v", body, err)
	}
}

func TestTLS(t *testing.T) {
	info := start(t, Config{Listen: "0.0.0.0:0", Open: true, NoHub: true})
	_, port, err := net.SplitHostPort(strings.TrimSuffix(strings.TrimPrefix(info.URL, "https://"), "/"))
	if err != nil || info.CertSHA256 == "" {
		t.Fatalf("info %+v: %v", info, err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	status, _, body := request(t, client, "GET", "https://127.0.0.1:"+port+"/config.json")
	if status != 200 || !strings.Contains(body, "wss://127.0.0.1:"+port+"/nats") {
		t.Errorf("over TLS: %d %s", status, body)
	}
	stay := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	status, h, _ := request(t, stay, "GET", "http://127.0.0.1:"+port+"/r/a?x=1")
	if status != http.StatusTemporaryRedirect || h.Get("Location") != "https://127.0.0.1:"+port+"/r/a?x=1" {
		t.Errorf("plain request: %d to %q", status, h.Get("Location"))
	}
	// A client that says nothing must not hold the stop up.
	silent, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
}

func TestSelfSignedServesItsAddress(t *testing.T) {
	cert, err := selfSigned("box.example", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	names, addrs := ownNames("box.example")
	leaf, err := tls.X509KeyPair(pemOf(t, cert))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := leaf.Leaf.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	for _, a := range addrs {
		if err := leaf.Leaf.VerifyHostname(a.String()); err != nil {
			t.Error(err)
		}
	}
}

func TestBridge(t *testing.T) {
	info := start(t, Config{NoHub: true})
	nc, err := nats.Connect(info.Signal, nats.NoReconnect())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	sub, err := nc.SubscribeSync("room")
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{0, 1, 70_000, busMaxPayload} {
		want := bytes.Repeat([]byte{7}, size)
		if err := nc.Publish("room", want); err != nil {
			t.Fatal(err)
		}
		msg, err := sub.NextMsg(10 * time.Second)
		if err != nil || !bytes.Equal(msg.Data, want) {
			t.Fatalf("%d bytes: got %d, %v", size, len(msg.Data), err)
		}
	}
}

func TestBridgeRefuses(t *testing.T) {
	info := start(t, Config{NoHub: true, AllowOrigins: []string{"https://ok.example"}})
	dial := func(origin string) (*websocket.Conn, error) {
		ws, _, err := websocket.Dial(t.Context(), info.Signal, &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {origin}}})
		return ws, err
	}
	if ws, err := dial("https://evil.example"); err == nil {
		_ = ws.CloseNow()
		t.Error("a page of another site may signal")
	}
	ws, err := dial("https://ok.example")
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	ws.SetReadLimit(1 << 20)
	if _, hello, err := ws.Read(t.Context()); err != nil || !bytes.HasPrefix(hello, []byte("INFO ")) {
		t.Fatalf("first message %.40q, %v", hello, err)
	}
	if err := ws.Write(t.Context(), websocket.MessageText, []byte("PING\r\n")); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, _, err = ws.Read(t.Context())
	}
	if websocket.CloseStatus(err) != websocket.StatusUnsupportedData {
		t.Errorf("a text message: %v", err)
	}
}

// Garbage on the bus ends the client that sent it and nobody else.
func TestBridgeGarbage(t *testing.T) {
	info := start(t, Config{NoHub: true})
	for _, garbage := range []string{"\x00\xff", "SUB\r\n", "PUB a 99999999999\r\n", strings.Repeat("x", 1<<20)} {
		ws, _, err := websocket.Dial(t.Context(), info.Signal, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = ws.Write(t.Context(), websocket.MessageBinary, []byte(garbage))
		for err == nil {
			_, _, err = ws.Read(t.Context())
		}
		_ = ws.CloseNow()
	}
	nc, err := nats.Connect(info.Signal, nats.NoReconnect())
	if err != nil {
		t.Fatalf("after garbage: %v", err)
	}
	nc.Close()
}

func TestQR(t *testing.T) {
	var b bytes.Buffer
	if err := WriteQR(&b, "http://127.0.0.1:8080/r/room"); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	width := len([]rune(strings.TrimSuffix(strings.TrimPrefix(lines[0], "\x1b[30;107m"), "\x1b[0m")))
	if width < 25 || len(lines) != (width+1)/2 {
		t.Errorf("%d lines of %d cells, want a square of half blocks", len(lines), width)
	}
	if err := WriteQR(&b, strings.Repeat("x", qrMaxText+1)); err == nil {
		t.Error("no error for too long a text")
	}
}

func TestCertificateFiles(t *testing.T) {
	cert, err := selfSigned("localhost", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	certPEM, keyPEM := pemOf(t, cert)
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
	for name, text := range map[string][]byte{certFile: certPEM, keyFile: keyPEM} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	info := start(t, Config{TLSCert: certFile, TLSKey: keyFile, NoHub: true})
	if !strings.HasPrefix(info.URL, "https://127.0.0.1:") || info.CertSHA256 != fingerprint(cert) {
		t.Errorf("info %+v", info)
	}
}

// Pages of allowed origins use the API and read its answers, others do not.
func TestAPIOrigins(t *testing.T) {
	info := start(t, Config{NoHub: true, AllowOrigins: []string{"https://ok.example", "https://*.wild.example"}})
	for _, c := range []struct {
		origin string
		ok     bool
	}{
		{"https://ok.example", true},
		{"https://a.wild.example", true},
		{"http://ok.example", false},
		{"https://evil.example", false},
		{"null", false},
	} {
		want, post := "", http.StatusForbidden
		if c.ok {
			want, post = c.origin, http.StatusOK
		}
		for _, path := range []string{"config.json", "api/v1/rooms"} {
			status, h, _ := request(t, http.DefaultClient, "GET", info.URL+path, "Origin", c.origin)
			if got := h.Get("Access-Control-Allow-Origin"); status != http.StatusOK || got != want {
				t.Errorf("GET %s from %s: status %d, origin %q allowed", path, c.origin, status, got)
			}
		}
		status, h, _ := request(t, http.DefaultClient, "POST", info.URL+"api/v1/rooms/a", "Origin", c.origin, "Sec-Fetch-Site", "cross-site")
		if got := h.Get("Access-Control-Allow-Origin"); status != post || got != want {
			t.Errorf("POST from %s: status %d, origin %q allowed", c.origin, status, got)
		}
	}
}

// Those who hold many connections do not crowd others out.
func TestBridgeBoundsClients(t *testing.T) {
	b, err := newBus(slog.New(slog.DiscardHandler), newTenants(10, false))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	bridge := newBridge(b.InProcessConn, openDoor(b), nil, &quota{total: 3, each: 2}, slog.New(slog.DiscardHandler))
	defer bridge.Close()
	from := make(chan string, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.RemoteAddr = <-from
		bridge.ServeHTTP(w, r)
	}))
	defer s.Close()
	dial := func(addr string) (*websocket.Conn, int) {
		from <- addr
		ws, resp, err := websocket.Dial(t.Context(), s.URL, nil)
		if err != nil && resp == nil {
			t.Fatal(err)
		}
		return ws, resp.StatusCode
	}
	for i, c := range []struct {
		addr string
		want int
	}{{"192.0.2.1:1", 101}, {"192.0.2.1:2", 101}, {"192.0.2.1:3", 503}, {"192.0.2.2:1", 101}, {"192.0.2.3:1", 503}} {
		ws, status := dial(c.addr)
		if status != c.want {
			t.Errorf("connection %d: status %d, want %d", i, status, c.want)
		}
		if ws != nil {
			defer ws.CloseNow()
		}
	}
}

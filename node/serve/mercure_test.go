package serve

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/weft-rtc/weft/mesh/conn"
	"github.com/weft-rtc/weft/mesh/driver"
	"github.com/weft-rtc/weft/mesh/driver/drivertest"
	natsdriver "github.com/weft-rtc/weft/mesh/driver/nats"
	"github.com/weft-rtc/weft/mesh/driver/sse"
	"github.com/weft-rtc/weft/node"
)

// overSSE makes a driver that somebody else closes.
func overSSE(t *testing.T, cfg sse.Config) *sse.Driver {
	t.Helper()
	d, err := sse.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Packets cross between SSE and NATS both ways, of any size that the bus takes.
func TestMercureMeetsNATS(t *testing.T) {
	info := start(t, Config{NoHub: true})
	d := overSSE(t, sse.Config{URL: info.URL})
	defer d.Close()
	nc, err := nats.Connect(info.Signal, nats.NoReconnect(), nats.NoEcho())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	sub, err := nc.SubscribeSync("room")
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	receive, got := drivertest.Receive()
	if _, err := d.Subscribe(t.Context(), "room", receive); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{0, 1, 70_000, busMaxPayload} {
		want := bytes.Repeat([]byte{7}, size)
		if err := d.Publish(t.Context(), "room", want); err != nil {
			t.Fatal(err)
		}
		msg, err := sub.NextMsg(10 * time.Second)
		if err != nil || !bytes.Equal(msg.Data, want) {
			t.Fatalf("%d bytes over SSE: got %d, %v", size, len(msg.Data), err)
		}
		if p := drivertest.Wait(t, got, "own packet"); p != string(want) {
			t.Fatalf("own %d bytes became %d", size, len(p))
		}
		if err := nc.Publish("room", want); err != nil {
			t.Fatal(err)
		}
		if p := drivertest.Wait(t, got, "packet"); p != string(want) {
			t.Fatalf("%d bytes over NATS became %d", size, len(p))
		}
	}
}

// A node over SSE and a node over /nats connect in one room.
func TestMercurePeersMeet(t *testing.T) {
	info := start(t, Config{NoHub: true})
	api, err := conn.NewAPI(conn.Config{Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close()
	overNATS, err := natsdriver.New(natsdriver.Config{URL: info.Signal})
	if err != nil {
		t.Fatal(err)
	}
	var peers []*node.Peer
	var met []chan string
	for _, d := range []driver.Driver{overSSE(t, sse.Config{URL: info.URL}), overNATS} {
		defer d.Close()
		p, err := node.New(node.Config{Driver: d, Conn: api})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		c := make(chan string, 100)
		p.OnConnection(func(e node.ConnectionEvent) {
			if e.State == conn.StateConnected {
				c <- e.ID
			}
		})
		peers, met = append(peers, p), append(met, c)
	}
	for _, p := range peers {
		if err := p.Join(t.Context(), "lobby"); err != nil {
			t.Fatal(err)
		}
	}
	for i, c := range met {
		if id := drivertest.Wait(t, c, "connection"); id != peers[1-i].ID() {
			t.Errorf("peer %d is connected to %q, want %q", i, id, peers[1-i].ID())
		}
	}
}

// What a browser sends for Peerix's driver (EventSource, and fetch with
// URLSearchParams) and gets, byte by byte.
func TestMercureWire(t *testing.T) {
	info := start(t, Config{NoHub: true})
	host := strings.TrimSuffix(strings.TrimPrefix(info.URL, "http://"), "/")
	dial := func(request string) *bufio.Reader {
		c, err := net.Dial("tcp", host)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if _, err := io.WriteString(c, strings.ReplaceAll(request, "HOST", host)); err != nil {
			t.Fatal(err)
		}
		return bufio.NewReader(c)
	}
	stream := dial("GET /.well-known/mercure?topic=dcjHO465qA HTTP/1.1\r\nHost: HOST\r\nAccept: text/event-stream\r\n" +
		"Cache-Control: no-store\r\nOrigin: http://HOST\r\nSec-Fetch-Site: same-origin\r\n\r\n")
	resp, err := http.ReadResponse(stream, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no", "Content-Encoding": "",
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	expect := func(want string) {
		t.Helper()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != want {
			t.Fatalf("stream goes on with %q, %v, want %q", got, err, want)
		}
	}
	expect("retry: 1000\n:\n\n")
	for _, c := range []struct{ form, data string }{
		{"%2B%2Fv7%2Fw%3D%3D", "+/v7/w=="},
		{"YWJj", "YWJj"},
		{"", ""},
	} {
		body := "topic=dcjHO465qA&data=" + c.form
		answer, err := http.ReadResponse(dial("POST /.well-known/mercure?topic=dcjHO465qA HTTP/1.1\r\nHost: HOST\r\n"+
			"Content-Type: application/x-www-form-urlencoded\r\nOrigin: http://HOST\r\nSec-Fetch-Site: same-origin\r\n"+
			fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)), nil)
		if err != nil || answer.StatusCode != http.StatusNoContent {
			t.Fatalf("publish: %+v, %v", answer, err)
		}
		expect("data: " + c.data + "\n\n")
	}
}

// The longest packet comes through in its longest form, all escaped.
func TestMercureLongestForm(t *testing.T) {
	packet := bytes.Repeat([]byte{0xff}, busMaxPayload)
	body := "topic=" + strings.Repeat("a", mercureMaxTopic) + "&data=" + url.QueryEscape(base64.StdEncoding.EncodeToString(packet))
	if len(body) > mercureMaxBody {
		t.Errorf("a form of %d bytes, more than %d", len(body), mercureMaxBody)
	}
	form, err := url.ParseQuery(body)
	if err != nil {
		t.Fatal(err)
	}
	if _, got, _, err := update(nil, form); err != nil || !bytes.Equal(got, packet) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestMercureRefuses(t *testing.T) {
	info := start(t, Config{NoHub: true})
	at := strings.TrimSuffix(info.URL, "/") + mercurePath
	const form = "application/x-www-form-urlencoded"
	big := base64.StdEncoding.EncodeToString(make([]byte, busMaxPayload+1))
	for _, c := range []struct {
		name, method, query, kind, body string
		status                          int
		want                            string
	}{
		{"no topic", "GET", "", "", "", 400, "one topic"},
		{"two topics", "GET", "?topic=a&topic=b", "", "", 400, "one topic"},
		{"wildcard", "GET", "?topic=*", "", "", 400, "namespace"},
		{"subject", "GET", "?topic=a.b", "", "", 400, "namespace"},
		{"long topic", "GET", "?topic=" + strings.Repeat("a", mercureMaxTopic+1), "", "", 400, "too long"},
		{"head", "HEAD", "?topic=a", "", "", 200, ""},
		{"head without topic", "HEAD", "", "", "", 400, ""},
		{"delete", "DELETE", "?topic=a", "", "", 405, ""},
		{"topic in the form", "POST", "", form, "topic=a&data=YQ%3D%3D", 204, ""},
		{"topic in the query", "POST", "?topic=a", form, "data=YQ", 204, ""},
		{"Mercure's other fields", "POST", "", form, "topic=a&data=YQ&private=on&id=x&type=y&retry=1", 204, ""},
		{"no topic at all", "POST", "", form, "data=YQ", 400, "one topic"},
		{"topics differ", "POST", "?topic=a", form, "topic=b&data=YQ", 400, "differ"},
		{"bad topic", "POST", "", form, "topic=%3E&data=YQ", 400, "namespace"},
		{"no base64", "POST", "", form, "topic=a&data=%7B%7D", 400, "base64"},
		{"plus not escaped", "POST", "", form, "topic=a&data=++++", 400, "%2B"},
		{"no form", "POST", "", form, "topic=a;data=YQ", 400, "form"},
		{"JSON", "POST", "?topic=a", "application/json", "{}", 415, form},
		{"no type", "POST", "?topic=a", "", "data=YQ", 415, form},
		{"large packet", "POST", "?topic=a", form, "data=" + url.QueryEscape(big), 413, "packet"},
		{"large body", "POST", "?topic=a", form, "data=YQ&x=" + strings.Repeat("x", mercureMaxBody), 413, "body"},
	} {
		for _, told := range []bool{true, false} { // the length
			var body io.Reader = strings.NewReader(c.body)
			if !told {
				body = io.MultiReader(body)
			}
			req, err := http.NewRequestWithContext(t.Context(), c.method, at+c.query, body)
			if err != nil {
				t.Fatal(err)
			}
			if c.kind != "" {
				req.Header.Set("Content-Type", c.kind)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
				continue
			}
			text, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode != c.status || !strings.Contains(string(text), c.want) {
				t.Errorf("%s: %d %q, want %d with %q", c.name, resp.StatusCode, text, c.status, c.want)
			}
		}
	}
}

// Pages of other sites may signal only if the operator names their origin, as
// with /nats.
func TestMercureOrigins(t *testing.T) {
	info := start(t, Config{NoHub: true, AllowOrigins: []string{"https://ok.example", "https://*.wild.example", "http://[::1]:8"}})
	at := strings.TrimSuffix(info.URL, "/") + mercurePath + "?topic=a"
	for origin, ok := range map[string]bool{
		"":                                  true, // no page
		strings.TrimSuffix(info.URL, "/"):   true,
		"https://ok.example":                true,
		"HTTPS://OK.example":                true,
		"https://a.wild.example":            true,
		"http://[::1]:8":                    true,
		"http://ok.example":                 false,
		"https://ok.example.evil.example":   false,
		"https://evil.example":              false,
		"null":                              false,
		"https://[":                         false,
		"https://127.0.0.1.evil.example:80": false,
	} {
		for _, method := range []string{"HEAD", "GET", "POST", "OPTIONS"} {
			header := []string{"Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "cross-site"}
			path := at
			if method == "GET" {
				path = strings.TrimSuffix(at, "?topic=a") // would not end
			}
			if origin != "" {
				header = append(header, "Origin", origin)
			}
			status, h, _ := request(t, http.DefaultClient, method, path, header...)
			if (status != http.StatusForbidden) != ok {
				t.Errorf("%s from %q: %d", method, origin, status)
			}
			allow := ""
			if ok {
				allow = origin
			}
			if got := h.Get("Access-Control-Allow-Origin"); got != allow || h.Get("Vary") != "Origin" {
				t.Errorf("%s from %q: allowed for %q, varies by %q", method, origin, got, h.Get("Vary"))
			}
			if method == "OPTIONS" && ok && !strings.Contains(h.Get("Access-Control-Allow-Headers"), "Authorization") {
				t.Errorf("preflight from %q: header %v", origin, h)
			}
		}
	}
}

// Over TLS a browser's many streams share one connection.
func TestMercureHTTP2(t *testing.T) {
	info := start(t, Config{Listen: "0.0.0.0:0", Open: true, NoHub: true})
	_, port, err := net.SplitHostPort(strings.TrimSuffix(strings.TrimPrefix(info.URL, "https://"), "/"))
	if err != nil {
		t.Fatal(err)
	}
	base, insecure := "https://127.0.0.1:"+port, &tls.Config{InsecureSkipVerify: true}
	d := overSSE(t, sse.Config{URL: base, TLS: insecure})
	defer d.Close()
	receive, got := drivertest.Receive()
	for i := range 20 {
		if _, err := d.Subscribe(t.Context(), fmt.Sprint(i), receive); err != nil {
			t.Fatal(err)
		}
		if err := d.Publish(t.Context(), fmt.Sprint(i), bytes.Repeat([]byte{byte(i)}, 100_000)); err != nil {
			t.Fatal(err)
		}
		if p := drivertest.Wait(t, got, "packet"); len(p) != 100_000 || p[0] != byte(i) {
			t.Errorf("got %d bytes", len(p))
		}
	}
	transport := &http.Transport{TLSClientConfig: insecure, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get(base + mercurePath)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.ProtoMajor != 2 {
		t.Errorf("speaks %s", resp.Proto)
	}
}

package socketio

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/weft-rtc/weft/mesh/driver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// relay is a Socket.IO server in this process that does what WIRE 5 asks of one.
// It shares no code with the driver. Fields are set before the first connect.
type relay struct {
	t        testing.TB
	url      string
	open     string                               // JSON of the open packet
	prefix   string                               // of event names
	deaf     bool                                 // acknowledges no publish
	pingEach time.Duration                        // 0: never
	admit    func(auth json.RawMessage) string    // returns why not
	greet    func(ws *websocket.Conn, nsp string) // called once connected

	mu       sync.Mutex
	down     bool
	requests []*http.Request
	rooms    map[string]map[*websocket.Conn]string // namespace of ours, connection, namespace of Socket.IO
	conns    map[*websocket.Conn]struct{}
	wg       sync.WaitGroup
}

const usualOpen = `{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":8000000}`

func newRelay(t testing.TB) *relay {
	return &relay{
		t: t, open: usualOpen,
		rooms: map[string]map[*websocket.Conn]string{}, conns: map[*websocket.Conn]struct{}{},
	}
}

// listen serves on a free port of the loopback interface until the test ends.
func (r *relay) listen() *relay {
	s := httptest.NewServer(r)
	r.url = s.URL
	r.t.Cleanup(func() { r.stop(); s.Close() })
	return r
}

// stop ends all connections and refuses others.
func (r *relay) stop() {
	r.mu.Lock()
	r.down = true
	for ws := range r.conns {
		go func() { _ = ws.CloseNow() }()
	}
	r.mu.Unlock()
	r.wg.Wait()
}

func (r *relay) start() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = false
}

func (r *relay) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	r.requests = append(r.requests, q)
	if r.down {
		r.mu.Unlock()
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	r.wg.Add(1)
	r.mu.Unlock()
	defer r.wg.Done()
	if q.FormValue("EIO") != "4" || q.FormValue("transport") != "websocket" {
		http.Error(w, `{"code":0,"message":"Transport unknown"}`, http.StatusBadRequest)
		return
	}
	ws, err := websocket.Accept(w, q, nil)
	if err != nil {
		r.t.Error(err)
		return
	}
	ws.SetReadLimit(64 << 20)
	r.mu.Lock()
	down := r.down
	r.conns[ws] = struct{}{}
	r.mu.Unlock()
	if !down {
		r.serve(ws)
	}
	r.mu.Lock()
	delete(r.conns, ws)
	for _, room := range r.rooms {
		delete(room, ws)
	}
	r.mu.Unlock()
	_ = ws.CloseNow()
}

func say(ws *websocket.Conn, text string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = ws.Write(ctx, websocket.MessageText, []byte(text)) // the reader notices
}

func hear(ws *websocket.Conn) (string, bool) {
	_, b, err := ws.Read(context.Background())
	return string(b), err == nil
}

func (r *relay) serve(ws *websocket.Conn) {
	say(ws, "0"+r.open)
	hello, ok := hear(ws)
	if !ok {
		return
	}
	rest, ok := strings.CutPrefix(hello, "40")
	if !ok {
		r.t.Errorf("%q in place of a connect packet", hello)
		return
	}
	nsp, lead := "/", ""
	if strings.HasPrefix(rest, "/") {
		nsp, rest, _ = strings.Cut(rest, ",")
		lead = nsp + ","
	}
	if r.admit != nil {
		if why := r.admit(json.RawMessage(rest)); why != "" {
			say(ws, fmt.Sprintf(`44%s{"message":%q}`, lead, why))
			_, _ = hear(ws)
			return
		}
	}
	say(ws, "40"+lead+`{"sid":"y"}`)
	if r.greet != nil {
		r.greet(ws, lead)
	}
	if r.pingEach > 0 {
		stop := make(chan struct{})
		defer close(stop)
		r.wg.Go(func() { r.ping(ws, stop) })
	}
	for {
		text, ok := hear(ws)
		if !ok {
			return
		}
		switch {
		case text == "3":
		case strings.HasPrefix(text, "42"+lead):
			r.event(ws, nsp, lead, text[2+len(lead):])
		default:
			r.t.Errorf("unexpected %.100q", text)
		}
	}
}

func (r *relay) ping(ws *websocket.Conn, stop chan struct{}) {
	tick := time.NewTicker(r.pingEach)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			say(ws, "2")
		case <-stop:
			return
		}
	}
}

func (r *relay) event(ws *websocket.Conn, nsp, lead, text string) {
	digits := text[:strings.IndexByte(text, '[')]
	if _, err := strconv.Atoi(digits); err != nil {
		r.t.Errorf("event without id: %.100q", text)
		return
	}
	var args []json.RawMessage
	var name, room string
	if json.Unmarshal([]byte(text[len(digits):]), &args) != nil || len(args) < 2 ||
		json.Unmarshal(args[0], &name) != nil || json.Unmarshal(args[1], &room) != nil {
		r.t.Errorf("not an event: %.100q", text)
		return
	}
	switch name {
	case r.prefix + "subscribe":
		r.mu.Lock()
		if r.rooms[room] == nil {
			r.rooms[room] = map[*websocket.Conn]string{}
		}
		r.rooms[room][ws] = nsp
		r.mu.Unlock()
	case r.prefix + "unsubscribe":
		r.mu.Lock()
		delete(r.rooms[room], ws)
		r.mu.Unlock()
	case r.prefix + "publish":
		r.relay(ws, nsp, lead, room, args[2])
		if r.deaf {
			return
		}
	default:
		r.t.Errorf("event %q", name)
	}
	say(ws, "43"+lead+digits+"[]")
}

func (r *relay) relay(from *websocket.Conn, nsp, lead, room string, payload json.RawMessage) {
	var to []*websocket.Conn
	r.mu.Lock()
	for ws, other := range r.rooms[room] {
		if ws != from && other == nsp {
			to = append(to, ws)
		}
	}
	r.mu.Unlock()
	for _, ws := range to {
		say(ws, fmt.Sprintf(`42%s[%q,%q,%s]`, lead, r.prefix+"message", room, payload))
	}
}

func connect(t testing.TB, config Config) *Driver {
	t.Helper()
	d, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// watch returns the changes of a driver.
func watch(d driver.Driver) <-chan bool {
	c := make(chan bool, 100)
	d.Watch(func(active bool) { c <- active })
	return c
}

// records collects log records as text.
type records struct {
	slog.Handler
	mu   sync.Mutex
	text strings.Builder
}

func (r *records) Enabled(context.Context, slog.Level) bool { return true }

func (r *records) WithAttrs([]slog.Attr) slog.Handler { return r }

func (r *records) Handle(_ context.Context, record slog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintln(&r.text, record.Level, record.Message)
	record.Attrs(func(a slog.Attr) bool { fmt.Fprintln(&r.text, a); return true })
	return nil
}

func (r *records) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// pipes is a network in memory of one server, for virtual time.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		return here, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { p.once.Do(func() { close(p.closed) }); return nil }

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

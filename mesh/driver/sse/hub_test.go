package sse

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hub is a service in Mercure's form, as plain as it can be.
type hub struct {
	mu     sync.Mutex
	topics map[string]map[chan string]struct{}
}

func newHub() *hub { return &hub{topics: make(map[string]map[chan string]struct{})} }

func (h *hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	topic := r.FormValue("topic")
	switch {
	case topic == "":
		http.Error(w, "no topic", http.StatusBadRequest)
	case r.Method == http.MethodPost:
		h.publish(topic, r.PostFormValue("data"))
		w.WriteHeader(http.StatusNoContent)
	default:
		h.stream(w, r, topic)
	}
}

func (h *hub) publish(topic, data string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.topics[topic] {
		c <- data
	}
}

// send publishes a packet.
func (h *hub) send(topic, packet string) {
	h.publish(topic, base64.StdEncoding.EncodeToString([]byte(packet)))
}

func (h *hub) stream(w http.ResponseWriter, r *http.Request, topic string) {
	c := make(chan string, 1<<15)
	h.mu.Lock()
	if h.topics[topic] == nil {
		h.topics[topic] = make(map[chan string]struct{})
	}
	h.topics[topic][c] = struct{}{}
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.topics[topic], c)
	}()
	begin(w)
	for {
		select {
		case <-r.Context().Done():
			return
		case data := <-c:
			write(w, fmt.Sprintf("data: %s\n\n", data))
		}
	}
}

// begin begins an event stream.
func begin(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	write(w, ":\n")
}

func write(w http.ResponseWriter, text string) {
	_, _ = fmt.Fprint(w, text)
	_ = http.NewResponseController(w).Flush()
}

// service serves a handler on a port that stays the same when it goes and comes
// back.
type service struct {
	t       testing.TB
	handler http.Handler
	addr    string
	server  *http.Server
	done    chan struct{}
}

func newService(t testing.TB, handler http.Handler) *service {
	t.Helper()
	s := &service{t: t, handler: handler, addr: "127.0.0.1:0"}
	s.up()
	t.Cleanup(s.down)
	return s
}

func (s *service) url() string { return "http://" + s.addr }

func (s *service) up() {
	listener, err := net.Listen("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.addr = listener.Addr().String()
	server, done := &http.Server{Handler: s.handler}, make(chan struct{})
	s.server, s.done = server, done
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
}

func (s *service) down() {
	_ = s.server.Close()
	<-s.done
}

// connect makes a driver that the test closes.
func connect(t testing.TB, config Config) *Driver {
	t.Helper()
	d, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// pipes is a listener without sockets, which works in virtual time.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// dial is the driver's end.
func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		return here, nil
	case <-p.done:
		return nil, &net.OpError{Op: "dial", Err: net.ErrClosed}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// inBubble runs a service in virtual time for the length of test.
func inBubble(handler http.Handler, test func(dial dialFunc)) {
	listener := newPipes()
	server := &http.Server{Handler: handler}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	test(listener.dial)
	_ = server.Close()
	<-done
}

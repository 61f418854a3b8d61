package serve

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipeListener gives one connection, without a socket.
type pipeListener struct {
	conn chan net.Conn
	once sync.Once
}

func (l *pipeListener) Accept() (net.Conn, error) {
	if c, ok := <-l.conn; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.conn) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

func quietServer() *Server { return &Server{log: slog.New(slog.DiscardHandler)} }

// carried serves one event stream in virtual time; ended gets what carry returns.
func carried(t *testing.T, http2 bool, test func(s *eventStream, body io.Reader, stop func(), ended <-chan error)) {
	synctest.Test(t, func(t *testing.T) {
		waiting := &quota{total: mercureWaiting, each: mercureWaitingEach}
		s, ended := newEventStream(waiting, clientOf("192.0.2.1:1")), make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var protocols http.Protocols
		protocols.SetHTTP1(!http2)
		protocols.SetUnencryptedHTTP2(http2)
		server := quietServer().httpServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { ended <- s.carry(ctx, w, r) }))
		server.Protocols = &protocols
		here, there := net.Pipe()
		l := &pipeListener{conn: make(chan net.Conn, 1)}
		l.conn <- there
		done := make(chan struct{})
		go func() { defer close(done); _ = server.Serve(l) }()
		client := &http.Transport{
			Protocols:   &protocols,
			DialContext: func(context.Context, string, string) (net.Conn, error) { return here, nil },
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://a.test/", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(resp.Body, make([]byte, len(mercureHello))); err != nil {
			t.Fatal(err)
		}
		test(s, resp.Body, cancel, ended)
		_ = resp.Body.Close()
		client.CloseIdleConnections()
		_ = here.Close()
		_ = server.Close()
		<-done
		s.put([]byte("late"))
		if waiting.used != 0 || len(waiting.by) != 0 {
			t.Errorf("%d bytes are still counted as waiting", waiting.used)
		}
	})
}

// Comments come in time for ever, and the end is a proper one. Over HTTP/2 a
// write deadline that stays would end the stream.
func TestStreamKeepsAlive(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		carried(t, http2, func(s *eventStream, body io.Reader, _ func(), ended <-chan error) {
			begin, comment := time.Now(), make([]byte, 3)
			for i := range 100 {
				if _, err := io.ReadFull(body, comment); err != nil || string(comment) != ":\n\n" {
					t.Fatalf("HTTP/2 %v: %q, %v", http2, comment, err)
				}
				if passed := time.Since(begin); passed != time.Duration(i+1)*mercureKeepAlive {
					t.Fatalf("HTTP/2 %v: comment %d after %v", http2, i, passed)
				}
			}
			s.end(errBusGone)
			if err := <-ended; !errors.Is(err, errBusGone) {
				t.Errorf("HTTP/2 %v: ended with %v", http2, err)
			}
			if rest, err := io.ReadAll(body); err != nil || len(rest) != 0 {
				t.Errorf("HTTP/2 %v: at the end: %q, %v", http2, rest, err)
			}
		})
	}
}

// A reader that takes nothing is given up after the write timeout.
func TestStreamDropsDeadReader(t *testing.T) {
	carried(t, false, func(s *eventStream, _ io.Reader, _ func(), ended <-chan error) {
		begin := time.Now()
		s.put(bytes.Repeat([]byte{'x'}, 100_000))
		if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) != mercureWriteTimeout {
			t.Errorf("ended with %v after %v", err, time.Since(begin))
		}
	})
}

// One that is too slow loses the stream, and what waits for it is let go.
func TestStreamDropsSlowReader(t *testing.T) {
	for name, event := range map[string][]byte{
		"many":  []byte("x"),
		"large": bytes.Repeat([]byte{'x'}, 1<<20),
	} {
		s, n := newEventStream(&quota{total: mercureWaiting}, netip.Prefix{}), 0
		for s.err == nil && n < 2*mercureQueueEvents {
			s.put(event)
			n++
		}
		if want := min(mercureQueueEvents, mercureQueueBytes/len(event)) + 1; n != want {
			t.Errorf("%s: dropped with event %d, want %d", name, n, want)
		}
		s.put(event)
		if events, _, err := s.take(); len(events) != 0 || !errors.Is(err, errSlowReader) {
			t.Errorf("%s: %d events, %v", name, len(events), err)
		}
	}
	carried(t, false, func(s *eventStream, _ io.Reader, _ func(), ended <-chan error) {
		for range mercureQueueEvents + 1 {
			s.put([]byte("x"))
		}
		if err := <-ended; !errors.Is(err, errSlowReader) && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("ended with %v", err)
		}
	})
}

// Who sends no body, or reads no answer, does not keep a connection for ever.
func TestStuckRequestsEnd(t *testing.T) {
	for name, request := range map[string]string{
		"no body":   "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9\r\n\r\n",
		"no chunk":  "GET / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n",
		"no reader": "GET /long HTTP/1.1\r\nHost: a.test\r\n\r\n",
	} {
		synctest.Test(t, func(t *testing.T) {
			server := quietServer().httpServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/long" {
					_, _ = w.Write(make([]byte, 1<<20))
				}
			}))
			here, there := net.Pipe()
			l, ended := &pipeListener{conn: make(chan net.Conn, 1)}, make(chan struct{})
			server.ConnState = func(_ net.Conn, state http.ConnState) {
				if state == http.StateClosed {
					close(ended)
				}
			}
			l.conn <- there
			done := make(chan struct{})
			go func() { defer close(done); _ = server.Serve(l) }()
			if _, err := io.WriteString(here, request); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if name != "no reader" {
				go func() { _, _ = io.Copy(io.Discard, here) }()
			}
			<-ended // or the bubble is at a deadlock
			_ = here.Close()
			_ = server.Close()
			<-done
		})
	}
}

// What waits is bounded for all streams of a client together.
func TestStreamsShareWhatWaits(t *testing.T) {
	waiting := &quota{total: 100, each: 5}
	a, b := newEventStream(waiting, clientOf("192.0.2.1:1")), newEventStream(waiting, clientOf("192.0.2.1:2"))
	other := newEventStream(waiting, clientOf("192.0.2.2:1"))
	for _, s := range []*eventStream{a, b, other} {
		s.put([]byte("123"))
	}
	if a.err != nil || !errors.Is(b.err, errSlowReader) || other.err != nil {
		t.Errorf("ended with %v, %v, %v", a.err, b.err, other.err)
	}
}

func TestQuota(t *testing.T) {
	q := quota{total: 5, each: 3}
	a, b, proxy := clientOf("192.0.2.1:1"), clientOf("192.0.2.2:1"), clientOf("127.0.0.1:1")
	if !q.take(a, 3) || q.take(a, 1) || !q.take(b, 1) || q.take(b, 2) || !q.take(proxy, 1) || q.take(proxy, 1) {
		t.Errorf("wrong counts: %+v", q.by)
	}
	q.give(a, 3)
	if !q.take(proxy, 3) {
		t.Error("what was given back is not there")
	}
	q.give(proxy, 4)
	q.give(b, 1)
	if q.used != 0 || len(q.by) != 0 {
		t.Errorf("left %d, %v", q.used, q.by)
	}
}

func TestClientOf(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:5":              "192.0.2.1/32",
		"[::ffff:192.0.2.1]:5":     "192.0.2.1/32",
		"[2001:db8:1:2:3:4:5:6]:5": "2001:db8:1:2::/64",
		"[fe80::1%eth0]:5":         "fe80::/64",
		"127.0.0.1:5":              "invalid Prefix",
		"[::1]:5":                  "invalid Prefix",
		"@":                        "invalid Prefix",
		"[::ffff:127.0.0.1]:5":     "invalid Prefix",
	} {
		if got := clientOf(remote).String(); got != want {
			t.Errorf("%s is counted as %s, want %s", remote, got, want)
		}
	}
}

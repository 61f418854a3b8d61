package sse

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// dialTimeout bounds a connect, and the TLS handshake after it.
	dialTimeout = 5 * time.Second
	// pingInterval and pingTimeout find an HTTP/2 connection that died in
	// silence: all streams and requests share it.
	pingInterval = 10 * time.Second
	pingTimeout  = 5 * time.Second
	// idleConn is below the 75 s and more after which servers close an unused
	// connection, so that a request seldom meets one that is being closed.
	idleConn = 60 * time.Second
	// maxHeader bounds the header of an answer in bytes.
	maxHeader = 64 << 10
	// maxRedirects bounds the redirects of one request.
	maxRedirects = 5
)

// dialFunc opens a connection, as net.Dialer.DialContext does.
type dialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// transport is the HTTP client of one driver and all of its connections. Over
// HTTP/1.1 each stream has a connection of its own and each request that is
// under way another; over HTTP/2 all share one.
type transport struct {
	client http.Client
	inner  *http.Transport
	dial   dialFunc
	ended  func() // called when a connection has ended

	mu     sync.Mutex
	conns  map[*conn]struct{}
	closed bool
}

func newTransport(e *endpoint, config *tls.Config, dial dialFunc, ended func()) *transport {
	t := &transport{dial: dial, ended: ended, conns: make(map[*conn]struct{})}
	if config != nil {
		config = config.Clone()
	}
	t.inner = &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            t.dialContext,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    dialTimeout,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingInterval, PingTimeout: pingTimeout},
		DisableCompression:     true, // a compressed stream waits for more before it gives something
		MaxIdleConnsPerHost:    maxPosts,
		IdleConnTimeout:        idleConn,
		MaxResponseHeaderBytes: maxHeader,
	}
	t.client = http.Client{Transport: t.inner, CheckRedirect: e.checkRedirect}
	return t
}

// checkRedirect follows a redirect that keeps the method, stays on an encrypted
// connection where there is one, and keeps what is secret from other hosts.
func (e *endpoint) checkRedirect(next *http.Request, via []*http.Request) error {
	first := via[0]
	switch {
	case len(via) > maxRedirects:
		return fmt.Errorf("more than %d redirects", maxRedirects)
	case next.Method != first.Method:
		return fmt.Errorf("redirect of %s to %s://%s would lose the packet; only 307 and 308 keep it", first.Method, next.URL.Scheme, next.URL.Host)
	case first.URL.Scheme == "https" && next.URL.Scheme != "https":
		return fmt.Errorf("redirect from https to %s://%s", next.URL.Scheme, next.URL.Host)
	}
	next.Header.Del("Referer") // it has the query
	if next.URL.Hostname() != e.url.Hostname() {
		for _, name := range e.own {
			next.Header.Del(name)
		}
	}
	return nil
}

var errTransportClosed = errors.New("sse: transport is closed")

func (t *transport) dialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	c, err := t.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	tracked := &conn{Conn: c, transport: t}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		_ = c.Close()
		return nil, errTransportClosed
	}
	t.conns[tracked] = struct{}{}
	return tracked, nil
}

// close closes every connection, also one whose last request is not cleaned up
// yet, so that nothing of net/http stays behind.
func (t *transport) close() {
	t.mu.Lock()
	t.closed = true
	conns := t.conns
	t.conns = make(map[*conn]struct{})
	t.mu.Unlock()
	for c := range conns {
		_ = c.Conn.Close()
	}
	t.inner.CloseIdleConnections()
}

// conn tells its transport when it ends. net/http closes a connection as soon
// as it has read its end, an unused one too.
type conn struct {
	net.Conn
	transport *transport
}

func (c *conn) Close() error {
	t := c.transport
	t.mu.Lock()
	_, open := t.conns[c]
	delete(t.conns, c)
	t.mu.Unlock()
	if open {
		t.ended()
	}
	return c.Conn.Close()
}

package sse

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	// DefaultPath is the path of a URL that has none.
	DefaultPath = "/.well-known/mercure"
	// DefaultIdleTimeout is three times the 15 s after which weft serve sends a
	// comment on a silent stream, and above the 40 s of a Mercure hub's default.
	DefaultIdleTimeout = 45 * time.Second
)

// Config says which service to use and how. There is no prefix: the topic is
// the namespace, as in Peerix.
type Config struct {
	// URL is the service's address, http:// or https://; sse+http:// and
	// sse+https:// mean the same. A URL without a path gets DefaultPath. User
	// and password go into basic authentication. Parameters of the query go
	// into every request, which is how a Mercure hub can be given its
	// "authorization" without a header. Required.
	URL string
	// Token goes into every request as "Authorization: Bearer". For a Mercure
	// hub it is a JWT. Default: none.
	Token string
	// SubscribeToken takes Token's place in requests for streams, for hubs
	// that have a key for publishers and another for subscribers.
	SubscribeToken string
	// Header goes into every request, and to no other host than the URL's. A
	// cookie "mercureAuthorization" may be set here.
	Header http.Header
	// TLS is used for https://. Nil trusts the system's authorities.
	TLS *tls.Config
	// IdleTimeout is how long a stream may be silent before it is taken for
	// dead and opened again; comments count as life. Default
	// DefaultIdleTimeout; raise it for a hub that sends heartbeats less often
	// than every 40 s. Below zero a silent stream is never given up, for hubs
	// that send no heartbeats; a connection that died is then found by TCP
	// alone, after some minutes.
	IdleTimeout time.Duration
	// Logger gets connects, disconnects and errors of the service, without
	// credentials. Nil discards them.
	Logger *slog.Logger
}

// endpoint is a validated Config: what each request is made of.
type endpoint struct {
	url       *url.URL // with a path, without user
	publish   http.Header
	subscribe http.Header
	own       []string // names of headers that no other host may get
}

// reserved headers are the driver's own.
var reserved = []string{"Accept", "Connection", "Content-Length", "Content-Type", "Host", "Last-Event-Id", "Transfer-Encoding"}

// endpoint returns an error that names the field that is wrong.
func (c Config) endpoint() (*endpoint, error) {
	if c.URL == "" {
		return nil, errors.New("sse: Config.URL is empty")
	}
	u, err := url.Parse(strings.TrimPrefix(c.URL, "sse+"))
	if err != nil {
		var in *url.Error // its text has the URL, which may have a password
		if errors.As(err, &in) {
			err = in.Err
		}
		return nil, fmt.Errorf("sse: Config.URL: %w", err)
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("sse: Config.URL has the scheme %q, want http or https", u.Scheme)
	case u.Host == "":
		return nil, errors.New("sse: Config.URL has no host")
	case u.Query().Has("topic"):
		return nil, errors.New("sse: Config.URL has a topic, which is for the driver to set")
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = DefaultPath
	}
	u.Fragment = ""
	e := &endpoint{url: u}
	return e, e.setHeaders(c)
}

// setHeaders makes the headers of both kinds of requests.
func (e *endpoint) setHeaders(c Config) error {
	e.publish = http.Header{}
	for name, values := range c.Header {
		name = http.CanonicalHeaderKey(name)
		if !isToken(name) {
			return fmt.Errorf("sse: Config.Header has the name %q", name)
		}
		if slices.Contains(reserved, name) {
			return fmt.Errorf("sse: Config.Header sets %s, which is for the driver to set", name)
		}
		if !isValue(strings.Join(values, "")) {
			return fmt.Errorf("sse: Config.Header: the value of %s holds a control character", name)
		}
		e.publish[name] = append(e.publish[name], values...)
		e.own = append(e.own, name)
	}
	e.subscribe = e.publish.Clone()
	if err := e.setCredentials(c); err != nil {
		return err
	}
	e.own = append(e.own, "Authorization")
	e.subscribe.Set("Accept", "text/event-stream")
	e.subscribe.Set("Cache-Control", "no-store")
	e.publish.Set("Content-Type", "application/x-www-form-urlencoded")
	return nil
}

// setCredentials takes them out of the URL or from the tokens; there may be
// one kind only.
func (e *endpoint) setCredentials(c Config) error {
	if !isValue(c.Token) {
		return errors.New("sse: Config.Token holds a control character")
	}
	if !isValue(c.SubscribeToken) {
		return errors.New("sse: Config.SubscribeToken holds a control character")
	}
	publish, subscribe := "", ""
	if c.Token != "" {
		publish, subscribe = "Bearer "+c.Token, "Bearer "+c.Token
	}
	if c.SubscribeToken != "" {
		subscribe = "Bearer " + c.SubscribeToken
	}
	if user := e.url.User; user != nil {
		if subscribe != "" {
			return errors.New("sse: Config.Token and a user in Config.URL exclude each other")
		}
		password, _ := user.Password()
		publish = "Basic " + base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password))
		subscribe = publish
		e.url.User = nil
	}
	if subscribe != "" && e.publish.Get("Authorization") != "" {
		return errors.New("sse: Config.Header sets Authorization, and so does a token or a user in Config.URL")
	}
	if publish != "" {
		e.publish.Set("Authorization", publish)
	}
	if subscribe != "" {
		e.subscribe.Set("Authorization", subscribe)
	}
	return nil
}

// topic is the URL for one namespace, which needs no escaping.
func (e *endpoint) topic(namespace string) string {
	u := *e.url
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += "topic=" + namespace
	return u.String()
}

// String is the URL without what may be secret.
func (e *endpoint) String() string { return e.url.Scheme + "://" + e.url.Host + e.url.Path }

// isToken reports whether s may be the name of a header (RFC 9110 section 5.6.2).
func isToken(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		return !letter && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	}) < 0
}

// isValue reports whether s may be the value of a header (RFC 9110 section 5.5).
func isValue(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) < 0
}

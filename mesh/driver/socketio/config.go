package socketio

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// Config says which server to use and how.
type Config struct {
	// URL is the server's: http://, https://, ws:// or wss://. As with
	// Socket.IO's own clients its path is not a place on the server but the
	// Socket.IO namespace, see Namespace and Path. A user and password in it
	// become basic authentication, its query is sent along. Required.
	URL string
	// Path is where on the server Engine.IO answers. A slash at the end is
	// added. Default: /socket.io/.
	Path string
	// Namespace is Socket.IO's: what the server calls io.of(...). Default: the
	// URL's path, or / where that has none.
	Namespace string
	// Query is added to the URL's query, which the server sees at the handshake.
	Query url.Values
	// Header is added to the HTTP request of the handshake.
	Header http.Header
	// Auth is what the server gets as socket.handshake.auth: anything that
	// encoding/json makes an object of. Default: none.
	Auth any
	// Prefix is put straight in front of each event's name, without a
	// separator. Peers must use the same. Default: none.
	Prefix string
	// TLS is used for https:// and wss://. Nil trusts the system's authorities.
	TLS *tls.Config
	// Logger gets connects, disconnects and what was dropped. Nil discards them.
	Logger *slog.Logger

	dial func(ctx context.Context, network, address string) (net.Conn, error) // in tests
}

// maxName bounds Prefix and Namespace, in bytes.
const maxName = 256

// target is what a Config says, checked and in the form that is used.
type target struct {
	client    *http.Client
	url       string // of the handshake
	name      string // the URL without anything secret, for the log
	header    http.Header
	namespace string          // of Socket.IO
	auth      json.RawMessage // nil: none
	names     [actions]string // quoted event names
	message   string          // the name of the event that brings packets
}

// target returns an error that names the field that is wrong.
func (c Config) target() (*target, error) {
	u, err := c.parseURL()
	if err != nil {
		return nil, err
	}
	t := &target{header: c.Header.Clone(), message: c.Prefix + "message"}
	if t.header == nil {
		t.header = http.Header{}
	}
	if t.namespace, err = c.namespace(u); err != nil {
		return nil, err
	}
	if t.auth, err = c.auth(); err != nil {
		return nil, err
	}
	if err := checkName(c.Prefix); err != nil {
		return nil, fmt.Errorf("socketio: Config.Prefix %w", err)
	}
	if err := checkHeader(c.Header); err != nil {
		return nil, fmt.Errorf("socketio: Config.Header %w", err)
	}
	for do, name := range actionNames {
		quoted, err := json.Marshal(c.Prefix + name)
		if err != nil {
			return nil, fmt.Errorf("socketio: Config.Prefix: %w", err)
		}
		t.names[do] = string(quoted)
	}
	t.name = (&url.URL{Scheme: u.Scheme, Host: u.Host}).String() + t.namespace
	t.url = c.handshake(u)
	t.client = c.client()
	return t, nil
}

func (c Config) parseURL() (*url.URL, error) {
	if c.URL == "" {
		return nil, errors.New("socketio: Config.URL is empty")
	}
	u, err := url.Parse(c.URL)
	if err != nil {
		var inner *url.Error
		if errors.As(err, &inner) {
			err = inner.Err // without the URL, which may hold a password
		}
		return nil, fmt.Errorf("socketio: Config.URL: %w", err)
	}
	switch u.Scheme {
	case "http", "https", "ws", "wss":
	default:
		return nil, fmt.Errorf("socketio: Config.URL has scheme %q, want http, https, ws or wss", u.Scheme)
	}
	if u.Hostname() == "" {
		return nil, errors.New("socketio: Config.URL names no host")
	}
	return u, nil
}

func (c Config) namespace(u *url.URL) (string, error) {
	name, field := c.Namespace, "Namespace"
	if name == "" {
		name, field = u.Path, "URL"
	}
	if name == "" {
		return "/", nil
	}
	if name[0] != '/' {
		return "", fmt.Errorf("socketio: Config.%s: namespace %q does not begin with a slash", field, name)
	}
	if strings.ContainsRune(name, ',') {
		return "", fmt.Errorf("socketio: Config.%s: namespace %q holds a comma", field, name)
	}
	if err := checkName(name); err != nil {
		return "", fmt.Errorf("socketio: Config.%s: namespace %w", field, err)
	}
	return name, nil
}

func (c Config) auth() (json.RawMessage, error) {
	if c.Auth == nil {
		return nil, nil
	}
	text, err := json.Marshal(c.Auth)
	if err != nil {
		return nil, fmt.Errorf("socketio: Config.Auth: %w", err)
	}
	if !bytes.HasPrefix(text, []byte("{")) {
		return nil, errors.New("socketio: Config.Auth is not an object in JSON")
	}
	return text, nil
}

// handshake returns the URL of the WebSocket.
func (c Config) handshake(u *url.URL) string {
	to := *u
	to.Path, to.RawPath, to.Fragment, to.RawFragment = "/socket.io/", "", "", ""
	if c.Path != "" {
		to.Path = "/" + strings.Trim(c.Path, "/") + "/"
		if to.Path == "//" {
			to.Path = "/"
		}
	}
	query := to.Query()
	maps.Copy(query, c.Query)
	query.Set("EIO", "4")
	query.Set("transport", "websocket")
	to.RawQuery = query.Encode()
	return to.String()
}

func (c Config) client() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            c.dial,
			TLSClientConfig:        c.TLS.Clone(),
			DisableKeepAlives:      true,
			MaxResponseHeaderBytes: 64 << 10,
		},
		// A redirect would carry Header to wherever it points.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func checkName(name string) error {
	if len(name) > maxName {
		return fmt.Errorf("is %d bytes long, at most %d", len(name), maxName)
	}
	if !utf8.ValidString(name) {
		return fmt.Errorf("%q is not UTF-8", name)
	}
	if i := strings.IndexFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }); i >= 0 {
		return fmt.Errorf("%q holds %q", name, name[i])
	}
	return nil
}

func checkHeader(header http.Header) error {
	for name, values := range header {
		// What may stand in a name: RFC 9110 section 5.6.2.
		if name == "" || strings.ContainsFunc(name, func(r rune) bool {
			return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
		}) {
			return fmt.Errorf("has the name %q", name)
		}
		for _, v := range values {
			if strings.ContainsAny(v, "\r\n\x00") {
				return fmt.Errorf("%s holds a line break or a zero", name)
			}
		}
	}
	return nil
}

package mqtt

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"
)

// broker is where and as whom to connect.
type broker struct {
	kind     transport
	addr     string // host:port; for WebSocket the URL without user and password
	user     string
	password string
}

// transport is how the protocol's bytes are carried.
type transport int

const (
	overTCP transport = iota
	overTLS
	overWebSocket
)

// schemes are those of Config.URL, with their ports.
var schemes = map[string]struct {
	kind transport
	port string
}{
	"mqtt":     {overTCP, "1883"},
	"tcp":      {overTCP, "1883"},
	"mqtts":    {overTLS, "8883"},
	"tls":      {overTLS, "8883"},
	"ws":       {overWebSocket, ""},
	"wss":      {overWebSocket, ""},
	"mqtt+ws":  {overWebSocket, ""},
	"mqtt+wss": {overWebSocket, ""},
}

// parseBroker reads one URL. Its errors do not hold the password.
func parseBroker(s string) (broker, error) {
	u, err := url.Parse(s)
	if err != nil {
		return broker{}, withoutURL(err)
	}
	scheme, ok := schemes[u.Scheme]
	if !ok {
		return broker{}, fmt.Errorf("scheme %q is none of mqtt, tcp, mqtts, tls, ws, wss, mqtt+ws, mqtt+wss", u.Scheme)
	}
	if u.Hostname() == "" {
		return broker{}, errors.New("the host is missing")
	}
	b := broker{kind: scheme.kind}
	if u.User != nil {
		b.user = u.User.Username()
		b.password, _ = u.User.Password()
	}
	if err := b.checkUser(); err != nil {
		return broker{}, err
	}
	if b.kind != overWebSocket {
		if strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
			return broker{}, fmt.Errorf("%s:// takes neither path nor query", u.Scheme)
		}
		port := u.Port()
		if port == "" {
			port = scheme.port
		}
		b.addr = net.JoinHostPort(u.Hostname(), port)
		return b, nil
	}
	u.Scheme = strings.TrimPrefix(u.Scheme, "mqtt+")
	u.User = nil
	u.Fragment, u.RawFragment = "", ""
	if u.Path == "" || u.Path == "/" {
		u.Path = "/mqtt"
	}
	b.addr = u.String()
	return b, nil
}

// withoutURL takes the URL, and what is secret in it, out of an error.
func withoutURL(err error) error {
	var wrong *url.Error
	if errors.As(err, &wrong) {
		return wrong.Err
	}
	return err
}

// checkUser keeps to what a CONNECT packet can carry (MQTT 3.1.1 section
// 3.1.3): paho would cut what is longer, and a broker refuse what is no text.
func (b broker) checkUser() error {
	switch {
	case len(b.user) > maxTopic || len(b.password) > maxTopic:
		return fmt.Errorf("user or password is longer than %d bytes", maxTopic)
	case !utf8.ValidString(b.user) || strings.ContainsRune(b.user, 0):
		return errors.New("the user is not UTF-8 text")
	case b.user == "" && b.password != "":
		return errors.New("there is a password but no user")
	}
	return nil
}

// String is the broker's URL without user, password and query, for people.
func (b broker) String() string {
	switch b.kind {
	case overTLS:
		return "mqtts://" + b.addr
	case overWebSocket:
		url, _, _ := strings.Cut(b.addr, "?")
		return url
	default:
		return "mqtt://" + b.addr
	}
}

// dial connects. ctx bounds the attempt, not the connection.
func (b broker) dial(ctx context.Context, config *tls.Config) (net.Conn, error) {
	switch b.kind {
	case overTLS:
		return (&tls.Dialer{NetDialer: new(net.Dialer), Config: config}).DialContext(ctx, "tcp", b.addr)
	case overWebSocket:
		return dialWebSocket(ctx, b.addr, config)
	default:
		return new(net.Dialer).DialContext(ctx, "tcp", b.addr)
	}
}

// dialWebSocket opens a WebSocket as MQTT 3.1.1 section 6 has it: subprotocol
// mqtt, binary messages that are pieces of the stream.
func dialWebSocket(ctx context.Context, url string, config *tls.Config) (net.Conn, error) {
	ws, answer, err := websocket.Dial(ctx, url, &websocket.DialOptions{
		Subprotocols: []string{"mqtt"},
		HTTPClient: &http.Client{Transport: &http.Transport{
			Proxy:             http.ProxyFromEnvironment,
			TLSClientConfig:   config,
			DisableKeepAlives: true, // nothing is left behind by a broker that refuses
		}, CheckRedirect: refuseRedirect},
	})
	if err != nil {
		if answer != nil {
			return nil, fmt.Errorf("websocket: HTTP status %d", answer.StatusCode)
		}
		return nil, fmt.Errorf("websocket: %w", withoutURL(err))
	}
	life, end := context.WithCancel(context.Background())
	return &socket{Conn: websocket.NetConn(life, ws, websocket.MessageBinary), ws: ws, end: end}, nil
}

// refuseRedirect keeps user and password, which follow over the WebSocket, from
// whoever a redirect points at.
func refuseRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// socket is a WebSocket as a net.Conn whose Close does not wait for the other
// side's close frame, which takes up to 5 s.
type socket struct {
	net.Conn
	ws  *websocket.Conn
	end context.CancelFunc
}

func (s *socket) Close() error {
	_ = s.Conn.SetDeadline(time.Time{}) // ends its timers
	err := s.ws.CloseNow()
	s.end()
	return err
}

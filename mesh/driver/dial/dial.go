// Package dial makes a signaling driver out of one URL, for commands and
// applications whose users choose the service. It knows every driver; whoever
// needs one only imports that, and links no other.
//
//	memory:                                 peers of this process
//	nats:// tls://                          NATS
//	ws:// wss://                            NATS over WebSocket
//	mqtt:// mqtts:// mqtt+ws:// mqtt+wss:// MQTT 3.1.1
//	sse+http:// sse+https://                Server-Sent Events, as of Mercure
//	socketio+http:// socketio+https://      Socket.IO
//
// User and password in the URL are the service's. Several addresses of one
// service are separated by commas where the driver can use them (NATS, MQTT).
package dial

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/weft-rtc/weft/mesh/driver"
	"github.com/weft-rtc/weft/mesh/driver/memory"
	"github.com/weft-rtc/weft/mesh/driver/mqtt"
	"github.com/weft-rtc/weft/mesh/driver/nats"
	"github.com/weft-rtc/weft/mesh/driver/socketio"
	"github.com/weft-rtc/weft/mesh/driver/sse"
)

// Schemes are the schemes that New knows.
var Schemes = []string{
	"memory", "nats", "tls", "ws", "wss", "mqtt", "mqtts", "mqtt+ws", "mqtt+wss",
	"sse+http", "sse+https", "socketio+http", "socketio+https",
}

// Options are what does not fit into a URL. The zero value is good.
type Options struct {
	// Prefix is put in front of each namespace, or event name with Socket.IO,
	// without a separator. Peers must use the same. SSE has none.
	Prefix string
	// TLS is used where the scheme says so. Nil trusts the system's authorities.
	TLS *tls.Config
	// Token is what the client introduces itself with, for NATS and SSE; MQTT has
	// a password in the URL instead.
	Token string
	// Logger gets connects, disconnects and errors. Nil discards them.
	Logger *slog.Logger
}

// ErrScheme: no driver is for the scheme of the URL.
var ErrScheme = errors.New("unknown scheme")

// bus is where the drivers of memory: meet.
var bus = memory.NewBus()

// New makes the driver that a URL names. It fails for what is wrong in the
// configuration; a service that is not reached is tried again for ever. The
// caller closes the driver.
func New(rawURL string, o Options) (driver.Driver, error) {
	scheme, rest, ok := strings.Cut(rawURL, ":")
	if !ok {
		return nil, fmt.Errorf("signaling: the URL has no scheme, want one of %s", strings.Join(Schemes, ", "))
	}
	switch scheme {
	case "memory":
		return bus.Driver(), nil
	case "nats", "tls", "ws", "wss":
		return checked(nats.New(nats.Config{URL: rawURL, Prefix: o.Prefix, Token: o.Token, TLS: o.TLS, Logger: o.Logger}))
	case "mqtt", "mqtts", "mqtt+ws", "mqtt+wss":
		return checked(mqtt.New(mqtt.Config{URL: rawURL, Prefix: o.Prefix, TLS: o.TLS, Logger: o.Logger}))
	case "sse+http", "sse+https":
		if o.Prefix != "" {
			return nil, errors.New("signaling by SSE has no prefix")
		}
		return checked(sse.New(sse.Config{URL: rawURL, Token: o.Token, TLS: o.TLS, Logger: o.Logger}))
	case "socketio+http", "socketio+https":
		return checked(socketio.New(socketio.Config{URL: strings.TrimPrefix(scheme, "socketio+") + ":" + rest, Prefix: o.Prefix, TLS: o.TLS, Logger: o.Logger}))
	}
	// Not the rest of the URL, which may have a password or a token.
	return nil, fmt.Errorf("signaling: %w %q, want one of %s", ErrScheme, scheme, strings.Join(Schemes, ", "))
}

// checked turns a driver that was not made into a nil interface.
func checked[D driver.Driver](d D, err error) (driver.Driver, error) {
	if err != nil {
		return nil, err
	}
	return d, nil
}

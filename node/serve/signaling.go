package serve

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/weft-rtc/weft/mesh/driver"
	"github.com/weft-rtc/weft/mesh/driver/dial"
	natsdriver "github.com/weft-rtc/weft/mesh/driver/nats"
)

// SignalEmbedded is the default of Config.Signal.
const SignalEmbedded = "embedded"

// broker is what Config.Signal names: a service that others run, over which the
// hub meets the peers of its rooms. The zero value stands for the embedded bus.
type broker struct {
	url    string
	prefix string
	shown  string // url without what may be secret
	// browser are the addresses for a page, none where it has no way in: it
	// speaks NATS over WebSocket alone, and is not given the hub's credentials.
	browser []string
}

func (b broker) embedded() bool { return b.url == "" }

// parseBroker reads Config.Signal. Its errors hold nothing of the URL but the
// scheme.
func parseBroker(rawURL, prefix string) (broker, error) {
	if rawURL == "" || rawURL == SignalEmbedded {
		if prefix != "" {
			return broker{}, errors.New("serve: --signal-prefix is for a broker that --signal names")
		}
		return broker{}, nil
	}
	schemes := dial.Schemes[1:] // memory: is for the peers of one process
	scheme, _, _ := strings.Cut(rawURL, ":")
	if !slices.Contains(schemes, scheme) {
		return broker{}, fmt.Errorf("serve: --signal: want %s or the URL of a broker by one of %s", SignalEmbedded, strings.Join(schemes, ", "))
	}
	if prefix != "" && strings.HasPrefix(scheme, "sse+") {
		return broker{}, errors.New("serve: --signal-prefix: signaling by SSE has none")
	}
	b := broker{url: rawURL, prefix: prefix}
	open, shown := scheme == "ws" || scheme == "wss", []string(nil)
	for part := range strings.SplitSeq(rawURL, ",") {
		u, err := url.Parse(strings.TrimSpace(part))
		if err != nil || u.Host == "" {
			return broker{}, errors.New("serve: --signal is no URL with a host; for example nats://127.0.0.1:4222")
		}
		open = open && u.User == nil && u.RawQuery == ""
		u.User, u.RawQuery, u.Fragment = nil, "", ""
		shown = append(shown, u.String())
	}
	b.shown = strings.Join(shown, ",")
	if open {
		b.browser = shown
	}
	return b, nil
}

// newDriver makes a hub's driver of its own for one room.
func (b broker) newDriver(_ string, log *slog.Logger) (driver.Driver, error) {
	return dial.New(b.url, dial.Options{Prefix: b.prefix, Logger: log})
}

// newDriver makes a hub's driver of its own for one room: in the room's account
// where every room has one, else in the account that all share.
func (b *bus) newDriver(room string, log *slog.Logger) (driver.Driver, error) {
	if !b.rooms.closed {
		return natsdriver.New(natsdriver.Config{InProcess: b, Logger: log})
	}
	t, err := b.rooms.enter(room)
	if err != nil {
		return nil, err
	}
	d, err := natsdriver.New(natsdriver.Config{InProcess: b, Token: t.token(), Logger: log})
	if err != nil {
		t.leave()
		return nil, err
	}
	return &tenantDriver{Driver: d, tenant: t}, nil
}

// tenantDriver is a driver in an account that it leaves when it is closed.
type tenantDriver struct {
	driver.Driver
	tenant *tenant
	once   sync.Once
}

// Close implements driver.Driver.
func (d *tenantDriver) Close() error {
	err := d.Driver.Close()
	d.once.Do(d.tenant.leave)
	return err
}

// openBus makes the ways into the embedded bus by HTTP.
func (s *Server) openBus(b *bus) {
	clients := newBridgeQuota()
	door := &doorway{gate: s.gate, rooms: b.rooms}
	s.bridge = newBridge(b.InProcessConn, door, s.cfg.AllowOrigins, clients, s.log)
	if b.mqtt != nil {
		s.mqtt = newMQTTBridge(b, door, s.cfg.AllowOrigins, clients, s.log)
	}
	s.mercure = newMercure(b, door, s.cfg.AllowOrigins, s.log)
}

// closeBus closes them and cuts their clients off. It is idempotent.
func (s *Server) closeBus() {
	if s.bridge != nil {
		s.bridge.Close()
	}
	if s.mqtt != nil {
		s.mqtt.Close()
	}
	if s.mercure != nil {
		s.mercure.Close()
	}
}

// signalingConfig tells a page how to reach signaling, nil where there is no way.
func (s *Server) signalingConfig(ownHost string) *signalingConfig {
	switch {
	case s.broker.embedded():
		return &signalingConfig{"nats", signalOptions{Servers: []string{ownHost + "/nats"}}}
	case s.broker.browser == nil:
		return nil
	default:
		return &signalingConfig{"nats", signalOptions{s.broker.browser, s.broker.prefix}}
	}
}

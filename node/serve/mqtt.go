package serve

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/coder/websocket"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/weft-rtc/weft/node/serve/access"
)

// Bounds of what MQTT makes the bus keep. With what the filter lets through
// (mqtt_filter.go) that is a record of some kilobytes for each client while it
// is connected.
const (
	mqttMaxStore    = 64 << 20 // bytes on disk
	mqttMaxMemory   = 1 << 20  // bytes in memory; its streams are all on disk
	mqttDialTimeout = 5 * time.Second
)

// mqttGate is the bus's way in for MQTT. nats-server speaks MQTT only on a
// listener of its own and only with JetStream, so there is one on a free port of
// the loopback interface, and a store in a private temporary directory.
//
// Everybody on this machine can reach such a port, so it wants a user and a
// password that are made at start and that nobody but the bridge has. JetStream
// on the other hand is reached by anybody on the bus, over /nats too; so nobody
// there may speak to it, nor listen to what MQTT stores.
type mqttGate struct {
	user, password string
	dir            string
	opts           *server.Options // those of the running bus, with the port
	rooms          *tenants
	log            *slog.Logger
}

// newMQTTGate makes the store's directory. close removes it.
func newMQTTGate(log *slog.Logger) (*mqttGate, error) {
	dir, err := os.MkdirTemp("", "weft-mqtt-")
	if err != nil {
		return nil, fmt.Errorf("serve: --mqtt: a place for the store: %w", err)
	}
	return &mqttGate{user: rand.Text(), password: rand.Text(), dir: dir, log: log}, nil
}

// newBus starts the bus that the configuration wants.
func (s *Server) newBus() (*bus, error) {
	rooms := newTenants(s.cfg.MaxRooms, !s.gate.Open())
	if s.cfg.MQTT {
		return newMQTTBus(s.log, rooms)
	}
	return newBus(s.log, rooms)
}

// newMQTTBus starts a bus that speaks MQTT too.
func newMQTTBus(log *slog.Logger, rooms *tenants) (*bus, error) {
	gate, err := newMQTTGate(log)
	if err != nil {
		return nil, err
	}
	gate.rooms, rooms.prepare = rooms, keepForMQTT
	b, err := newBus(log, rooms, gate.configure)
	if err != nil {
		gate.close()
		return nil, err
	}
	b.mqtt = gate
	return b, nil
}

// keepForMQTT lets MQTT keep what it needs for an account.
func keepForMQTT(a *server.Account) error { return a.EnableJetStream(nil, nil) }

// configure puts MQTT into the options of the bus.
func (g *mqttGate) configure(o *server.Options) {
	o.MQTT.Host, o.MQTT.Port = "127.0.0.1", server.RANDOM_PORT
	o.JetStream, o.StoreDir = true, g.dir
	o.JetStreamMaxStore, o.JetStreamMaxMemory = mqttMaxStore, mqttMaxMemory
	o.CustomClientAuthentication = g
	g.opts = o
}

// busReserved are the subjects that only the bus itself may use.
var busReserved = []string{"$JS.>", "$JSC.>", "$MQTT.>", "$SYS.>", "$KV.>", "$O.>"}

// dial opens a client connection. The caller must introduce itself with user
// and password.
func (g *mqttGate) dial() (net.Conn, error) {
	addr := net.JoinHostPort(g.opts.MQTT.Host, fmt.Sprint(g.opts.MQTT.Port))
	conn, err := net.DialTimeout("tcp", addr, mqttDialTimeout)
	if err != nil {
		return nil, fmt.Errorf("serve: embedded signaling: MQTT: %w", err)
	}
	return conn, nil
}

// close removes the store. The bus must be closed before.
func (g *mqttGate) close() {
	if err := os.RemoveAll(g.dir); err != nil {
		g.log.Warn("the temporary store of MQTT is left behind", "dir", g.dir, "error", err)
	}
}

// newMQTTBridge returns the bridge for /mqtt: MQTT 3.1.1 over WebSocket as in
// its section 6. The bus is one of newMQTTBus.
func newMQTTBridge(bus *bus, door *doorway, origins []string, clients *quota, log *slog.Logger) *bridge {
	gate := bus.mqtt
	b := newBridge(func() (net.Conn, error) {
		if bus.srv.NumClients() >= busMaxConnections {
			return nil, errBusFull
		}
		return gate.dial()
	}, door, origins, clients, log)
	b.protocols = []string{"mqtt"}
	b.inward = func(ctx context.Context, e *entry, ws *websocket.Conn, nc net.Conn) error {
		f := newMQTTFilter(&binaryReader{ctx: ctx, ws: ws}, nc, gate.user, gate.password)
		f.admit = func(password string) (string, error) {
			known, err := e.introduce(access.NewSecret(password))
			if known == "" {
				known = gate.password
			}
			return known, err
		}
		return f.run()
	}
	return b
}

// binaryReader is the stream that a websocket's binary messages are pieces of.
type binaryReader struct {
	ctx context.Context
	ws  *websocket.Conn
	r   io.Reader // of the present message, nil between two
}

func (b *binaryReader) Read(p []byte) (int, error) {
	for {
		if b.r == nil {
			kind, r, err := b.ws.Reader(b.ctx)
			if err != nil {
				return 0, err
			}
			if kind != websocket.MessageBinary {
				return 0, errNotBinary
			}
			b.r = r
		}
		n, err := b.r.Read(p)
		if errors.Is(err, io.EOF) {
			b.r, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

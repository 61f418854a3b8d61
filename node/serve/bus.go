package serve

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/time/rate"
)

// Bounds of the embedded bus. Signaling is small and rare: an announcement is
// some 100 bytes, an encrypted offer with every codec some 20 kB.
const (
	busMaxPayload       = 1 << 20           // bytes of one message, as the codec's own bound
	busMaxPending       = 8 << 20           // bytes that wait for one slow client before it is cut off
	busMaxConnections   = 2 * bridgeClients // the other half is for the hubs and Mercure, whom strangers must not crowd out
	busMaxSubscriptions = 64                // of one client; a peer needs two for each room
	busMaxControlLine   = 1024              // bytes of a protocol line: verb, subject, lengths
	busStartTimeout     = 5 * time.Second   // measured: 4 to 10 ms
	busAuthTimeout      = 10 * time.Second  // for a client's first words: the default of 2 s is short for far ones
)

// bus is the embedded nats-server. It opens no port of its own but for MQTT
// (mqtt.go): our hubs reach it in process, and everyone else through the bridge
// on the HTTP port.
type bus struct {
	srv   *server.Server
	rooms *tenants
	mqtt  *mqttGate // nil without --mqtt
}

// newBus starts the bus, with options that configure changes. Close stops it.
func newBus(log *slog.Logger, rooms *tenants, configure ...func(*server.Options)) (*bus, error) {
	opts := &server.Options{
		ServerName:      "weft",
		DontListen:      true,
		NoSigs:          true,
		NoLog:           true,
		NoSystemAccount: true,
		MaxConn:         busMaxConnections,
		MaxSubs:         busMaxSubscriptions,
		MaxPayload:      busMaxPayload,
		MaxPending:      busMaxPending,
		MaxControlLine:  busMaxControlLine,
		WriteDeadline:   5 * time.Second,
		PingInterval:    20 * time.Second,
		MaxPingsOut:     2,
		AuthTimeout:     busAuthTimeout.Seconds(),

		CustomClientAuthentication: rooms,
	}
	for _, c := range configure {
		c(opts)
	}
	srv, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("serve: embedded signaling: %w", err)
	}
	rooms.srv = srv
	srv.SetLoggerV2(newBusLog(log), false, false, false)
	srv.Start()
	if !srv.ReadyForConnections(busStartTimeout) {
		srv.Shutdown()
		srv.WaitForShutdown()
		return nil, fmt.Errorf("serve: embedded signaling is not ready after %v", busStartTimeout)
	}
	return &bus{srv: srv, rooms: rooms}, nil
}

// errBusFull says that a client was turned away because the bus has as many as
// it takes.
var errBusFull = errors.New("serve: the embedded signaling has as many clients as it takes")

// InProcessConn opens a client connection without a socket. It is what
// nats.go's InProcessServer option asks for.
func (b *bus) InProcessConn() (net.Conn, error) {
	if b.srv.NumClients() >= busMaxConnections {
		return nil, errBusFull
	}
	return b.srv.InProcessConn()
}

// Close stops the bus and waits for its goroutines. All clients are cut off.
func (b *bus) Close() {
	b.srv.Shutdown()
	b.srv.WaitForShutdown()
	if b.mqtt != nil {
		b.mqtt.close()
	}
}

// busLog gives nats-server's few lines to slog. What it calls a notice is its
// own start and stop, which interests nobody here. Of warnings, which clients can
// cause at will, it lets one a second through after the first few.
type busLog struct {
	log  *slog.Logger
	some *rate.Sometimes
}

func newBusLog(log *slog.Logger) busLog {
	return busLog{log.With("part", "nats-server"), &rate.Sometimes{First: 20, Interval: time.Second}}
}

func (l busLog) Noticef(format string, v ...any) { l.log.Debug(fmt.Sprintf(format, v...)) }
func (l busLog) Debugf(format string, v ...any)  { l.log.Debug(fmt.Sprintf(format, v...)) }
func (l busLog) Tracef(format string, v ...any)  {}
func (l busLog) Errorf(format string, v ...any)  { l.Warnf(format, v...) }
func (l busLog) Warnf(format string, v ...any) {
	l.some.Do(func() { l.log.Warn(fmt.Sprintf(format, v...)) })
}
func (l busLog) Fatalf(format string, v ...any) { l.log.Error(fmt.Sprintf(format, v...)) }

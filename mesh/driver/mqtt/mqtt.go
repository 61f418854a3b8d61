// Package mqtt is the signaling driver for MQTT 3.1.1: one topic for each
// namespace, quality of service 0, nothing retained, the packet as the
// payload. It speaks to brokers over TCP, TLS and WebSocket.
//
// It keeps trying to connect for ever, at the beginning too. Subscriptions are
// made again before the driver becomes active; packets are never kept back for
// a later connection, nor left at the broker.
//
// The protocol is paho's. Its client is used for one connection only and then
// thrown away: connecting again, in connect.go, and the table of who listens
// on what, in table.go, are our own. What a broker sends is checked in guard.go
// before paho reads it.
package mqtt

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/weft-rtc/weft/mesh/driver"
)

const (
	// dialTimeout bounds one attempt to connect, TLS, WebSocket and the
	// broker's answer included.
	dialTimeout = 5 * time.Second
	// confirmTimeout bounds the wait for a broker to confirm subscriptions.
	confirmTimeout = 5 * time.Second
	// writeTimeout bounds one write, and what a publisher waits for the one
	// before. A megabyte at 1 Mbit/s takes 8 s.
	writeTimeout = 10 * time.Second
	// keepAlive and pingTimeout find a connection that died in silence after at
	// most 25 s. A broker notices us gone after 15 s.
	keepAlive   = 10 * time.Second
	pingTimeout = 10 * time.Second
	// goodbyeTimeout bounds how long Close waits for the last packet to leave.
	goodbyeTimeout = 250 * time.Millisecond
	// maxPacket is driver.MaxPacket less what nats-server puts in front of a
	// message, 25 bytes, before it compares with the same limit. MQTT 3.1.1 knows
	// no way to ask, and a broker ends the connection of whoever sends more.
	maxPacket = driver.MaxPacket - 64
	// maxTopic is the longest topic in bytes (MQTT 3.1.1 section 1.5.3).
	maxTopic = 1<<16 - 1
)

// Config says which broker to use and how.
type Config struct {
	// URL names one broker or several, separated by commas, which are tried in
	// turn: mqtt:// or tcp:// (port 1883), mqtts:// or tls:// (8883), ws:// (80)
	// and wss:// (443), the last two also as mqtt+ws:// and mqtt+wss://, with
	// user and password if need be. A WebSocket URL without a path gets /mqtt.
	// Required.
	URL string
	// Prefix is put straight in front of each namespace to make the topic,
	// without a separator. Peers must use the same. Where the broker is a
	// nats-server, prefix "px/" here is prefix "px." there. Default: none.
	Prefix string
	// TLS is used for TLS and WebSocket over TLS. Nil trusts the system's
	// authorities.
	TLS *tls.Config
	// Logger gets connects, disconnects and refusals. Nil discards them.
	Logger *slog.Logger
}

// validate returns the brokers, or an error that names the field that is wrong.
func (c Config) validate() ([]broker, error) {
	if c.URL == "" {
		return nil, errors.New("mqtt: Config.URL is empty")
	}
	var brokers []broker
	for _, s := range strings.Split(c.URL, ",") {
		b, err := parseBroker(strings.TrimSpace(s))
		if err != nil {
			return nil, fmt.Errorf("mqtt: Config.URL: %w", err)
		}
		brokers = append(brokers, b)
	}
	if i := strings.IndexFunc(c.Prefix, func(r rune) bool {
		return r <= ' ' || r == '+' || r == '#' || r == 0x7f || r == '\uFFFD'
	}); i >= 0 {
		return nil, fmt.Errorf("mqtt: Config.Prefix %q holds %q", c.Prefix, c.Prefix[i])
	}
	if strings.HasPrefix(c.Prefix, "$") {
		return nil, fmt.Errorf("mqtt: Config.Prefix %q begins like the broker's own topics", c.Prefix)
	}
	if len(c.Prefix) > maxTopic/2 {
		return nil, fmt.Errorf("mqtt: Config.Prefix is %d bytes long, at most %d", len(c.Prefix), maxTopic/2)
	}
	return brokers, nil
}

// Driver is a connection to an MQTT broker.
type Driver struct {
	// set once
	prefix  string
	brokers []broker
	tls     *tls.Config
	log     *slog.Logger
	life    context.Context
	end     context.CancelFunc

	state driver.State

	// turn is held while subscribing and unsubscribing is handed to the client,
	// so that the broker hears of it in the order in which the table changed.
	turn sync.Mutex

	mu      sync.Mutex
	session *session // nil: no connection
	table   map[string]*topic

	wg sync.WaitGroup // run, and one goroutine for each subscription
}

var _ driver.Driver = (*Driver)(nil)

// New connects to a broker. It blocks for the first attempt, at most 5 s for
// each broker and 5 s for its subscriptions. If that fails the driver is
// returned all the same, not active, and goes on trying; errors are those of
// the configuration.
func New(config Config) (*Driver, error) {
	brokers, err := config.validate()
	if err != nil {
		return nil, err
	}
	log := config.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	d := &Driver{
		prefix:  config.Prefix,
		brokers: brokers,
		tls:     config.TLS,
		log:     log.With("driver", "mqtt"),
		table:   make(map[string]*topic),
	}
	d.life, d.end = context.WithCancel(context.Background())
	first := make(chan struct{})
	d.wg.Go(func() { d.run(first) })
	<-first
	return d, nil
}

// Active implements driver.Driver.
func (d *Driver) Active() bool { return d.state.Active() }

// Watch implements driver.Driver.
func (d *Driver) Watch(changed func(active bool)) (cancel func()) { return d.state.Watch(changed) }

// Subscribe implements driver.Driver. It also fails if the broker refuses the
// subscription, with ErrRefused.
func (d *Driver) Subscribe(ctx context.Context, namespace string, receive func(packet []byte)) (unsubscribe func() error, err error) {
	name, err := d.check(ctx, namespace)
	if err != nil {
		return nil, err
	}
	if receive == nil {
		return nil, errors.New("mqtt: receive is nil")
	}
	in := driver.NewInbox()
	ack, err := d.enter(name, in, receive)
	if err != nil {
		return nil, err
	}
	unsubscribe = sync.OnceValue(func() error { d.leave(name, in); return nil })
	if err := d.confirm(ctx, name, ack); err != nil {
		_ = unsubscribe()
		return nil, err
	}
	return unsubscribe, nil
}

// Publish implements driver.Driver. It blocks while the broker takes nothing,
// for at most 10 s.
func (d *Driver) Publish(ctx context.Context, namespace string, packet []byte) error {
	name, err := d.check(ctx, namespace)
	if err != nil {
		return err
	}
	if len(packet) > maxPacket {
		return fmt.Errorf("%w: %d bytes, at most %d", driver.ErrTooLarge, len(packet), maxPacket)
	}
	d.mu.Lock()
	s := d.session
	d.mu.Unlock()
	if s == nil || !d.state.Active() {
		return driver.ErrInactive
	}
	token := s.client.Publish(name, 0, false, bytes.Clone(packet))
	select {
	case <-token.Done():
		return d.named(token.Error())
	default:
		return nil // on its way
	}
}

// check refuses calls that cannot be served, and returns the topic.
func (d *Driver) check(ctx context.Context, namespace string) (string, error) {
	if d.state.Closed() {
		return "", driver.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return "", fmt.Errorf("mqtt: %w", err)
	}
	if err := driver.CheckNamespace(namespace); err != nil {
		return "", err
	}
	if n := len(d.prefix) + len(namespace); n > maxTopic {
		return "", fmt.Errorf("mqtt: a topic of %d bytes, at most %d", n, maxTopic)
	}
	return d.prefix + namespace, nil
}

// named turns an error of paho for a publication into one of package driver
// where there is such a one.
func (d *Driver) named(err error) error {
	switch {
	case err == nil:
		return nil
	case d.state.Closed():
		return driver.ErrClosed
	case errors.Is(err, paho.ErrNotConnected):
		return driver.ErrInactive
	default:
		return fmt.Errorf("mqtt: publish: %w", err)
	}
}

// Close implements driver.Driver.
func (d *Driver) Close() error {
	d.state.Close()
	d.mu.Lock()
	d.end()
	table := d.table
	d.table = nil
	d.mu.Unlock()
	for _, t := range table {
		for _, in := range t.inboxes {
			in.Close()
		}
	}
	d.wg.Wait()
	return nil
}

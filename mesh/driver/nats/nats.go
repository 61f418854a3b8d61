// Package nats is the signaling driver for NATS: core publish and subscribe,
// one subject for each namespace, the packet as the message's data. It speaks
// to servers over TCP and WebSocket, and to one in the same process without a
// socket.
//
// It keeps trying to connect for ever, at the beginning too. Subscriptions are
// restored before the driver becomes active again; packets are never kept back
// for a later connection. With several servers of one cluster in the URL the
// driver moves on to the next when it loses one.
package nats

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"strings"
	"sync"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/weft-rtc/weft/mesh/driver"
)

const (
	// dialTimeout bounds one attempt to connect, TLS and WebSocket included.
	dialTimeout = 5 * time.Second
	// flushTimeout bounds the wait for a server to confirm subscriptions.
	flushTimeout = 5 * time.Second
	// pingInterval finds a connection that died in silence after at most three
	// of it. NATS's own default of 2 minutes would leave a room deaf for long.
	pingInterval = 10 * time.Second
)

// InProcessConnProvider is a NATS server in the same process; the server of
// nats-server implements it.
type InProcessConnProvider = natsgo.InProcessConnProvider

// Config says which servers to use and how.
type Config struct {
	// URL names one server or several, separated by commas: nats://, tls://,
	// ws:// and wss://, with user and password or a token if need be. A ws://
	// or wss:// URL may have a path. Required unless InProcess is set.
	URL string
	// InProcess is the server to connect to without a socket; URL is then not
	// used.
	InProcess InProcessConnProvider
	// Prefix is put straight in front of each namespace to make the subject,
	// without a separator. Peers must use the same. Default: none.
	Prefix string
	// Token, if not empty, is what the client introduces itself with.
	Token string
	// TLS is used for tls:// and wss://. Nil trusts the system's authorities.
	TLS *tls.Config
	// Logger gets connects, disconnects and errors of the service. Nil
	// discards them.
	Logger *slog.Logger
}

// validate returns an error that names the field that is wrong.
func (c Config) validate() error {
	if c.InProcess == nil && c.URL == "" {
		return errors.New("nats: Config.URL is empty")
	}
	if i := strings.IndexFunc(c.Prefix, func(r rune) bool { return r <= ' ' || r == '*' || r == '>' || r == 0x7f }); i >= 0 {
		return fmt.Errorf("nats: Config.Prefix %q holds %q", c.Prefix, c.Prefix[i])
	}
	if strings.HasPrefix(c.Prefix, ".") || strings.HasPrefix(c.Prefix, "$") || strings.Contains(c.Prefix, "..") {
		return fmt.Errorf("nats: Config.Prefix %q does not begin a subject", c.Prefix)
	}
	return nil
}

// Driver is a connection to NATS.
type Driver struct {
	// set once
	prefix string
	log    *slog.Logger
	nc     *natsgo.Conn
	first  chan struct{} // closed at the first connect
	closed chan struct{} // closed when the connection is closed for good
	life   context.Context
	end    context.CancelFunc

	state driver.State
	why   string // of the last failed attempt; of nats.go's callbacks

	mu sync.Mutex     // orders wg.Go before wg.Wait
	wg sync.WaitGroup // one goroutine for each subscription
}

var _ driver.Driver = (*Driver)(nil)

// New connects to NATS. It blocks for the first attempt, at most 5 s for each
// server. If that fails the driver is returned all the same, not active, and
// goes on trying; errors are those of the configuration.
func New(config Config) (*Driver, error) {
	if err := config.validate(); err != nil {
		return nil, err
	}
	log := config.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	d := &Driver{
		prefix: config.Prefix,
		log:    log.With("driver", "nats"),
		first:  make(chan struct{}),
		closed: make(chan struct{}),
	}
	d.life, d.end = context.WithCancel(context.Background())
	nc, err := natsgo.Connect(config.URL, d.options(config)...)
	if err != nil {
		d.end()
		var in *url.Error // its text has the URL, which may have a password
		if errors.As(err, &in) {
			err = in.Err
		}
		return nil, fmt.Errorf("nats: Config.URL: %w", err)
	}
	d.nc = nc
	if nc.IsConnected() {
		<-d.first // the callback is on its way; Active is true from the beginning
	}
	return d, nil
}

func (d *Driver) options(config Config) []natsgo.Option {
	var once sync.Once
	options := []natsgo.Option{
		natsgo.Name("weft"),
		natsgo.NoEcho(),
		natsgo.Timeout(dialTimeout),
		natsgo.PingInterval(pingInterval),
		natsgo.MaxPingsOutstanding(2),
		natsgo.RetryOnFailedConnect(true),
		natsgo.MaxReconnects(-1),
		natsgo.IgnoreAuthErrorAbort(), // credentials may be put right on the server
		natsgo.ReconnectBufSize(-1),   // nothing is kept for later
		natsgo.SyncQueueLen(driver.QueuePackets),
		natsgo.CustomReconnectDelay(func(attempt int) time.Duration { return driver.Delay(attempt, rand.Float64()) }),
		natsgo.ConnectHandler(func(nc *natsgo.Conn) { d.connected(nc); once.Do(func() { close(d.first) }) }),
		natsgo.ReconnectHandler(d.connected),
		natsgo.DisconnectErrHandler(d.disconnected),
		natsgo.ClosedHandler(func(*natsgo.Conn) { close(d.closed) }),
		natsgo.ErrorHandler(d.failed),
		natsgo.ReconnectErrHandler(d.refused),
	}
	if strings.HasPrefix(config.URL, "ws") {
		// What a server says of its cluster are addresses behind the proxy that
		// most WebSockets come through.
		options = append(options, natsgo.IgnoreDiscoveredServers())
	}
	if config.TLS != nil {
		options = append(options, natsgo.Secure(config.TLS))
	}
	if config.Token != "" {
		options = append(options, natsgo.Token(config.Token))
	}
	if config.InProcess != nil {
		options = append(options, natsgo.InProcessServer(config.InProcess))
	}
	return options
}

// connected, refused, disconnected and failed are called by nats.go, one after another
// on a goroutine of its own.
func (d *Driver) connected(nc *natsgo.Conn) {
	// The subscriptions were sent again, but the server may not have read them
	// yet; whoever is told that the driver is active publishes at once and
	// expects answers.
	if err := nc.FlushTimeout(flushTimeout); err != nil && !nc.IsConnected() {
		return // lost again, and disconnected follows
	}
	d.why = ""
	d.log.Info("connected", "url", nc.ConnectedUrlRedacted())
	d.state.Set(true)
}

// refused tells of an attempt that failed: loudly if the reason is a new one,
// such as a certificate that is not trusted.
func (d *Driver) refused(_ *natsgo.Conn, err error) {
	level := slog.LevelDebug
	if text := err.Error(); text != d.why {
		d.why, level = text, slog.LevelWarn
	}
	d.log.Log(d.life, level, "cannot connect, trying again", "err", err)
}

func (d *Driver) disconnected(_ *natsgo.Conn, err error) {
	if !d.state.Closed() {
		d.log.Warn("disconnected", "err", err)
	}
	d.state.Set(false)
}

func (d *Driver) failed(_ *natsgo.Conn, sub *natsgo.Subscription, err error) {
	if sub == nil {
		d.log.Warn("error", "err", err)
		return
	}
	dropped, _ := sub.Dropped() // 0 where the subscription is gone
	d.log.Warn("error", "subject", sub.Subject, "dropped", dropped, "err", err)
}

// Active implements driver.Driver.
func (d *Driver) Active() bool { return d.state.Active() }

// Watch implements driver.Driver.
func (d *Driver) Watch(changed func(active bool)) (cancel func()) { return d.state.Watch(changed) }

// Subscribe implements driver.Driver. While connected it waits until the server
// has confirmed the subscription.
func (d *Driver) Subscribe(ctx context.Context, namespace string, receive func(packet []byte)) (func() error, error) {
	if err := d.check(ctx, namespace); err != nil {
		return nil, err
	}
	if receive == nil {
		return nil, errors.New("nats: receive is nil")
	}
	sub, err := d.nc.SubscribeSync(d.prefix + namespace)
	if err != nil {
		return nil, d.named("subscribe", err)
	}
	if err := sub.SetPendingLimits(driver.QueuePackets, driver.QueueBytes); err != nil {
		return nil, d.named("subscribe", err)
	}
	life, end := context.WithCancel(d.life)
	unsubscribe := sync.OnceValue(func() error {
		end()
		if err := sub.Unsubscribe(); err != nil && !d.nc.IsClosed() {
			return d.named("unsubscribe", err)
		}
		return nil
	})
	if err := d.confirm(ctx); err != nil {
		_ = unsubscribe() // the first error is the one to report
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.life.Err() != nil {
		end()
		return nil, driver.ErrClosed
	}
	d.wg.Go(func() { d.run(life, sub, receive) })
	return unsubscribe, nil
}

// confirm waits until the server has seen all that was sent. Without a
// connection there is nothing to wait for: it all happens again at the next.
func (d *Driver) confirm(ctx context.Context) error {
	if !d.nc.IsConnected() {
		return nil
	}
	flush, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	if err := d.nc.FlushWithContext(flush); err != nil && ctx.Err() != nil {
		return fmt.Errorf("nats: subscribe: %w", ctx.Err())
	}
	return nil
}

// run gives a subscription's packets to receive until life ends.
func (d *Driver) run(life context.Context, sub *natsgo.Subscription, receive func(packet []byte)) {
	for {
		m, err := sub.NextMsgWithContext(life)
		switch {
		case err == nil:
			receive(m.Data)
		case errors.Is(err, natsgo.ErrSlowConsumer):
			// Packets were dropped, which failed reports. Others follow.
		default:
			return
		}
	}
}

// Publish implements driver.Driver.
func (d *Driver) Publish(ctx context.Context, namespace string, packet []byte) error {
	if err := d.check(ctx, namespace); err != nil {
		return err
	}
	if err := d.nc.Publish(d.prefix+namespace, packet); err != nil {
		return d.named("publish", err)
	}
	return nil
}

// check refuses calls that cannot be served.
func (d *Driver) check(ctx context.Context, namespace string) error {
	if d.state.Closed() {
		return driver.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("nats: %w", err)
	}
	return driver.CheckNamespace(namespace)
}

// named turns an error of nats.go into one of package driver where there is
// such a one.
func (d *Driver) named(doing string, err error) error {
	switch {
	case errors.Is(err, natsgo.ErrReconnectBufExceeded):
		return driver.ErrInactive
	case errors.Is(err, natsgo.ErrConnectionClosed), d.nc.IsClosed():
		return driver.ErrClosed
	case errors.Is(err, natsgo.ErrMaxPayload):
		return fmt.Errorf("%w: at most %d bytes", driver.ErrTooLarge, d.nc.MaxPayload())
	default:
		return fmt.Errorf("nats: %s: %w", doing, err)
	}
}

// Close implements driver.Driver.
func (d *Driver) Close() error {
	d.state.Close()
	d.mu.Lock()
	d.end()
	d.mu.Unlock()
	d.nc.Close()
	d.wg.Wait()
	<-d.closed
	return nil
}

package mqtt

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	mathrand "math/rand/v2"
	"net"
	"net/url"
	"slices"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/weft-rtc/weft/mesh/driver"
)

// stable is how long a connection must last for the next one not to wait longer
// than the last: a broker may accept a client and throw it out.
const stable = 10 * time.Second

// session is one connection to a broker and the paho client on it.
type session struct {
	broker broker
	client paho.Client
	conn   *guard
	lost   chan error // one error, once paho has cleaned up
}

// run connects again and again until the driver is closed. first is closed
// after the first attempt at every broker.
func (d *Driver) run(first chan struct{}) {
	opened := func() {
		if first != nil {
			close(first)
			first = nil
		}
	}
	defer opened()
	tries := 0 // since the last connection that was stable
	for next := 0; d.life.Err() == nil; next = (next + 1) % len(d.brokers) {
		s, err := d.connect(d.brokers[next])
		if err != nil {
			d.explain(d.brokers[next], err)
		} else {
			began := time.Now()
			d.log.Info("connected", "url", s.broker.String())
			d.state.Set(true)
			opened()
			d.stay(s)
			if time.Since(began) >= stable {
				tries = 0
			}
		}
		if tries++; tries >= len(d.brokers) {
			opened()
		}
		if err == nil || tries%len(d.brokers) == 0 {
			d.pause(driver.Delay(tries/len(d.brokers), mathrand.Float64()))
		}
	}
}

// explain logs why there is no connection. A refusal is for people to mend;
// that a broker is not there is said by the driver not being active.
func (d *Driver) explain(b broker, err error) {
	switch {
	case d.life.Err() != nil:
	case errors.Is(err, ErrRefused), isRefusal(err):
		d.log.Warn("refused", "url", b.String(), "err", err)
	default:
		d.log.Debug("cannot connect", "url", b.String(), "err", err)
	}
}

// isRefusal reports whether a broker answered and said no.
func isRefusal(err error) bool {
	for code, known := range packets.ConnErrors {
		if code != packets.Accepted && code != packets.ErrNetworkError && errors.Is(err, known) {
			return true
		}
	}
	return false
}

// pause waits, or until the driver is closed.
func (d *Driver) pause(wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-d.life.Done():
	}
}

// connect makes a session and all subscriptions on it. On an error nothing is
// left of it.
func (d *Driver) connect(b broker) (*session, error) {
	s, err := d.open(b)
	if err != nil {
		return nil, err
	}
	d.turn.Lock()
	d.mu.Lock()
	d.session = s
	table := maps.Clone(d.table)
	d.mu.Unlock()
	acks := make(map[string]*paho.SubscribeToken, len(table))
	for name, t := range table {
		acks[name] = d.ask(s, name, t)
	}
	d.turn.Unlock()
	if err := d.restored(s, acks); err != nil {
		d.detach()
		s.close()
		return nil, err
	}
	return s, nil
}

// open connects and says hello. Nothing is left of it on an error.
func (d *Driver) open(b broker) (*session, error) {
	ctx, cancel := context.WithTimeout(d.life, dialTimeout)
	defer cancel()
	s := &session{broker: b, lost: make(chan error, 1)}
	stop := func() bool { return true }
	o := paho.NewClientOptions().
		AddBroker("tcp://broker"). // unused: it goes through our own dial
		SetProtocolVersion(4).     // else paho tries 3.1 after any refusal
		SetClientID(clientID()).
		SetUsername(b.user).
		SetPassword(b.password).
		SetCleanSession(true).
		SetAutoReconnect(false).
		SetConnectRetry(false).
		SetOrderMatters(true).
		SetKeepAlive(keepAlive).
		SetPingTimeout(pingTimeout).
		SetConnectTimeout(dialTimeout).
		SetWriteTimeout(writeTimeout).
		SetDefaultPublishHandler(d.deliver).
		SetConnectionLostHandler(func(_ paho.Client, err error) { s.lost <- err }).
		SetCustomOpenConnectionFn(func(*url.URL, paho.ClientOptions) (net.Conn, error) {
			conn, err := b.dial(ctx, d.tls)
			if err != nil {
				return nil, err
			}
			s.conn = newGuard(conn, d.log)
			stop = context.AfterFunc(ctx, func() { _ = conn.Close() })
			return s.conn, nil
		})
	s.client = paho.NewClient(o)
	token := s.client.Connect()
	<-token.Done() // within dialTimeout, as everything in it is
	closed := !stop()
	if err := token.Error(); err != nil {
		return nil, err
	}
	if closed {
		s.close()
		return nil, context.Cause(ctx)
	}
	return s, nil
}

// clientID returns an id that nobody else has, within what every broker takes
// (MQTT 3.1.1 section 3.1.3.1): 23 letters and digits. It is another for each
// connection, so that a broker that still holds the last one does not have to
// decide between them.
func clientID() string { return "weft" + rand.Text()[:19] }

// restored waits for the answers to the subscriptions of a new session.
func (d *Driver) restored(s *session, acks map[string]*paho.SubscribeToken) error {
	timer := time.NewTimer(confirmTimeout)
	defer timer.Stop()
	for _, name := range slices.Sorted(maps.Keys(acks)) {
		select {
		case <-acks[name].Done():
			if err := acks[name].Error(); err != nil {
				return fmt.Errorf("mqtt: while subscribing: %w", err)
			}
			if err := verdict(name, acks[name]); err != nil {
				d.log.Warn("refused", "url", s.broker.String(), "err", err)
			}
		case err := <-s.lost:
			return fmt.Errorf("mqtt: while subscribing: %w", err)
		case <-timer.C:
			return fmt.Errorf("mqtt: no answer to a subscription within %v", confirmTimeout)
		case <-d.life.Done():
			return d.life.Err()
		}
	}
	return nil
}

// stay returns when the session is lost or the driver is closed.
func (d *Driver) stay(s *session) {
	select {
	case err := <-s.lost:
		d.detach()
		d.log.Warn("disconnected", "url", s.broker.String(), "err", err)
		d.state.Set(false)
	case <-d.life.Done():
		d.detach()
		s.close()
	}
}

// detach makes the session unknown to publishers and subscribers.
func (d *Driver) detach() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.session = nil
	for _, t := range d.table {
		t.ack = nil
	}
}

// close says goodbye to the broker and returns when paho's goroutines have
// ended.
func (s *session) close() {
	s.conn.sayGoodbye()
	s.client.Disconnect(uint(4 * goodbyeTimeout / time.Millisecond))
	_ = s.conn.Close()
}

package mqtt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/weft-rtc/weft/mesh/driver"
)

// ErrRefused reports a subscription that the broker does not allow.
var ErrRefused = errors.New("mqtt: the broker refuses the subscription")

// refused is the return code of a subscription (MQTT 3.1.1 section 3.9.3).
const refused = 0x80

// topic is an entry of the table: those who listen, and the broker's answer.
// paho keeps one function for each topic, and so does a broker one
// subscription, so several of ours share one.
type topic struct {
	inboxes []*driver.Inbox
	ack     *paho.SubscribeToken // on the present session; nil without one
}

// enter adds an inbox to the table, starts its goroutine, which Close joins,
// and asks the broker for the topic if it is a new one. It returns the broker's
// answer to come, nil without a session.
func (d *Driver) enter(name string, in *driver.Inbox, receive func(packet []byte)) (*paho.SubscribeToken, error) {
	d.turn.Lock()
	defer d.turn.Unlock()
	d.mu.Lock()
	if d.life.Err() != nil {
		d.mu.Unlock()
		return nil, driver.ErrClosed
	}
	d.wg.Go(func() { in.Run(d.log, receive) })
	t := d.table[name]
	if t != nil {
		t.inboxes = append(t.inboxes, in)
		ack := t.ack
		d.mu.Unlock()
		return ack, nil
	}
	t = &topic{inboxes: []*driver.Inbox{in}}
	d.table[name] = t
	s := d.session
	d.mu.Unlock()
	if s == nil {
		return nil, nil
	}
	return d.ask(s, name, t), nil
}

// ask sends one subscription. turn is held.
func (d *Driver) ask(s *session, name string, t *topic) *paho.SubscribeToken {
	ack, _ := s.client.Subscribe(name, 0, nil).(*paho.SubscribeToken)
	d.mu.Lock()
	t.ack = ack
	d.mu.Unlock()
	return ack
}

// leave takes an inbox out of the table and ends it, and the broker's
// subscription with the last one.
func (d *Driver) leave(name string, in *driver.Inbox) {
	in.Close()
	d.turn.Lock()
	defer d.turn.Unlock()
	d.mu.Lock()
	t := d.table[name]
	if t == nil {
		d.mu.Unlock()
		return // closed
	}
	t.inboxes = slices.DeleteFunc(t.inboxes, func(o *driver.Inbox) bool { return o == in })
	last := len(t.inboxes) == 0
	if last {
		delete(d.table, name)
	}
	s := d.session
	d.mu.Unlock()
	if last && s != nil {
		s.client.Unsubscribe(name) // nobody needs the answer
	}
}

// confirm waits for the broker's answer. Without a connection there is nothing
// to wait for: it all happens again at the next.
func (d *Driver) confirm(ctx context.Context, name string, ack *paho.SubscribeToken) error {
	if ack == nil {
		return nil
	}
	timer := time.NewTimer(confirmTimeout)
	defer timer.Stop()
	select {
	case <-ack.Done():
		return verdict(name, ack)
	case <-timer.C:
		return nil
	case <-d.life.Done():
		return driver.ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("mqtt: subscribe: %w", ctx.Err())
	}
}

// verdict is what the broker says of a subscription. A lost connection says
// nothing.
func verdict(name string, ack *paho.SubscribeToken) error {
	if ack.Error() == nil && ack.Result()[name] == refused {
		return fmt.Errorf("%w of topic %q", ErrRefused, name)
	}
	return nil
}

// deliver puts a message into the queues of those who listen. It is called by
// the goroutine of paho that reads, and does not block.
func (d *Driver) deliver(_ paho.Client, m paho.Message) {
	if m.Retained() {
		return // somebody's stale word, kept by the broker
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.table[m.Topic()]
	if t == nil {
		return // unsubscribed in the meantime
	}
	for _, in := range t.inboxes {
		// Not a line for each: a power of two says how bad it is.
		if n := in.Put(m.Payload()); n != 0 && n&(n-1) == 0 {
			d.log.Warn("slow receiver", "topic", m.Topic(), "dropped", n)
		}
	}
}

package serve

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"sync"

	natsgo "github.com/nats-io/nats.go"

	natsdriver "github.com/weft-rtc/weft/mesh/driver/nats"
)

var errBusGone = errors.New("serve: the embedded signaling has closed the connection")

// topics are what the event streams listen on, and the connections to the bus
// that this takes: few, because a subscription serves all streams of a topic.
type topics struct {
	bus   natsdriver.InProcessConnProvider
	token string // of the account on the bus

	wg sync.WaitGroup // connections

	mu     sync.Mutex
	closed bool
	sender *natsgo.Conn // for what is published
	lines  []*line
	open   map[string]*topic // by name
}

// line is one connection to the bus, with as many topics as the bus lets a
// client have.
type line struct {
	nc     *natsgo.Conn
	topics map[string]*topic
}

// topic is one subscription.
type topic struct {
	line    *line
	sub     *natsgo.Subscription
	streams map[*eventStream]struct{}
}

func newTopics(bus natsdriver.InProcessConnProvider, token string) *topics {
	return &topics{bus: bus, token: token, open: make(map[string]*topic)}
}

// connect opens a connection to the bus. One that ends stays so: who used it
// has missed packets, and must know. t.mu is held.
func (t *topics) connect() (*natsgo.Conn, error) {
	if t.closed {
		return nil, errBusGone
	}
	nc, err := natsgo.Connect("", natsgo.InProcessServer(t.bus), natsgo.Token(t.token), natsgo.Name("mercure"),
		natsgo.Timeout(mercureBusTimeout), natsgo.NoReconnect(), natsgo.ClosedHandler(t.gone),
		natsgo.ErrorHandler(func(*natsgo.Conn, *natsgo.Subscription, error) {})) // not to standard error
	if err != nil {
		return nil, fmt.Errorf("serve: embedded signaling: %w", err)
	}
	t.wg.Add(1)
	return nc, nil
}

// gone is called by nats.go when a connection has ended. The streams that
// listened on it end too.
func (t *topics) gone(nc *natsgo.Conn) {
	defer t.wg.Done()
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.IndexFunc(t.lines, func(l *line) bool { return l.nc == nc })
	if i < 0 {
		return // it was not needed any more
	}
	for name, tp := range t.lines[i].topics {
		for s := range tp.streams {
			s.end(errBusGone)
		}
		delete(t.open, name)
	}
	t.lines = slices.Delete(t.lines, i, i+1)
}

// close closes the connections and waits for their end.
func (t *topics) close() {
	t.mu.Lock()
	t.closed = true
	var all []*natsgo.Conn
	for _, l := range t.lines {
		all = append(all, l.nc)
	}
	if t.sender != nil {
		all = append(all, t.sender)
	}
	t.mu.Unlock()
	for _, nc := range all {
		nc.Close()
	}
	t.wg.Wait()
}

// publish puts a packet on the bus.
func (t *topics) publish(name string, packet []byte) error {
	t.mu.Lock()
	if t.sender == nil || t.sender.IsClosed() {
		nc, err := t.connect()
		if err != nil {
			t.mu.Unlock()
			return err
		}
		t.sender = nc
	}
	nc := t.sender
	t.mu.Unlock()
	return nc.Publish(name, packet)
}

// enter makes a stream listen on a topic until leave is called. When it returns
// the bus has seen the subscription.
func (t *topics) enter(name string, s *eventStream) (leave func(), err error) {
	tp, err := t.add(name, s)
	if err != nil {
		return nil, err
	}
	leave = func() { t.remove(name, tp, s) }
	if err := tp.line.nc.FlushTimeout(mercureBusTimeout); err != nil {
		leave()
		return nil, fmt.Errorf("serve: embedded signaling: %w", err)
	}
	return leave, nil
}

func (t *topics) add(name string, s *eventStream) (*topic, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if tp := t.open[name]; tp != nil {
		tp.streams[s] = struct{}{}
		return tp, nil
	}
	l, err := t.freeLine()
	if err != nil {
		return nil, err
	}
	tp := &topic{line: l, streams: map[*eventStream]struct{}{s: {}}}
	sub, err := l.nc.Subscribe(name, func(m *natsgo.Msg) { t.deliver(tp, m.Data) })
	if err != nil {
		return nil, fmt.Errorf("serve: embedded signaling: %w", err)
	}
	_ = sub.SetPendingLimits(mercureQueueEvents, busMaxPending) // fails only without a connection
	tp.sub = sub
	t.open[name], l.topics[name] = tp, tp
	return tp, nil
}

// freeLine finds a connection for one more topic. t.mu is held, also while one
// is opened, which takes no network.
func (t *topics) freeLine() (*line, error) {
	for _, l := range t.lines {
		if len(l.topics) < busMaxSubscriptions && !l.nc.IsClosed() {
			return l, nil
		}
	}
	nc, err := t.connect()
	if err != nil {
		return nil, err
	}
	l := &line{nc: nc, topics: make(map[string]*topic)}
	t.lines = append(t.lines, l)
	return l, nil
}

// remove takes a stream away, with the last the topic, with the last topic the
// connection.
func (t *topics) remove(name string, tp *topic, s *eventStream) {
	t.mu.Lock()
	delete(tp.streams, s)
	if len(tp.streams) > 0 || t.open[name] != tp {
		t.mu.Unlock()
		return
	}
	l := tp.line
	_ = tp.sub.Unsubscribe() // before another topic takes its place; fails only without a connection
	delete(t.open, name)
	delete(l.topics, name)
	unused := len(l.topics) == 0
	if unused {
		t.lines = slices.DeleteFunc(t.lines, func(o *line) bool { return o == l })
	}
	t.mu.Unlock()
	if unused {
		l.nc.Close()
	}
}

// deliver gives a packet to every stream of a topic, as the text of one event.
// It runs on a goroutine of nats.go, one for each topic, and does not block.
func (t *topics) deliver(tp *topic, packet []byte) {
	event := append([]byte(nil), "data: "...)
	event = base64.StdEncoding.AppendEncode(event, packet)
	event = append(event, "\n\n"...)
	t.mu.Lock()
	defer t.mu.Unlock()
	for s := range tp.streams {
		s.put(event)
	}
}

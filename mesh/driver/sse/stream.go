package sse

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"time"

	"github.com/weft-rtc/weft/mesh/driver"
)

const (
	// headerTimeout bounds the wait for the beginning of a stream.
	headerTimeout = 10 * time.Second
	// readBuffer is what is read at a time in bytes: a usual packet.
	readBuffer = 8 << 10
	// proven is how long a stream must last for the next wait to be short
	// again, or a service that ends each at once would be asked all the time.
	proven = driver.MaxDelay
)

// status of a stream. Only a lost one makes the driver inactive: a fresh one is
// waited for by Subscribe.
//
//	fresh ----> open <----> lost
//	   \----------------------^
type status uint8

const (
	fresh status = iota // the first attempt is under way
	open
	lost // between two attempts, or in one
)

// stream is the event stream of one namespace, opened again and again by its
// goroutine, which runs run.
type stream struct {
	driver    *Driver
	namespace string
	ctx       context.Context
	cancel    context.CancelFunc

	settled chan struct{} // closed when the stream is not fresh any more
	refused error         // why the stream is given up; set before settled is closed

	retry time.Duration // what the service asked for; owned by run

	// guarded by driver.mu
	status  status
	told    bool // the log says that the service refuses the stream
	inboxes map[*driver.Inbox]struct{}
}

func newStream(d *Driver, namespace string) *stream {
	s := &stream{
		driver:    d,
		namespace: namespace,
		settled:   make(chan struct{}),
		inboxes:   make(map[*driver.Inbox]struct{}),
	}
	s.ctx, s.cancel = context.WithCancel(d.life)
	return s
}

// run listens until the stream is not wanted any more.
func (s *stream) run() {
	defer s.cancel()
	for attempt := 1; ; attempt++ {
		lasted, floor, err := s.listen()
		if s.ctx.Err() != nil || s.end(err) {
			return
		}
		if lasted >= proven {
			attempt = 1
		}
		if !pause(s.ctx, attempt, floor) {
			return
		}
	}
}

var errSilent = errors.New("the stream is silent")

// listen opens the stream once and gives its packets out until it ends. It
// returns for how long it was open, and the least wait before the next attempt.
func (s *stream) listen() (lasted, floor time.Duration, err error) {
	ctx, cancel := context.WithCancelCause(s.ctx)
	defer cancel(nil)
	silence := time.AfterFunc(headerTimeout, func() { cancel(errSilent) })
	defer silence.Stop()
	resp, err := s.request(ctx)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return 0, s.retry, err
	}
	defer resp.Body.Close()
	if err := checkStream(resp); err != nil {
		return 0, max(s.retry, retryAfter(resp)), err
	}
	s.opened()
	begin := time.Now()
	err = s.read(resp, silence)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return time.Since(begin), s.retry, err
}

func (s *stream) request(ctx context.Context) (*http.Response, error) {
	d := s.driver
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.endpoint.topic(s.namespace), nil)
	if err != nil {
		return nil, err
	}
	req.Header = d.endpoint.subscribe.Clone()
	resp, err := d.http.client.Do(req)
	if err != nil {
		return nil, plain(err)
	}
	return resp, nil
}

// checkStream returns an error unless an answer begins an event stream.
func checkStream(resp *http.Response) error {
	if resp.StatusCode != http.StatusOK {
		return newStatusError(resp)
	}
	kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil || kind != "text/event-stream" {
		e := newStatusError(resp)
		e.Body = fmt.Sprintf("content type %.40q is not text/event-stream; %s", resp.Header.Get("Content-Type"), e.Body)
		return e
	}
	return nil
}

// read takes what comes until the end; silence ends it from outside if nothing
// comes for too long.
func (s *stream) read(resp *http.Response, silence *time.Timer) error {
	d := s.driver
	p := parser{limit: maxEvent}
	buf := make([]byte, readBuffer)
	for {
		if d.idle > 0 {
			silence.Reset(d.idle)
		} else {
			silence.Stop()
		}
		n, err := resp.Body.Read(buf)
		p.feed(buf[:n], s.deliver)
		if p.retry > 0 {
			s.retry = min(p.retry, maxRetry)
		}
		if p.dropped > 0 {
			d.drops.tooLarge.Add(uint64(p.dropped))
			d.log.Warn("packet dropped", "namespace", s.namespace, "reason", "too large", "count", p.dropped)
			p.dropped = 0
		}
		if err != nil {
			return err
		}
	}
}

// deliver gives a packet to everybody who listens on the namespace.
func (s *stream) deliver(data []byte) {
	d := s.driver
	packet, err := decode(data)
	if err != nil {
		d.drops.encoding.Add(1)
		d.log.Debug("packet dropped", "namespace", s.namespace, "err", err)
		return
	}
	if len(packet) > driver.MaxPacket {
		d.drops.tooLarge.Add(1)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for in := range s.inboxes {
		if n := in.Put(packet); n > 0 {
			d.drops.queue.Add(1)
			if n&(n-1) == 0 { // ever more rarely
				d.log.Warn("packets dropped", "namespace", s.namespace, "reason", "the receiver is slow", "dropped", n)
			}
		}
	}
}

// opened notes that the service listens for us.
func (s *stream) opened() {
	d := s.driver
	d.mu.Lock()
	defer d.mu.Unlock()
	s.told = false
	s.move(open)
	d.log.Debug("stream open", "namespace", s.namespace)
}

// end notes that the stream is not open. If the service refuses it, and
// Subscribe waits to hear of that, end gives it up and returns true.
func (s *stream) end(err error) (over bool) {
	d := s.driver
	d.mu.Lock()
	defer d.mu.Unlock()
	refused := refusal(err)
	if refused && s.status == fresh {
		s.refused = err
		close(s.settled)
		if d.streams[s.namespace] == s {
			delete(d.streams, s.namespace)
			d.changed()
		}
		return true
	}
	if refused && !s.told {
		s.told = true
		d.log.Warn("stream refused", "namespace", s.namespace, "err", err)
	} else {
		d.log.Debug("stream ended", "namespace", s.namespace, "err", err)
	}
	s.move(lost)
	return false
}

// move changes the status. d.mu is held.
func (s *stream) move(to status) {
	d := s.driver
	if s.status == fresh {
		close(s.settled)
	}
	s.status = to
	if d.streams[s.namespace] == s {
		d.reachable = to == open
		d.changed()
	}
}

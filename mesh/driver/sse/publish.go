package sse

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/weft-rtc/weft/mesh/driver"
)

const (
	// turnTimeout bounds Publish's wait for its turn, and publishTimeout that for
	// the answer from then on.
	turnTimeout    = 10 * time.Second
	publishTimeout = 10 * time.Second
	// maxPosts bounds the requests under way, and so the connections over
	// HTTP/1.1. Who joins a room of 200 has some thousand packets to send within
	// seconds; at 100 ms to the service and back, 16 at a time are 1600 in
	// turnTimeout.
	maxPosts = 16
	// maxDrain is what is read of an answer, in bytes, to use its connection
	// again; maxBody is what an error shows of it.
	maxDrain = 64 << 10
	maxBody  = 200
)

var (
	// ErrUnauthorized reports that the service wants a token or a password, or
	// does not know the one it got (401).
	ErrUnauthorized = errors.New("sse: not authorized")
	// ErrForbidden reports that the service does not let us publish to, or
	// listen on, this topic (403).
	ErrForbidden = errors.New("sse: forbidden")
)

// StatusError is an answer that is no success. It is ErrUnauthorized for 401,
// ErrForbidden for 403, and driver.ErrTooLarge for 413.
type StatusError struct {
	Status int    // of HTTP
	Body   string // its beginning, at most 200 bytes
}

// Error implements error.
func (e *StatusError) Error() string {
	text := fmt.Sprintf("the service answers %d %s", e.Status, http.StatusText(e.Status))
	if e.Body != "" {
		text += fmt.Sprintf(": %q", e.Body)
	}
	return text
}

// Unwrap names the error for errors.Is.
func (e *StatusError) Unwrap() error {
	switch e.Status {
	case http.StatusUnauthorized:
		return ErrUnauthorized
	case http.StatusForbidden:
		return ErrForbidden
	case http.StatusRequestEntityTooLarge:
		return driver.ErrTooLarge
	}
	return nil
}

// newStatusError reads the beginning of the body; the caller closes it.
func newStatusError(resp *http.Response) *StatusError {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxBody)) // as far as it comes
	return &StatusError{resp.StatusCode, strings.TrimSpace(strings.ToValidUTF8(string(body), ""))}
}

// refusal reports whether an answer says that asking again makes no sense.
func refusal(err error) bool {
	var status *StatusError
	if !errors.As(err, &status) {
		return false
	}
	switch status.Status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return status.Status < 500
}

// retryAfter is how long a service asks to be left alone (RFC 9110 section
// 10.2.3), 0 for not or by a date.
func retryAfter(resp *http.Response) time.Duration {
	seconds, _ := number([]byte(resp.Header.Get("Retry-After")))
	return min(time.Duration(seconds)*time.Second, maxRetry)
}

// plain takes the URL out of an error of net/http, which may hold secrets.
func plain(err error) error {
	var in *url.Error
	if errors.As(err, &in) {
		return in.Err
	}
	return err
}

// Publish implements driver.Driver. It returns when the service has answered.
// Beside 15 others it waits 10 s at most for its turn, then 10 s at most for the
// answer; packets that one goroutine publishes keep their order.
// Errors are also *StatusError, for what the service says of the packet. One
// that is ErrInactive as well tells that there was no connection to send it on.
func (d *Driver) Publish(ctx context.Context, namespace string, packet []byte) error {
	if err := d.check(ctx, namespace); err != nil {
		return err
	}
	if len(packet) > driver.MaxPacket {
		return fmt.Errorf("%w: %d bytes, at most %d", driver.ErrTooLarge, len(packet), driver.MaxPacket)
	}
	if !d.begin() {
		return driver.ErrClosed
	}
	defer d.wg.Done()
	if !d.state.Active() {
		return driver.ErrInactive
	}
	err := d.inTurn(ctx, func(within context.Context) error { return d.post(within, namespace, packet) })
	switch {
	case err == nil:
		return nil
	case d.life.Err() != nil:
		return driver.ErrClosed
	case ctx.Err() != nil:
		err = ctx.Err()
	}
	return fmt.Errorf("sse: publish: %w", err)
}

// inTurn calls post when there are not too many others under way, with a
// context that bounds it.
func (d *Driver) inTurn(ctx context.Context, post func(within context.Context) error) error {
	turn := time.NewTimer(turnTimeout)
	defer turn.Stop()
	select {
	case d.posts <- struct{}{}:
		defer func() { <-d.posts }()
	case <-turn.C:
		return fmt.Errorf("too many packets before this one, for %v: %w", turnTimeout, context.DeadlineExceeded)
	case <-ctx.Done():
		return ctx.Err()
	case <-d.life.Done():
		return driver.ErrClosed
	}
	within, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	defer context.AfterFunc(d.life, cancel)()
	err := post(within)
	if err != nil && within.Err() != nil {
		return fmt.Errorf("no answer after %v: %w", publishTimeout, within.Err())
	}
	return err
}

// begin enters a call into wg, which the caller leaves; false means closed.
func (d *Driver) begin() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.life.Err() != nil {
		return false
	}
	d.wg.Add(1)
	return true
}

func (d *Driver) post(ctx context.Context, namespace string, packet []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.endpoint.topic(namespace), strings.NewReader(form(namespace, packet)))
	if err != nil {
		return err
	}
	req.Header = d.endpoint.publish.Clone()
	// Sent again if the connection turns out to be closed, which a POST is not
	// by itself: a packet may come twice. Being empty it is not sent.
	req.Header["Idempotency-Key"] = []string{}
	resp, err := d.http.client.Do(req)
	if err != nil {
		return d.unsent(plain(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return newStatusError(resp)
	}
	_, _ = io.CopyN(io.Discard, resp.Body, maxDrain) // the answer says nothing more
	return nil
}

// unsent adds ErrInactive to the error of a packet that found no connection.
func (d *Driver) unsent(err error) error {
	signal(d.kick)
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return fmt.Errorf("%w: %w", driver.ErrInactive, err)
	}
	return err
}

// form is the body of a POST, as browsers write it: topic first, and what base64
// has beside letters and digits escaped.
func form(namespace string, packet []byte) string {
	return "topic=" + namespace + "&data=" + url.QueryEscape(base64.StdEncoding.EncodeToString(packet))
}

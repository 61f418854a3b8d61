package socketio

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/coder/websocket"
)

// errRefused is the server's refusal of the namespace or of Config.Auth.
var errRefused = errors.New("refused by the server")

// dial opens a WebSocket to the server. Errors hold nothing of the URL, which
// may hold secrets.
func (t *target) dial(ctx context.Context) (*websocket.Conn, error) {
	ws, response, err := websocket.Dial(ctx, t.url, &websocket.DialOptions{HTTPClient: t.client, HTTPHeader: t.header})
	if err == nil {
		return ws, nil
	}
	if response != nil && response.StatusCode != http.StatusSwitchingProtocols {
		why, _ := io.ReadAll(io.LimitReader(response.Body, 200)) // if it says why
		return nil, fmt.Errorf("server answers %.60q %q", response.Status, why)
	}
	var inner *url.Error
	if errors.As(err, &inner) {
		err = inner.Err
	}
	return nil, err
}

// handshake takes the session from the open WebSocket to where events can be
// sent: the server opens Engine.IO, then we connect to the namespace and the
// server agrees. ctx bounds it.
func (s *session) handshake(ctx context.Context) error {
	b, err := s.receive(ctx)
	if err != nil {
		return err
	}
	if len(b) == 0 || b[0] != engineOpen {
		return fmt.Errorf("%w: %.40q in place of an open packet", errPacket, b)
	}
	if s.opening, err = parseOpening(b[1:]); err != nil {
		return err
	}
	hello := packet{kind: typeConnect, namespace: s.t.namespace, id: noNumber, data: s.t.auth}
	if err := s.ws.Write(ctx, websocket.MessageText, hello.append(nil)); err != nil {
		return err
	}
	for {
		b, err := s.receive(ctx)
		if err != nil {
			return err
		}
		if connected, err := s.answered(b); err != nil || connected {
			return err
		}
	}
}

// answered looks at a message of the server for its answer to the connect
// packet. Others may come before it.
func (s *session) answered(b []byte) (connected bool, err error) {
	if len(b) == 0 {
		return false, nil
	}
	if b[0] != engineMessage {
		return false, s.take(b)
	}
	p, err := parsePacket(b[1:])
	if err != nil {
		return false, err
	}
	if p.namespace != s.t.namespace {
		s.drops.add(dropNamespace)
		return false, nil
	}
	switch p.kind {
	case typeConnect:
		return true, nil
	case typeConnectError:
		return false, fmt.Errorf("%w: %s", errRefused, refusal(p.data))
	case typeDisconnect:
		return false, errEnded
	default:
		return false, nil // an event that is not for us
	}
}

// refusal returns what the server says of why, quoted.
func refusal(data []byte) string {
	var why struct {
		Message string `json:"message"`
	}
	if err := json.Unmarshal(data, &why); err != nil || why.Message == "" {
		return fmt.Sprintf("%.200q", data)
	}
	return fmt.Sprintf("%.200q", why.Message)
}

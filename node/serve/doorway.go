package serve

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/coder/websocket"

	"github.com/weft-rtc/weft/node/serve/access"
)

const (
	doorwayHello = 10 * time.Second // for a client's first words
	// doorwayLine is the longest first line of a NATS client, in bytes: that of
	// nats.go has some 250, and a token.
	doorwayLine = 8 << 10
)

// doorway decides which room's account a connection to the bus goes to. With
// tokens that is the room of the token, or that of ?room= if the token is for
// several; without, it is that of ?room=, and who names none shares the account
// of all who do not.
type doorway struct {
	gate  *access.Gate
	rooms *tenants
}

// entry is one connection on its way in. Whoever made it leaves it, once the
// connection to the bus is closed.
type entry struct {
	door *doorway
	r    *http.Request
	// later: a token is needed and was not in the header, so it comes with the
	// protocol's first words.
	later  bool
	tenant *tenant // nil: the account of those without a room
}

// enter admits a request by what it says in its header.
func (d *doorway) enter(r *http.Request) (*entry, error) {
	e := &entry{door: d, r: r}
	token := access.TokenOf(r)
	if e.later = !d.gate.Open() && token.Empty(); e.later {
		return e, nil
	}
	var err error
	e.tenant, err = d.admit(r, token)
	return e, err
}

// introduce takes the token of the protocol's first words, and returns what the
// bus knows the account by.
func (e *entry) introduce(token access.Secret) (string, error) {
	if e.later {
		t, err := e.door.admit(e.r, token)
		if err != nil {
			return "", err
		}
		e.tenant, e.later = t, false
	}
	return e.tenant.token(), nil
}

func (e *entry) leave() { e.tenant.leave() }

// admit checks a token and enters the room; the caller leaves it.
func (d *doorway) admit(r *http.Request, token access.Secret) (*tenant, error) {
	room := r.URL.Query().Get("room")
	if room == "" {
		if d.gate.Open() {
			return nil, nil
		}
		room = d.gate.RoomOf(token)
	}
	q := access.Query{Action: access.Join, Room: room, Token: token, Address: r.RemoteAddr}
	if _, err := d.gate.Check(r.Context(), q); err != nil {
		return nil, err
	}
	if err := validRoom(room); err != nil {
		return nil, d.gate.Refused.Count(&access.Error{Reason: access.ReasonRoom, Detail: "?room= " + err.Error()})
	}
	t, err := d.rooms.enter(room)
	if errors.Is(err, errTenantsFull) {
		return nil, d.gate.Refused.Count(&access.Error{Reason: access.ReasonFull, Detail: err.Error()})
	}
	return t, err
}

// natsToBus copies a NATS client's bytes into the bus. The first line, CONNECT,
// has the client's token, in whose place the bus gets that of the account.
func natsToBus(ctx context.Context, e *entry, ws *websocket.Conn, nc net.Conn) error {
	if e.tenant == nil && !e.later {
		return toBus(ctx, ws, nc)
	}
	in := bufio.NewReaderSize(&binaryReader{ctx: ctx, ws: ws}, doorwayLine)
	late := time.AfterFunc(doorwayHello, func() { _ = nc.Close() }) // which ends the bridge
	line, err := in.ReadSlice('\n')
	if late.Stop(); err != nil {
		return errNotConnect
	}
	connect, token, err := parseConnect(line)
	if err != nil {
		return err
	}
	known, err := e.introduce(token)
	if err != nil {
		return natsRefusal(ctx, ws, err)
	}
	if _, err := nc.Write(connect(known)); err != nil {
		return err
	}
	_, err = io.CopyBuffer(writerOnly{nc}, readerOnly{in}, make([]byte, bridgeBuffer))
	return err
}

// natsRefusal tells a NATS client in its own words, which its library
// understands, and is what the websocket is closed with.
func natsRefusal(ctx context.Context, ws *websocket.Conn, err error) error {
	wctx, cancel := context.WithTimeout(ctx, bridgeWriteTimeout)
	defer cancel()
	_ = ws.Write(wctx, websocket.MessageBinary, []byte("-ERR 'Authorization Violation'\r\n"))
	return err
}

var errNotConnect = errors.New("serve: a NATS client says CONNECT first")

// parseConnect reads the first line of a NATS client. connect makes the line that
// the bus gets: the same with another token and without other credentials.
func parseConnect(line []byte) (connect func(token string) []byte, token access.Secret, err error) {
	verb, rest, _ := bytes.Cut(line, []byte(" "))
	var options map[string]json.RawMessage
	if !bytes.EqualFold(verb, []byte("CONNECT")) || json.Unmarshal(rest, &options) != nil || options == nil {
		return nil, access.Secret{}, errNotConnect
	}
	var given string
	for _, name := range []string{"auth_token", "pass"} { // nats://token@host and nats://user:token@host
		if given == "" {
			_ = json.Unmarshal(options[name], &given)
		}
	}
	for _, name := range []string{"auth_token", "user", "pass", "jwt", "nkey", "sig"} {
		delete(options, name)
	}
	return func(token string) []byte {
		options["auth_token"], _ = json.Marshal(token)
		b, _ := json.Marshal(options) // of what was read as JSON
		return fmt.Appendf(nil, "CONNECT %s\r\n", b)
	}, access.NewSecret(given), nil
}

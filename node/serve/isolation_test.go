package serve

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/nats-io/nats.go"

	"github.com/weft-rtc/weft/mesh/driver"
	"github.com/weft-rtc/weft/mesh/driver/dial"
	"github.com/weft-rtc/weft/mesh/driver/sse"
	"github.com/weft-rtc/weft/node/serve/access"
)

// tokens makes tokens for the server of a test.
type tokens struct {
	t    *testing.T
	key  access.Key
	keys *access.Keys
}

func newTokens(t *testing.T) *tokens {
	t.Helper()
	key, err := access.NewKey(access.HS256)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := access.NewKeys(key)
	if err != nil {
		t.Fatal(err)
	}
	return &tokens{t, key, keys}
}

// sign makes a token that ends in an hour, unless it says something else.
func (k *tokens) sign(c access.Claims) string {
	k.t.Helper()
	now := time.Now()
	if c.Expires.IsZero() {
		c.Expires = now.Add(time.Hour)
	}
	s, err := access.Sign(k.key, c, now)
	if err != nil {
		k.t.Fatal(err)
	}
	return s.Reveal()
}

// member is a token that allows everything in one room.
func (k *tokens) member(room string) string {
	return k.sign(access.Claims{Room: room, Publish: true, Watch: true})
}

// listener subscribes to everything that there is on the bus.
type listener struct {
	t   *testing.T
	nc  *nats.Conn
	all *nats.Subscription
}

func listenToAll(t *testing.T, url string, options ...nats.Option) *listener {
	t.Helper()
	nc, err := nats.Connect(url, append(options, nats.NoReconnect())...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	sub, err := nc.SubscribeSync(">")
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return &listener{t, nc, sub}
}

// hears fails unless the next message is that one, sent by send.
func (l *listener) hears(want string, send func(subject string) error) {
	l.t.Helper()
	if err := send(want); err != nil {
		l.t.Fatal(err)
	}
	m, err := l.all.NextMsg(10 * time.Second)
	if err != nil || m.Subject != want {
		l.t.Fatalf("heard %+v, %v, want %s", m, err, want)
	}
}

// A client that subscribes to everything hears its own room, by whatever way
// others are in it, and nothing of another.
func TestRoomsAreApart(t *testing.T) {
	k := newTokens(t)
	info := start(t, Config{NoHub: true, MQTT: true, Tokens: k.keys})
	ears := listenToAll(t, info.Signal, nats.Token(k.member("demo")))
	published := func(d driver.Driver) func(string) error {
		t.Cleanup(func() { _ = d.Close() })
		waitActive(t, d)
		return func(subject string) error { return d.Publish(t.Context(), subject, []byte(subject)) }
	}
	ways := map[string]func(room string) (driver.Driver, error){
		"nats": func(room string) (driver.Driver, error) {
			return dial.New(info.Signal, dial.Options{Token: k.member(room)})
		},
		"prefix": func(room string) (driver.Driver, error) {
			return dial.New(info.Signal+"?room="+room, dial.Options{Token: k.sign(access.Claims{AllRooms: true, Watch: true})})
		},
		"mqtt": func(room string) (driver.Driver, error) {
			return dial.New(strings.Replace(info.MQTT, "ws://", "mqtt+ws://t:"+k.member(room)+"@", 1), dial.Options{})
		},
		"sse": func(room string) (driver.Driver, error) {
			return sse.New(sse.Config{URL: info.URL + mercurePath[1:], Token: k.member(room)})
		},
	}
	for name, way := range ways {
		for _, room := range []string{"other", "demo"} {
			d, err := way(room)
			if err != nil {
				t.Fatal(err)
			}
			if name == "sse" { // which is active when it listens
				if _, err := d.Subscribe(t.Context(), "x", func([]byte) {}); err != nil {
					t.Fatal(err)
				}
			}
			send := published(d)
			if room == "demo" {
				ears.hears(name+room, send)
			} else if err := send(name + room); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Without tokens a room that is named in the address is apart, and everybody who
// names none meets as ever.
func TestRoomsApartByAddress(t *testing.T) {
	info := start(t, Config{NoHub: true})
	all, demo := listenToAll(t, info.Signal), listenToAll(t, info.Signal+"?room=demo")
	other := listenToAll(t, info.Signal+"?room=other")
	say := func(l *listener) func(string) error {
		return func(subject string) error { return l.nc.Publish(subject, nil) }
	}
	all.hears("a", say(all))
	demo.hears("b", say(demo))
	other.hears("c", say(other))
	all.hears("d", say(listenToAll(t, info.Signal, nats.Token("whatever"))))
	demo.hears("e", say(listenToAll(t, info.Signal+"?room=demo")))
}

func waitActive(t *testing.T, d driver.Driver) {
	t.Helper()
	t.Helper()
	active := make(chan struct{}, 1)
	cancel := d.Watch(func(on bool) {
		if on {
			select {
			case active <- struct{}{}:
			default:
			}
		}
	})
	defer cancel()
	if d.Active() {
		return
	}
	select {
	case <-active:
	case <-time.After(10 * time.Second):
		t.Fatalf("%T is not active", d)
	}
}

func TestSignalingRefuses(t *testing.T) {
	k := newTokens(t)
	info := start(t, Config{NoHub: true, MQTT: true, Tokens: k.keys})
	stranger := newTokens(t).member("demo")
	for name, c := range map[string]struct{ room, token string }{
		"no token":      {"", ""},
		"no JWT":        {"", "abc"},
		"another key":   {"", stranger},
		"another room":  {"?room=other", k.member("demo")},
		"which room":    {"", k.sign(access.Claims{AllRooms: true, Watch: true})},
		"only the name": {"?room=demo", ""},
	} {
		nc, err := nats.Connect(info.Signal+c.room, nats.Token(c.token), nats.NoReconnect())
		if err == nil {
			nc.Close()
			t.Errorf("%s: NATS lets it in", name)
		} else if !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("%s: NATS: %v", name, err)
		}
		for _, path := range []string{"nats", "mqtt"} {
			ws, resp, err := websocket.Dial(t.Context(), "ws"+info.URL[4:]+path+c.room, &websocket.DialOptions{HTTPHeader: bearer(c.token)})
			if c.token != "" {
				if err == nil || resp.StatusCode != http.StatusUnauthorized && resp.StatusCode != http.StatusForbidden {
					t.Errorf("%s: /%s: %v, %v", name, path, resp, err)
				}
				continue
			}
			if err != nil { // the token may still come, in the protocol
				t.Fatal(err)
			}
			_ = ws.CloseNow()
		}
		for _, method := range []string{"GET", "POST"} {
			status, h, _ := request(t, http.DefaultClient, method, info.URL+mercurePath[1:]+"?topic=x&room="+strings.TrimPrefix(c.room, "?room="),
				"Authorization", "Bearer "+c.token, "Content-Type", "application/x-www-form-urlencoded")
			if status != http.StatusUnauthorized && status != http.StatusForbidden || status == http.StatusUnauthorized && h.Get("WWW-Authenticate") == "" {
				t.Errorf("%s: %s: %d", name, method, status)
			}
		}
	}
}

func bearer(token string) http.Header {
	if token == "" {
		return nil
	}
	return http.Header{"Authorization": {"Bearer " + token}}
}

// Whoever begins with something else than CONNECT, or with nothing, is turned
// away, in words.
func TestDoorwayGarbage(t *testing.T) {
	k := newTokens(t)
	info := start(t, Config{NoHub: true, Tokens: k.keys})
	for _, garbage := range []string{"SUB > 1\r\n", "CONNECT\r\n", "CONNECT null\r\n", "CONNECT []\r\nSUB > 1\r\n", "PING\r\n", strings.Repeat("x", 2*doorwayLine)} {
		ws, _, err := websocket.Dial(t.Context(), info.Signal, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = ws.Write(t.Context(), websocket.MessageBinary, []byte(garbage))
		for err == nil {
			_, _, err = ws.Read(t.Context())
		}
		if websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
			t.Errorf("%.20q: %v", garbage, err)
		}
		_ = ws.CloseNow()
	}
}

func TestParseConnect(t *testing.T) {
	for _, c := range []struct{ line, token string }{
		{`CONNECT {"auth_token":"a","user":"u","pass":"p","verbose":false}`, "a"},
		{`connect {"user":"u","pass":"p","verbose":false}`, "p"},
		{`CONNECT {"jwt":"j","nkey":"n","sig":"s","verbose":false}`, ""},
		{`CONNECT {"auth_token":5,"verbose":false}`, ""},
	} {
		connect, token, err := parseConnect([]byte(c.line + "\r\n"))
		if err != nil || token.Reveal() != c.token {
			t.Errorf("%s: %q, %v", c.line, token.Reveal(), err)
			continue
		}
		if got := string(connect("room.x")); got != "CONNECT {\"auth_token\":\"room.x\",\"verbose\":false}\r\n" {
			t.Errorf("%s: the bus gets %s", c.line, got)
		}
	}
}

// Accounts come with the first of a room, go with the last, are used again, and
// are never more than may be.
func TestTenants(t *testing.T) {
	const limit = 3
	b, err := newBus(slog.New(slog.DiscardHandler), newTenants(limit, true))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	ts := b.rooms
	connect := func(tn *tenant) *nats.Conn {
		nc, err := nats.Connect("", nats.InProcessServer(b), nats.Token(tn.token()), nats.NoReconnect())
		if err != nil {
			t.Fatal(err)
		}
		return nc
	}
	for round := range 5 {
		var all []*tenant
		for i := range limit {
			room := fmt.Sprint(round, i)
			first, err := ts.enter(room)
			if err != nil {
				t.Fatal(err)
			}
			second, err := ts.enter(room)
			if err != nil || second != first {
				t.Fatalf("the same room again: %v, %v", second, err)
			}
			nc := connect(first)
			nc.Close()
			second.leave()
			all = append(all, first)
		}
		if _, err := ts.enter("more"); !errors.Is(err, errTenantsFull) {
			t.Errorf("one more: %v", err)
		}
		old := all[0].token()
		for _, tn := range all {
			tn.leave()
		}
		ts.mu.Lock()
		if ts.bySecret[old] != nil {
			t.Error("a room that is gone can be entered")
		}
		ts.mu.Unlock()
	}
	if ts.made > 2*limit || ts.count() != 0 {
		t.Errorf("%d accounts were made, %d rooms are left", ts.made, ts.count())
	}
}

// The last who leaves a room by SSE takes its connections along.
func TestMercureRoomEnds(t *testing.T) {
	b, err := newBus(slog.New(slog.DiscardHandler), newTenants(10, true))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	k := newTokens(t)
	m := newMercure(b, &doorway{gate: access.NewTokenGate(k.keys), rooms: b.rooms}, nil, slog.New(slog.DiscardHandler))
	defer m.Close()
	req, err := http.NewRequest("POST", mercurePath, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = bearer(k.member("demo"))
	ts, done, err := m.admit(req)
	if err != nil {
		t.Fatal(err)
	}
	again, doneAgain, err := m.admit(req)
	if err != nil || again != ts {
		t.Fatalf("the same room: %v", err)
	}
	if err := ts.publish("x", nil); err != nil {
		t.Fatal(err)
	}
	done()
	if len(m.rooms.byRoom) != 1 {
		t.Error("gone while it is in use")
	}
	doneAgain()
	if len(m.rooms.byRoom) != 0 || b.rooms.count() != 0 {
		t.Error("not gone")
	}
}

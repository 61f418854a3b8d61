package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/nats-io/nats.go"

	"github.com/weft-rtc/weft/mesh/conn"
	"github.com/weft-rtc/weft/mesh/driver"
	"github.com/weft-rtc/weft/mesh/driver/drivertest"
	mqttdriver "github.com/weft-rtc/weft/mesh/driver/mqtt"
	natsdriver "github.com/weft-rtc/weft/mesh/driver/nats"
	"github.com/weft-rtc/weft/node"
)

// overMQTT and overNATS return drivers to a server of the test.
func overMQTT(t *testing.T, info Info, prefix string) driver.Driver {
	t.Helper()
	d, err := mqttdriver.New(mqttdriver.Config{URL: info.MQTT, Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func overNATS(t *testing.T, info Info, prefix string) driver.Driver {
	t.Helper()
	d, err := natsdriver.New(natsdriver.Config{URL: info.Signal, Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Everything that drivers promise holds between the two ways in. A slash on the
// one side is a dot on the other.
func TestMQTTMeetsNATS(t *testing.T) {
	info := start(t, Config{NoHub: true, MQTT: true})
	t.Run("from MQTT", func(t *testing.T) {
		drivertest.Run(t, func() (a, b driver.Driver) { return overMQTT(t, info, "px/"), overNATS(t, info, "px.") })
	})
	t.Run("to MQTT", func(t *testing.T) {
		drivertest.Run(t, func() (a, b driver.Driver) { return overNATS(t, info, ""), overMQTT(t, info, "") })
	})
}

// A node over MQTT and one over NATS connect in one room.
func TestMQTTRoom(t *testing.T) {
	info := start(t, Config{NoHub: true, MQTT: true})
	api, err := conn.NewAPI(conn.Config{Loopback: true, IncludeLoopback: true})
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close()
	connected := make(chan string, 10)
	for _, d := range []driver.Driver{overMQTT(t, info, ""), overNATS(t, info, "")} {
		defer d.Close()
		peer, err := node.New(node.Config{Driver: d, Conn: api})
		if err != nil {
			t.Fatal(err)
		}
		defer peer.Close()
		peer.OnConnection(func(e node.ConnectionEvent) {
			if e.State == conn.StateConnected {
				connected <- fmt.Sprintf("%T", d)
			}
		})
		if err := peer.Join(t.Context(), "room"); err != nil {
			t.Fatal(err)
		}
	}
	if a, b := drivertest.Wait(t, connected, "connection"), drivertest.Wait(t, connected, "connection"); a == b {
		t.Errorf("%s connected twice", a)
	}
}

// Without --mqtt there is no such path, and nothing of it on the bus.
func TestMQTTIsOff(t *testing.T) {
	info := start(t, Config{NoHub: true})
	if info.MQTT != "" {
		t.Errorf("info names %s", info.MQTT)
	}
	if status, _, body := request(t, http.DefaultClient, "GET", info.URL+"mqtt"); status != http.StatusNotFound {
		t.Errorf("GET /mqtt: %d %.100q", status, body)
	}
	b, err := newBus(slog.New(slog.DiscardHandler), newTenants(10, false))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if b.srv.JetStreamEnabled() {
		t.Error("JetStream runs")
	}
}

// The listener is reached by everybody on this machine, and takes nobody but
// the bridge. The store is bounded, and gone at the end.
func TestMQTTGate(t *testing.T) {
	b, err := newMQTTBus(slog.New(slog.DiscardHandler), newTenants(10, false))
	if err != nil {
		t.Fatal(err)
	}
	g := b.mqtt
	for name, c := range map[string]struct {
		user, password string
		ok             bool
	}{
		"nobody":         {"", "", false},
		"wrong password": {g.user, g.user, false},
		"wrong user":     {"me", g.password, false},
		"the bridge":     {g.user, g.password, true},
	} {
		nc, err := g.dial()
		if err != nil {
			t.Fatal(err)
		}
		p := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
		p.ProtocolName, p.ProtocolVersion, p.CleanSession = "MQTT", 4, true
		p.UsernameFlag, p.Username = c.user != "", c.user
		p.PasswordFlag, p.Password = c.password != "", []byte(c.password)
		if err := p.Write(nc); err != nil {
			t.Fatal(err)
		}
		answer, err := packets.ReadPacket(nc)
		ack, _ := answer.(*packets.ConnackPacket)
		if (err == nil && ack != nil && ack.ReturnCode == packets.Accepted) != c.ok {
			t.Errorf("%s: %v, %v", name, answer, err)
		}
		_ = nc.Close()
	}
	js := b.srv.JetStreamConfig()
	if js == nil || js.MaxStore != mqttMaxStore || js.MaxMemory != mqttMaxMemory || !strings.HasPrefix(js.StoreDir, g.dir) {
		t.Errorf("store %+v", js)
	}
	if stat, err := os.Stat(g.dir); err != nil || stat.Mode().Perm() != 0o700 {
		t.Errorf("directory %v, %v", stat, err)
	}
	b.Close()
	if _, err := os.Stat(g.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the store is left behind: %v", err)
	}
}

// With MQTT there is JetStream on the bus, which must be nobody's storage.
func TestMQTTHidesJetStream(t *testing.T) {
	info := start(t, Config{NoHub: true, MQTT: true})
	d := overMQTT(t, info, "") // JetStream's streams are made for the first client
	defer d.Close()
	refused := make(chan string, 100)
	nc, err := nats.Connect(info.Signal, nats.NoReconnect(), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		refused <- err.Error()
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for _, subject := range []string{"$JS.API.INFO", "$JS.API.STREAM.CREATE.x", "$MQTT.rmsgs.x", "$MQTT.JSA.x"} {
		if err := nc.PublishRequest(subject, "reply", nil); err != nil {
			t.Fatal(err)
		}
		if got := drivertest.Wait(t, refused, "refusal of "+subject); !strings.Contains(got, subject) {
			t.Errorf("%s: %s", subject, got)
		}
	}
	if _, err := nc.SubscribeSync("$MQTT.>"); err != nil {
		t.Fatal(err)
	}
	drivertest.Wait(t, refused, "refusal of a subscription")
	all, err := nc.SubscribeSync(">")
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	other := overMQTT(t, info, "") // writes a session
	defer other.Close()
	if err := other.Publish(t.Context(), "last", nil); err != nil {
		t.Fatal(err)
	}
	if m, err := all.NextMsg(10 * time.Second); err != nil || m.Subject != "last" {
		t.Errorf("first message %v, %v", m, err)
	}
}

// dialMQTT opens a websocket as a browser's MQTT client does.
func dialMQTT(t *testing.T, info Info, origin string) (*websocket.Conn, error) {
	t.Helper()
	o := &websocket.DialOptions{Subprotocols: []string{"mqtt"}, HTTPHeader: http.Header{}}
	if origin != "" {
		o.HTTPHeader.Set("Origin", origin)
	}
	ws, _, err := websocket.Dial(t.Context(), info.MQTT, o)
	return ws, err
}

func TestMQTTOrigin(t *testing.T) {
	info := start(t, Config{NoHub: true, MQTT: true, AllowOrigins: []string{"https://ok.example"}})
	if ws, err := dialMQTT(t, info, "https://evil.example"); err == nil {
		_ = ws.CloseNow()
		t.Error("a page of another site may signal")
	}
	ws, err := dialMQTT(t, info, "https://ok.example")
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	if ws.Subprotocol() != "mqtt" {
		t.Errorf("subprotocol %q", ws.Subprotocol())
	}
}

// What the server does not take ends the client that sent it, with a reason, and
// nobody else.
func TestMQTTRefuses(t *testing.T) {
	info := start(t, Config{NoHub: true, MQTT: true})
	good := overMQTT(t, info, "")
	defer good.Close()
	hello := "\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a"
	for name, c := range map[string]struct {
		kind websocket.MessageType
		says string
		code websocket.StatusCode
	}{
		"text":         {websocket.MessageText, hello, websocket.StatusUnsupportedData},
		"no hello":     {websocket.MessageBinary, "\xc0\x00", websocket.StatusPolicyViolation},
		"two hellos":   {websocket.MessageBinary, hello + hello, websocket.StatusPolicyViolation},
		"garbage":      {websocket.MessageBinary, "\x00\x00", websocket.StatusPolicyViolation},
		"long length":  {websocket.MessageBinary, hello + "\x30\xff\xff\xff\xff\x7f", websocket.StatusPolicyViolation},
		"huge":         {websocket.MessageBinary, hello + "\x30\xff\xff\xff\x7f", websocket.StatusPolicyViolation},
		"long hello":   {websocket.MessageBinary, "\x10\xff\xff\x7f", websocket.StatusPolicyViolation},
		"exactly once": {websocket.MessageBinary, hello + "\x34\x05\x00\x01t\x00\x01", websocket.StatusPolicyViolation},
		"system topic": {websocket.MessageBinary, hello + "\x30\x06\x00\x04$JS/", websocket.StatusPolicyViolation},
		"version 5":    {websocket.MessageBinary, "\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01a", websocket.StatusGoingAway},
		"bad topic":    {websocket.MessageBinary, hello + "\x30\x03\x00\x01#", websocket.StatusGoingAway},
	} {
		t.Run(name, func(t *testing.T) {
			ws, err := dialMQTT(t, info, "")
			if err != nil {
				t.Fatal(err)
			}
			defer ws.CloseNow()
			if err := ws.Write(t.Context(), c.kind, []byte(c.says)); err != nil {
				t.Fatal(err)
			}
			for err == nil {
				_, _, err = ws.Read(t.Context())
			}
			if websocket.CloseStatus(err) != c.code {
				t.Errorf("closed with %v, want %v", err, c.code)
			}
		})
	}
	if !good.Active() {
		t.Error("another client was thrown out")
	}
}

// Sessions leave nothing behind, also those of clients that want to stay.
func TestMQTTKeepsNothing(t *testing.T) {
	b, err := newMQTTBus(slog.New(slog.DiscardHandler), newTenants(10, false))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for range 3 {
		nc, err := b.mqtt.dial()
		if err != nil {
			t.Fatal(err)
		}
		says, write := io.Pipe()
		ended := make(chan error, 1)
		go func() { ended <- newMQTTFilter(says, nc, b.mqtt.user, b.mqtt.password).run() }()
		// A session that is to be kept, with a retained will, a subscription of
		// quality of service 2, and retained publications of 0 and 1.
		for _, step := range []struct{ says, want string }{
			{"\x10\x18\x00\x04MQTT\x04\x2c\x00\x3c\x00\x04stay\x00\x01w\x00\x03off", "\x20\x02\x00\x00"},
			{"\x82\x06\x00\x07\x00\x01t\x02", "\x90\x03\x00\x07\x00"},
			{"\x31\x04\x00\x01tx", "\x30\x04\x00\x01tx"},
			{"\x33\x06\x00\x01u\x00\x09y", "\x40\x02\x00\x09"},
		} {
			if _, err := io.WriteString(write, step.says); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(step.want))
			if _, err := io.ReadFull(nc, got); err != nil || string(got) != step.want {
				t.Fatalf("%q: got %q, %v; want %q", step.says, got, err, step.want)
			}
		}
		_ = write.Close()
		if err := <-ended; !errors.Is(err, io.EOF) {
			t.Errorf("filter ended with %v", err)
		}
		_ = nc.Close()
	}
	acc, err := b.srv.LookupAccount("$G")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for { // the server notices a closed connection in its own time
		usage := acc.JetStreamUsage()
		if usage.Store == 0 && usage.Consumers <= 1 {
			return // one is the server's own, for retained messages
		}
		select {
		case <-ctx.Done():
			t.Fatalf("left behind: %+v", usage)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

package socketio

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/weft-rtc/weft/mesh/driver"
)

var packets = []struct {
	text string // without Engine.IO's type
	want packet // of none: an error
}{
	{`0`, packet{kind: typeConnect, namespace: "/", id: -1}},
	{`0{"sid":"x"}`, packet{kind: typeConnect, namespace: "/", id: -1, data: []byte(`{"sid":"x"}`)}},
	{`0/admin,{"token":"t"}`, packet{kind: typeConnect, namespace: "/admin", id: -1, data: []byte(`{"token":"t"}`)}},
	{`0/admin,`, packet{kind: typeConnect, namespace: "/admin", id: -1}},
	{`1/admin,`, packet{kind: typeDisconnect, namespace: "/admin", id: -1}},
	{`2["a",1]`, packet{kind: typeEvent, namespace: "/", id: -1, data: []byte(`["a",1]`)}},
	{`2/n,12["a"]`, packet{kind: typeEvent, namespace: "/n", id: 12, data: []byte(`["a"]`)}},
	{`30[]`, packet{kind: typeAck, namespace: "/", id: 0, data: []byte(`[]`)}},
	{`39007199254740992[]`, packet{kind: typeAck, namespace: "/", id: 1 << 53, data: []byte(`[]`)}},
	{`4{"message":"no"}`, packet{kind: typeConnectError, namespace: "/", id: -1, data: []byte(`{"message":"no"}`)}},
	{`52-/n,7["a",{"_placeholder":true,"num":0}]`, packet{kind: typeBinaryEvent, attachments: 2, namespace: "/n", id: 7,
		data: []byte(`["a",{"_placeholder":true,"num":0}]`)}},
	{``, packet{}},
	{`7`, packet{}},
	{`x`, packet{}},
	{`5["a"]`, packet{}},
	{`50-["a"]`, packet{}},
	{`5999999999999-["a"]`, packet{}},
	{`51`, packet{}},
	{`399999999999999999999999[]`, packet{}},
	{`2/` + strings.Repeat("n", 300) + `,["a"]`, packet{}},
}

func TestPackets(t *testing.T) {
	for _, c := range packets {
		p, err := parsePacket([]byte(c.text))
		if c.want.kind == 0 {
			if !errors.Is(err, errPacket) {
				t.Errorf("%.60s: %+v, %v", c.text, p, err)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(p, c.want) {
			t.Errorf("%s: %+v, %v", c.text, p, err)
		}
		if c.want.attachments > 0 || c.text == `0/admin` {
			continue
		}
		if text := string(p.append(nil)); text != "4"+c.text {
			t.Errorf("%s became %s", c.text, text)
		}
	}
}

func FuzzPacket(f *testing.F) {
	for _, c := range packets {
		f.Add([]byte(c.text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parsePacket(b)
		if err != nil || p.attachments > 0 {
			return
		}
		again, err := parsePacket(p.append(nil)[1:])
		if err != nil || !reflect.DeepEqual(again, p) {
			t.Errorf("%q: %+v became %+v, %v", b, p, again, err)
		}
	})
}

var messages = []struct {
	text      string
	namespace string
	packet    string
	err       error
}{
	{text: `["message","room",[]]`, namespace: "room"},
	{text: `["message","room",[0,10,255]]`, namespace: "room", packet: "\x00\x0a\xff"},
	{text: " [ \"message\" ,\t\"room\" , [ 1 , 2 ] ] ", namespace: "room", packet: "\x01\x02", err: errEvent}, // blanks at the end
	{text: " [ \"message\" ,\t\"room\" , [ 1 , 2 ] ]", namespace: "room", packet: "\x01\x02"},
	{text: `["m\u0065ssage","a\"]b",[1],"offset",{}]`, namespace: `a"]b`, packet: "\x01"},
	{text: `["message","room",[01]]`, namespace: "room", packet: "\x01"},
	{text: `["other"]`, err: errOther},
	{text: `["other"`, err: errOther},
	{text: ``, err: errEvent},
	{text: `[`, err: errEvent},
	{text: `[1,"room",[1]]`, err: errEvent},
	{text: `["message"]`, err: errEvent},
	{text: `["message","room"]`, err: errEvent},
	{text: `["message",null,[1]]`, err: errEvent},
	{text: `["message","room",{"0":1}]`, err: errEvent},
	{text: `["message","room",{"_placeholder":true,"num":0}]`, err: errEvent},
	{text: `["message","room",[256]]`, err: errEvent},
	{text: `["message","room",[-1]]`, err: errEvent},
	{text: `["message","room",[1.5]]`, err: errEvent},
	{text: `["message","room",[1,]]`, err: errEvent},
	{text: `["message","room",[,1]]`, err: errEvent},
	{text: `["message","room",[1 2]]`, err: errEvent},
	{text: `["message","room",["1"]]`, err: errEvent},
	{text: `["message","room",[1]`, err: errEvent},
	{text: `["message","room",[1],`, err: errEvent},
	{text: `["message","room",[1]}`, err: errEvent},
	{text: `["message","` + strings.Repeat("r", 300) + `",[1]]`, err: errEvent},
	{text: `["message","room\`, err: errEvent},
	{text: `["message","\x",[1]]`, err: errEvent},
}

func TestMessages(t *testing.T) {
	for _, c := range messages {
		namespace, p, err := parseMessage([]byte(c.text), "message")
		if c.err != nil {
			if !errors.Is(err, c.err) {
				t.Errorf("%.60s: %v", c.text, err)
			}
			continue
		}
		if err != nil || namespace != c.namespace || string(p) != c.packet || p == nil {
			t.Errorf("%s: %q, %q, %v", c.text, namespace, p, err)
		}
	}
	long := []byte(`["message","room",[` + strings.Repeat("1,", driver.MaxPacket) + `1]]`)
	if _, _, err := parseMessage(long, "message"); !errors.Is(err, errTooLarge) {
		t.Errorf("too long: %v", err)
	}
}

// Whatever is a message to encoding/json is one here, and the same.
func FuzzMessage(f *testing.F) {
	for _, c := range messages {
		f.Add([]byte(c.text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		namespace, p, err := parseMessage(b, "message")
		var args []json.RawMessage
		var wantName, wantNamespace string
		var wantPacket []uint8OfNumber
		if json.Unmarshal(b, &args) != nil || len(args) < 3 || json.Unmarshal(args[0], &wantName) != nil || wantName != "message" ||
			json.Unmarshal(args[1], &wantNamespace) != nil || json.Unmarshal(args[2], &wantPacket) != nil {
			return
		}
		if err != nil {
			return // stricter in blanks, null and the form of numbers
		}
		if namespace != wantNamespace || len(p) != len(wantPacket) {
			t.Fatalf("%q: %q, %v; want %q, %v", b, namespace, p, wantNamespace, wantPacket)
		}
		for i, v := range wantPacket {
			if uint8OfNumber(p[i]) != v {
				t.Fatalf("%q: %v, want %v", b, p, wantPacket)
			}
		}
	})
}

// uint8OfNumber is a byte that encoding/json reads from a number: []byte would
// be base64.
type uint8OfNumber uint16

func TestEvents(t *testing.T) {
	for _, c := range []struct {
		namespace string
		do        action
		id        int64
		packet    string
		want      string
	}{
		{"", subscribe, 1, "", `421["px:subscribe","room"]`},
		{"/n", unsubscribe, 12, "", `42/n,12["px:unsubscribe","room"]`},
		{"", publish, 3, "", `423["px:publish","room",[]]`},
		{"/n", publish, 1 << 40, "\x00\x09\x0a\x63\x64\xff", `42/n,1099511627776["px:publish","room",[0,9,10,99,100,255]]`},
	} {
		target, err := Config{URL: "http://x", Namespace: c.namespace, Prefix: "px:"}.target()
		if err != nil {
			t.Fatal(err)
		}
		got := target.appendEvent(nil, c.do, c.id, "room", []byte(c.packet))
		if string(got) != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
		if size := target.eventSize(c.do, "room", []byte(c.packet)); size < len(got) || size > len(got)+40 {
			t.Errorf("%s: size %d, is %d", c.want, size, len(got))
		}
	}
}

// All bytes come through the numbers.
func TestNumbers(t *testing.T) {
	var all []byte
	for v := range 256 {
		all = append(all, byte(v))
	}
	text := appendNumbers(nil, all)
	if n := numbersSize(all); n != len(text)+1 {
		t.Errorf("size %d of %d", n, len(text))
	}
	p, rest, err := parseNumbers(text)
	if err != nil || !bytes.Equal(p, all) || len(rest) != 0 {
		t.Errorf("%v, %q, %v", p, rest, err)
	}
}

func TestOpening(t *testing.T) {
	for _, c := range []struct {
		text string
		want opening
	}{
		{usualOpen, opening{45 * time.Second, 8_000_000}},
		{`{"pingInterval":1,"pingTimeout":1}`, opening{2 * time.Millisecond, defaultMaxPayload}},
		{`{"pingInterval":1,"pingTimeout":1,"maxPayload":9000000000000}`, opening{2 * time.Millisecond, 1 << 30}},
		{`{"pingInterval":0,"pingTimeout":1}`, opening{}},
		{`{"pingInterval":1,"pingTimeout":86400001}`, opening{}},
		{`{"pingInterval":"1","pingTimeout":1}`, opening{}},
		{`[]`, opening{}},
		{``, opening{}},
	} {
		if o, err := parseOpening([]byte(c.text)); o != c.want || (err == nil) != (c.want.wait > 0) {
			t.Errorf("%s: %+v, %v", c.text, o, err)
		}
	}
}

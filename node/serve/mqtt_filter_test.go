package serve

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// connected is a CONNECT and what becomes of it but for the client id, which is
// 26 characters of our own.
const (
	connectIn    = "\x10\x0d\x00\x04MQTT\x04\x00\x00\x3c\x00\x01a"
	connectFront = "\x10\x2c\x00\x04MQTT\x04\xc2\x00\x3c\x00\x1a"
	connectBack  = "\x00\x01u\x00\x01p"
)

var mqttPackets = map[string]struct {
	in   string
	want string // after the CONNECT
	err  error
}{
	"ping":              {"\xc0\x00", "\xc0\x00", io.EOF},
	"message":           {"\x30\x04\x00\x01tx", "\x30\x04\x00\x01tx", io.EOF},
	"retained":          {"\x31\x04\x00\x01tx", "\x30\x04\x00\x01tx", io.EOF},
	"acknowledged":      {"\x3b\x06\x00\x01t\x00\x01x", "\x3a\x06\x00\x01t\x00\x01x", io.EOF},
	"exactly once":      {"\x34\x06\x00\x01t\x00\x01x", "", errMQTTQoS},
	"message of $":      {"\x30\x04\x00\x01$x", "", errMQTTReserved},
	"message of births": {"\x30\x0a\x00\x08spBv1.0/", "", errMQTTReserved},
	"no topic":          {"\x30\x03\x00\x00x", "", errMQTTMalformed},
	"topic beyond":      {"\x30\x03\x00\x02x", "", errMQTTMalformed},
	"empty message":     {"\x30\x00", "", errMQTTMalformed},
	"cut message":       {"\x30\x08\x00\x01tx", "", io.EOF},
	"cut long message":  {"\x30\x80\x01\x00\x01t" + strings.Repeat("x", 50), "", io.EOF},
	"subscribe":         {"\x82\x0a\x00\x01\x00\x01a\x02\x00\x01b\x01", "\x82\x0a\x00\x01\x00\x01a\x00\x00\x01b\x00", io.EOF},
	"subscribe to $":    {"\x82\x06\x00\x01\x00\x01$\x00", "", errMQTTReserved},
	"subscribe to 3":    {"\x82\x06\x00\x01\x00\x01a\x03", "", errMQTTMalformed},
	"cut subscription":  {"\x82\x05\x00\x01\x00\x01a", "", errMQTTMalformed},
	"unsubscribe":       {"\xa2\x05\x00\x01\x00\x01a", "\xa2\x05\x00\x01\x00\x01a", io.EOF},
	"disconnect":        {"\xe0\x00", "\xe0\x00", io.EOF},
	"long subscription": {"\x82\x81\x80\x01", "", errMQTTSize},
	"long message":      {"\x30\x88\x80\x44", "", errMQTTSize},
	"length of five":    {"\x30\x80\x80\x80\x80\x01", "", errMQTTMalformed},
	"server's packet":   {"\x20\x02\x00\x00", "", errMQTTType},
	"second connect":    {connectIn, "", errMQTTOrder},
}

func TestMQTTFilter(t *testing.T) {
	for name, c := range mqttPackets {
		for how, r := range map[string]io.Reader{
			"at once":   strings.NewReader(connectIn + c.in),
			"in pieces": iotest.OneByteReader(strings.NewReader(connectIn + c.in)),
		} {
			var out bytes.Buffer
			err := newMQTTFilter(r, &out, "u", "p").run()
			if name == "cut message" || name == "cut long message" {
				// The stream ends within a packet; how much of it went through does not matter.
				if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("%s %s: %v", name, how, err)
				}
				continue
			}
			got := out.String()
			head := len(connectFront) + 26 + len(connectBack)
			if len(got) < head || !strings.HasPrefix(got, connectFront) || got[head-len(connectBack):head] != connectBack {
				t.Fatalf("%s %s: CONNECT became %q", name, how, got)
			}
			if got[head:] != c.want || !errors.Is(err, c.err) {
				t.Errorf("%s %s: %q and %v, want %q and %v", name, how, got[head:], err, c.want, c.err)
			}
		}
	}
}

func TestMQTTFilterConnect(t *testing.T) {
	for name, c := range map[string]struct {
		in       string // the body
		will     string // what the server is told of it
		unchange bool
		err      error
	}{
		"plain":            {in: "\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a"},
		"no id":            {in: "\x00\x04MQTT\x04\x02\x00\x3c\x00\x00"},
		"user":             {in: "\x00\x04MQTT\x04\x82\x00\x3c\x00\x01a\x00\x02me"},
		"password":         {in: "\x00\x04MQTT\x04\xc2\x00\x3c\x00\x01a\x00\x02me\x00\x03abc"},
		"will":             {in: "\x00\x04MQTT\x04\x36\x00\x3c\x00\x01a\x00\x01w\x00\x03off", will: "w=off"},
		"will of $":        {in: "\x00\x04MQTT\x04\x06\x00\x3c\x00\x01a\x00\x02$w\x00\x03off", err: errMQTTReserved},
		"version 5":        {in: "\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01a", unchange: true},
		"version 3.1":      {in: "\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x01a", unchange: true},
		"empty":            {in: "", err: errMQTTMalformed},
		"no flags":         {in: "\x00\x04MQTT\x04", err: errMQTTMalformed},
		"no keep alive":    {in: "\x00\x04MQTT\x04\x02", err: errMQTTMalformed},
		"cut id":           {in: "\x00\x04MQTT\x04\x02\x00\x3c\x00\x02a", err: errMQTTMalformed},
		"cut will":         {in: "\x00\x04MQTT\x04\x06\x00\x3c\x00\x01a\x00\x01w", err: errMQTTMalformed},
		"more":             {in: "\x00\x04MQTT\x04\x02\x00\x3c\x00\x01ab", err: errMQTTMalformed},
		"password, nobody": {in: "\x00\x04MQTT\x04\x42\x00\x3c\x00\x01a\x00\x01p", err: errMQTTMalformed},
	} {
		f := newMQTTFilter(nil, nil, "u", "p")
		out, err := f.connect([]byte(c.in))
		if !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", name, err, c.err)
		}
		if err != nil {
			continue
		}
		if c.unchange {
			if string(out) != c.in {
				t.Errorf("%s: became %q", name, out)
			}
			continue
		}
		var p packets.ConnectPacket
		if err := p.Unpack(bytes.NewBuffer(out)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if p.Username != "u" || string(p.Password) != "p" || !p.CleanSession || p.WillRetain || p.WillQos != 0 ||
			len(p.ClientIdentifier) != 26 || p.Keepalive != 60 {
			t.Errorf("%s: %+v", name, p)
		}
		if will := p.WillTopic + "=" + string(p.WillMessage); p.WillFlag != (c.will != "") || (p.WillFlag && will != c.will) {
			t.Errorf("%s: will %v %s", name, p.WillFlag, will)
		}
	}
}

// Whatever comes in, what goes out is what the bus may get.
func FuzzMQTTFilter(f *testing.F) {
	for _, c := range mqttPackets {
		f.Add([]byte(connectIn + c.in))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var out bytes.Buffer
		if err := newMQTTFilter(bytes.NewReader(in), &out, "u", "p").run(); err == nil {
			t.Fatal("no error at the end")
		}
		for out.Len() > 0 {
			p, err := packets.ReadPacket(&out)
			if err != nil {
				return // the last one may be cut
			}
			switch p := p.(type) {
			case *packets.PublishPacket:
				if p.Retain || p.Qos > 1 || strings.HasPrefix(p.TopicName, "$") {
					t.Fatalf("%v", p)
				}
			case *packets.SubscribePacket:
				for i, qos := range p.Qoss {
					if qos != 0 || strings.HasPrefix(p.Topics[i], "$") {
						t.Fatalf("%v", p)
					}
				}
			}
		}
	})
}

package mqtt

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"
	"testing/iotest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// stream is a connection whose other side has said all that it will.
type stream struct {
	net.Conn
	io.Reader
}

func (s stream) Read(p []byte) (int, error)       { return s.Reader.Read(p) }
func (s stream) SetWriteDeadline(time.Time) error { return nil }

func guarded(r io.Reader) *guard { return newGuard(stream{Reader: r}, slog.New(slog.DiscardHandler)) }

// long is a message that is too long, with its topic "t".
func long() []byte {
	frame := []byte{0x30, 0x80, 0x80, 0x80, 0x01}
	frame = append(frame, 0, 1, 't')
	return append(frame, make([]byte, 1<<21-3)...)
}

var frames = map[string]struct {
	in   []byte
	want []byte // what comes through; then io.EOF, or errProtocol if bad
	bad  bool
}{
	"nothing":            {nil, nil, false},
	"connack":            {[]byte{0x20, 2, 0, 0}, []byte{0x20, 2, 0, 0}, false},
	"two":                {[]byte{0xd0, 0, 0x90, 3, 0, 1, 0}, []byte{0xd0, 0, 0x90, 3, 0, 1, 0}, false},
	"message":            {[]byte{0x30, 4, 0, 1, 't', 'x'}, []byte{0x30, 4, 0, 1, 't', 'x'}, false},
	"retained":           {[]byte{0x31, 3, 0, 1, 't'}, []byte{0x31, 3, 0, 1, 't'}, false},
	"skips a long one":   {append(long(), 0xd0, 0), []byte{0xd0, 0}, false},
	"five length bytes":  {[]byte{0x30, 0x80, 0x80, 0x80, 0x80, 1}, nil, true},
	"quality of service": {[]byte{0x32, 5, 0, 1, 't', 0, 1}, nil, true},
	"many answers":       {[]byte{0x90, 5, 0, 1, 0, 0, 0}, nil, true},
	"no answer":          {[]byte{0x90, 2, 0, 1}, nil, true},
	"long connack":       {[]byte{0x20, 0xff, 0xff, 0xff, 0x7f}, nil, true},
	"a client's packet":  {[]byte{0x10, 0}, nil, true},
	"reserved":           {[]byte{0xf0, 0}, nil, true},
	"flags":              {[]byte{0xd1, 0}, nil, true},
}

func TestGuard(t *testing.T) {
	for name, c := range frames {
		for how, r := range map[string]io.Reader{
			"at once":   bytes.NewReader(c.in),
			"in pieces": iotest.OneByteReader(bytes.NewReader(c.in)),
		} {
			got, err := io.ReadAll(guarded(r))
			if !bytes.Equal(got, c.want) || errors.Is(err, errProtocol) != c.bad || (err != nil) != c.bad {
				t.Errorf("%s %s: %d bytes and %v, want %d", name, how, len(got), err, len(c.want))
			}
		}
	}
}

// What comes through must not be more than paho stands.
func FuzzGuard(f *testing.F) {
	for _, c := range frames {
		if len(c.in) < 1000 { // the fuzzer would look at nothing but the long one
			f.Add(c.in)
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		g := guarded(bytes.NewReader(in))
		for {
			p, err := packets.ReadPacket(g)
			if err != nil {
				return
			}
			switch p := p.(type) {
			case *packets.SubackPacket:
				if len(p.ReturnCodes) != 1 {
					t.Fatalf("an answer with %d codes", len(p.ReturnCodes))
				}
			case *packets.PublishPacket:
				if p.Qos != 0 || len(p.Payload) > maxFrame {
					t.Fatalf("message %v", p)
				}
			}
		}
	})
}

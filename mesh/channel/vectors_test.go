package channel

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

// hexBytes is a text of hexadecimal digits in JSON.
type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	*h = b
	return err
}

// vectors is the part of testdata/vectors.json that concerns this package.
type vectors struct {
	Constants struct {
		Chunk int
		Types map[string]Type
	}
	Transfers []transferVector
	IDs       struct{ Transfer200 hexBytes }

	Acknowledgements []struct {
		Name   string
		Packet hexBytes
	}
	Receiving []receivingVector
}

type transferVector struct {
	Name, Kind, Text, JSON, Content string
	Size, Packets                   int
	Info                            json.RawMessage
	Sent                            []struct {
		Length, ChunkLength  int
		SHA256               hexBytes
		ID, Index, Type      uint32
		Done                 bool
		Info, Header, Packet hexBytes
	}
}

type receivingVector struct {
	Name    string
	Packets []string
	Events  []struct {
		Message, Cancelled bool
		Error, Raw, Failed *string
		Result             *struct {
			Text  *string
			JSON  json.RawMessage
			Bytes *hexBytes
		}
	}
	Replies []hexBytes
}

var loadVectors = sync.OnceValues(func() (*vectors, error) {
	b, err := os.ReadFile("../../testdata/vectors.json")
	if err != nil {
		return nil, err
	}
	v := new(struct{ Data vectors })
	return &v.Data, json.Unmarshal(b, v)
})

func golden(t testing.TB) *vectors {
	t.Helper()
	v, err := loadVectors()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// patternBlock is the patterned content of the vectors, which repeats itself.
var patternBlock = func() []byte {
	b := make([]byte, 1<<16)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}()

// patterned reads the patterned content from at to size.
type patterned struct{ at, size int64 }

func (r *patterned) Read(b []byte) (int, error) {
	if r.at == r.size {
		return 0, io.EOF
	}
	b = b[:min(int64(len(b)), r.size-r.at)]
	n := copy(b, patternBlock[r.at%int64(len(patternBlock)):])
	r.at += int64(n)
	return n, nil
}

func patternOf(size int) []byte {
	b, _ := io.ReadAll(&patterned{size: int64(size)})
	return b
}

// content returns what the transfer sends.
func (v *transferVector) content() []byte {
	switch {
	case v.Text != "":
		return []byte(v.Text)
	case v.JSON != "":
		return []byte(v.JSON)
	default:
		return patternOf(v.Size)
	}
}

// info returns the info as browsers write it.
func (v *transferVector) info(t testing.TB) json.RawMessage {
	if v.Info == nil {
		return nil
	}
	var b bytes.Buffer
	if err := json.Compact(&b, v.Info); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestVectorConstants(t *testing.T) {
	v := golden(t).Constants
	if v.Chunk != ChunkSize {
		t.Errorf("chunks of %d, want %d", ChunkSize, v.Chunk)
	}
	for name, number := range v.Types {
		if number.String() != name {
			t.Errorf("type %d is %q, want %q", uint32(number), number, name)
		}
	}
}

func TestVectorTransfers(t *testing.T) {
	for _, v := range golden(t).Transfers {
		t.Run(v.Name, func(t *testing.T) {
			c, s := scripted(nil)
			s.acknowledging(c)
			m := Outgoing{Type: golden(t).Constants.Types[v.Kind], Info: v.info(t), Body: bytes.NewReader(v.content())}
			if err := c.Send(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			sent := s.packets(t, true)
			if v.Packets == 0 {
				// The library sends nothing here. We send the one packet that
				// its receiver takes for an empty message.
				want := packet{
					has: hasID | hasIndex | hasType | hasDone | hasChunk,
					id:  1, kind: uint32(m.Type), done: true,
				}
				if len(sent) != 1 || !bytes.Equal(sent[0], want.append(nil)) {
					t.Errorf("sent %x", sent)
				}
				return
			}
			if len(sent) != v.Packets {
				t.Fatalf("%d packets, want %d", len(sent), v.Packets)
			}
			if len(v.Sent) < len(sent) { // the first two and the last
				sent = [][]byte{sent[0], sent[1], sent[len(sent)-1]}
			}
			for i, want := range v.Sent {
				got := sent[i]
				sum := sha256.Sum256(got)
				if len(got) != want.Length || !bytes.Equal(sum[:], want.SHA256) || !bytes.HasPrefix(got, want.Header) {
					t.Errorf("packet %d of %d bytes begins %x, want %d bytes, %x", i, len(got), got[:min(len(got), 64)], want.Length, want.Header)
				}
				if want.Packet != nil && !bytes.Equal(got, want.Packet) {
					t.Errorf("packet %d is %x, want %x", i, got, want.Packet)
				}
				p, err := decode(got)
				if err != nil {
					t.Fatal(err)
				}
				if p.id != want.ID || p.index != want.Index || p.kind != want.Type || p.done != want.Done ||
					!bytes.Equal(p.info, want.Info) || len(p.chunk) != want.ChunkLength {
					t.Errorf("packet %d reads as %+v", i, p)
				}
			}
		})
	}
}

func TestVectorIDs(t *testing.T) {
	c, s := scripted(nil)
	s.acknowledging(c)
	send := func() packet {
		if err := c.Send(t.Context(), Outgoing{Type: Text, Body: strings.NewReader("x")}); err != nil {
			t.Fatal(err)
		}
		p, err := decode(s.sent[len(s.sent)-1])
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for range 200 {
		send()
	}
	if got := s.sent[199]; !bytes.Equal(got, golden(t).IDs.Transfer200) {
		t.Errorf("transfer 200: %x", got)
	}
	c.lastID = 65534
	for _, want := range []uint32{65535, 1, 2} {
		if got := send().id; got != want {
			t.Errorf("id %d, want %d", got, want)
		}
	}
}

func TestVectorAcknowledgements(t *testing.T) {
	made := map[string]packet{
		"ask done, id 1":   acknowledgement(1),
		"ask abort, id 1":  refusal(1),
		"ask done, id 300": acknowledgement(300),
		"abort by the sender (understood by receivers, never sent by 0.7)": abortion(1),
	}
	for _, v := range golden(t).Acknowledgements {
		p := made[v.Name]
		if got := p.append(nil); !bytes.Equal(got, v.Packet) {
			t.Errorf("%s: %x, want %x", v.Name, got, v.Packet)
		}
	}
}

// deviations are the cases in which we do not do what the library does, with the
// error that our reader gets.
var deviations = map[string]error{
	// WIRE 11: a foreign receiver should end the message.
	"abort with ask, as the 0.7 sender does": ErrAborted,
	// The library takes the first message for complete, though half of it never
	// came. Here nothing is complete without its last chunk.
	"same id used again before the end": ErrAborted,
}

func TestVectorReceiving(t *testing.T) {
	for _, v := range golden(t).Receiving {
		t.Run(v.Name, func(t *testing.T) {
			var messages []*Message
			cancel := len(v.Events) > 0 && v.Events[0].Cancelled
			c, s := scripted(func(m *Message) {
				messages = append(messages, m)
				if cancel {
					m.Abort()
				}
			})
			v.play(t, c)
			c.Close()
			if replies := s.packets(t, false); !slices.EqualFunc(replies, v.Replies, func(a []byte, b hexBytes) bool { return bytes.Equal(a, b) }) {
				t.Errorf("replies %x, want %x", replies, v.Replies)
			}
			v.check(t, c, messages)
		})
	}
}

// play feeds the packets.
func (v *receivingVector) play(t testing.TB, c *Channel) {
	for _, p := range v.Packets {
		if text, ok := strings.CutPrefix(p, "text:"); ok {
			c.ChannelMessage([]byte(text), true)
			continue
		}
		b, err := hex.DecodeString(p)
		if err != nil {
			t.Fatal(err)
		}
		c.ChannelMessage(b, false)
	}
}

// check compares the events.
func (v *receivingVector) check(t *testing.T, c *Channel, messages []*Message) {
	for i, e := range v.Events {
		if e.Error != nil {
			if c.Dropped(DropMalformed) != 1 {
				t.Error("not counted as malformed")
			}
			continue
		}
		if len(messages) == 0 {
			t.Fatalf("no message for event %d", i)
		}
		m := messages[0]
		messages = messages[1:]
		body, err := m.Bytes(context.Background(), 0)
		switch fails := deviations[v.Name]; {
		case fails != nil && i == 0, e.Failed != nil, e.Cancelled:
			want := fails
			if want == nil {
				want = map[bool]error{true: ErrGap, false: ErrAborted}[strings.Contains(v.Name, "order")]
			}
			if !errors.Is(err, want) {
				t.Errorf("event %d: error %v, want %v", i, err, want)
			}
		case err != nil:
			t.Errorf("event %d: error %v", i, err)
		case e.Raw != nil:
			if !m.Raw || m.Type != Text || string(body) != *e.Raw {
				t.Errorf("event %d: %+v %q", i, m, body)
			}
		case e.Result != nil:
			kind, want := Text, []byte(nil)
			switch r := e.Result; {
			case r.Text != nil:
				want = []byte(*r.Text)
			case r.JSON != nil:
				kind, want = JSON, compact(t, r.JSON)
			default:
				kind, want = Bytes, *r.Bytes
			}
			if m.Raw || m.Type != kind || m.Info != nil || !bytes.Equal(body, want) {
				t.Errorf("event %d: type %v, info %s, %q, want %v %q", i, m.Type, m.Info, body, kind, want)
			}
		}
	}
	if len(messages) > 0 {
		t.Errorf("%d messages more", len(messages))
	}
}

func compact(t testing.TB, b []byte) []byte {
	var out bytes.Buffer
	if err := json.Compact(&out, b); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

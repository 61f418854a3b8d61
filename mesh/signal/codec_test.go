package signal

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"testing"
)

// plainIDs returns the fixed random ids of alice and bob in the cases without
// encryption; bob's is only known as far as it matters, that it is another.
func plainIDs(v *vectors) (alice, bob []byte) {
	for _, p := range v.Signaling.Packets {
		if p.config().NoEncryption {
			return p.Sender, bytes.Repeat([]byte{7}, publicKeyLen)
		}
	}
	return nil, nil
}

// codecs returns alice, who makes the IVs given, and bob, with a config.
func codecs(t testing.TB, config Config, ivs []byte) (alice, bob *Codec) {
	t.Helper()
	v := golden(t)
	a, b := plainIDs(v)
	make := func(name string, random []byte) *Codec {
		if !config.NoEncryption {
			config.Key = v.private(t, name)
		}
		c, err := newCodec(config, bytes.NewReader(random), 1)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if config.NoEncryption {
		return make("alice", append(a, ivs...)), make("bob", b)
	}
	return make("alice", ivs), make("bob", bytes.Repeat([]byte{9}, 1024))
}

// message returns what the case says, read from its JSON without the codec.
func (p packetVector) message(t testing.TB) Message {
	t.Helper()
	m := Message{Type: p.Type, From: p.SenderID}
	read := func(b json.RawMessage, into any) {
		if err := json.Unmarshal(b, into); err != nil {
			t.Fatal(err)
		}
	}
	switch p.Type {
	case Invoke:
		if len(p.Received) > 0 {
			m.Metadata = p.Received[0]
		}
	case Offer, Answer:
		read(p.Received[0], &m.Description)
		if len(p.Received) > 1 && !isNull(p.Received[1]) {
			m.Metadata = p.Received[1]
		}
	case Candidates:
		for _, e := range p.Received {
			var c Candidate
			read(e, &c)
			m.Candidates = append(m.Candidates, c)
		}
	}
	return m
}

// same compares messages, metadata by value.
func same(t testing.TB, a, b Message) bool {
	t.Helper()
	if (a.Metadata == nil) != (b.Metadata == nil) || a.Metadata != nil && !sameJSON(t, a.Metadata, b.Metadata) {
		return false
	}
	a.Metadata, b.Metadata = nil, nil
	return reflect.DeepEqual(a, b)
}

func TestDecodeVectors(t *testing.T) {
	for _, p := range golden(t).Signaling.Packets {
		t.Run(p.Mode+"/"+p.Name, func(t *testing.T) {
			_, bob := codecs(t, p.config(), nil)
			got, err := bob.Decode(p.Packet)
			if err != nil {
				t.Fatal(err)
			}
			want := p.message(t)
			if isNull(want.Metadata) {
				want.Metadata = nil // [null] is no metadata too
			}
			if !same(t, got, want) {
				t.Errorf("got %+v\nwant %+v", got, want)
			}
		})
	}
}

func TestEncodeVectors(t *testing.T) {
	v := golden(t)
	for _, p := range v.Signaling.Packets {
		t.Run(p.Mode+"/"+p.Name, func(t *testing.T) {
			alice, bob := codecs(t, p.config(), p.IV)
			packet, err := alice.Encode(bob.ID(), p.message(t))
			if err != nil {
				t.Fatal(err)
			}
			ns := alice.PeerNamespace(v.Keys["bob"].ID)
			if p.Type == Announce {
				ns = alice.RoomNamespace(v.Signaling.Room)
			}
			if ns != p.Namespace && !(alice.key == nil && p.Type != Announce) {
				t.Errorf("namespace %s, want %s", ns, p.Namespace)
			}
			if p.Flags&flagCompressed == 0 && !bytes.Equal(packet, p.Packet) {
				t.Fatalf("packet\n%x, want\n%x", packet, []byte(p.Packet))
			}
			var out [4]value
			if err := unpack(packet, packetSchema, out[:]); err != nil {
				t.Fatal(err)
			}
			if out[numFlags-1].num != p.Flags || !bytes.Equal(out[numSender-1].bytes, p.Sender) {
				t.Errorf("flags %d of %x, want %d of %x", out[numFlags-1].num, out[numSender-1].bytes, p.Flags, []byte(p.Sender))
			}
			if !bytes.HasPrefix(out[numPayload-1].bytes, p.IV) {
				t.Errorf("IV is not in front: %x", out[numPayload-1].bytes)
			}
			got := expanded(t, bob, packet)
			if string(got) != p.JSON {
				t.Errorf("JSON\n%s, want\n%s", got, p.JSON)
			}
		})
	}
}

// expanded returns the JSON text in a packet for c.
func expanded(t *testing.T, c *Codec, packet []byte) []byte {
	t.Helper()
	var out [4]value
	if err := unpack(packet, packetSchema, out[:]); err != nil {
		t.Fatal(err)
	}
	var m Message
	aead, err := c.senderOf(&m, out[numSender-1].bytes)
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.unwrap(aead, out[numFlags-1].num, out[numPayload-1].bytes)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Sealing the very bytes of the vectors gives the very payload, also where
// compressed bytes of ours would differ.
func TestSealVectors(t *testing.T) {
	v := golden(t)
	aead, err := sharedCipher(v.private(t, "alice"), v.Keys["bob"].Compressed)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range v.Signaling.Packets {
		if len(p.IV) == 0 {
			continue
		}
		t.Run(p.Mode+"/"+p.Name, func(t *testing.T) {
			got, err := seal(aead, bytes.NewReader(p.IV), p.Plaintext)
			if err != nil || !bytes.Equal(got, p.Payload) {
				t.Errorf("got %x, error %v", got, err)
			}
			want := append(append(append([]byte(nil), p.IV...), p.Ciphertext...), p.Tag...)
			if !bytes.Equal(got, want) {
				t.Errorf("got %x, want IV, ciphertext and tag %x", got, want)
			}
			if back, err := open(aead, p.Payload); err != nil || !bytes.Equal(back, p.Plaintext) {
				t.Errorf("opened %x, error %v", back, err)
			}
		})
	}
}

func TestSignalingEdgeCases(t *testing.T) {
	for _, e := range golden(t).Signaling.EdgeCases {
		t.Run(e.Why, func(t *testing.T) {
			_, bob := codecs(t, Config{NoEncryption: e.Receiver == "plain"}, nil)
			m, err := bob.Decode(e.Packet)
			if e.Why == "own packet" && !errors.Is(err, ErrOwnPacket) {
				t.Fatalf("error %v", err)
			}
			if !e.Accepted {
				if err == nil {
					t.Fatalf("accepted as %+v", m)
				}
				t.Log(err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := Message{Type: e.Message.Type, From: e.Message.ID}
			if !same(t, m, want) {
				t.Errorf("got %+v, want %+v", m, want)
			}
		})
	}
}

func TestSubscriptions(t *testing.T) {
	v := golden(t)
	for _, c := range []struct {
		name       string
		config     Config
		room       string
		subscribed []string
	}{
		{"hashed", Config{}, v.Signaling.Subscriptions.Room, v.Signaling.Subscriptions.Subscribed},
		{"not hashed", Config{NoHashing: true, NoEncryption: true}, v.Signaling.UnhashedSubscriptions.Room, v.Signaling.UnhashedSubscriptions.Subscribed},
	} {
		t.Run(c.name, func(t *testing.T) {
			alice, _ := codecs(t, c.config, nil)
			got := []string{alice.RoomNamespace(c.room), alice.PeerNamespace(alice.ID())}
			if !reflect.DeepEqual(got, c.subscribed) {
				t.Errorf("got %q, want %q", got, c.subscribed)
			}
		})
	}
}

func TestNamespaces(t *testing.T) {
	v := golden(t).Namespaces
	hashed, _ := codecs(t, Config{}, nil)
	for _, n := range v.Hashed {
		t.Run("hashed "+n.Name, func(t *testing.T) {
			if n.Name != string(n.UTF8) {
				t.Fatalf("name %q is not %x", n.Name, []byte(n.UTF8))
			}
			if got := hashed.RoomNamespace(n.Name); got != n.Namespace {
				t.Errorf("got %s, want %s", got, n.Namespace)
			}
		})
	}
	plain, _ := codecs(t, Config{NoHashing: true}, nil)
	for _, n := range v.Plain {
		t.Run("plain "+n.Name, func(t *testing.T) {
			if got := plain.RoomNamespace(n.Name); got != n.Namespace {
				t.Errorf("got %s, want %s", got, n.Namespace)
			}
		})
	}
}

func TestCompression(t *testing.T) {
	for _, v := range golden(t).Compression {
		t.Run(string(v.Plain[:min(len(v.Plain), 12)]), func(t *testing.T) {
			got, err := inflate(v.Deflated, DefaultMaxPayload)
			if err != nil || !bytes.Equal(got, v.Plain) {
				t.Errorf("got %q, error %v", got, err)
			}
			small, ok := deflate(v.Plain)
			if ok != v.Smaller {
				t.Fatalf("smaller: %v, want %v", ok, v.Smaller)
			}
			if !ok {
				return
			}
			if got, err := inflate(small, len(v.Plain)); err != nil || !bytes.Equal(got, v.Plain) {
				t.Errorf("there and back: %q, error %v", got, err)
			}
		})
	}
}

// FuzzDecode feeds packets, and payloads as a holder of the key can make them,
// to receivers with and without encryption.
func FuzzDecode(f *testing.F) {
	v := golden(f)
	for _, p := range v.Signaling.Packets {
		f.Add([]byte(p.Packet), uint8(p.Type), uint8(p.Flags), []byte(p.JSON))
	}
	for _, e := range v.Signaling.EdgeCases {
		f.Add([]byte(e.Packet), uint8(0), uint8(0), []byte(nil))
	}
	for i, k := range v.InvalidPublicKeys {
		b := appendBytes(appendUint(nil, numType, 1), numSender, k.Key)
		f.Add(appendBytes(b, numPayload, nil), uint8(i), uint8(3), []byte("[null]"))
	}
	for _, k := range v.Keys {
		b := appendBytes(appendUint(nil, numType, 1), numSender, k.Compressed)
		f.Add(appendBytes(b, numPayload, nil), uint8(2), uint8(2), []byte("[{}]"))
	}
	for _, c := range v.Compression {
		f.Add([]byte(c.Plain), uint8(2), uint8(3), []byte(c.Deflated))
	}
	f.Fuzz(func(t *testing.T, packet []byte, kind, flags uint8, payload []byte) {
		for _, config := range []Config{{MaxPayload: 1 << 16}, {NoEncryption: true, MaxPayload: 1 << 16}} {
			alice, bob := codecs(t, config, bytes.Repeat([]byte{1}, 64))
			check(t, bob, packet)
			inner := payload
			if alice.key != nil {
				aead, err := alice.cipherTo(bob.ID())
				if err != nil {
					t.Fatal(err)
				}
				inner, _ = seal(aead, bytes.NewReader(make([]byte, ivLen)), payload)
			}
			check(t, bob, rawPacket(alice, Type(kind), uint32(flags), inner))
		}
	})
}

// check decodes a packet and, if it was accepted, sends it on.
func check(t *testing.T, c *Codec, packet []byte) {
	t.Helper()
	m, err := c.Decode(packet)
	if err != nil {
		return
	}
	if m.From == "" || m.From == c.ID() {
		t.Fatalf("from %q", m.From)
	}
	if _, err := c.Encode(m.From, m); err != nil && !errors.Is(err, ErrTooLarge) {
		t.Fatalf("%+v cannot be sent again: %v", m, err)
	}
}

package signal

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// A packet of about 2 KB that expands to 2 MiB must not be expanded.
func TestExpansionIsBounded(t *testing.T) {
	bomb, _ := deflate(bytes.Repeat([]byte(" "), 2*DefaultMaxPayload))
	for _, config := range []Config{{}, {NoEncryption: true}} {
		alice, bob := codecs(t, config, bytes.Repeat([]byte{1}, ivLen))
		payload, flags := bomb, uint32(flagCompressed)
		if alice.key != nil {
			aead, err := alice.cipherTo(bob.ID())
			if err != nil {
				t.Fatal(err)
			}
			if payload, err = seal(aead, alice.random, bomb); err != nil {
				t.Fatal(err)
			}
			flags |= flagEncrypted
		}
		packet := rawPacket(alice, Invoke, flags, payload)
		if _, err := bob.Decode(packet); !errors.Is(err, ErrTooLarge) {
			t.Errorf("error %v", err)
		}
		huge := rawPacket(alice, Invoke, 0, make([]byte, DefaultMaxPayload+ivLen+tagLen+1))
		if _, err := bob.Decode(huge); !errors.Is(err, ErrTooLarge) {
			t.Errorf("uncompressed: error %v", err)
		}
	}
}

func rawPacket(c *Codec, kind Type, flags uint32, payload []byte) []byte {
	b := appendUint(nil, numType, uint32(kind))
	b = appendUint(b, numFlags, flags)
	b = appendBytes(b, numSender, c.sender)
	return appendBytes(b, numPayload, payload)
}

func TestDecodeNamesWhatIsWrong(t *testing.T) {
	alice, bob := codecs(t, Config{NoEncryption: true}, nil)
	long := strings.Repeat("x", MaxCandidate+1)
	for name, c := range map[string]struct {
		kind    Type
		payload string
		want    string
	}{
		"metadata is a text":       {Invoke, `["x"]`, "invoke: signal: metadata is not a JSON object"},
		"metadata too large":       {Invoke, `[{"a":"` + strings.Repeat("x", MaxMetadata) + `"}]`, "metadata of"},
		"null":                     {Invoke, `null`, "payload is not a JSON array"},
		"two arrays":               {Invoke, `[][]`, "payload is not JSON"},
		"white space only":         {Invoke, ` `, "payload is not JSON"},
		"empty offer":              {Offer, ``, "offer: no description"},
		"offer of null":            {Offer, `[null]`, "no description"},
		"offer of a number":        {Offer, `[1]`, "description: json"},
		"offer that answers":       {Offer, `[{"type":"answer","sdp":"v=0"}]`, `type "answer", want "offer"`},
		"offer without sdp":        {Offer, `[{"type":"offer"}]`, "without sdp"},
		"offer with odd metadata":  {Offer, `[{"type":"offer","sdp":"v=0"},[]]`, "metadata is not a JSON object"},
		"answer of nothing":        {Answer, `[]`, "answer: no description"},
		"no candidates":            {Candidates, `[]`, "candidates: no candidate"},
		"candidate of null":        {Candidates, `[{},null]`, "candidate 1: not a JSON object"},
		"candidate too long":       {Candidates, `[{"candidate":"` + long + `"}]`, "candidate of"},
		"line index out of range":  {Candidates, `[{"sdpMLineIndex":65536}]`, "candidate 0: json"},
		"thousands of candidates":  {Candidates, "[" + strings.Repeat("{},", 9999) + "{}]", "more than 256 elements"},
		"deeply nested candidates": {Candidates, strings.Repeat("[", 20000) + strings.Repeat("]", 20000), "payload is not JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := bob.Decode(rawPacket(alice, c.kind, 0, []byte(c.payload)))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q in it", err, c.want)
			}
			if m.From != alice.ID() || m.Type != c.kind {
				t.Errorf("from %q, %s", m.From, m.Type)
			}
		})
	}
}

func TestEncodeRefuses(t *testing.T) {
	alice, bob := codecs(t, Config{MaxPayload: 256}, bytes.Repeat([]byte{1}, 64))
	long := Candidate{Candidate: strings.Repeat("x", 300)}
	for name, c := range map[string]struct {
		to      PeerID
		message Message
		is      error
	}{
		"no type":                 {bob.ID(), Message{}, nil},
		"offer without anything":  {bob.ID(), Message{Type: Offer}, nil},
		"answer that offers":      {bob.ID(), Message{Type: Answer, Description: &Description{Type: "offer", SDP: "v=0"}}, nil},
		"no candidates":           {bob.ID(), Message{Type: Candidates}, nil},
		"too many candidates":     {bob.ID(), Message{Type: Candidates, Candidates: make([]Candidate, 257)}, ErrTooLarge},
		"broken metadata":         {bob.ID(), Message{Type: Invoke, Metadata: json.RawMessage(`{`)}, nil},
		"metadata of the offer":   {bob.ID(), Message{Type: Offer, Metadata: json.RawMessage(`1`)}, nil},
		"payload too large":       {bob.ID(), Message{Type: Candidates, Candidates: []Candidate{long}}, ErrTooLarge},
		"id that is no base62":    {"no/body", Message{Type: Invoke, Metadata: json.RawMessage(`{}`)}, ErrUnknownPeer},
		"id that is no key":       {"nobody", Message{Type: Invoke, Metadata: json.RawMessage(`{}`)}, ErrUnknownPeer},
		"no id":                   {"", Message{Type: Invoke, Metadata: json.RawMessage(`{}`)}, ErrUnknownPeer},
		"id with a zero in front": {"0" + bob.ID(), Message{Type: Invoke, Metadata: json.RawMessage(`{}`)}, ErrUnknownPeer},
		"id as long as a book":    {PeerID(strings.Repeat("3", 1<<20)), Message{Type: Invoke, Metadata: json.RawMessage(`{}`)}, ErrUnknownPeer},
	} {
		t.Run(name, func(t *testing.T) {
			packet, err := alice.Encode(c.to, c.message)
			if err == nil || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("packet %x, error %v", packet, err)
			}
		})
	}
}

// A peer can be written to before it was heard, and after it was forgotten.
func TestKeyIsDerivedFromTheID(t *testing.T) {
	alice, bob := codecs(t, Config{}, bytes.Repeat([]byte{1}, 64))
	m := Message{Type: Invoke, Metadata: json.RawMessage(`{"name":"a"}`)}
	for range 2 {
		packet, err := alice.Encode(bob.ID(), m)
		if err != nil {
			t.Fatal(err)
		}
		got, err := bob.Decode(packet)
		if err != nil || string(got.Metadata) != string(m.Metadata) {
			t.Fatalf("got %+v, error %v", got, err)
		}
		alice.Forget(bob.ID())
		bob.Forget(alice.ID())
		if alice.peers.len() != 0 {
			t.Fatal("not forgotten")
		}
	}
}

// What Decode returns must not change when the packet's memory is used again.
func TestDecodeCopies(t *testing.T) {
	alice, bob := codecs(t, Config{NoEncryption: true, NoCompression: true}, nil)
	packet, err := alice.Encode(bob.ID(), Message{Type: Invoke, Metadata: json.RawMessage(`{"name":"a"}`)})
	if err != nil {
		t.Fatal(err)
	}
	m, err := bob.Decode(packet)
	if err != nil {
		t.Fatal(err)
	}
	clear(packet)
	if string(m.Metadata) != `{"name":"a"}` || m.From != alice.ID() {
		t.Errorf("got %+v", m)
	}
}

// JSON is written as browsers do, without escapes for HTML.
func TestMetadataIsNotEscaped(t *testing.T) {
	alice, bob := codecs(t, Config{}, bytes.Repeat([]byte{1}, 64))
	packet, err := alice.Encode(bob.ID(), Message{Type: Invoke, Metadata: json.RawMessage(`{ "a": "<&>" }`)})
	if err != nil {
		t.Fatal(err)
	}
	if got := string(expanded(t, bob, packet)); got != `[{"a":"<&>"}]` {
		t.Errorf("got %s", got)
	}
}

func TestTypeString(t *testing.T) {
	for k, want := range []string{"type 0", "announce", "invoke", "offer", "answer", "candidates", "type 6"} {
		if got := Type(k).String(); got != want {
			t.Errorf("%d: %s, want %s", k, got, want)
		}
	}
}

func TestValidRoom(t *testing.T) {
	for name, want := range map[string]string{
		"my-room":                    "",
		"Zażółć \U0001f41d":          "",
		strings.Repeat("x", MaxRoom): "",
		"":                           "empty",
		strings.Repeat("x", 129):     "129 bytes",
		"a\xffb":                     "UTF-8",
		"a\nb":                       "U+000A",
		"a\u0085b":                   "U+0085",
	} {
		err := ValidRoom(name)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: error %v, want %q", name, err, want)
		}
	}
}

package signal

import (
	"bytes"
	"crypto/ecdh"
	"encoding/hex"
	"encoding/json"
	"os"
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
	Base62 struct {
		Alphabet   string
		Encode     []base62Vector
		Decode     []base62Vector
		Truncating []base62Vector
		Invalid    []struct{ Text string }
	}
	Keys       map[string]keyVector
	SharedKeys []struct {
		A, B   string
		AES256 hexBytes
	}
	InvalidPublicKeys []struct {
		Why string
		Key hexBytes
	}
	Polite []struct {
		Me, Other             PeerID
		MePolite, OtherPolite bool
	}
	Namespaces struct {
		Hashed []struct {
			Name, Namespace string
			UTF8            hexBytes
		}
		Plain []struct{ Name, Namespace string }
	}
	Signaling struct {
		Room          string
		Packets       []packetVector
		Subscriptions struct {
			Room       string
			ID         PeerID
			Subscribed []string
		}
		UnhashedSubscriptions struct {
			Room       string
			Subscribed []string
		}
		EdgeCases []struct {
			Why, Receiver string
			Packet        hexBytes
			Accepted      bool
			Message       struct {
				Type    Type
				ID      PeerID
				Message []json.RawMessage
			}
		}
	}
	Compression []struct {
		Plain, Deflated hexBytes
		Smaller         bool
	}
	Control struct {
		Packets []struct {
			Name     string
			Event    Event
			JSON     string
			Packet   hexBytes
			Received json.RawMessage
		}
		EdgeCases []struct {
			Why       string
			Packet    hexBytes
			Delivered bool
			Error     *string
		}
	}
	CandidateQueue struct {
		Description string
		Steps       []struct {
			What   string
			Result json.RawMessage
		}
	}
	Protobuf struct {
		Encode []protobufVector
		Decode []protobufVector
	}
}

type base62Vector struct {
	Text   string
	Length int
	Bytes  hexBytes
}

type keyVector struct {
	Private, Uncompressed, Compressed hexBytes
	ID                                PeerID
	IDHash                            string
}

type packetVector struct {
	Mode, Name string
	Options    struct {
		SignalingEncryption, SignalingCompression, NamespaceHashing *bool
	}
	Namespace               string
	Packet, Sender, Payload hexBytes
	Type                    Type
	Flags                   uint32
	SenderID                PeerID
	JSON                    string
	Received                []json.RawMessage
	IV, Ciphertext, Tag     hexBytes
	Plaintext               hexBytes
}

// config returns the options of the case in our words.
func (p packetVector) config() Config {
	off := func(b *bool) bool { return b != nil && !*b }
	return Config{
		NoHashing:     off(p.Options.NamespaceHashing),
		NoEncryption:  off(p.Options.SignalingEncryption),
		NoCompression: off(p.Options.SignalingCompression),
	}
}

type protobufVector struct {
	Value *struct {
		U *uint32
		B *bool
		Y *hexBytes
	}
	Bytes hexBytes
}

var loadVectors = sync.OnceValues(func() (*vectors, error) {
	b, err := os.ReadFile("../../testdata/vectors.json")
	if err != nil {
		return nil, err
	}
	v := new(vectors)
	return v, json.Unmarshal(b, v)
})

// golden returns the vectors.
func golden(t testing.TB) *vectors {
	t.Helper()
	v, err := loadVectors()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// private returns the key pair of a name in the vectors.
func (v *vectors) private(t testing.TB, name string) *ecdh.PrivateKey {
	t.Helper()
	key, err := ecdh.P256().NewPrivateKey(v.Keys[name].Private)
	if err != nil {
		t.Fatalf("key of %s: %v", name, err)
	}
	return key
}

// sameJSON reports whether two texts are the same JSON value.
func sameJSON(t testing.TB, a, b []byte) bool {
	t.Helper()
	var x, y any
	if err := json.Unmarshal(a, &x); err != nil {
		t.Fatalf("%q: %v", a, err)
	}
	if err := json.Unmarshal(b, &y); err != nil {
		t.Fatalf("%q: %v", b, err)
	}
	x1, _ := json.Marshal(x)
	y1, _ := json.Marshal(y)
	return bytes.Equal(x1, y1)
}

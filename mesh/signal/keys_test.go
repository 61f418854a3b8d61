package signal

import (
	"bytes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/rand"
	"strconv"
	"testing"
)

func TestKeys(t *testing.T) {
	v := golden(t)
	for name, k := range v.Keys {
		t.Run(name, func(t *testing.T) {
			c, err := New(Config{Key: v.private(t, name)})
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(c.sender, k.Compressed) {
				t.Errorf("compressed %x, want %x", c.sender, []byte(k.Compressed))
			}
			if c.ID() != k.ID {
				t.Errorf("id %s, want %s", c.ID(), k.ID)
			}
			if got := c.PeerNamespace(c.ID()); got != k.IDHash {
				t.Errorf("namespace %s, want %s", got, k.IDHash)
			}
			pub, err := parsePublicKey(k.Compressed)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(pub.Bytes(), k.Uncompressed) {
				t.Errorf("uncompressed %x, want %x", pub.Bytes(), []byte(k.Uncompressed))
			}
			back, err := base62Decode(string(k.ID), publicKeyLen)
			if err != nil || !bytes.Equal(back, k.Compressed) {
				t.Errorf("id decodes to %x, error %v", back, err)
			}
		})
	}
}

func TestSharedKeys(t *testing.T) {
	v := golden(t)
	for _, s := range v.SharedKeys {
		for _, pair := range [][2]string{{s.A, s.B}, {s.B, s.A}} {
			t.Run(pair[0]+" with "+pair[1], func(t *testing.T) {
				got, err := sharedKey(v.private(t, pair[0]), v.Keys[pair[1]].Compressed)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, s.AES256) {
					t.Errorf("got %x, want %x", got, []byte(s.AES256))
				}
			})
		}
	}
}

func TestInvalidPublicKeys(t *testing.T) {
	for _, v := range golden(t).InvalidPublicKeys {
		t.Run(v.Why, func(t *testing.T) {
			_, err := parsePublicKey(v.Key)
			if err == nil {
				t.Fatal("accepted")
			}
			t.Log(err)
		})
	}
}

func TestPolite(t *testing.T) {
	for _, v := range golden(t).Polite {
		t.Run(string(v.Me)+" and "+string(v.Other), func(t *testing.T) {
			if got := Polite(v.Me, v.Other); got != v.MePolite {
				t.Errorf("I am polite: %v", got)
			}
			if got := Polite(v.Other, v.Me); got != v.OtherPolite {
				t.Errorf("the other is polite: %v", got)
			}
		})
	}
}

// Nearly half of all ids begin with a 3, so that none of 256 does is as good as
// impossible; without a choice the test would fail every other time.
func TestFreshIDSortsHigh(t *testing.T) {
	for _, config := range []Config{{}, {NoEncryption: true}} {
		c, err := New(config)
		if err != nil {
			t.Fatal(err)
		}
		if c.ID() < "3" {
			t.Errorf("%+v: id %s", config, c.ID())
		}
	}
}

func TestHighKeyIsTheGreatest(t *testing.T) {
	ids := []byte{1, 2, 3}
	random := bytes.NewReader(append(append(
		bytes.Repeat(ids[:1], publicKeyLen), bytes.Repeat(ids[2:], publicKeyLen)...), bytes.Repeat(ids[1:2], publicKeyLen)...))
	got, err := highRandom(random, 3)
	if err != nil {
		t.Fatal(err)
	}
	want := ids[0]
	for _, b := range ids {
		if idOf(bytes.Repeat([]byte{b}, publicKeyLen)) > idOf(bytes.Repeat([]byte{want}, publicKeyLen)) {
			want = b
		}
	}
	if got[0] != want {
		t.Errorf("chose %x, want %x", got[0], want)
	}
	if _, err := highRandom(random, 1); err == nil {
		t.Error("no error when there are no random bytes")
	}
}

func TestConfigErrors(t *testing.T) {
	p384, err := ecdh.P384().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, config := range map[string]Config{
		"Config.Key":        {Key: p384},
		"Config.MaxPayload": {MaxPayload: -1},
	} {
		if _, err := New(config); err == nil || !bytes.Contains([]byte(err.Error()), []byte(name)) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestPeerKeysAreBounded(t *testing.T) {
	var k peerKeys
	var aead struct{ cipher.AEAD }
	for i := range maxPeerKeys {
		k.put(PeerID(strconv.Itoa(i)), aead)
	}
	k.get("0")             // used last, stays
	k.put("another", aead) // "1" goes
	k.put("another", aead)
	if k.len() != maxPeerKeys || len(k.byID) != maxPeerKeys {
		t.Errorf("%d keys, %d by id, want %d", k.len(), len(k.byID), maxPeerKeys)
	}
	if k.get("0") == nil || k.get("another") == nil || k.get("1") != nil {
		t.Error("the wrong key went")
	}
	k.drop("another")
	k.drop("another")
	if k.get("another") != nil || k.len() != maxPeerKeys-1 {
		t.Error("dropped key is still there")
	}
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		if _, err := New(Config{}); err != nil {
			b.Fatal(err)
		}
	}
}

package access

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
)

// Algorithm is how a key signs (RFC 7518 section 3.1, RFC 8037 section 3.1).
type Algorithm string

// The algorithms of keys.
const (
	HS256 Algorithm = "HS256" // one secret signs and checks
	EdDSA Algorithm = "EdDSA" // Ed25519: a private key signs, a public one checks
)

const (
	minSecret = 32       // bytes of an HS256 key, those of its hash (RFC 7518 section 3.2)
	maxSecret = 1024     // bytes
	maxKeys   = 16       // in one set: all may have to be tried
	maxKeyID  = 128      // bytes
	maxFile   = 64 << 10 // bytes of a file of keys
	admitInfo = "weft admission key"
)

// Key is one key, with the algorithm that it is for. However it is printed, it
// shows its id and algorithm alone.
type Key struct {
	id  string
	alg Algorithm
	// A function, because fmt prints the fields of an unexported Key without
	// calling its methods, and follows pointers to structs.
	open func() *material
}

// material is what makes a key. It is never changed.
type material struct {
	secret  []byte             // HS256
	private ed25519.PrivateKey // nil where only tokens are checked
	public  ed25519.PublicKey
}

func hide(m *material) func() *material { return func() *material { return m } }

// NewKey makes a key at random.
func NewKey(alg Algorithm) (Key, error) {
	k := Key{id: rand.Text()[:8], alg: alg}
	switch alg {
	case HS256:
		secret := make([]byte, minSecret)
		_, _ = rand.Read(secret) // never fails
		k.open = hide(&material{secret: secret})
	case EdDSA:
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return Key{}, fmt.Errorf("access: new key: %w", err)
		}
		k.open = hide(&material{private: private, public: public})
	default:
		return Key{}, fmt.Errorf("access: there is no algorithm %q: want %s or %s", string(alg), HS256, EdDSA)
	}
	return k, nil
}

// ID is the key's name, kid in a token; it may be empty.
func (k Key) ID() string { return k.id }

// Algorithm is the one algorithm that the key is for.
func (k Key) Algorithm() Algorithm { return k.alg }

// CanSign reports whether the key can make tokens and not only check them.
func (k Key) CanSign() bool {
	return k.open != nil && (k.open().secret != nil || k.open().private != nil)
}

// Public is the key without what signs; an HS256 key has no such form.
func (k Key) Public() (Key, error) {
	if k.alg != EdDSA {
		return Key{}, fmt.Errorf("access: a key for %s has no public half", k.alg)
	}
	return Key{id: k.id, alg: k.alg, open: hide(&material{public: k.open().public})}, nil
}

// String implements fmt.Stringer.
func (k Key) String() string { return fmt.Sprintf("key %q for %s", k.id, string(k.alg)) }

// Format implements fmt.Formatter, for every verb.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// MarshalText implements encoding.TextMarshaler.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// LogValue implements slog.LogValuer.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// sign returns the signature of text.
func (k Key) sign(text []byte) []byte {
	if k.alg == EdDSA {
		return ed25519.Sign(k.open().private, text)
	}
	mac := hmac.New(sha256.New, k.open().secret)
	mac.Write(text)
	return mac.Sum(nil)
}

// verify checks a signature, as the key's own algorithm and no other wants it.
func (k Key) verify(text, signature []byte) bool {
	switch k.alg {
	case HS256:
		return hmac.Equal(k.sign(text), signature)
	case EdDSA:
		return len(signature) == ed25519.SignatureSize && ed25519.Verify(k.open().public, text, signature)
	}
	return false
}

// admissionKey derives the key for admissions from one that signs: servers with
// the same key honour one another's admissions, and a token's key is used for
// nothing but tokens.
func (k Key) admissionKey() (Key, error) {
	secret := k.open().secret
	if k.alg == EdDSA {
		secret = k.open().private.Seed()
	}
	seed, err := hkdf.Key(sha256.New, secret, nil, admitInfo, ed25519.SeedSize)
	if err != nil {
		return Key{}, fmt.Errorf("access: admission key: %w", err)
	}
	private := ed25519.NewKeyFromSeed(seed)
	return Key{id: k.id, alg: EdDSA, open: hide(&material{private: private, public: private.Public().(ed25519.PublicKey)})}, nil
}

// jwk is a key as RFC 7517 and RFC 8037 write it.
type jwk struct {
	Type      string `json:"kty"`
	Curve     string `json:"crv,omitempty"`
	Algorithm string `json:"alg,omitempty"`
	ID        string `json:"kid,omitempty"`
	Secret    string `json:"k,omitempty"` // oct
	Public    string `json:"x,omitempty"` // OKP
	Private   string `json:"d,omitempty"`
}

// MarshalFile is the key as a file holds it: one JSON Web Key, with its secret.
func (k Key) MarshalFile() ([]byte, error) {
	if k.open == nil {
		return nil, errors.New("access: an empty key")
	}
	enc := base64.RawURLEncoding.EncodeToString
	j := jwk{Type: "oct", Algorithm: string(k.alg), ID: k.id, Secret: enc(k.open().secret)}
	if k.alg == EdDSA {
		j = jwk{Type: "OKP", Curve: "Ed25519", Algorithm: string(k.alg), ID: k.id, Public: enc(k.open().public)}
		if k.open().private != nil {
			j.Private = enc(k.open().private.Seed())
		}
	}
	b, err := json.Marshal(j)
	return append(b, '\n'), err
}

// key reads a JSON Web Key. Its errors hold nothing of it but type and id.
func (j jwk) key() (Key, error) {
	k := Key{id: j.ID}
	if len(j.ID) > maxKeyID {
		return k, fmt.Errorf("kid has more than %d bytes", maxKeyID)
	}
	fail := func(why string) (Key, error) { return Key{}, fmt.Errorf("key %q: %s", j.ID, why) }
	switch {
	case j.Type == "oct":
		k.alg = HS256
		secret, ok := decode(j.Secret)
		if !ok || len(secret) < minSecret || len(secret) > maxSecret {
			return fail(fmt.Sprintf("k is not the base64url of %d to %d bytes", minSecret, maxSecret))
		}
		k.open = hide(&material{secret: secret})
	case j.Type == "OKP" && j.Curve == "Ed25519":
		k.alg = EdDSA
		public, ok := decode(j.Public)
		if !ok || len(public) != ed25519.PublicKeySize {
			return fail("x is not the base64url of 32 bytes")
		}
		m := &material{public: public}
		k.open = hide(m)
		if j.Private != "" {
			seed, ok := decode(j.Private)
			if !ok || len(seed) != ed25519.SeedSize {
				return fail("d is not the base64url of 32 bytes")
			}
			m.private = ed25519.NewKeyFromSeed(seed)
			if !bytes.Equal(m.private.Public().(ed25519.PublicKey), public) {
				return fail("d and x do not belong together")
			}
		}
	default:
		return fail("want kty oct, or OKP with crv Ed25519")
	}
	if j.Algorithm != "" && j.Algorithm != string(k.alg) {
		return fail(fmt.Sprintf("alg is not %s, which is what this type of key is for", k.alg))
	}
	return k, nil
}

// decode reads base64url without padding, in its one form.
func decode(text string) ([]byte, bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	// The package skips line breaks, which are no part of the form.
	return b, err == nil && base64.RawURLEncoding.EncodedLen(len(b)) == len(text)
}

// Keys are the keys that tokens may be signed with.
type Keys struct{ list []Key }

// NewKeys makes a set. Names must differ, and only a single key may have none.
func NewKeys(list ...Key) (*Keys, error) {
	if len(list) == 0 {
		return nil, errors.New("access: no key")
	}
	if len(list) > maxKeys {
		return nil, fmt.Errorf("access: %d keys, at most %d", len(list), maxKeys)
	}
	for i, k := range list {
		if k.open == nil {
			return nil, errors.New("access: an empty key")
		}
		if k.id == "" && len(list) > 1 {
			return nil, errors.New("access: a key without kid among several")
		}
		if slices.ContainsFunc(list[:i], func(o Key) bool { return o.id == k.id }) {
			return nil, fmt.Errorf("access: two keys have the kid %q", k.id)
		}
	}
	return &Keys{slices.Clone(list)}, nil
}

// ParseKeys reads a JSON Web Key, or a set of them (RFC 7517 section 5). Errors
// hold nothing of what is secret.
func ParseKeys(text []byte) ([]Key, error) {
	if len(text) > maxFile {
		return nil, fmt.Errorf("access: keys of more than %d bytes", maxFile)
	}
	var set struct {
		jwk
		Keys []jwk `json:"keys"`
	}
	if json.Unmarshal(text, &set) != nil { // its error may quote the text
		return nil, errors.New("access: no JSON Web Key; weft token --new-key makes one")
	}
	if set.Keys == nil {
		set.Keys = []jwk{set.jwk}
	}
	var out []Key
	for _, j := range set.Keys {
		k, err := j.key()
		if err != nil {
			return nil, fmt.Errorf("access: %w", err)
		}
		out = append(out, k)
	}
	return out, nil
}

// Signer is the first key that can sign, false if none can.
func (ks *Keys) Signer() (Key, bool) {
	if i := slices.IndexFunc(ks.list, Key.CanSign); i >= 0 {
		return ks.list[i], true
	}
	return Key{}, false
}

// candidates are the keys that a token may be signed with: the one of that name,
// or all where the token names none.
func (ks *Keys) candidates(kid string) []Key {
	if kid == "" {
		return ks.list
	}
	if i := slices.IndexFunc(ks.list, func(k Key) bool { return k.id == kid }); i >= 0 {
		return ks.list[i : i+1]
	}
	return nil
}

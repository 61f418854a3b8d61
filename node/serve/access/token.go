package access

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// MaxLife is how far away a token's end may be.
	MaxLife = 366 * 24 * time.Hour
	// skew is how much earlier than its time a token is taken, for clocks differ.
	skew = 30 * time.Second

	maxToken = 4096 // bytes of a token
	audience = "weft"

	typeToken     = "JWT"
	typeAdmission = "weft-admission+jwt" // RFC 8725 section 3.11: so that neither is taken for the other
)

// Claims are what a token says.
type Claims struct {
	Room       string // the one room that it is for, or
	RoomPrefix string // what the names of its rooms begin with
	AllRooms   bool   // every room
	Publish    bool   // may bring media in
	Watch      bool   // may get media out
	Hub        bool   // may be a hub, which forwards others' media
	Name       string // whom it is for; sub
	ID         string // of the token; jti. Sign makes one where it is empty
	NotBefore  time.Time
	Expires    time.Time // needed, at most MaxLife away
}

// In reports whether the token is for a room.
func (c Claims) In(room string) bool {
	return c.AllRooms || c.Room != "" && c.Room == room || c.RoomPrefix != "" && strings.HasPrefix(room, c.RoomPrefix)
}

// validate is for those who make tokens.
func (c Claims) validate(now time.Time) error {
	switch {
	case c.Room == "" && c.RoomPrefix == "" && !c.AllRooms:
		return errors.New("access: a token needs a room")
	case !c.Publish && !c.Watch && !c.Hub:
		return errors.New("access: a token that allows nothing: want publish, watch or hub")
	case c.Expires.IsZero() || !c.Expires.After(now):
		return errors.New("access: a token needs an end that is not over")
	case c.Expires.Sub(now) > MaxLife:
		return fmt.Errorf("access: a token may live for %d days", MaxLife/(24*time.Hour))
	}
	return nil
}

// wireClaims are the claims as JSON. Those of RFC 7519 section 4.1 come last.
type wireClaims struct {
	Room       string `json:"room,omitempty"`
	RoomPrefix string `json:"room_prefix,omitempty"`
	AllRooms   bool   `json:"all_rooms,omitempty"`
	Publish    bool   `json:"publish,omitempty"`
	Watch      bool   `json:"watch,omitempty"`
	Role       string `json:"role,omitempty"` // hub or client
	Peer       string `json:"peer,omitempty"` // of an admission

	Subject   string    `json:"sub,omitempty"`
	ID        string    `json:"jti,omitempty"`
	Audience  audiences `json:"aud,omitempty"`
	Expires   *float64  `json:"exp,omitempty"`
	NotBefore *float64  `json:"nbf,omitempty"`
}

// audiences are one text or several (RFC 7519 section 4.1.3).
type audiences []string

// UnmarshalJSON implements json.Unmarshaler.
func (a *audiences) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*a = audiences{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(a))
}

func wire(c Claims, peer string) wireClaims {
	w := wireClaims{
		Room: c.Room, RoomPrefix: c.RoomPrefix, AllRooms: c.AllRooms,
		Publish: c.Publish, Watch: c.Watch, Role: "client", Peer: peer,
		Subject: c.Name, ID: c.ID, Expires: seconds(c.Expires), NotBefore: seconds(c.NotBefore),
	}
	if c.Hub {
		w.Role = "hub"
	}
	return w
}

func seconds(t time.Time) *float64 {
	if t.IsZero() {
		return nil
	}
	s := float64(t.Unix())
	return &s
}

// claims checks everything but what the token is used for.
func (w wireClaims) claims(now time.Time) (Claims, error) {
	c := Claims{
		Room: w.Room, RoomPrefix: w.RoomPrefix, AllRooms: w.AllRooms,
		Publish: w.Publish, Watch: w.Watch, Hub: w.Role == "hub", Name: w.Subject, ID: w.ID,
	}
	if w.Role != "" && w.Role != "hub" && w.Role != "client" {
		return Claims{}, refuse(ReasonMalformed, "the token's role is neither hub nor client")
	}
	if w.Audience != nil && !slices.Contains(w.Audience, audience) {
		return Claims{}, refuse(ReasonMalformed, "the token is for another service: aud does not name %q", audience)
	}
	if w.Expires == nil {
		return Claims{}, refuse(ReasonLifetime, "the token has no end: exp is missing")
	}
	expires, ok := instant(*w.Expires)
	switch {
	case !ok || expires.Sub(now) > MaxLife+skew:
		return Claims{}, refuse(ReasonLifetime, "the token's end is more than %d days away", MaxLife/(24*time.Hour))
	case !now.Before(expires):
		return Claims{}, refuse(ReasonExpired, "the token has expired")
	}
	c.Expires = expires
	if w.NotBefore != nil {
		if c.NotBefore, ok = instant(*w.NotBefore); !ok || now.Add(skew).Before(c.NotBefore) {
			return Claims{}, refuse(ReasonEarly, "the token is not valid yet")
		}
	}
	return c, nil
}

// instant reads a NumericDate; what no calendar has is refused.
func instant(s float64) (time.Time, bool) {
	if !(s >= 0 && s < 1<<40) {
		return time.Time{}, false
	}
	return time.Unix(int64(s), 0), true
}

// Sign makes a token.
func Sign(k Key, c Claims, now time.Time) (Secret, error) {
	if !k.CanSign() {
		return Secret{}, fmt.Errorf("access: %v can check tokens but not make them", k)
	}
	if err := c.validate(now); err != nil {
		return Secret{}, err
	}
	if c.ID == "" {
		c.ID = rand.Text()
	}
	return seal(k, typeToken, wire(c, ""))
}

// Verify checks a token and returns what it says. A refusal is an *Error.
func (ks *Keys) Verify(token Secret, now time.Time) (Claims, error) {
	w, err := ks.unseal(token.Reveal(), typeToken)
	if err != nil {
		return Claims{}, err
	}
	return w.claims(now)
}

// header is a JOSE header (RFC 7515 section 4.1).
type header struct {
	Algorithm string          `json:"alg"`
	Type      string          `json:"typ,omitempty"`
	KeyID     string          `json:"kid,omitempty"`
	Critical  json.RawMessage `json:"crit,omitempty"`
}

// seal signs claims in the compact form (RFC 7515 section 7.1).
func seal(k Key, typ string, w wireClaims) (Secret, error) {
	h, err := json.Marshal(header{Algorithm: string(k.alg), Type: typ, KeyID: k.id})
	if err != nil {
		return Secret{}, fmt.Errorf("access: token: %w", err)
	}
	body, err := json.Marshal(w)
	if err != nil {
		return Secret{}, fmt.Errorf("access: token: %w", err)
	}
	enc := base64.RawURLEncoding
	text := enc.EncodeToString(h) + "." + enc.EncodeToString(body)
	text += "." + enc.EncodeToString(k.sign([]byte(text)))
	if len(text) > maxToken {
		return Secret{}, fmt.Errorf("access: a token of %d bytes, at most %d", len(text), maxToken)
	}
	return NewSecret(text), nil
}

var errNoToken = refuse(ReasonMalformed, "what was given is no token")

// unseal checks type, algorithm and signature. The algorithm is the key's: what
// the token says of it must be the same, and decides nothing.
func (ks *Keys) unseal(token, typ string) (wireClaims, error) {
	var w wireClaims
	if token == "" {
		return w, refuse(ReasonMissing, "a token is needed")
	}
	parts := strings.Split(token, ".")
	if len(token) > maxToken || len(parts) != 3 {
		return w, errNoToken
	}
	rawHeader, ok1 := decode(parts[0])
	body, ok2 := decode(parts[1])
	signature, ok3 := decode(parts[2])
	var h header
	if !ok1 || !ok2 || !ok3 || json.Unmarshal(rawHeader, &h) != nil {
		return w, errNoToken
	}
	if h.Critical != nil || !(strings.EqualFold(h.Type, typ) || h.Type == "" && typ == typeToken) {
		return w, errNoToken
	}
	if err := ks.check(h, []byte(token[:len(parts[0])+1+len(parts[1])]), signature); err != nil {
		return w, err
	}
	if json.Unmarshal(body, &w) != nil {
		return wireClaims{}, errNoToken
	}
	return w, nil
}

// check finds the key that has signed text.
func (ks *Keys) check(h header, text, signature []byte) error {
	keys := ks.candidates(h.KeyID)
	if len(keys) == 0 {
		return refuse(ReasonKey, "the token is signed with a key that this server does not have")
	}
	fits := false
	for _, k := range keys {
		if h.Algorithm != string(k.alg) {
			continue
		}
		fits = true
		if k.verify(text, signature) {
			return nil
		}
	}
	if !fits {
		return refuse(ReasonAlgorithm, "the token's algorithm is not that of the key")
	}
	return refuse(ReasonSignature, "the token's signature is wrong")
}

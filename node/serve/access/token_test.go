package access

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"
)

var now = time.Unix(1_800_000_000, 0)

func newKey(t testing.TB, alg Algorithm) Key {
	t.Helper()
	k, err := NewKey(alg)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func keySet(t testing.TB, list ...Key) *Keys {
	t.Helper()
	ks, err := NewKeys(list...)
	if err != nil {
		t.Fatal(err)
	}
	return ks
}

// forge makes a token with any header and claims, signed by sign.
func forge(header, claims any, sign func(text []byte) []byte) string {
	part := func(v any) string {
		b, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(b)
	}
	text := part(header) + "." + part(claims)
	return text + "." + base64.RawURLEncoding.EncodeToString(sign([]byte(text)))
}

func reasonOf(err error) Reason {
	var e *Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return ReasonNone
}

func TestTokenRoundTrip(t *testing.T) {
	for _, alg := range []Algorithm{HS256, EdDSA} {
		k := newKey(t, alg)
		want := Claims{Room: "demo", Publish: true, Name: "ada", ID: "1", NotBefore: now, Expires: now.Add(time.Hour)}
		token, err := Sign(k, want, now)
		if err != nil {
			t.Fatal(err)
		}
		verifier := k
		if alg == EdDSA {
			if verifier, err = k.Public(); err != nil || verifier.CanSign() {
				t.Fatalf("public half: %v, can sign %v", err, verifier.CanSign())
			}
		}
		got, err := keySet(t, newKey(t, HS256), newKey(t, EdDSA), verifier).Verify(token, now)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", alg, got, err, want)
		}
	}
}

func TestTokenRefused(t *testing.T) {
	hs, ed := newKey(t, HS256), newKey(t, EdDSA)
	keys := keySet(t, hs, ed)
	type m = map[string]any
	good := m{"room": "demo", "watch": true, "exp": now.Add(time.Hour).Unix()}
	with := func(key string, value any) m {
		out := m{key: value}
		for k, v := range good {
			if k != key {
				out[k] = v
			}
		}
		return out
	}
	head := func(alg, kid string) m { return m{"alg": alg, "typ": "JWT", "kid": kid} }
	hmacOf := func(secret []byte) func([]byte) []byte {
		return func(text []byte) []byte {
			mac := hmac.New(sha256.New, secret)
			mac.Write(text)
			return mac.Sum(nil)
		}
	}
	none := func([]byte) []byte { return nil }
	valid := forge(head("HS256", hs.id), good, hs.sign)
	for _, c := range []struct {
		name, token string
		want        Reason
	}{
		{"good", valid, ReasonNone},
		{"good without typ and kid", forge(m{"alg": "HS256"}, good, hs.sign), ReasonNone},
		{"good for weft among others", forge(head("EdDSA", ed.id), with("aud", []string{"x", "weft"}), ed.sign), ReasonNone},
		{"none at all", "", ReasonMissing},
		{"alg none", forge(head("none", hs.id), good, none), ReasonAlgorithm},
		{"alg none without kid", forge(m{"alg": "none"}, good, none), ReasonAlgorithm},
		{"alg None", forge(head("None", ed.id), good, none), ReasonAlgorithm},
		{"no alg", forge(m{"kid": hs.id}, good, hs.sign), ReasonAlgorithm},
		{"another hash", forge(head("HS512", hs.id), good, hs.sign), ReasonAlgorithm},
		{"hs256 by the public key", forge(head("HS256", ed.id), good, hmacOf(ed.open().public)), ReasonAlgorithm},
		{"the same without kid", forge(m{"alg": "HS256"}, good, hmacOf(ed.open().public)), ReasonSignature},
		{"eddsa on a secret", forge(head("EdDSA", hs.id), good, hs.sign), ReasonAlgorithm},
		{"rs256", forge(head("RS256", ed.id), good, ed.sign), ReasonAlgorithm},
		{"another key's name", forge(head("HS256", "other"), good, hs.sign), ReasonKey},
		{"a key inside", forge(m{"alg": "HS256", "jwk": m{"kty": "oct", "k": "AAAA"}}, good, hmacOf(make([]byte, 3))), ReasonSignature},
		{"another key", forge(head("HS256", hs.id), good, newKey(t, HS256).sign), ReasonSignature},
		{"no signature", valid[:strings.LastIndex(valid, ".")+1], ReasonSignature},
		{"another end", valid[:len(valid)-4] + "AAAA", ReasonSignature},
		{"two parts", valid[:strings.LastIndex(valid, ".")], ReasonMalformed},
		{"four parts", valid + ".AAAA", ReasonMalformed},
		{"padded", valid + "=", ReasonMalformed},
		{"a line break", valid + "\n", ReasonMalformed},
		{"too long", valid + strings.Repeat("A", maxToken), ReasonMalformed},
		{"critical extension", forge(m{"alg": "HS256", "crit": []string{"exp"}}, good, hs.sign), ReasonMalformed},
		{"of another type", forge(m{"alg": "HS256", "typ": typeAdmission}, good, hs.sign), ReasonMalformed},
		{"expired", forge(head("HS256", hs.id), with("exp", now.Unix()), hs.sign), ReasonExpired},
		{"no end", forge(head("HS256", hs.id), with("exp", nil), hs.sign), ReasonLifetime},
		{"far end", forge(head("HS256", hs.id), with("exp", now.Add(2*MaxLife).Unix()), hs.sign), ReasonLifetime},
		{"endless", forge(head("HS256", hs.id), with("exp", math.MaxFloat64), hs.sign), ReasonLifetime},
		{"early", forge(head("HS256", hs.id), with("nbf", now.Add(time.Hour).Unix()), hs.sign), ReasonEarly},
		{"for another service", forge(head("HS256", hs.id), with("aud", "x"), hs.sign), ReasonMalformed},
		{"role", forge(head("HS256", hs.id), with("role", "king"), hs.sign), ReasonMalformed},
		{"claims of another kind", forge(head("HS256", hs.id), []int{1}, hs.sign), ReasonMalformed},
		{"end as text", forge(head("HS256", hs.id), with("exp", "soon"), hs.sign), ReasonMalformed},
	} {
		_, err := keys.Verify(NewSecret(c.token), now)
		if got := reasonOf(err); got != c.want || (err == nil) != (c.want == ReasonNone) {
			t.Errorf("%s: %v (%v), want %v", c.name, got, err, c.want)
		}
	}
}

func TestClaimsIn(t *testing.T) {
	for _, c := range []struct {
		claims Claims
		room   string
		want   bool
	}{
		{Claims{Room: "demo"}, "demo", true},
		{Claims{Room: "demo"}, "demo2", false},
		{Claims{Room: "demo*"}, "demo2", false}, // a star is a letter like others
		{Claims{RoomPrefix: "team-"}, "team-a", true},
		{Claims{RoomPrefix: "team-"}, "teams", false},
		{Claims{}, "", false},
		{Claims{}, "demo", false},
		{Claims{AllRooms: true}, "demo", true},
	} {
		if got := c.claims.In(c.room); got != c.want {
			t.Errorf("%+v in %q: %v", c.claims, c.room, got)
		}
	}
}

func TestSignRefuses(t *testing.T) {
	k := newKey(t, EdDSA)
	public, err := k.Public()
	if err != nil {
		t.Fatal(err)
	}
	later := now.Add(time.Hour)
	for name, c := range map[string]struct {
		key    Key
		claims Claims
	}{
		"no room":    {k, Claims{Watch: true, Expires: later}},
		"nothing":    {k, Claims{Room: "a", Expires: later}},
		"no end":     {k, Claims{Room: "a", Watch: true}},
		"past":       {k, Claims{Room: "a", Watch: true, Expires: now}},
		"far":        {k, Claims{Room: "a", Watch: true, Expires: now.Add(2 * MaxLife)}},
		"public key": {public, Claims{Room: "a", Watch: true, Expires: later}},
		"long":       {k, Claims{Room: "a", Watch: true, Expires: later, Name: strings.Repeat("x", maxToken)}},
	} {
		if _, err := Sign(c.key, c.claims, now); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
}

func TestAdmission(t *testing.T) {
	tokens := keySet(t, newKey(t, HS256))
	a, err := NewAdmissions(tokens)
	if err != nil {
		t.Fatal(err)
	}
	twin, err := NewAdmissions(tokens)
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewAdmissions(nil)
	if err != nil {
		t.Fatal(err)
	}
	admit := func(a *Admissions, g Grant, room, peer string) string {
		s, _, err := a.Admit(g, room, peer, now)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	client, hub := Grant{Watch: true, Name: "ada"}, Grant{Publish: true, Watch: true, Hub: true}
	signer, _ := tokens.Signer()
	token, err := Sign(signer, Claims{Room: "demo", Watch: true, Expires: now.Add(time.Hour)}, now)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, admission, more string
		at                    time.Duration
		want                  Reason
	}{
		{"good", admit(a, client, "demo", "p1"), "", 0, ReasonNone},
		{"of a server with the same key", admit(twin, client, "demo", "p1"), "", 0, ReasonNone},
		{"of another server", admit(other, client, "demo", "p1"), "", 0, ReasonSignature},
		{"of another peer", admit(a, client, "demo", "p2"), "", 0, ReasonPeer},
		{"for another room", admit(a, client, "dem", "p1"), "", 0, ReasonRoom},
		{"expired", admit(a, client, "demo", "p1"), "", AdmissionLife, ReasonExpired},
		{"a client as hub", admit(a, client, "demo", "p1"), `,"hub":true`, 0, ReasonRole},
		{"a hub as hub", admit(a, hub, "demo", "p1"), `,"hub":true`, 0, ReasonNone},
		{"a token", token.Reveal(), "", 0, ReasonMalformed},
		{"none", "", "", 0, ReasonMissing},
	} {
		metadata := fmt.Sprintf(`{"name":"x","admission":%q%s}`, c.admission, c.more)
		_, err := a.Check("demo", "p1", []byte(metadata), now.Add(c.at))
		got := reasonOf(err)
		if c.name == "of another server" && got == ReasonKey {
			got = ReasonSignature // its key has a name of its own
		}
		if got != c.want {
			t.Errorf("%s: %v (%v), want %v", c.name, got, err, c.want)
		}
	}
	for _, metadata := range []string{"", "null", "[]", `{"admission":5}`, "x"} {
		if _, err := a.Check("demo", "p1", []byte(metadata), now); err == nil {
			t.Errorf("metadata %q: admitted", metadata)
		}
	}
	// An admission is not a token either.
	if _, err := tokens.Verify(NewSecret(admit(a, client, "demo", "p1")), now); err == nil {
		t.Error("an admission was taken for a token")
	}
}

func TestKeyFile(t *testing.T) {
	for _, alg := range []Algorithm{HS256, EdDSA} {
		k := newKey(t, alg)
		file, err := k.MarshalFile()
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseKeys(file)
		if err != nil || len(back) != 1 || back[0].id != k.id || back[0].alg != alg || !back[0].CanSign() {
			t.Fatalf("%s: %v, %v", alg, back, err)
		}
		token, err := Sign(k, Claims{Room: "a", Watch: true, Expires: now.Add(time.Hour)}, now)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := keySet(t, back...).Verify(token, now); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
	}
	const secret = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA"
	set := `{"keys":[{"kty":"oct","kid":"1","k":"` + secret + `"},{"kty":"OKP","crv":"Ed25519","kid":"2","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`
	if list, err := ParseKeys([]byte(set)); err != nil || len(list) != 2 || list[1].CanSign() {
		t.Errorf("a set: %v, %v", list, err)
	}
	for _, bad := range []string{
		"", secret, `{}`, `{"kty":"oct","k":"` + secret[:20] + `"}`, `{"kty":"oct","k":"` + secret + `="}`,
		`{"kty":"oct","alg":"HS512","k":"` + secret + `"}`, `{"kty":"RSA","k":"` + secret + `"}`,
		`{"kty":"OKP","crv":"Ed25519","x":"` + secret + `"}`, `{"kty":"OKP","crv":"X25519","x":"` + secret + `"}`,
		`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","d":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`,
	} {
		_, err := ParseKeys([]byte(bad))
		if err == nil {
			t.Errorf("%.40s: taken", bad)
		} else if strings.Contains(err.Error(), secret[:16]) {
			t.Errorf("the error tells the secret: %v", err)
		}
	}
	if _, err := NewKeys(newKey(t, HS256), Key{alg: HS256, open: hide(&material{secret: make([]byte, 32)})}); err == nil {
		t.Error("a nameless key among several was taken")
	}
	a := newKey(t, HS256)
	if _, err := NewKeys(a, a); err == nil {
		t.Error("two keys of one name were taken")
	}
}

// Whatever prints a key or a secret does not tell it.
func TestRedacted(t *testing.T) {
	k, err := ParseKeys([]byte(`{"kty":"oct","kid":"1","k":"c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA"}`))
	if err != nil {
		t.Fatal(err)
	}
	s := NewSecret("secret-secret")
	ks := keySet(t, k...)
	var out strings.Builder
	log := slog.New(slog.NewTextHandler(&out, nil))
	type shut struct {
		k Key
		s Secret
		q Query
	}
	type open struct {
		K  Key
		S  Secret
		Ks *Keys
	}
	for _, v := range []any{k[0], &k[0], s, &s, ks, *ks, shut{k[0], s, Query{Token: s}}, open{k[0], s, ks}, []any{k[0], s}, NewTokenGate(ks)} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		log.Info("x", "v", v)
		b, _ := json.Marshal(v)
		out.Write(b)
	}
	for _, bad := range []string{"secret-secret", "7365637265742d", "115 101 99", "c2VjcmV0"} {
		if i := strings.Index(out.String(), bad); i >= 0 {
			t.Errorf("%q is told: …%s…", bad, out.String()[max(0, i-60):i+20])
		}
	}
}

func FuzzVerify(f *testing.F) {
	k := Key{id: "1", alg: HS256, open: hide(&material{secret: make([]byte, 32)})}
	keys := keySet(f, k)
	token, err := Sign(k, Claims{Room: "a", Watch: true, Expires: now.Add(time.Hour), ID: "1"}, now)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(token.Reveal())
	f.Add("..")
	f.Add("e30.e30.")
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := keys.Verify(NewSecret(text), now); err == nil && text != token.Reveal() {
			t.Errorf("a token of nobody's: %q", text)
		}
	})
}

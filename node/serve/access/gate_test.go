package access

import (
	"fmt"
	"net/http/httptest"
	"testing"
	"time"
)

func TestGate(t *testing.T) {
	k := newKey(t, HS256)
	g := NewTokenGate(keySet(t, k))
	g.now = func() time.Time { return now }
	sign := func(c Claims) Secret {
		c.Expires = now.Add(time.Hour)
		s, err := Sign(k, c, now)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	both := sign(Claims{Room: "demo", Publish: true, Watch: true})
	publisher, watcher := sign(Claims{Room: "demo", Publish: true}), sign(Claims{Room: "demo", Watch: true})
	for _, c := range []struct {
		name   string
		action Action
		room   string
		token  Secret
		want   Reason
	}{
		{"both", Join, "demo", both, ReasonNone},
		{"both", Publish, "demo", both, ReasonNone},
		{"both", Watch, "demo", both, ReasonNone},
		{"both", Watch, "other", both, ReasonRoom},
		{"publisher", Publish, "demo", publisher, ReasonNone},
		{"publisher", Join, "demo", publisher, ReasonNone},
		{"publisher", Watch, "demo", publisher, ReasonAction},
		{"watcher", Publish, "demo", watcher, ReasonAction},
		{"watcher", Watch, "demo", watcher, ReasonNone},
		{"hub", Watch, "demo", sign(Claims{Room: "demo", Hub: true}), ReasonNone},
		{"nobody", Join, "demo", Secret{}, ReasonMissing},
		{"nobody", List, "", Secret{}, ReasonMissing},
	} {
		if _, err := g.Check(t.Context(), Query{Action: c.action, Room: c.room, Token: c.token}); reasonOf(err) != c.want {
			t.Errorf("%s: %s %s: %v, want %v", c.name, c.action, c.room, err, c.want)
		}
	}
	if n := g.Refused.Snapshot(); n["room"] != 1 || n["action"] != 2 || n["missing"] != 2 {
		t.Errorf("counted %v", n)
	}
	seen, err := g.Rooms(t.Context(), Query{Token: both})
	if err != nil || !seen("demo") || seen("other") {
		t.Errorf("rooms: %v", err)
	}
	if g.RoomOf(both) != "demo" || g.RoomOf(Secret{}) != "" {
		t.Error("the room of a token")
	}
	open := NewOpenGate()
	if _, err := open.Check(t.Context(), Query{Action: Watch, Room: "demo"}); err != nil || !open.Open() || g.Open() {
		t.Errorf("an open gate: %v", err)
	}
}

func TestTokenOf(t *testing.T) {
	for _, c := range []struct{ header, query, want string }{
		{"Bearer abc", "", "abc"},
		{"bearer  abc ", "?token=x", "abc"},
		{"Basic abc", "?token=x", "x"},
		{"", "?authorization=y", "y"},
		{"", "", ""},
		{"Bearer", "", ""},
	} {
		r := httptest.NewRequest("GET", "/"+c.query, nil)
		r.Header.Set("Authorization", c.header)
		if got := TokenOf(r).Reveal(); got != c.want {
			t.Errorf("%q %q: %q, want %q", c.header, c.query, got, c.want)
		}
	}
}

// Who has admissions of others in hand connects to the hub alone, and where there
// is none to those who may do everything.
func TestPassVerify(t *testing.T) {
	a, err := NewAdmissions(nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := a.Key()
	if err != nil {
		t.Fatal(err)
	}
	check, err := ReadAdmissions(key)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := check.Admit(Grant{Watch: true}, "demo", "p", now); err == nil {
		t.Error("a public key admits")
	}
	metadata := func(g Grant, hub bool) []byte {
		s, _, err := a.Admit(g, "demo", "p", now)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Appendf(nil, `{"admission":%q,"hub":%v}`, s, hub)
	}
	both, hub := Grant{Publish: true, Watch: true}, Grant{Publish: true, Watch: true, Hub: true}
	for _, c := range []struct {
		name     string
		hub      string
		metadata []byte
		want     bool
	}{
		{"the hub", "p", metadata(hub, true), true},
		{"another hub", "h", metadata(hub, true), true},
		{"a false hub", "h", metadata(both, true), false},
		{"a false hub in a mesh", "", metadata(both, true), false},
		{"a peer beside a hub", "h", metadata(both, false), false},
		{"a peer in a mesh", "", metadata(both, false), true},
		{"a watcher in a mesh", "", metadata(Grant{Watch: true}, false), false},
		{"nobody", "", nil, false},
	} {
		p := Pass{Hub: c.hub, Check: check}
		if got := p.Verify("demo", "p", c.metadata, now); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	if !(Pass{}).Verify("demo", "p", nil, now) {
		t.Error("where everybody is let in")
	}
}

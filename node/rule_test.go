package node

import (
	"encoding/json"
	"slices"
	"testing"
)

func TestRule(t *testing.T) {
	local := &publication{label: "cam"}
	fromA := &publication{origin: "A", via: "A", label: "cam"}
	behind := &publication{origin: "X", via: "H", fromHub: true, label: "cam"}
	for _, tt := range []struct {
		name string
		role role
		pub  *publication
		to   audience
		want bool
	}{
		{"mesh sends its own", roleMesh, local, audience{id: "B"}, true},
		{"mesh forwards nothing", roleMesh, fromA, audience{id: "B"}, false},
		{"hub sends its own", roleHub, local, audience{id: "B"}, true},
		{"who may not watch gets nothing of others", roleHub, fromA, audience{id: "B", rights: Rights{NoWatch: true}}, false},
		{"nor anything of ours", roleMesh, local, audience{id: "B", rights: Rights{NoWatch: true}}, false},
		{"who may not publish may watch", roleHub, fromA, audience{id: "B", rights: Rights{NoPublish: true}}, true},
		{"hub forwards", roleHub, fromA, audience{id: "B"}, true},
		{"hub sends nothing back", roleHub, fromA, audience{id: "A"}, false},
		{"hub does not chain", roleHub, behind, audience{id: "B"}, false},
		{"hub leaves direct links alone", roleHub, fromA, audience{id: "B", direct: map[string]bool{"A": true}}, false},
		{"hub sees other direct links", roleHub, fromA, audience{id: "B", direct: map[string]bool{"C": true}}, true},
		{"own streams go to direct links too", roleHub, local, audience{id: "B", direct: map[string]bool{"A": true}}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.role.forwards(tt.pub, tt.to); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestLabels(t *testing.T) {
	for _, tt := range []struct {
		wire, origin, label string
		ok                  bool
	}{
		{"A/cam", "A", "cam", true},
		{"cam", "", "", false},
		{"/cam", "", "", false},
		{"A/", "", "", false},
		{"A/B/cam", "", "", false},
		{"", "", "", false},
		{"/", "", "", false},
	} {
		origin, label, ok := splitLabel(tt.wire)
		if origin != tt.origin || label != tt.label || ok != tt.ok {
			t.Errorf("splitLabel(%q) = %q, %q, %v", tt.wire, origin, label, ok)
		}
	}
	for _, bad := range []string{"", "a/b", string(make([]byte, 200))} {
		if checkLabel(bad) == nil {
			t.Errorf("label %.10q accepted", bad)
		}
	}
}

func TestIsHub(t *testing.T) {
	for metadata, want := range map[string]bool{
		`{"hub":true}`: true, `{"hub":false}`: false, `{"hub":"true"}`: false, `{"hub":1}`: false,
		`{}`: false, `null`: false, ``: false, `[true]`: false, `{"hub":true`: false,
	} {
		if got := isHub(json.RawMessage(metadata)); got != want {
			t.Errorf("isHub(%s) = %v", metadata, got)
		}
	}
}

var rosterSeeds = []string{
	`{}`, `null`, `[]`, `{"peers":[]}`, `{"direct":["A"]}`, `{"peers":[{"id":"A","streams":[{"label":"x","id":"y","tracks":[{"kind":"video","codec":"VP8","muted":"codec"}]}]}]}`,
	`{"peers":[{"id":1}]}`, `{"peers":[null]}`, `{"direct":null}`, `{"label":"chat","data":{"text":"hi"}}`, `{"from":"A"}`, `x`,
}

func FuzzControlEvents(f *testing.F) {
	for _, s := range rosterSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := parseRoster(b); err == nil && len(r.Peers)+len(r.Direct) > 2*maxRosterPeers {
			t.Errorf("%d peers, %d direct", len(r.Peers), len(r.Direct))
		}
		if m, err := parseMessage(b); err == nil && len(m.Data) > maxMessage {
			t.Errorf("message of %d bytes", len(m.Data))
		}
		if ws, err := parseWishes(b); err == nil && len(ws) > maxWishes {
			t.Errorf("%d wishes", len(ws))
		}
		isHub(b)
	})
}

func TestRosterBounds(t *testing.T) {
	many, err := json.Marshal(roster{Direct: make([]string, maxRosterPeers+1)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parseRoster(many); err == nil {
		t.Error("a roster beyond the bound was accepted")
	}
	if _, err := parseMessage(make([]byte, maxMessage+1)); err == nil {
		t.Error("a message beyond the bound was accepted")
	}
}

func TestTableOrder(t *testing.T) {
	tb := table{}
	for _, p := range []*publication{{origin: "b", via: "b", label: "x"}, {label: "z"}, {origin: "b", via: "b", label: "a"}, {origin: "a", via: "h", label: "q"}} {
		tb[p.key()] = p
	}
	var got []string
	for _, p := range tb.sorted() {
		got = append(got, p.wireLabel())
	}
	if want := []string{"z", "a/q", "b/a", "b/x"}; !slices.Equal(got, want) {
		t.Errorf("order %q, want %q", got, want)
	}
	if n := len(tb.from("b")); n != 2 {
		t.Errorf("%d publications from b, want 2", n)
	}
}

func TestConfigErrors(t *testing.T) {
	if _, err := New(Config{}); err != nil {
		t.Errorf("the zero Config: %v", err)
	}
	for name, metadata := range map[string]map[string]any{
		"not JSON":  {"f": func() {}},
		"too large": {"s": string(make([]byte, 20<<10))},
	} {
		if _, err := New(Config{Metadata: metadata}); err == nil {
			t.Errorf("metadata %s accepted", name)
		}
	}
}

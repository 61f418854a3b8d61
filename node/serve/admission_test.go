package serve

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/weft-rtc/weft/mesh/conn"
	natsdriver "github.com/weft-rtc/weft/mesh/driver/nats"
	"github.com/weft-rtc/weft/node"
	"github.com/weft-rtc/weft/node/serve/access"
	"github.com/weft-rtc/weft/publish"
	"github.com/weft-rtc/weft/publish/source"
)

// gated is a server with tokens and a hub, and what a test needs around it.
type gated struct {
	*tokens
	info   Info
	forger *access.Admissions // makes what the server makes, and what it never would
}

func newGated(t *testing.T) *gated {
	t.Helper()
	k := newTokens(t)
	return &gated{k, start(t, Config{Tokens: k.keys, Rooms: []string{"demo"}}), newForger(t, k)}
}

// newForger makes admissions by the key that the server has.
func newForger(t *testing.T, k *tokens) *access.Admissions {
	t.Helper()
	forger, err := access.NewAdmissions(k.keys)
	if err != nil {
		t.Fatal(err)
	}
	return forger
}

var claimsBoth = access.Claims{Publish: true, Watch: true}

// caller is a peer that comes with a token.
type caller struct {
	*node.Peer
	g     *gated
	token string
	mu    sync.Mutex
	pass  access.Pass
	asked map[string]json.RawMessage // who wanted to connect, and with what
	trust bool                       // connects to everybody
}

// call makes a peer that has joined, and has nothing yet but its token.
func (g *gated) call(claims access.Claims) *caller {
	g.t.Helper()
	claims.Room = "demo"
	c := &caller{g: g, token: g.sign(claims), asked: map[string]json.RawMessage{}}
	d, err := natsdriver.New(natsdriver.Config{URL: g.info.Signal, Token: c.token})
	if err != nil {
		g.t.Fatal(err)
	}
	api, err := conn.NewAPI(conn.Config{Loopback: true})
	if err != nil {
		g.t.Fatal(err)
	}
	c.Peer, err = node.New(node.Config{Driver: d, Conn: api, Verify: c.verify})
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _, _, _ = c.Close(), api.Close(), d.Close() })
	if err := c.Join(g.t.Context(), "demo"); err != nil {
		g.t.Fatal(err)
	}
	return c
}

func (c *caller) verify(id string, metadata json.RawMessage) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked[id] = metadata
	return c.trust || c.pass.Check != nil && c.pass.Verify("demo", id, metadata, time.Now())
}

// admit fetches an admission and uses it.
func (c *caller) admit() *caller {
	c.g.t.Helper()
	client := access.Client{URL: c.g.info.URL, Token: access.NewSecret(c.token)}
	pass, err := client.Admit(c.g.t.Context(), "demo", c.ID())
	if err != nil {
		c.g.t.Fatal(err)
	}
	c.mu.Lock()
	c.pass = pass
	c.mu.Unlock()
	return c.say(map[string]any{"admission": pass.Admission})
}

// say announces itself with these metadata.
func (c *caller) say(metadata map[string]any) *caller {
	c.g.t.Helper()
	if err := c.SetMetadata(metadata); err != nil {
		c.g.t.Fatal(err)
	}
	c.Announce()
	return c
}

// trusting says so, and connects to everybody who would have it.
func (c *caller) trusting(metadata map[string]any) *caller {
	c.g.t.Helper()
	if err := c.SetMetadata(metadata); err != nil {
		c.g.t.Fatal(err)
	}
	c.mu.Lock()
	c.trust = true // not before: the answers to the first announcement may still come
	c.mu.Unlock()
	c.Announce()
	return c
}

// until waits until ok.
func (g *gated) until(what string, ok func() bool) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			g.t.Fatalf("timeout: %s; refused %v", what, g.refused())
		}
	}
}

func (g *gated) refused() (n map[string]uint64) {
	g.t.Helper()
	status, _, body := request(g.t, http.DefaultClient, "GET", g.info.URL+"api/v1/refused", "Authorization", "Bearer "+g.member("demo"))
	if err := json.Unmarshal([]byte(body), &n); status != 200 || err != nil {
		g.t.Fatal(status, body)
	}
	return n
}

// present lists who is connected to the hub.
func (g *gated) present() (ids []string) {
	g.t.Helper()
	status, _, body := request(g.t, http.DefaultClient, "GET", g.info.URL+"api/v1/rooms/demo", "Authorization", "Bearer "+g.member("demo"))
	var r roomInfo
	if err := json.Unmarshal([]byte(body), &r); status != 200 || err != nil {
		g.t.Fatal(status, body)
	}
	for _, p := range r.Peers {
		if p.State == "connected" {
			ids = append(ids, p.ID)
		}
		if strings.Contains(string(p.Metadata), "admission") {
			g.t.Errorf("the API tells an admission: %s", p.Metadata)
		}
	}
	return ids
}

func connected(c *caller, to string) bool {
	for _, r := range c.Connections() {
		if r.ID() == to && r.State() == conn.StateConnected {
			return true
		}
	}
	return false
}

func (g *gated) hub() string {
	client := access.Client{URL: g.info.URL, Token: access.NewSecret(g.member("demo"))}
	pass, err := client.Admit(g.t.Context(), "demo", strings.Repeat("1", 44))
	if err != nil || pass.Hub == "" {
		g.t.Fatal(pass, err)
	}
	return pass.Hub
}

// Who has an admission is connected. Who has none, or another's, is not, and
// neither does the hub set anything up for it.
func TestHubWantsAdmission(t *testing.T) {
	g := newGated(t)
	hub := g.hub()
	ada := g.call(claimsBoth).admit()
	g.until("ada is connected", func() bool { return connected(ada, hub) })

	for _, c := range []struct {
		name, reason string
		hub          bool
		admission    func(eve *caller) string
	}{
		{"none", "missing", false, func(*caller) string { return "" }},
		{"a token", "malformed", false, func(eve *caller) string { return eve.token }},
		{"replayed from another peer", "peer", false, func(*caller) string { return ada.pass.Admission }},
		{"of another room", "room", false, func(eve *caller) string { return g.forge("other", eve.ID(), 0) }},
		{"expired", "expired", false, func(eve *caller) string { return g.forge("demo", eve.ID(), 2*access.AdmissionLife) }},
		{"a client's, as a hub", "role", true, func(eve *caller) string { return g.forge("demo", eve.ID(), 0) }},
	} {
		before := g.refused()[c.reason]
		eve := g.call(claimsBoth)
		if err := eve.SetHub(c.hub); err != nil {
			t.Fatal(err)
		}
		// The hub invokes, and eve offers with these metadata.
		eve.trusting(map[string]any{"admission": c.admission(eve)})
		g.until(c.name, func() bool { return g.refused()[c.reason] > before })
		if ids := g.present(); len(ids) != 1 || ids[0] != ada.ID() {
			t.Errorf("%s: with the hub are %v", c.name, ids)
		}
		_ = eve.Close()
	}
}

// forge makes an admission of a certain age.
func (g *gated) forge(room, peer string, age time.Duration) string {
	s, _, err := g.forger.Admit(access.Grant{Publish: true, Watch: true}, room, peer, time.Now().Add(-age))
	if err != nil {
		g.t.Fatal(err)
	}
	return s
}

// Somebody who may be in the room announces itself and gets everybody's invoke,
// with the metadata. It cannot use what is in there, and nobody connects to it,
// not even if it calls itself a hub.
func TestInvokesAreWorthless(t *testing.T) {
	g := newGated(t)
	hub := g.hub()
	ada := g.call(claimsBoth).admit()
	g.until("ada is connected", func() bool { return connected(ada, hub) })

	// eve need not connect: to be announced is enough.
	eve := g.call(access.Claims{Watch: true}).admit()
	var loot struct{ Admission string }
	g.until("eve has collected ada's admission", func() bool {
		eve.mu.Lock()
		defer eve.mu.Unlock()
		return json.Unmarshal(eve.asked[ada.ID()], &loot) == nil && loot.Admission != ""
	})
	for _, admission := range []string{loot.Admission, g.forge("demo", eve.ID(), 0)} {
		mallory := g.call(access.Claims{Watch: true})
		if err := mallory.SetHub(true); err != nil {
			t.Fatal(err)
		}
		mallory.trusting(map[string]any{"admission": admission})
		g.until("ada was asked to connect to a false hub", func() bool {
			ada.mu.Lock()
			defer ada.mu.Unlock()
			_, ok := ada.asked[mallory.ID()]
			return ok
		})
		for _, r := range ada.Connections() {
			if r.ID() == mallory.ID() {
				t.Error("ada connects to a false hub")
			}
		}
		_ = mallory.Close()
	}
	status, _, body := post(t, g.info.URL+"api/v1/rooms/demo/verify", g.member("demo"), map[string]string{"peer": eve.ID(), "admission": loot.Admission})
	if status != http.StatusForbidden {
		t.Errorf("ada's admission for eve: %d %s", status, body)
	}
}

// A token that allows to publish does not allow to watch, nor the other way
// round.
func TestRightsOfTokens(t *testing.T) {
	g := newGated(t)
	clip := func(c *caller, label string) *caller {
		src, err := source.Open(source.Config{Files: []string{"../../testdata/vp8.ivf"}, Loop: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Publish(publishStream(label, src)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = src.Run(ctx) }()
		t.Cleanup(func() { cancel(); <-done })
		return c
	}
	var mu sync.Mutex
	seen := map[string]int{}
	watch := func(name string, c *caller) *caller {
		c.OnStream(func(e node.StreamEvent) {
			if e.Added && e.Peer != "" {
				mu.Lock()
				seen[name+" sees "+e.Label]++
				mu.Unlock()
			}
		})
		return c.admit()
	}
	watch("publisher", clip(g.call(access.Claims{Publish: true}), "from the publisher"))
	watch("watcher", clip(g.call(access.Claims{Watch: true}), "from the watcher"))
	watch("member", clip(g.call(claimsBoth), "from the member"))
	watch("late member", g.call(claimsBoth))
	// What may be seen is seen after what may not would have been.
	g.until("who may sees what may be seen", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return seen["watcher sees from the publisher"] > 0 && seen["watcher sees from the member"] > 0 &&
			seen["member sees from the publisher"] > 0 && seen["late member sees from the member"] > 0
	})
	g.until("all four are with the hub", func() bool { return len(g.present()) == 4 })
	mu.Lock()
	defer mu.Unlock()
	for what := range seen {
		if strings.HasPrefix(what, "publisher sees") || strings.HasSuffix(what, "from the watcher") {
			t.Error(what)
		}
	}
}

// post sends JSON with a bearer token.
func post(t *testing.T, url, token string, body any) (int, http.Header, string) {
	t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return ask(t, "POST", url, token, string(b))
}

func TestAPIWantsTokens(t *testing.T) {
	g := newGated(t)
	peer := `{"peer":"` + strings.Repeat("1", 44) + `"}`
	watcher := g.sign(access.Claims{Room: "demo", Watch: true})
	team := g.sign(access.Claims{RoomPrefix: "team-", Watch: true})
	for _, c := range []struct {
		method, path, token, body string
		status                    int
		want                      string
	}{
		{"GET", "r/demo", "", "", 200, "<html"},
		{"GET", "healthz", "", "", 200, "ok"},
		{"GET", "config.json", "", "", 200, `"access":"token"`},
		{"GET", "api/v1/rooms", "", "", 401, "needed"},
		{"GET", "api/v1/rooms", watcher, "", 200, `"room":"demo"`},
		{"GET", "api/v1/rooms", team, "", 200, `{"rooms":[]}`},
		{"GET", "api/v1/rooms/demo", "", "", 401, ""},
		{"GET", "api/v1/rooms/demo", team, "", 403, "another room"},
		{"GET", "api/v1/rooms/demo?token=" + watcher, "", "", 200, "demo"},
		{"POST", "api/v1/rooms/other", watcher, "", 403, "another room"},
		{"POST", "api/v1/rooms/team-a", team, "", 200, `"hub":true`},
		{"GET", "api/v1/refused", "", "", 401, ""},
		{"POST", "api/v1/rooms/demo/admission", "", peer, 401, "needed"},
		{"POST", "api/v1/rooms/demo/admission", newTokens(t).member("demo"), peer, 401, "key"},
		{"POST", "api/v1/rooms/other/admission", watcher, peer, 403, "another room"},
		{"POST", "api/v1/rooms/demo/admission", watcher, "", 400, "JSON"},
		{"POST", "api/v1/rooms/demo/admission", watcher, `{"peer":"x"}`, 400, "peer id"},
		{"POST", "api/v1/rooms/demo/admission", watcher, strings.Repeat("x", admissionBody+1), 413, "long"},
		{"POST", "api/v1/rooms/demo/admission", watcher, peer, 200, `"publish":false,"watch":true,"hub":false,"key":{"kty":"OKP"`},
		{"POST", "api/v1/rooms/demo/verify", watcher, peer, 403, "needed"},
		{"POST", "api/v1/rooms/demo/verify", "", peer, 401, ""},
	} {
		status, _, body := ask(t, c.method, g.info.URL+c.path, c.token, c.body)
		if status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s %.60s: %d %.300s, want %d with %q", c.method, c.path, status, body, c.status, c.want)
		}
	}
}

func ask(t *testing.T, method, url, token, body string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = bearer(token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var b strings.Builder
	if _, err := io.Copy(&b, resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, b.String()
}

func publishStream(label string, src source.Source) publish.Stream {
	return publish.Stream{Label: label, Tracks: src.Tracks()}
}

// An application that is asked in place of tokens decides about the API and about
// signaling.
func TestWebhookDecides(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q struct{ Action, Room, Token string }
		_ = json.NewDecoder(r.Body).Decode(&q)
		_ = json.NewEncoder(w).Encode(map[string]any{"allow": q.Token == "session of ada" && q.Room != "other", "name": "ada"})
	}))
	defer app.Close()
	info := start(t, Config{AuthWebhook: access.NewSecret(app.URL)})
	for _, c := range []struct {
		room, token string
		status      int
	}{{"demo", "session of ada", 200}, {"demo", "session of eve", 403}, {"demo", "", 403}, {"other", "session of ada", 403}} {
		if status, _, body := ask(t, "POST", info.URL+"api/v1/rooms/"+c.room, c.token, ""); status != c.status {
			t.Errorf("%q in %s: %d %s", c.token, c.room, status, body)
		}
		nc, err := nats.Connect(info.Signal+"?room="+c.room, nats.Token(c.token), nats.NoReconnect())
		if (err == nil) != (c.status == 200) {
			t.Errorf("%q in %s: signaling: %v", c.token, c.room, err)
		}
		if err == nil {
			nc.Close()
		}
	}
	app.Close()
	if status, _, body := ask(t, "GET", info.URL+"api/v1/rooms/demo", "session of bob", ""); status != http.StatusServiceUnavailable {
		t.Errorf("without the application: %d %s", status, body)
	}
}

// ICE-TCP and public addresses are told when the server is ready.
func TestMediaAddresses(t *testing.T) {
	info := start(t, Config{ICETCP: "127.0.0.1:0", PublicIPs: []string{"203.0.113.7"}})
	if len(info.TCP) != 1 || !strings.HasPrefix(info.TCP[0], "127.0.0.1:") {
		t.Errorf("%+v", info)
	}
	six, err := parseAddress("--listen", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	if a, err := mediaAddress("", six); err != nil || a.String() != "[::1]:7882" {
		t.Errorf("media of ::1 is at %s, %v", a, err)
	}
}

// More tracks than the hub takes, more bits than it takes of one, and tracks of
// somebody who may not publish, are counted and do not arrive.
func TestLimitsOfPublishers(t *testing.T) {
	k := newTokens(t)
	g := &gated{tokens: k, info: start(t, Config{Tokens: k.keys, Rooms: []string{"demo"}, MaxTracks: 1, MaxBitrate: 8000})}
	for _, claims := range []access.Claims{claimsBoth, {Watch: true}} {
		before := g.refused()
		src, err := source.Open(source.Config{Files: []string{"../../testdata/vp8.ivf", "../../testdata/a.ogg"}, Loop: true})
		if err != nil {
			t.Fatal(err)
		}
		c := g.call(claims)
		if err := c.Publish(publishStream("camera", src)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = src.Run(ctx) }()
		c.admit()
		g.until("what is too much is counted", func() bool {
			now := g.refused()
			return now["tracks"] > before["tracks"] && (!claims.Publish || now["bitrate"] > before["bitrate"])
		})
		cancel()
		<-done
		_ = c.Close()
	}
	if n := g.refused(); n["tracks"] < 3 {
		t.Errorf("refused %v: one of two, and two, are not taken", n)
	}
}

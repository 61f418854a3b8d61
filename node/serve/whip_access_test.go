package serve

import (
	"net/http"
	"strings"
	"testing"

	"github.com/weft-rtc/weft/node/serve/access"
)

// WHIP and WHEP want tokens as everything does: one to publish for the former, to
// watch for the latter, for that room.
func TestWHIPWantsTokens(t *testing.T) {
	g := newGated(t)
	with := func(token string) []string {
		if token == "" {
			return nil
		}
		return []string{"Authorization", "Bearer " + token}
	}
	publisher, watcher := g.sign(access.Claims{Room: "demo", Publish: true}), g.sign(access.Claims{Room: "demo", Watch: true})
	pub := newHTTPClient(t, g.info).publishes()
	player := newHTTPClient(t, g.info).plays(picture)
	for _, c := range []struct {
		name, path, token string
		status            int
	}{
		{"no token", "/whip/demo", "", 401},
		{"no token", "/whep/demo", "", 401},
		{"another key", "/whip/demo", newTokens(t).member("demo"), 401},
		{"another room", "/whip/demo", g.member("other"), 403},
		{"another room", "/whep/demo", g.member("other"), 403},
		{"may only watch", "/whip/demo", watcher, 403},
		{"may only publish", "/whep/demo", publisher, 403},
		{"may only publish", "/api/whep", publisher, 403},
		{"no token that is one", "/api/whip", "demo", 401},
	} {
		offer := pub.offer()
		if strings.Contains(c.path, "whep") {
			offer = player.offer()
		}
		resp, text := pub.do("POST", c.path, "application/sdp", offer, with(c.token)...)
		if resp.StatusCode != c.status || resp.Header.Get("Location") != "" {
			t.Errorf("%s: %s: %s %s", c.name, c.path, resp.Status, text)
		}
		if c.status == http.StatusUnauthorized && resp.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: %s: no WWW-Authenticate", c.name, c.path)
		}
	}
	if ids := g.present(); len(ids) != 0 {
		t.Errorf("with the hub are %v", ids)
	}
	pub.begin("/api/whip", with(publisher)...) // the room is in the token
	player.begin("/whep/demo?wait", with(watcher)...)
	player.sees("with a token each", 10)
	// A peer sees it too.
	ada := g.call(access.Claims{Watch: true}).admit()
	g.until("ada sees what WHIP brings", func() bool {
		for _, r := range ada.Connections() {
			if len(r.Streams()) > 0 {
				return true
			}
		}
		return false
	})
}

//go:build browser

package main

import (
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBrowserTokens: pages and a publisher with tokens meet through the hub, who
// may only watch is not seen, and nobody comes in without.
func TestBrowserTokens(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "key")
	both := newToken(t, key, "--room", "demo", "--publish", "--watch")
	watch := newToken(t, key, "--room", "demo", "--watch")
	file := filepath.Join(dir, "token")
	if err := os.WriteFile(file, []byte(newToken(t, key, "--room", "demo", "--publish")), 0o600); err != nil {
		t.Fatal(err)
	}
	h := newHouse(t, "--token-key-file", key)
	h.publish("demo", "clip", append(clip, "--token-file", file)...)
	h.invite("ada", "media", "?join=camera&name=ada#token="+both)
	h.invite("bob", "media", "?join=camera&name=bob&token="+both)
	h.allFlow("all see all", []string{"ada", "bob"}, 2, frames, patience)
	for _, page := range []string{"ada", "bob"} {
		if at := h.text(page, "location.href"); strings.Contains(at, "token") {
			t.Errorf("the address of %s is %s", page, at)
		}
		if link := h.text(page, "[...document.querySelectorAll('button')].find((b) => /^Invite/.test(b.title)).click(), document.querySelector('dialog input').value"); !strings.HasSuffix(link, "/r/demo#token="+both) {
			t.Errorf("%s invites to %s", page, link)
		}
		h.call("wait", args{"page": page, "expression": "document.querySelector('dialog .qr').naturalWidth > 0", "timeout": patience})
	}
	h.shot("ada", "tokens-invite")

	// One who has a camera and may not use it.
	h.invite("eve", "media", "?join=camera&name=eve#token="+watch)
	h.allFlow("one may only watch", []string{"eve"}, 3, frames, patience)
	h.call("wait", args{"page": "eve", "timeout": patience, "expression": "![...document.querySelectorAll('nav.bar button')].some((b) => b.offsetParent && /microphone|camera|screen/i.test(b.title))"})
	h.allFlow("the others do not see it", []string{"ada"}, 2, frames, patience)
	h.call("absent", args{"page": "ada", "peer": h.id("eve"), "timeout": patience})
	h.shot("eve", "tokens-watch")

	for name, q := range map[string]string{
		"nobody":   "",
		"stranger": "#token=" + newToken(t, filepath.Join(dir, "other key"), "--room", "demo", "--watch"),
		"neighbor": "#token=" + newToken(t, key, "--room", "other", "--watch"),
	} {
		h.invite(name, "plain", "?join=watch"+q)
		h.call("text", args{"page": name, "text": "You need an invitation", "timeout": patience})
	}
	h.shot("neighbor", "tokens-denied")
}

// TestBrowserTokensMesh: the same where there is no hub: each asks the server about
// the others.
func TestBrowserTokensMesh(t *testing.T) {
	dir := t.TempDir()
	key, file := filepath.Join(dir, "key"), filepath.Join(dir, "token")
	both := newToken(t, key, "--room", "demo", "--publish", "--watch")
	if err := os.WriteFile(file, []byte(both), 0o600); err != nil {
		t.Fatal(err)
	}
	h := newHouse(t, "--token-key-file", key, "--no-hub")
	h.publish("demo", "clip", append(clip, "--token-file", file)...)
	h.invite("ada", "media", "?join=camera&name=ada#token="+both)
	h.invite("bob", "media", "?join=camera&name=bob#token="+both)
	h.allFlow("all see all", []string{"ada", "bob"}, 2, frames, patience)
	h.invite("eve", "plain", "?join=watch#token="+newToken(t, key, "--room", "demo", "--watch"))
	h.call("text", args{"page": "eve", "text": "without a hub", "timeout": patience})
}

// invite opens the room by a link.
func (h *house) invite(page, kind, link string) {
	h.t.Helper()
	h.call("open", args{"browser": kind, "page": page, "script": "", "url": h.info.URL + "r/" + url.PathEscape("demo") + link})
}

// text is the value of an expression that is a text.
func (h *house) text(page, expression string) (s string) {
	h.t.Helper()
	if err := json.Unmarshal(h.call("eval", args{"page": page, "expression": expression}), &s); err != nil {
		h.t.Fatal(err)
	}
	return s
}

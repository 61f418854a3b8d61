//go:build browser

package main

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"
)

// TestBrowserLayers: a page sends its camera in three layers to the hub, and
// another one is forced through all of them, up and down. The width follows
// every step, and frames go on.
func TestBrowserLayers(t *testing.T) {
	h := newHouse(t)
	h.enter("ada", "media", "layers", "camera", "")
	h.enter("bob", "media", "layers", "camera", "")
	h.allFlow("both see each other", []string{"ada", "bob"}, 1, frames, patience)
	var ada string
	if err := json.Unmarshal(h.call("eval", args{"page": "ada", "expression": "window.weft.peer.id"}), &ada); err != nil {
		t.Fatal(err)
	}
	for _, layer := range []int{1, 2, 3, 2, 1, 3, 1} {
		h.call("eval", args{"page": "bob", "expression": fmt.Sprintf("window.weft.peer.want(%q, 'camera', {layer: %d})", ada, layer)})
		start, before := time.Now(), h.picture("bob", ada)
		width := 160 << layer
		for {
			now := h.picture("bob", ada)
			if now.Width == width && now.FramesDecoded > before.FramesDecoded+5 {
				t.Logf("layer %d: %d wide after %v, %d frames on the way", layer, now.Width, time.Since(start).Round(time.Millisecond), now.FramesDecoded-before.FramesDecoded)
				break
			}
			if time.Since(start) > patience {
				t.Fatalf("layer %d: %d wide after %v, want %d", layer, now.Width, patience, width)
			}
			h.call("eval", args{"page": "bob", "expression": "new Promise(requestAnimationFrame)"})
		}
	}
	h.call("eval", args{"page": "bob", "expression": fmt.Sprintf("window.weft.peer.want(%q, 'camera', {paused: true})", ada)})
	for still, start := 0, time.Now(); still < 3; {
		before := h.picture("bob", ada)
		h.call("eval", args{"page": "bob", "expression": "new Promise((done) => setTimeout(done, 500))"})
		if h.picture("bob", ada).FramesDecoded == before.FramesDecoded {
			still++
		} else if still = 0; time.Since(start) > patience {
			t.Fatal("a paused picture goes on")
		}
	}
}

// picture is what a page's statistics say of a picture.
type picture struct {
	Peer, Kind           string
	Width, FramesDecoded int
}

func (h *house) picture(page, peer string) picture {
	h.t.Helper()
	var all []picture
	if err := json.Unmarshal(h.call("eval", args{"page": page, "expression": "window.weft.stats()"}), &all); err != nil {
		h.t.Fatal(err)
	}
	for _, p := range all {
		if p.Peer == peer && p.Kind == "video" {
			return p
		}
	}
	return picture{}
}

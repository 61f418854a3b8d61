//go:build browser

package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"testing"
	"time"
)

// smaller has the camera give pictures of this width, as many encoders on two
// cores can take.
const smaller = `const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = (c) => open({ ...c, video: c.video && { width: %d, height: %d, frameRate: 10 } });`

// TestBrowserLayers: a page sends its camera in three layers to the hub, by
// simulcast or by spatial layers, and another one is forced through all of them, up
// and down. The width follows every step, and frames go on.
func TestBrowserLayers(t *testing.T) {
	for _, c := range []struct {
		codec         string
		width, height int
	}{
		{"VP8", 1280, 720}, {"H264", 960, 540}, {"VP9", 960, 540}, {"AV1", 960, 540},
	} {
		t.Run(c.codec, func(t *testing.T) { throughLayers(t, c.codec, c.width, c.height) })
	}
}

func throughLayers(t *testing.T, codec string, width, height int) {
	h := newHouse(t)
	room := "layers-" + codec
	h.enterAsking("ada", "media", room, url.Values{"join": {"camera"}, "codec": {codec}}, fmt.Sprintf(smaller, width, height))
	h.enter("bob", "media", room, "watch", "")
	h.allFlow("bob sees ada", []string{"bob"}, 1, frames, patience)
	ada := h.id("ada")
	if got := h.picture("bob", ada); got.Codec != codec {
		t.Fatalf("bob gets %s, want %s", got.Codec, codec)
	}
	for _, layer := range []int{1, 2, 3, 2, 1, 3, 1} {
		h.want("bob", ada, fmt.Sprintf("{layer: %d}", layer))
		start, before := time.Now(), h.picture("bob", ada)
		want := width >> (3 - layer)
		for {
			now := h.picture("bob", ada)
			if now.Width == want && now.FramesDecoded > before.FramesDecoded+5 {
				t.Logf("layer %d: %d wide after %v, %d frames on the way", layer, now.Width, time.Since(start).Round(time.Millisecond), now.FramesDecoded-before.FramesDecoded)
				break
			}
			if time.Since(start) > patience {
				t.Fatalf("layer %d: %d wide after %v, want %d", layer, now.Width, patience, want)
			}
			h.call("eval", args{"page": "bob", "expression": "new Promise(requestAnimationFrame)"})
		}
	}
	h.want("bob", ada, "{paused: true}")
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

// id is the peer id of a page.
func (h *house) id(page string) (id string) {
	h.t.Helper()
	if err := json.Unmarshal(h.call("eval", args{"page": page, "expression": "window.weft.peer.id"}), &id); err != nil {
		h.t.Fatal(err)
	}
	return id
}

// want says what a page wants of the camera of a peer.
func (h *house) want(page, peer, wish string) {
	h.t.Helper()
	h.call("eval", args{"page": page, "expression": fmt.Sprintf("window.weft.peer.want(%q, 'camera', %s)", peer, wish)})
}

// picture is what a page's statistics say of a picture.
type picture struct {
	Peer, Kind, Codec    string
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

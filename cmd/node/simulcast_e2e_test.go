//go:build browser

package main

import (
	"fmt"
	"testing"
	"time"
)

// TestBrowserSimulcastNode: weft publish sends its three qualities to the hub, and a
// page is forced through all of them, up and down.
func TestBrowserSimulcastNode(t *testing.T) {
	h := newHouse(t)
	for _, c := range []struct {
		name   string
		lowest int // width
		media  []string
	}{
		{"vp8", 160, []string{"--test-pattern=vp8"}},
		{"h264", 160, []string{"--test-pattern=h264"}},
		{"av1", 80, []string{"--loop", "--file", "../../testdata/sim-av1-q.ivf", "--file", "../../testdata/sim-av1-h.ivf", "--file", "../../testdata/sim-av1-f.ivf", "--file", "../../testdata/a.ogg"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			room, page := "sim-"+c.name, "eve-"+c.name
			_, id := h.publish(room, "pattern", append(c.media, "--simulcast")...)
			h.enter(page, "plain", room, "watch", "")
			h.allFlow("the pattern", []string{page}, 1, frames, patience)
			for _, layer := range []int{1, 2, 3, 1, 3, 2} {
				h.call("eval", args{"page": page, "expression": fmt.Sprintf("window.weft.peer.want(%q, 'camera', {layer: %d})", id, layer)})
				start, before, width := time.Now(), h.picture(page, id), c.lowest<<(layer-1)
				for {
					now := h.picture(page, id)
					if now.Width == width && now.FramesDecoded > before.FramesDecoded+5 {
						t.Logf("layer %d: %d wide after %v", layer, now.Width, time.Since(start).Round(time.Millisecond))
						break
					}
					if time.Since(start) > patience {
						t.Fatalf("layer %d: %d wide after %v, want %d", layer, now.Width, patience, width)
					}
					h.call("eval", args{"page": page, "expression": "new Promise(requestAnimationFrame)"})
				}
			}
			h.call("close", args{"page": page})
		})
	}
}

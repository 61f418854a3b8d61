//go:build browser

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"
)

// received is what a page's client says of what it plays.
type received struct {
	Frames, Width int
	Codec         string
}

// client opens a page with a client of WHIP and WHEP and runs an expression there.
func (h *house) client(page, kind, expression string) {
	h.t.Helper()
	script, err := os.ReadFile("testdata/whip.js")
	if err != nil {
		h.t.Fatal(err)
	}
	h.call("open", args{"browser": kind, "page": page, "script": string(script), "url": h.info.URL + "healthz"})
	h.eval(page, expression, nil)
}

func (h *house) eval(page, expression string, v any) {
	h.t.Helper()
	raw := h.call("eval", args{"page": page, "expression": expression})
	if v == nil {
		return
	}
	if err := json.Unmarshal(raw, v); err != nil {
		h.t.Fatalf("%s: %v in %s", expression, err, raw)
	}
}

// plays waits until a page has decoded so many more pictures, with sound.
func (h *house) plays(what, page string, n int) (r received) {
	h.t.Helper()
	start := time.Now()
	h.call("wait", args{"page": page, "timeout": patience,
		"expression": fmt.Sprintf("client.goal ??= client.flow(%d).then((now) => { client.done = now; }), !!client.done", n)})
	h.eval(page, "client.goal = null, ((d) => { client.done = null; return d; })(client.done)", &r)
	h.t.Logf("%s: %d pictures of %s, %d wide, after %v", what, n, r.Codec, r.Width, time.Since(start).Round(time.Millisecond))
	return r
}

// TestBrowserWHIP: Chromium and Firefox publish over HTTP, in layers, and play
// over HTTP; the room's page sees the guest as it sees anybody.
func TestBrowserWHIP(t *testing.T) {
	h := newHouse(t)
	for _, kind := range []string{"media", "firefox"} {
		t.Run(kind, func(t *testing.T) {
			room := "whip-" + kind
			pub := "pub-" + kind
			h.client(pub, kind, fmt.Sprintf("client.publish('/whip/%s/cam', true)", room))
			viewers := []string{"chromium-" + kind, "firefox-" + kind}
			for i, player := range []string{"media", "firefox"} {
				h.client(viewers[i], player, fmt.Sprintf("client.play('/whep/%s%s?wait')", room, []string{"", "/cam"}[i]))
				h.plays(viewers[i], viewers[i], frames)
			}
			h.enter("page-"+kind, "plain", room, "watch", "")
			h.allFlow("the room's page", []string{"page-" + kind}, 1, frames, patience)

			h.layers(viewers[0])
			for _, page := range []string{viewers[0], pub, viewers[1]} {
				var renewed bool
				if h.eval(page, "client.restart()", &renewed); !renewed {
					t.Errorf("%s: an ICE restart with the old credentials", page)
				}
				for _, v := range viewers {
					h.plays("after a restart of "+page+", "+v, v, 30)
				}
			}
			for _, page := range append(viewers, pub) {
				h.eval(page, "client.end()", nil)
				h.call("close", args{"page": page})
			}
			h.call("close", args{"page": "page-" + kind})
		})
	}
}

// layers forces a player through the two lowest of the layers that there are, of
// which an event tells: a browser leaves the others out as long as it thinks fit.
func (h *house) layers(page string) {
	h.t.Helper()
	h.call("wait", args{"page": page, "timeout": patience, "expression": "client.layers().then((all) => all.length > 1)"})
	var all []struct {
		EncodingID string
		Width      int
	}
	h.eval(page, "client.layers()", &all)
	for _, i := range []int{0, 1, 0} {
		start := time.Now()
		h.eval(page, fmt.Sprintf("client.layer({encodingId: %q})", all[i].EncodingID), nil)
		h.call("wait", args{"page": page, "timeout": patience, "expression": fmt.Sprintf("client.gets(%q)", all[i].EncodingID)})
		h.t.Logf("%s has layer %d of %d, %s, after %v", page, i+1, len(all), all[i].EncodingID, time.Since(start).Round(time.Millisecond))
	}
	h.eval(page, "client.layer({})", nil)
}

// TestBrowserOBS: what OBS does, by the library that OBS uses; Chromium decodes it.
func TestBrowserOBS(t *testing.T) {
	h := newHouse(t)
	cmd := exec.Command("node", "testdata/obs.mjs", "../../.tools", h.info.WHIP+"demo/obs?layout=none", "secret", "../../testdata/a.h264")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	h.client("viewer", "media", "client.play('/whep/demo/obs?wait')")
	if r := h.plays("OBS", "viewer", frames); r.Codec != "video/H264" {
		t.Errorf("it is %s", r.Codec)
	}
	if err := in.Close(); err != nil {
		t.Error(err)
	}
	var status, deleted int
	for sc := bufio.NewScanner(out); sc.Scan(); {
		var line struct{ Status, Deleted int }
		if json.Unmarshal(sc.Bytes(), &line) == nil {
			status, deleted = max(status, line.Status), max(deleted, line.Deleted)
		}
	}
	if err := cmd.Wait(); err != nil || status != 201 || deleted != 200 {
		t.Errorf("POST %d, DELETE %d, %v", status, deleted, err)
	}
}

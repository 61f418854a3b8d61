//go:build netns

package main

import (
	"bufio"
	"encoding/json"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/weft-rtc/weft/node/serve"
)

// gstreamer is testdata/gst.py as a process in a namespace of its own: libnice
// leaves loopback out.
type gstreamer struct {
	t     *testing.T
	in    io.WriteCloser
	said  chan gstreamerLine
	wrong strings.Builder
}

type gstreamerLine struct {
	State           string
	Frames, Deleted int
}

func (h *host) gstreamer(args ...string) *gstreamer {
	h.n.t.Helper()
	line := h.inside(append([]string{"/usr/bin/python3", "testdata/gst.py"}, args...)...)
	cmd := exec.Command(line[0], line[1:]...)
	g := &gstreamer{t: h.n.t, said: make(chan gstreamerLine, 1000)}
	cmd.Stderr = &g.wrong
	in, err := cmd.StdinPipe()
	if err != nil {
		h.n.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		h.n.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		h.n.t.Fatal(err)
	}
	g.in = in
	go func() { // ends with the process, which the cleanup waits for
		defer close(g.said)
		for sc := bufio.NewScanner(out); sc.Scan(); {
			var l gstreamerLine
			if json.Unmarshal(sc.Bytes(), &l) == nil {
				g.said <- l
			}
		}
	}()
	h.n.t.Cleanup(func() {
		_ = in.Close()
		for range g.said { // until it has ended
		}
		_ = cmd.Wait()
	})
	return g
}

// until waits for a line.
func (g *gstreamer) until(what string, ok func(gstreamerLine) bool) {
	g.t.Helper()
	end := time.NewTimer(time.Minute)
	defer end.Stop()
	for {
		select {
		case l, open := <-g.said:
			if !open {
				g.t.Fatalf("%s: GStreamer has ended:\n%s", what, &g.wrong)
			}
			if ok(l) {
				return
			}
		case <-end.C:
			g.t.Fatalf("%s: not within a minute", what)
		}
	}
}

// TestNetnsGStreamer: webrtcbin publishes by WHIP and plays by WHEP.
func TestNetnsGStreamer(t *testing.T) {
	weft := buildWeft(t)
	n := newNetwork(t)
	publisher, player := n.host("publisher", trouble{}), n.host("player", trouble{})
	var info serve.Info
	n.hub.spawn(weft, "serve", "--json", "--open", "--listen", hubAddress+":8443", "--udp", hubAddress+":7882").wait(&info)
	for _, codec := range []string{"vp8", "vp9", "h264"} {
		t.Run(codec, func(t *testing.T) {
			pub := publisher.gstreamer("publish", info.WHIP+codec, codec)
			pub.until("the publisher", func(l gstreamerLine) bool { return l.State == "connected" })
			play := player.gstreamer("play", info.WHEP+codec+"?wait", codec)
			play.until("pictures", func(l gstreamerLine) bool { return l.Frames >= 60 })
			_ = play.in.Close()
			play.until("the end of the player", func(l gstreamerLine) bool { return l.Deleted == 200 })
			_ = pub.in.Close()
			pub.until("the end of the publisher", func(l gstreamerLine) bool { return l.Deleted == 200 })
		})
	}
}

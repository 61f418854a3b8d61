//go:build netns

package main

import (
	"encoding/binary"
	"flag"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/weft-rtc/weft/node/serve"
)

// lossTime is for how long frames are counted.
var lossTime = flag.Duration("netns.for", time.Minute, "how long the tests between network namespaces count frames")

// loss is what every link loses, each way, of everything: media, feedback, ICE,
// DTLS and signaling.
const loss = 0.05

// lossRoom is a room with one publisher and one viewer.
type lossRoom struct {
	name  string
	page  bool // the viewer is Chromium
	fps   int
	links trouble
	least float64 // share of frames that must be decoded
	most  float64 // and may be
}

// lossRooms are all in the same run. At 5 frames a second, most of which are one
// packet, the loss of a last packet shows only when the next frame comes; each
// time that one is lost as well it takes 200 ms more.
var lossRooms = []lossRoom{
	{name: "page", page: true, fps: 30, links: trouble{loss: loss}, least: 0.99, most: 1},
	{name: "page-bare", page: true, fps: 30, links: trouble{loss: loss, noNACK: true}, most: 0.90},
	{name: "repaired", fps: 30, links: trouble{loss: loss}, least: 0.99, most: 1},
	{name: "bare", fps: 30, links: trouble{loss: loss, noNACK: true}, most: 0.90},
	{name: "slow", fps: 5, links: trouble{loss: loss}, least: 0.99, most: 1},
	{name: "last", fps: 5, links: trouble{lastPacket: 4}, least: 1, most: 1},
}

// TestNetnsLoss has the real server, publishers and viewers in network namespaces
// of their own. All links, the publishers' as well as the viewers', lose packets.
func TestNetnsLoss(t *testing.T) {
	n := newNetwork(t)
	weft := buildWeft(t)
	line := []string{"serve", "--json", "--open", "--listen", hubAddress + ":8443", "--udp", hubAddress + ":7882"}
	for _, room := range lossRooms {
		line = append(line, "--room", room.name)
	}
	server := n.hub.spawn(weft, line...)
	var info serve.Info
	server.wait(&info)
	pages := n.host("chromium", trouble{loss: loss})
	chromium := startBrowser(t, pages.inside()...)
	var all sync.WaitGroup
	for _, room := range lossRooms {
		source := n.host("p-"+room.name, room.links)
		source.spawn(weft, "publish", "--signal", info.Signal, "--signal-cert-sha256", info.CertSHA256,
			"--room", room.name, "--loop", room.media(t))
		if room.page {
			all.Go(func() { room.watchPage(t, chromium, info) })
			continue
		}
		viewer := n.host("v-"+room.name, room.links)
		all.Go(func() { room.watch(t, info, source, viewer) })
	}
	all.Wait()
	t.Logf("Chromium's link: %v", pages.losses())
}

// watch views and judges.
func (r lossRoom) watch(t *testing.T, info serve.Info, source, viewer *host) {
	v, err := viewer.view(t.Context(), viewing{
		Signal: info.Signal, Cert: info.CertSHA256, Room: r.name, FPS: r.fps, For: *lossTime,
	})
	if err != nil {
		t.Errorf("room %s: %v", r.name, err)
		return
	}
	in, out := source.losses(), viewer.losses()
	t.Logf("room %s: %v\n  publisher's link: %v\n  viewer's link: %v", r.name, v, in, out)
	if got := v.share(); got < r.least || got > r.most {
		t.Errorf("room %s: %.2f %% of frames decoded, want %g to %g", r.name, 100*got, 100*r.least, 100*r.most)
	}
	if v.Problems != "" {
		t.Errorf("room %s: %s", r.name, v.Problems)
	}
	r.checkLinks(t, in, out)
}

// checkLinks sees to it that the links did what they were told to.
func (r lossRoom) checkLinks(t *testing.T, links ...losses) {
	for _, l := range links {
		if r.links.loss > 0 {
			if got := float64(l.random) / float64(l.all); got < r.links.loss/2 || got > r.links.loss*2 {
				t.Errorf("room %s: a link lost %.1f %% of packets, want %.0f", r.name, 100*got, 100*r.links.loss)
			}
		}
		if (l.nacks > 0) != r.links.noNACK {
			t.Errorf("room %s: a link lost %d NACKs", r.name, l.nacks)
		}
		if (l.last > 0) != (r.links.lastPacket > 0) {
			t.Errorf("room %s: a link lost %d last packets", r.name, l.last)
		}
	}
}

// media is the flag of what is published, at the room's frame rate: the header of
// an IVF file says how many ticks a second its timestamps have. For Chromium it is
// a clip with a key picture every 10 s, as it comes from a camera: where there is
// one each second, a decoder that is behind takes it and leaves out what was before.
// Without repair hardly a frame would be left of it; there it is one every 2 s.
func (r lossRoom) media(t *testing.T) string {
	t.Helper()
	switch {
	case r.page && r.links.noNACK:
		return "--test-pattern=vp8"
	case r.page:
		return "--test-pattern=slow"
	}
	clip, err := os.ReadFile("../../testdata/vp8.ivf")
	if err != nil {
		t.Fatal(err)
	}
	binary.LittleEndian.PutUint32(clip[16:], uint32(r.fps))
	name := filepath.Join(t.TempDir(), "clip.ivf")
	if err := os.WriteFile(name, clip, 0o600); err != nil {
		t.Fatal(err)
	}
	return "--file=" + name
}

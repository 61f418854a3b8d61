//go:build browser

package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-rtc/weft/node/serve"
)

const (
	frames   = 60               // of each other participant, that a page must decode
	patience = 2 * time.Minute  // for a step, on two busy cores
	promised = 10 * time.Second // for everybody to be back after the hub was
	ceiling  = 30 * time.Second // beyond which that has failed
)

// clip is what weft publish plays.
var clip = []string{"--file", "../../testdata/vp8.ivf", "--file", "../../testdata/a.ogg", "--loop"}

// house is one weft serve, its publishers, and the browser.
type house struct {
	t    *testing.T
	bin  string
	info serve.Info
	hub  *process
	*browser
}

func newHouse(t *testing.T, serveArgs ...string) *house {
	h := &house{t: t, bin: buildWeft(t), browser: startBrowser(t)}
	h.serve(append([]string{"--listen", "127.0.0.1:0", "--udp", "127.0.0.1:0"}, serveArgs...)...)
	return h
}

func (h *house) serve(args ...string) {
	h.t.Helper()
	h.hub = spawn(h.t, h.bin, append([]string{"serve", "--json"}, args...)...)
	h.hub.wait(&h.info)
}

// publish starts a publisher in the room and returns its peer id.
func (h *house) publish(room, name string, media ...string) (*process, string) {
	h.t.Helper()
	p := spawn(h.t, h.bin, append([]string{"publish", "--signal", h.info.Signal, "--room", room, "--name", name}, media...)...)
	var ready publishReady
	p.wait(&ready)
	return p, ready.ID
}

// enter opens the page of a room in a kind of browser; join is camera or watch.
func (h *house) enter(page, kind, room, join, script string) {
	h.t.Helper()
	h.enterAsking(page, kind, room, url.Values{"join": {join}}, script)
}

// enterAsking does so with a query.
func (h *house) enterAsking(page, kind, room string, q url.Values, script string) {
	h.t.Helper()
	q.Set("name", page)
	h.call("open", args{"browser": kind, "page": page, "script": script,
		"url": h.info.URL + "r/" + url.PathEscape(room) + "?" + q.Encode()})
}

// shot saves a picture where WEFT_SHOTS says, for people to look at.
func (h *house) shot(page, name string) {
	if dir := os.Getenv("WEFT_SHOTS"); dir != "" {
		h.call("shot", args{"page": page, "path": filepath.Join(dir, name+".png")})
	}
}

// track is what the page's statistics say of one.
type track struct {
	Peer, Label, Kind, Codec string
	Transport                *struct{ SRTPCipher string }
}

func (h *house) stats(page string) []track {
	h.t.Helper()
	var all []track
	if err := json.Unmarshal(h.call("eval", args{"page": page, "expression": "window.weft.stats()"}), &all); err != nil {
		h.t.Fatal(err)
	}
	return all
}

// TestBrowserRoom is the main job: two pages and a publisher through the hub,
// people who leave, come late and only watch, and a hub that dies.
func TestBrowserRoom(t *testing.T) {
	h := newHouse(t)
	h.publish("demo", "clip", clip...)
	h.enter("ada", "media", "demo", "camera", "")
	h.enter("bob", "media", "demo", "camera", "")
	h.allFlow("all see all", []string{"ada", "bob"}, 2, frames, patience)
	h.checkCiphers("ada")

	h.enter("cyd", "media", "demo", "camera", "")
	h.allFlow("a third joins late", []string{"cyd"}, 3, 1, patience)
	h.allFlow("with the third", []string{"ada", "bob", "cyd"}, 3, frames, patience)
	h.shot("ada", "room-wide")
	if os.Getenv("WEFT_SHOTS") != "" {
		h.call("view", args{"page": "bob", "width": 390, "height": 844})
		h.shot("bob", "room-phone")
	}

	h.leave("bob", []string{"ada", "cyd"})
	h.allFlow("one has left", []string{"ada", "cyd"}, 2, frames, patience)

	h.enter("eve", "plain", "demo", "watch", "")
	h.allFlow("one only watches, no flags", []string{"eve"}, 3, frames, patience)
	h.shot("eve", "watch")
	h.call("close", args{"page": "eve"})

	h.restartHub("ada", "cyd")
}

// checkCiphers looks for AES-GCM on every connection of a page.
func (h *house) checkCiphers(page string) {
	h.t.Helper()
	for _, s := range h.stats(page) {
		if s.Transport == nil || !strings.Contains(s.Transport.SRTPCipher, "GCM") {
			h.t.Errorf("page %s: %s of %s is sealed with %+v, want AES-GCM", page, s.Kind, s.Peer, s.Transport)
		}
	}
}

// leave closes a page as a user does and waits until the others know.
func (h *house) leave(page string, others []string) {
	h.t.Helper()
	var id string
	if err := json.Unmarshal(h.call("eval", args{"page": page, "expression": "window.weft.peer.id"}), &id); err != nil || id == "" {
		h.t.Fatalf("window.weft.peer.id of %s: %q, %v", page, id, err)
	}
	h.call("close", args{"page": page})
	for _, other := range others {
		h.call("absent", args{"page": other, "peer": id, "timeout": patience})
	}
}

// restartHub kills the hub without a goodbye, starts it again on the same ports,
// and waits until everybody has pictures and sound again.
func (h *house) restartHub(pages ...string) {
	h.t.Helper()
	address := strings.TrimSuffix(strings.TrimPrefix(h.info.URL, "http://"), "/")
	udp := h.info.UDP[0]
	h.hub.kill()
	h.serve("--listen", address, "--udp", udp)
	began := time.Now()
	h.allFlow("the hub is back", pages, 2, 1, ceiling)
	took := time.Since(began)
	verdict := "within"
	if took > promised {
		verdict = "LATER THAN"
	}
	h.t.Logf("everybody is back %v after the hub was, %s the promised %v", took.Round(10*time.Millisecond), verdict, promised)
	h.allFlow("media goes on", pages, 2, frames, patience)
}

// withoutH264 makes a page's browser one that lacks H264: the codec is taken out
// of every description that it reads or writes.
const withoutH264 = `{
  const strip = (sdp) => {
    const lines = sdp.split('\r\n');
    const h264 = lines.map((l) => l.match(/^a=rtpmap:(\d+) H264\//i)?.[1]).filter(Boolean);
    const rtx = lines.map((l) => l.match(/^a=fmtp:(\d+) apt=(\d+)/)).filter((m) => m && h264.includes(m[2])).map((m) => m[1]);
    const gone = new Set([...h264, ...rtx]);
    return lines.filter((l) => !gone.has(l.match(/^a=(?:rtpmap|fmtp|rtcp-fb):(\d+) /)?.[1]))
      .map((l) => l.startsWith('m=video') ? l.split(' ').filter((w, i) => i < 3 || !gone.has(w)).join(' ') : l).join('\r\n');
  };
  const proto = RTCPeerConnection.prototype;
  const { setLocalDescription, setRemoteDescription } = proto;
  proto.setRemoteDescription = function (d) {
    return setRemoteDescription.call(this, d?.sdp ? { type: d.type, sdp: strip(d.sdp) } : d);
  };
  proto.setLocalDescription = async function (d) {
    if (!d?.sdp) d = this.signalingState === 'have-remote-offer' ? await this.createAnswer() : await this.createOffer();
    return setLocalDescription.call(this, { type: d.type, sdp: strip(d.sdp) });
  };
}`

// TestBrowserWithoutCodec has a viewer without H264: it sees the VP8 publisher
// and is told about the other.
func TestBrowserWithoutCodec(t *testing.T) {
	h := newHouse(t)
	_, vp8 := h.publish("codecs", "good", clip...)
	_, h264 := h.publish("codecs", "unseen", "--file", "../../testdata/a.h264", "--file", "../../testdata/a.ogg", "--loop")
	h.enter("sees-both", "media", "codecs", "watch", "")
	h.enter("lacks-h264", "media", "codecs", "watch", withoutH264)
	h.allFlow("with H264", []string{"sees-both"}, 2, frames, patience)
	f, err := h.flow("lacks-h264", 1, frames, patience)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(f.Peers) != fmt.Sprint([]string{vp8}) {
		t.Errorf("without H264: pictures of %v, want of %s only, not of %s", f.Peers, vp8, h264)
	}
	h.call("text", args{"page": "lacks-h264", "text": "H264", "timeout": patience})
	h.shot("lacks-h264", "without-h264")
}

// TestBrowserMesh has a page and two publishers in a room without a hub.
func TestBrowserMesh(t *testing.T) {
	h := newHouse(t, "--no-hub")
	h.publish("mesh", "clip", clip...)
	h.publish("mesh", "pattern", "--test-pattern")
	h.enter("ada", "media", "mesh", "camera", "")
	h.allFlow("mesh", []string{"ada"}, 2, frames, patience)
	h.checkCiphers("ada")
}

// TestBrowserMeshProcesses is TestMeshInside with real processes.
func TestBrowserMeshProcesses(t *testing.T) {
	bin := buildWeft(t)
	meshAllSeeAll(t, func(args ...string) *process { return spawn(t, bin, args...) })
}

// TestBrowserLateServer starts the publisher before the server.
func TestBrowserLateServer(t *testing.T) {
	h := newHouse(t, "--room", "late")
	address := strings.TrimSuffix(strings.TrimPrefix(h.info.URL, "http://"), "/")
	h.hub.stop()
	p := spawn(t, h.bin, append([]string{"publish", "--signal", h.info.Signal, "--room", "late"}, clip...)...)
	if !p.logs.until(t, readyTimeout, func(lines [][]byte) bool {
		return strings.Contains(p.logs.String(), "waiting for signaling")
	}) {
		t.Fatalf("the publisher does not wait for its server:\n%s", p.logs)
	}
	h.serve("--listen", address, "--udp", "127.0.0.1:0", "--room", "late")
	var ready publishReady
	p.wait(&ready)
	h.enter("eve", "plain", "late", "watch", "")
	h.allFlow("the publisher was first", []string{"eve"}, 1, frames, patience)
}

package serve

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	pion "github.com/pion/webrtc/v4/pkg/media"
	"github.com/pion/webrtc/v4/pkg/media/ivfreader"

	"github.com/weft-rtc/weft/mesh/sdp"
)

// httpClient is a client of WHIP or WHEP: a pion with default codecs.
type httpClient struct {
	t    *testing.T
	pc   *webrtc.PeerConnection
	base string // of the server
	path string // of the session
	etag string

	pictures  atomic.Int64 // ends of pictures that came
	arrived   chan struct{}
	connected chan struct{}
}

func newHTTPClient(t *testing.T, info Info) *httpClient {
	t.Helper()
	var s webrtc.SettingEngine
	s.SetIncludeLoopbackCandidate(true)
	s.SetIPFilter(func(ip net.IP) bool { return ip.IsLoopback() })
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(s)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	c := &httpClient{t: t, pc: pc, base: strings.TrimSuffix(info.URL, "/"), arrived: make(chan struct{}, 1), connected: make(chan struct{})}
	var once sync.Once
	pc.OnConnectionStateChange(func(st webrtc.PeerConnectionState) {
		if st == webrtc.PeerConnectionStateConnected {
			once.Do(func() { close(c.connected) })
		}
	})
	t.Cleanup(func() { _ = pc.GracefulClose() })
	return c
}

// plays readies the client to receive.
func (c *httpClient) plays(kinds ...webrtc.RTPCodecType) *httpClient {
	c.t.Helper()
	for _, kind := range kinds {
		if _, err := c.pc.AddTransceiverFromKind(kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
			c.t.Fatal(err)
		}
	}
	c.pc.OnTrack(func(tr *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		for {
			p, _, err := tr.ReadRTP()
			if err != nil {
				return
			}
			if tr.Kind() == webrtc.RTPCodecTypeVideo && p.Marker {
				c.pictures.Add(1)
				select {
				case c.arrived <- struct{}{}:
				default:
				}
			}
		}
	})
	return c
}

// publishes gives the client the clip and a sound, until the test ends.
func (c *httpClient) publishes() *httpClient {
	c.t.Helper()
	video, err := webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8}, "v", "s")
	if err != nil {
		c.t.Fatal(err)
	}
	audio, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus}, "a", "s")
	if err != nil {
		c.t.Fatal(err)
	}
	for _, track := range []webrtc.TrackLocal{video, audio} {
		if _, err := c.pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly}); err != nil {
			c.t.Fatal(err)
		}
	}
	clip, err := os.ReadFile("../../testdata/vp8.ivf")
	if err != nil {
		c.t.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Second / 30)
		defer tick.Stop()
		var frames *ivfreader.IVFReader
		for n := uint16(0); ; n++ {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			if frames == nil {
				frames, _, _ = ivfreader.NewWith(bytes.NewReader(clip))
			}
			frame, _, err := frames.ParseNextFrame()
			if err != nil {
				frames = nil
				continue
			}
			_ = video.WriteSample(pion.Sample{Data: frame, Duration: time.Second / 30})
			_ = audio.WriteRTP(&rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: n, Timestamp: uint32(n) * 1600}, Payload: []byte{0xfc}})
		}
	}()
	c.t.Cleanup(func() { close(stop); <-done })
	return c
}

// offer makes the client's offer with its candidates.
func (c *httpClient) offer() string {
	c.t.Helper()
	if d := c.pc.LocalDescription(); d != nil {
		return d.SDP
	}
	offer, err := c.pc.CreateOffer(nil)
	if err != nil {
		c.t.Fatal(err)
	}
	all := webrtc.GatheringCompletePromise(c.pc)
	if err := c.pc.SetLocalDescription(offer); err != nil {
		c.t.Fatal(err)
	}
	<-all
	return c.pc.LocalDescription().SDP
}

// do makes a request and returns its answer with the body.
func (c *httpClient) do(method, path, kind, body string, header ...string) (*http.Response, string) {
	c.t.Helper()
	resp, text, err := send(method, c.base+path, kind, strings.NewReader(body), header...)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp, text
}

func send(method, url, kind string, body io.Reader, header ...string) (*http.Response, string, error) {
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		return nil, "", err
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp, string(text), err
}

// begin posts an offer and takes the answer.
func (c *httpClient) begin(path string, header ...string) *httpClient {
	c.t.Helper()
	resp, answer := c.do("POST", path, "application/sdp", c.offer(), header...)
	if resp.StatusCode != http.StatusCreated {
		c.t.Fatalf("POST %s: %s %s", path, resp.Status, answer)
	}
	c.path, c.etag = resp.Header.Get("Location"), resp.Header.Get("ETag")
	if err := c.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		c.t.Fatal(err)
	}
	return c
}

// sees waits until so many more pictures have come.
func (c *httpClient) sees(what string, pictures int64) {
	c.t.Helper()
	want := c.pictures.Load() + pictures
	patience := time.NewTimer(30 * time.Second)
	defer patience.Stop()
	for c.pictures.Load() < want {
		select {
		case <-c.arrived:
		case <-patience.C:
			c.t.Fatalf("%s: %d pictures short", what, want-c.pictures.Load())
		}
	}
}

// members asks the API who is in a room.
func (c *httpClient) members(room string) (names []string) {
	c.t.Helper()
	_, text := c.do("GET", "/api/v1/rooms/"+room, "", "")
	var r struct {
		Peers []struct {
			Metadata struct{ Name string }
			Streams  []string
		}
	}
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		c.t.Fatal(err, text)
	}
	for _, p := range r.Peers {
		names = append(names, fmt.Sprint(p.Metadata.Name, p.Streams))
	}
	return names
}

const (
	picture = webrtc.RTPCodecTypeVideo
	sound   = webrtc.RTPCodecTypeAudio
)

// TestWHIP: a client publishes over HTTP, others watch over HTTP, the stream and
// the room, and do so on while the publisher begins anew.
func TestWHIP(t *testing.T) {
	info := start(t, Config{})
	viewer := newHTTPClient(t, info).plays(sound, picture)
	if resp, text := viewer.do("POST", "/whep/demo", "application/sdp", viewer.offer()); resp.StatusCode != http.StatusConflict || resp.Header.Get("Retry-After") == "" {
		t.Errorf("nothing is published: %s %s", resp.Status, text)
	}
	viewer.begin("/whep/demo/obs?wait")
	<-viewer.connected
	one := newHTTPClient(t, info).publishes().begin("/whip/demo/obs")
	viewer.sees("who waited", 30)
	room := newHTTPClient(t, info).plays(picture, sound).begin("/whep/demo")
	room.sees("the whole room", 30)
	picturesOnly := newHTTPClient(t, info).plays(picture).begin("/api/whep", "Authorization", "Bearer demo/obs")
	picturesOnly.sees("pictures only, by key", 30)
	if names := one.members("demo"); len(names) != 4 || !strings.Contains(strings.Join(names, " "), "obs[camera]") {
		t.Errorf("members %q", names)
	}

	two := newHTTPClient(t, info).publishes().begin("/api/whip", "Authorization", "Bearer demo/obs")
	<-two.connected
	if err := one.pc.Close(); err != nil { // after the other's media have come, or before
		t.Error(err)
	}
	viewer.sees("taken over", 60)
	room.sees("taken over", 30)
	for range 2 {
		if resp, _ := two.do("DELETE", two.path, "", ""); resp.StatusCode != http.StatusOK {
			t.Error(resp.Status)
		}
	}
	newHTTPClient(t, info).publishes().begin("/whip/demo?stream=obs")
	viewer.sees("come again", 60)
	room.sees("come again", 30)
	for _, c := range []*httpClient{viewer, room, picturesOnly} {
		if resp, _ := c.do("DELETE", c.path, "", ""); resp.StatusCode != http.StatusOK {
			t.Error(resp.Status)
		}
	}
	until(t, "the publisher alone is left", func() bool { return len(one.members("demo")) == 1 })
}

// TestWHIPPatch: candidates and ICE restarts over HTTP, by the rules.
func TestWHIPPatch(t *testing.T) {
	const fragment = "application/trickle-ice-sdpfrag"
	info := start(t, Config{})
	c := newHTTPClient(t, info).publishes()
	whole := c.offer()
	c.begin("/whip/demo")
	for _, tt := range []struct {
		name, kind, match, body string
		status                  int
	}{
		{"candidates", fragment, c.etag, credentials(whole), http.StatusNoContent},
		{"no If-Match", fragment, "", credentials(whole), http.StatusPreconditionRequired},
		{"another ETag", fragment, `"x"`, credentials(whole), http.StatusPreconditionFailed},
		{"no fragment", fragment, c.etag, "hello", http.StatusBadRequest},
		{"wrong type", "application/sdp", c.etag, whole, http.StatusUnsupportedMediaType},
		{"restart without a password", fragment, "*", "a=ice-ufrag:other\r\n", http.StatusBadRequest},
	} {
		header := []string{"If-Match", tt.match}
		if tt.match == "" {
			header = nil
		}
		if resp, text := c.do("PATCH", c.path, tt.kind, tt.body, header...); resp.StatusCode != tt.status {
			t.Errorf("%s: %s %s", tt.name, resp.Status, text)
		}
	}
	viewer := newHTTPClient(t, info).plays(picture).begin("/whep/demo?wait")
	viewer.sees("before", 15)
	for range 2 {
		offer, err := c.pc.CreateOffer(&webrtc.OfferOptions{ICERestart: true})
		if err != nil {
			t.Fatal(err)
		}
		all := webrtc.GatheringCompletePromise(c.pc)
		if err := c.pc.SetLocalDescription(offer); err != nil {
			t.Fatal(err)
		}
		<-all
		resp, text := c.do("PATCH", c.path, fragment, credentials(c.pc.LocalDescription().SDP), "If-Match", "*")
		ours, err := sdp.ReadFragment(text)
		if resp.StatusCode != http.StatusOK || resp.Header.Get("ETag") == c.etag || err != nil {
			t.Fatalf("restart: %s %s, %v", resp.Status, text, err)
		}
		c.etag = resp.Header.Get("ETag")
		next := sdp.Restarted(c.pc.CurrentRemoteDescription().SDP, ours)
		if err := c.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: next}); err != nil {
			t.Fatal(err)
		}
		viewer.sees("after a restart", 30)
	}
}

// credentials makes a fragment of a description.
func credentials(description string) string {
	var b strings.Builder
	for line := range strings.Lines(description) {
		for _, keep := range []string{"m=", "a=mid:", "a=ice-ufrag:", "a=ice-pwd:", "a=candidate:"} {
			if strings.HasPrefix(line, keep) {
				b.WriteString(line)
			}
		}
	}
	return b.String()
}

// TestFFmpegLikeClient: no candidates of its own, the first of ours alone, and it
// insists on being the DTLS server.
func TestFFmpegLikeClient(t *testing.T) {
	info := start(t, Config{})
	c := newHTTPClient(t, info).publishes()
	var offer strings.Builder
	for line := range strings.Lines(c.offer()) {
		if !strings.HasPrefix(line, "a=candidate:") && !strings.HasPrefix(line, "a=end-of-candidates") {
			offer.WriteString(strings.Replace(line, "a=setup:actpass", "a=setup:passive", 1))
		}
	}
	resp, answer := c.do("POST", "/whip/demo", "application/sdp", offer.String())
	if resp.StatusCode != http.StatusCreated || !strings.Contains(answer, "a=setup:active") {
		t.Fatalf("%s %s", resp.Status, answer)
	}
	var first strings.Builder
	n := 0
	for line := range strings.Lines(answer) {
		if strings.HasPrefix(line, "a=candidate:") {
			if n++; n > 1 {
				continue
			}
			if f := strings.Fields(line); f[2] != "udp" || !strings.Contains(line, "typ host") || strings.Contains(f[4], ":") {
				t.Errorf("the first candidate is %s", line)
			}
		}
		first.WriteString(line)
	}
	if err := c.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: first.String()}); err != nil {
		t.Fatal(err)
	}
	newHTTPClient(t, info).plays(picture).begin("/whep/demo?wait").sees("ffmpeg's stream", 30)
}

// TestWHIPRefusals are the rules that depend on what is in a description.
func TestWHIPRefusals(t *testing.T) {
	info := start(t, Config{MaxRooms: 1})
	pub := newHTTPClient(t, info).publishes()
	offer := pub.offer()
	player := newHTTPClient(t, info).plays(picture).offer()
	for _, tt := range []struct {
		name, path, offer string
		status            int
		content           string
	}{
		{"cut off", "/whip/demo", offer[:strings.Index(offer, "a=rtpmap")+9], 400, ""},
		{"no credentials", "/whip/demo", strings.ReplaceAll(offer, "a=ice-ufrag", "a=x"), 400, ""},
		{"no certificate", "/whip/demo", strings.ReplaceAll(offer, "a=fingerprint", "a=x"), 400, ""},
		{"nothing that is sent", "/whip/demo", player, 422, ""},
		{"no section at all", "/whip/demo", offer[:strings.Index(offer, "m=")], 422, ""},
		{"no codec of ours", "/whip/demo", strings.NewReplacer("VP8/", "X1/", "VP9/", "X2/", "H264/", "X3/", "AV1/", "X4/").Replace(offer), 422, "codec"},
		{"section outside the bundle", "/whip/demo", strings.Replace(offer, "a=group:BUNDLE 0 1", "a=group:BUNDLE 0", 1), 422, ""},
		{"room that cannot be", "/whip/%00", offer, 400, "room"},
		{"stream that cannot be", "/whip/demo/" + strings.Repeat("x", 200), offer, 400, ""},
		{"counter-offer", "/whep/demo?wait", offer, 406, "a=sendonly"},
		{"more rooms than there may be", "/whip/other", offer, 503, "--max-rooms"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			resp, text := pub.do("POST", tt.path, "application/sdp", tt.offer)
			if resp.StatusCode != tt.status || !strings.Contains(text, tt.content) {
				t.Errorf("%s %s", resp.Status, text)
			}
			if path := resp.Header.Get("Location"); path != "" {
				if resp, _ := pub.do("DELETE", path, "", ""); resp.StatusCode != http.StatusOK {
					t.Error(resp.Status)
				}
			}
		})
	}
}

// TestWHIPTrouble: 200 requests that come to nothing leave nothing.
func TestWHIPTrouble(t *testing.T) {
	info := start(t, Config{})
	good := newHTTPClient(t, info).publishes()
	offer := good.offer()
	base := strings.TrimSuffix(info.URL, "/")
	kinds := []func(n int) (want int, resp *http.Response, text string, err error){
		func(n int) (int, *http.Response, string, error) { // broken at any place
			resp, text, err := send("POST", base+"/whip/demo", "application/sdp", strings.NewReader(offer[:len(offer)*n/200]))
			return 0, resp, text, err
		},
		func(n int) (int, *http.Response, string, error) { // a line broken
			lines := strings.SplitAfter(offer, "\r\n")
			lines[n%len(lines)] = "m=" + lines[n%len(lines)]
			resp, text, err := send("POST", base+"/whip/demo", "application/sdp", strings.NewReader(strings.Join(lines, "")))
			return 0, resp, text, err
		},
		func(n int) (int, *http.Response, string, error) {
			resp, text, err := send("POST", base+"/whip/demo", []string{"", "text/plain", "application/json"}[n%3], strings.NewReader(offer))
			return http.StatusUnsupportedMediaType, resp, text, err
		},
		func(n int) (int, *http.Response, string, error) {
			resp, text, err := send("POST", base+"/whep/demo", "application/sdp", io.LimitReader(endless{}, int64(200<<10+n)))
			return http.StatusRequestEntityTooLarge, resp, text, err
		},
		func(n int) (int, *http.Response, string, error) { // a player where nothing is
			resp, text, err := send("POST", base+"/whep/demo/nobody", "application/sdp", strings.NewReader(strings.ReplaceAll(offer, "a=sendonly", "a=recvonly")))
			return http.StatusConflict, resp, text, err
		},
	}
	var wg sync.WaitGroup
	for n := range 200 {
		wg.Go(func() {
			want, resp, text, err := kinds[n%len(kinds)](n)
			if err != nil {
				t.Errorf("%d: %v", n, err)
				return
			}
			if want != 0 && resp.StatusCode != want {
				t.Errorf("%d: %s %s", n, resp.Status, text)
			}
			switch path := resp.Header.Get("Location"); {
			case path != "": // broken where it does not matter
				if resp, _, err := send("DELETE", base+path, "", nil); err != nil || resp.StatusCode != http.StatusOK {
					t.Errorf("%d: DELETE: %v", n, err)
				}
			case resp.StatusCode >= 500:
				t.Errorf("%d: %s %s", n, resp.Status, text)
			}
		})
		if n%20 == 19 {
			wg.Wait()
		}
	}
	// The same offer over and over is one stream, whose media come from nowhere.
	var paths []string
	for range 20 {
		resp, text := good.do("POST", "/whip/demo", "application/sdp", offer)
		if resp.StatusCode != http.StatusCreated {
			t.Fatalf("%s %s", resp.Status, text)
		}
		paths = append(paths, resp.Header.Get("Location"))
	}
	if names := good.members("demo"); len(names) != 1 {
		t.Errorf("members of replays: %q", names)
	}
	for _, path := range paths {
		good.do("DELETE", path, "", "")
	}
	until(t, "nobody is left", func() bool { return len(good.members("demo")) == 0 })
}

// until waits for what takes a moment.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	patience := time.NewTimer(20 * time.Second)
	defer patience.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-patience.C:
			t.Fatalf("not: %s", what)
		}
	}
}

func TestWHIPWithoutHub(t *testing.T) {
	info := start(t, Config{NoHub: true})
	c := newHTTPClient(t, info)
	if resp, text := c.do("POST", "/whip/demo", "application/sdp", "v=0"); resp.StatusCode < 400 || resp.StatusCode >= 500 {
		t.Errorf("%s %s", resp.Status, text)
	}
	if info.WHIP != "" {
		t.Errorf("%+v", info)
	}
}

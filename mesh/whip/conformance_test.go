package whip

import (
	"bufio"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
)

// rig is an Endpoint over HTTP, with a session of WHIP, one of WHEP, and one of
// WHEP whose counter-offer waits.
type rig struct {
	t        *testing.T
	fake     *fake
	endpoint *Endpoint
	url      string
	paths    map[string]string // Location by name
	tags     map[string]string
}

func newRig(t *testing.T, cfg Config) *rig {
	t.Helper()
	r := &rig{t: t, fake: &fake{}, paths: map[string]string{}, tags: map[string]string{}}
	cfg.Backend = r.fake
	r.endpoint = New(cfg)
	srv := httptest.NewUnstartedServer(r.endpoint)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // a panic of the fake's
	srv.Start()
	t.Cleanup(srv.Close)
	r.url = srv.URL
	return r
}

// do makes a request; headers are "Name: value" lines.
func (r *rig) do(method, path, headers, body string) *http.Response {
	r.t.Helper()
	req, err := http.NewRequest(method, r.url+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	for line := range strings.SplitSeq(headers, "\n") {
		if name, value, ok := strings.Cut(line, ": "); ok {
			req.Header.Add(name, value)
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

func (r *rig) begin(name, path, offer string) {
	r.t.Helper()
	resp := r.do("POST", path, isSDP, offer)
	r.paths[name], r.tags[name] = resp.Header.Get("Location"), resp.Header.Get("ETag")
	if r.paths[name] == "" || r.tags[name] == "" {
		r.t.Fatalf("POST %s: %s, %v", path, resp.Status, resp.Header)
	}
}

const (
	isSDP  = "Content-Type: application/sdp"
	isFrag = "Content-Type: application/trickle-ice-sdpfrag"
	isJSON = "Content-Type: application/json"

	anOffer    = "v=0\r\nan offer\r\n"
	candidates = "a=ice-ufrag:first\r\na=ice-pwd:password-of-first\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=candidate:1 1 udp 5 192.0.2.1 9 typ host\r\n"
	newUfrag   = "a=ice-ufrag:second\r\na=ice-pwd:password-of-second\r\n"
)

// rule is one rule of WHIP or WHEP.
type rule struct {
	name         string
	method, path string // {whip}, {whep}, {counter} stand for sessions, {tag} for the ETag of the session
	headers      string
	body         string
	status       int
	want         string // "Name: value" lines; a value that begins with ~ is contained, an empty one absent
	content      string // contained in the body
}

var rules = []rule{
	// RFC 9725 section 4.2: the offer.
	{"WHIP offer", "POST", "/whip/demo", isSDP, anOffer, 201, "Content-Type: application/sdp\nLocation: ~/whip/demo/_/\nETag: ~\"\nAccept-Patch: application/trickle-ice-sdpfrag\nCache-Control: no-store", ourAnswer},
	{"WHIP offer into a stream", "POST", "/whip/demo/cam", isSDP, anOffer, 201, "Location: ~/whip/demo/cam/", ""},
	{"WHIP offer into a stream by query, which Location has not", "POST", "/whip/demo?stream=cam", isSDP, anOffer, 201, "Location: ~/whip/demo/cam/", ""},
	{"names with slashes", "POST", "/whip/a%2Fb/c%2Fd", isSDP, anOffer, 201, "Location: ~/whip/a%2Fb/c%2Fd/", ""},
	{"type with a parameter", "POST", "/whip/demo", isSDP + "; charset=utf-8", anOffer, 201, "", ""},
	{"stream key as bearer", "POST", "/api/whip", isSDP + "\nAuthorization: Bearer demo/cam", anOffer, 201, "Location: ~/api/whip/", ""},
	{"stream key in lower case", "POST", "/api/whip", isSDP + "\nAuthorization: bearer demo", anOffer, 201, "", ""},
	{"no stream key", "POST", "/api/whip", isSDP, anOffer, 401, "WWW-Authenticate: ~Bearer\nContent-Type: application/problem+json", ""},
	{"ICE servers by Link", "POST", "/whip/demo", isSDP, anOffer, 201, "Link: ~<turn:turn.example:3478?transport=udp>; rel=\"ice-server\"; username=\"me\"; credential=\"a \\\"b\"; credential-type=\"password\"", ""},
	{"no type", "POST", "/whip/demo", "", anOffer, 415, "Accept-Post: application/sdp\nContent-Type: application/problem+json", `"status":415`},
	{"wrong type", "POST", "/whip/demo", isJSON, anOffer, 415, "Accept-Post: application/sdp", ""},
	{"type that cannot be read", "POST", "/whip/demo", "Content-Type: ;;", anOffer, 415, "", ""},
	{"empty offer", "POST", "/whip/demo", isSDP, "", 400, "Content-Type: application/problem+json", `"detail"`},
	{"malformed offer", "POST", "/whip/demo", isSDP, "hello", 400, "Content-Type: application/problem+json", `"title":"Bad Request"`},
	{"offer that is too long", "POST", "/whip/demo", isSDP, "v=0" + strings.Repeat("x", maxSDP), 413, "Content-Type: application/problem+json", ""},
	{"offer not acceptable as a whole", "POST", "/whip/demo", isSDP, "v=0 two videos", 422, "Content-Type: application/problem+json\nLocation:", ""},
	{"no room for more", "POST", "/whip/full", isSDP, anOffer, 503, "Retry-After: 10\nContent-Type: application/problem+json", ""},
	{"no such room", "POST", "/whip/none", isSDP, anOffer, 404, "", ""},
	{"our own fault, not told", "POST", "/whip/broken", isSDP, anOffer, 500, "Content-Type: application/problem+json", "could not"},
	{"not authorized", "POST", "/whip/locked", isSDP, anOffer, 401, "WWW-Authenticate: ~Bearer\nContent-Type: application/problem+json", ""},
	{"authorized", "POST", "/whip/locked", isSDP + "\nAuthorization: Bearer secret", anOffer, 201, "", ""},
	{"forbidden", "POST", "/whip/locked", isSDP + "\nAuthorization: Bearer other", anOffer, 403, "WWW-Authenticate:", ""},
	// Section 4.1: the other methods.
	{"GET of an endpoint", "GET", "/whip/demo", "", "", 204, "", ""},
	{"HEAD of an endpoint", "HEAD", "/whip/demo", "", "", 200, "", ""},
	{"PUT of an endpoint", "PUT", "/whip/demo", isSDP, anOffer, 405, "Allow: GET, HEAD, POST, OPTIONS", ""},
	{"OPTIONS of an endpoint", "OPTIONS", "/whip/demo", "", "", 200, "Accept-Post: application/sdp\nAllow: ~POST", ""},
	{"nothing there", "POST", "/whip", isSDP, anOffer, 404, "", ""},
	{"nothing there either", "POST", "/whip/a//b", isSDP, anOffer, 404, "", ""},
	// CORS.
	{"preflight", "OPTIONS", "/whip/demo", "Origin: https://good.example\nAccess-Control-Request-Method: POST", "", 200,
		"Access-Control-Allow-Origin: https://good.example\nAccess-Control-Allow-Methods: ~POST\nAccess-Control-Allow-Headers: Authorization, Content-Type, If-Match", ""},
	{"preflight of a session", "OPTIONS", "{whip}", "Origin: https://good.example", "", 200,
		"Access-Control-Allow-Methods: ~PATCH, DELETE\nAccept-Patch: application/trickle-ice-sdpfrag", ""},
	{"page of an allowed origin", "POST", "/whip/demo", isSDP + "\nOrigin: https://good.example", anOffer, 201,
		"Access-Control-Allow-Origin: https://good.example\nAccess-Control-Expose-Headers: ~Location, ETag, Link", ""},
	{"page of another origin", "POST", "/whip/demo", isSDP + "\nOrigin: https://bad.example", anOffer, 403, "Access-Control-Allow-Origin:", ""},
	{"preflight of another origin", "OPTIONS", "/whip/demo", "Origin: https://bad.example", "", 403, "Access-Control-Allow-Origin:", ""},
	// Section 4.3: trickle and restart.
	{"candidates", "PATCH", "{whip}", isFrag + "\nIf-Match: {tag}", candidates, 204, "ETag:", ""},
	{"candidates of the only generation", "PATCH", "{whip}", isFrag + "\nIf-Match: *", candidates, 204, "", ""},
	{"end of candidates", "PATCH", "{whip}", isFrag + "\nIf-Match: {tag}", "a=end-of-candidates\r\n", 204, "", ""},
	{"candidates without If-Match", "PATCH", "{whip}", isFrag, candidates, 428, "Content-Type: application/problem+json", ""},
	{"candidates of another generation", "PATCH", "{whip}", isFrag + "\nIf-Match: \"other\"", candidates, 412, "", ""},
	{"one of several tags", "PATCH", "{whip}", isFrag + "\nIf-Match: \"other\", {tag}", candidates, 204, "", ""},
	{"fragment of the wrong type", "PATCH", "{whip}", isSDP + "\nIf-Match: {tag}", candidates, 415, "Accept-Patch: application/trickle-ice-sdpfrag", ""},
	{"malformed fragment", "PATCH", "{whip}", isFrag + "\nIf-Match: {tag}", "hello", 400, "", ""},
	{"fragment that is too long", "PATCH", "{whip}", isFrag + "\nIf-Match: {tag}", strings.Repeat("a=mid:0\r\n", maxFragment/9+1), 413, "", ""},
	{"ICE restart", "PATCH", "{whip}", isFrag + "\nIf-Match: *", newUfrag, 200, "ETag: ~-1\"\nContent-Type: application/trickle-ice-sdpfrag", "a=ice-ufrag:ours"},
	{"ICE restart with the ETag", "PATCH", "{whip}", isFrag + "\nIf-Match: {tag}", newUfrag, 200, "ETag: ~-1\"", ""},
	{"ICE restart that is refused", "PATCH", "{whip}", isFrag + "\nIf-Match: *", strings.ReplaceAll(newUfrag, "second", "refused"), 422, "ETag:", ""},
	{"no such session", "PATCH", "/whip/demo/_/AAAA", isFrag + "\nIf-Match: *", candidates, 404, "", ""},
	// Section 4.2 and 4.1: sessions.
	{"the end", "DELETE", "{whip}", "", "", 200, "", ""},
	{"the end whatever If-Match says", "DELETE", "{whip}", "If-Match: \"other\"", "", 200, "", ""},
	{"the end of nothing", "DELETE", "/whip/demo/_/AAAA", "", "", 404, "", ""},
	{"a session of another room", "DELETE", "/whip/other/_/{whip id}", "", "", 404, "", ""},
	{"a session of another protocol", "DELETE", "/whep/demo/_/{whip id}", "", "", 404, "", ""},
	{"GET of a session", "GET", "{whip}", "", "", 204, "", ""},
	{"POST to a session", "POST", "{whip}", isSDP, anOffer, 405, "Allow: ~PATCH, DELETE", ""},
	// WHEP.
	{"WHEP offer", "POST", "/whep/demo", isSDP, anOffer, 201, "Content-Type: application/sdp\nLocation: ~/whep/demo/_/\nETag: ~\"\n" +
		"Link: ~rel=\"urn:ietf:params:whep:ext:core:layer\"\nLink: ~rel=\"urn:ietf:params:whep:ext:core:server-sent-events\"; events=\"active", ourAnswer},
	{"WHEP offer for a stream", "POST", "/whep/demo/cam", isSDP, anOffer, 201, "Location: ~/whep/demo/cam/", ""},
	{"WHEP by stream key", "POST", "/api/whep", isSDP + "\nAuthorization: Bearer demo", anOffer, 201, "Location: ~/api/whep/", ""},
	{"nothing published", "POST", "/whep/silent", isSDP, anOffer, 409, "Retry-After: 2\nContent-Type: application/problem+json", ""},
	{"HEAD of a WHEP endpoint", "HEAD", "/whep/demo", "", "", 200, "Content-Type: application/sdp", ""},
	{"GET of a WHEP endpoint", "GET", "/whep/demo", "", "", 204, "", ""},
	{"counter-offer", "POST", "/whep/demo", isSDP, "v=0 counter", 406, "Content-Type: application/sdp\nLocation: ~/whep/demo/_/\nETag: ~\"", ourAnswer},
	{"answer to a counter-offer", "PATCH", "{counter}", isSDP, "v=0 answer", 204, "", ""},
	{"malformed answer", "PATCH", "{counter}", isSDP, "hello", 400, "", ""},
	{"answer to nothing", "PATCH", "{whep}", isSDP, "v=0 answer", 422, "", ""},
	{"candidates of a player", "PATCH", "{whep}", isFrag + "\nIf-Match: {tag}", candidates, 204, "", ""},
	{"the end of a player", "DELETE", "{whep}", "", "", 200, "", ""},
	{"layer", "POST", "{whep}/layer", isJSON, `{"mediaId":"1","encodingId":"q"}`, 200, "", ""},
	{"layer back to automatic", "POST", "{whep}/layer", isJSON, `{}`, 200, "", ""},
	{"layer that is not there", "POST", "{whep}/layer", isJSON, `{"encodingId":"nothing"}`, 422, "", ""},
	{"layer in no JSON", "POST", "{whep}/layer", isJSON, `q`, 400, "", ""},
	{"layer of the wrong type", "POST", "{whep}/layer", isSDP, `{}`, 415, "", ""},
	{"layer of a publisher", "POST", "{whip}/layer", isJSON, `{}`, 404, "", ""},
	{"events", "POST", "{whep}/events", isJSON, `["active","layers","nonsense"]`, 201, "Location: ~/events?events=active,layers", ""},
	{"events in no JSON", "POST", "{whep}/events", isJSON, `active`, 400, "", ""},
	{"preflight of an extension", "OPTIONS", "{whep}/layer", "Origin: https://good.example", "", 200, "Allow: POST, OPTIONS", ""},
	{"DELETE of an extension", "DELETE", "{whep}/layer", "", "", 405, "Allow: POST, OPTIONS", ""},
}

// house is the configuration that the rules speak of.
func house() Config {
	return Config{
		Access: func(r *http.Request, _ Action, room, _ string) error {
			switch token, ok := bearer(r); {
			case room != "locked", token == "secret":
				return nil
			case !ok:
				return ErrUnauthorized
			}
			return errors.Join(ErrForbidden, errors.New("token of another room"))
		},
		Origin: func(w http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Origin") != "https://good.example" {
				return false
			}
			w.Header().Set("Access-Control-Allow-Origin", "https://good.example")
			return true
		},
		ICEServers: []webrtc.ICEServer{{URLs: []string{"turn:turn.example:3478?transport=udp"}, Username: "me", Credential: "a \"b"}},
	}
}

func TestConformance(t *testing.T) {
	for _, rule := range rules {
		t.Run(rule.name, func(t *testing.T) {
			r := newRig(t, house())
			r.begin("whip", "/whip/demo", anOffer)
			r.begin("whep", "/whep/demo", anOffer)
			r.begin("counter", "/whep/demo", "v=0 counter")
			tag := r.tags["whip"]
			if strings.HasPrefix(rule.path, "{whep}") {
				tag = r.tags["whep"]
			}
			id := r.paths["whip"][strings.LastIndex(r.paths["whip"], "/")+1:]
			path := strings.NewReplacer("{whip}", r.paths["whip"], "{whep}", r.paths["whep"], "{counter}", r.paths["counter"], "{whip id}", id).Replace(rule.path)
			before := r.fake.count()
			resp := r.do(rule.method, path, strings.ReplaceAll(rule.headers, "{tag}", tag), rule.body)
			check(t, resp, rule)
			if after := r.fake.count(); resp.StatusCode >= 400 && resp.StatusCode != 406 && after != before {
				t.Errorf("%d sessions, before %d", after, before)
			}
		})
	}
}

func check(t *testing.T, resp *http.Response, rule rule) {
	t.Helper()
	if resp.StatusCode != rule.status {
		t.Errorf("status %d, want %d", resp.StatusCode, rule.status)
	}
	for line := range strings.SplitSeq(rule.want, "\n") {
		name, want, _ := strings.Cut(line, ":")
		want = strings.TrimSpace(want)
		got := resp.Header.Values(name)
		all := strings.Join(got, "\n")
		part, contains := strings.CutPrefix(want, "~")
		switch {
		case name == "":
		case want == "" && len(got) > 0, !contains && all != want, contains && !strings.Contains(all, part):
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(body), rule.content) {
		t.Errorf("body %q, %v, want %q", body, err, rule.content)
	}
	if rule.status == 204 && len(body) > 0 {
		t.Errorf("204 with a body: %q", body)
	}
}

// TestRestartChangesTag: after an ICE restart only the new ETag counts.
func TestRestartChangesTag(t *testing.T) {
	r := newRig(t, Config{})
	r.begin("whip", "/whip/demo", anOffer)
	path := r.paths["whip"]
	restarted := r.do("PATCH", path, isFrag+"\nIf-Match: "+r.tags["whip"], newUfrag)
	next := strings.ReplaceAll(candidates, "first", "second")
	if resp := r.do("PATCH", path, isFrag+"\nIf-Match: "+r.tags["whip"], next); resp.StatusCode != http.StatusPreconditionFailed {
		t.Errorf("the old ETag: %s", resp.Status)
	}
	if resp := r.do("PATCH", path, isFrag+"\nIf-Match: "+restarted.Header.Get("ETag"), next); resp.StatusCode != http.StatusNoContent {
		t.Errorf("the new ETag: %s", resp.Status)
	}
}

// TestEnd: DELETE twice, and a session that ends by itself.
func TestEnd(t *testing.T) {
	r := newRig(t, Config{})
	r.begin("whip", "/whip/demo", anOffer)
	for range 2 {
		if resp := r.do("DELETE", r.paths["whip"], "", ""); resp.StatusCode != http.StatusOK {
			t.Error(resp.Status)
		}
	}
	if resp := r.do("PATCH", r.paths["whip"], isFrag+"\nIf-Match: *", candidates); resp.StatusCode != http.StatusNotFound {
		t.Errorf("PATCH after the end: %s", resp.Status)
	}
	r.begin("whep", "/whep/demo", anOffer)
	r.fake.one().End()
	if n := r.endpoint.Sessions(); n != 0 {
		t.Errorf("%d sessions", n)
	}
}

func TestFull(t *testing.T) {
	r := newRig(t, Config{MaxSessions: 2})
	if resp, err := http.Post(r.url+"/whip/panic", typeSDP, strings.NewReader("hello")); err == nil {
		_ = resp.Body.Close()
		t.Errorf("a panic is answered with %s", resp.Status)
	} // and takes no place
	r.begin("a", "/whip/demo", anOffer)
	r.begin("b", "/whip/demo", anOffer)
	resp := r.do("POST", "/whip/demo", isSDP, anOffer)
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("%s %v", resp.Status, resp.Header)
	}
	r.do("DELETE", r.paths["a"], "", "")
	r.begin("c", "/whip/demo", anOffer)
}

// TestSlowBody: a body that does not come is not waited for.
func TestSlowBody(t *testing.T) {
	r := newRig(t, Config{})
	r.endpoint.bodyTime = time.Millisecond
	c, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "POST /whip/demo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"+isSDP+"\r\n\r\nv=0"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestTimeout {
		t.Error(resp.Status)
	}
	if n := r.endpoint.Sessions(); n != 0 {
		t.Errorf("%d sessions", n)
	}
}

// TestEvents reads the first events of a stream, and its end.
func TestEvents(t *testing.T) {
	r := newRig(t, Config{})
	r.begin("whep", "/whep/demo", anOffer)
	resp := r.do("GET", r.paths["whep"]+"/events?events=active,viewercount,layers", "", "")
	if kind := resp.Header.Get("Content-Type"); kind != "text/event-stream" {
		t.Fatal(kind)
	}
	lines := bufio.NewScanner(resp.Body)
	var got []string
	for len(got) < 6 && lines.Scan() {
		if lines.Text() != "" {
			got = append(got, lines.Text())
		}
	}
	want := []string{
		"event: active", "data: {}", "event: viewercount", `data: {"viewercount":3}`, "event: layers",
		`data: {"1":{"active":[{"id":"q","encodingId":"q","spatialLayerId":0,"width":160,"height":90,"bitrate":50000,"current":true}],` +
			`"inactive":[{"id":"f","encodingId":"f","spatialLayerId":0,"width":640,"height":360,"bitrate":400000}],` +
			`"layers":[{"encodingId":"q","spatialLayerId":0,"width":160,"height":90,"bitrate":50000,"current":true},{"encodingId":"f","spatialLayerId":0,"width":640,"height":360,"bitrate":400000}]}}`,
	}
	for i, line := range want {
		if i >= len(got) || got[i] != line {
			t.Errorf("line %d is not\n%s in\n%s", i, line, strings.Join(got, "\n"))
		}
	}
	r.do("DELETE", r.paths["whep"], "", "")
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Errorf("the stream ends with %v", err)
	}
}

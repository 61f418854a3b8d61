//go:build browser

package conn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/mesh/sdp"
)

// page is Chromium with testdata/index.html.
type page struct {
	t  *testing.T
	ws *websocket.Conn

	mu      sync.Mutex
	next    int
	replies map[int]chan reply
	peer    *peer // gets the signals
}

type reply struct {
	ID    int             `json:"id"`
	Value json.RawMessage `json:"value"`
	Error string          `json:"error"`
}

// pageState is what the page says about its connection.
type pageState struct {
	Open      bool           `json:"open"`
	State     string         `json:"state"`
	Log       []string       `json:"log"`
	Longest   int            `json:"longest"`
	Rollbacks int            `json:"rollbacks"`
	Sections  int            `json:"sections"`
	Live      int            `json:"live"`
	Received  map[string]int `json:"received"` // packets by mid
	Cipher    string         `json:"cipher"`
	Role      string         `json:"role"`
	Ufrag     string         `json:"ufrag"`
}

func openPage(t *testing.T) *page {
	t.Helper()
	tools := os.Getenv("WEFT_TOOLS")
	if tools == "" {
		tools = filepath.Join("..", "..", ".tools", "node_modules")
	}
	arrived := make(chan *websocket.Conn, 1)
	mux := http.NewServeMux()
	mux.Handle("/", http.FileServer(http.Dir("testdata")))
	mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		ws.SetReadLimit(1 << 20)
		arrived <- ws
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	node := exec.Command("node", filepath.Join("testdata", "browser.mjs"), server.URL, tools)
	node.Stdout, node.Stderr = os.Stderr, os.Stderr
	stdin, err := node.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stdin.Close(); _ = node.Wait() })
	p := &page{t: t, replies: map[int]chan reply{}}
	select {
	case p.ws = <-arrived:
	case <-time.After(60 * time.Second):
		t.Fatal("Chromium did not open the page within 60 s")
	}
	done := make(chan struct{})
	go func() { defer close(done); p.read() }()
	t.Cleanup(func() { _ = p.ws.CloseNow(); <-done })
	return p
}

func (p *page) read() {
	for {
		kind, data, err := p.ws.Read(context.Background())
		if err != nil {
			return
		}
		p.mu.Lock()
		if kind == websocket.MessageBinary {
			if q := p.peer; q != nil {
				q.do(func() { q.signal(data) })
			}
			p.mu.Unlock()
			continue
		}
		var r reply
		if err := json.Unmarshal(data, &r); err == nil && p.replies[r.ID] != nil {
			p.replies[r.ID] <- r
			delete(p.replies, r.ID)
		}
		p.mu.Unlock()
	}
}

// call runs a command in the page and returns its value.
func (p *page) call(name string, args any) (json.RawMessage, error) {
	c := make(chan reply, 1)
	p.mu.Lock()
	p.next++
	id := p.next
	p.replies[id] = c
	p.mu.Unlock()
	m, err := json.Marshal(map[string]any{"id": id, "name": name, "args": args})
	if err != nil {
		return nil, err
	}
	if err := p.ws.Write(context.Background(), websocket.MessageText, m); err != nil {
		return nil, err
	}
	select {
	case r := <-c:
		if r.Error != "" {
			return nil, fmt.Errorf("page: %s: %s", name, r.Error)
		}
		return r.Value, nil
	case <-time.After(20 * time.Second):
		return nil, errors.New("page: " + name + ": no reply within 20 s")
	}
}

func (p *page) must(name string, args any) {
	p.t.Helper()
	if _, err := p.call(name, args); err != nil {
		p.t.Fatal(err)
	}
}

func (p *page) state() pageState {
	p.t.Helper()
	v, err := p.call("state", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	var s pageState
	if err := json.Unmarshal(v, &s); err != nil {
		p.t.Fatal(err)
	}
	return s
}

// connect makes a connection between us and the page.
func (p *page) connect(t *testing.T, polite, weOffer bool, cfg Config) *peer {
	t.Helper()
	p.t = t
	cfg.Loopback = true
	us := newPeer(t, "us", polite, cfg)
	us.driver = func(m []byte) { _ = p.ws.Write(context.Background(), websocket.MessageBinary, m) }
	t.Cleanup(func() {
		p.mu.Lock()
		p.peer = nil
		p.mu.Unlock()
		us.close()
		us.stop()
		us.noErrors()
		if s := p.state(); len(s.Log) > 0 {
			t.Error("page:", s.Log)
		}
	})
	p.mu.Lock()
	p.peer = us
	p.mu.Unlock()
	p.must("create", map[string]any{"isPolite": !polite, "first": !weOffer})
	if weOffer {
		us.do(us.negotiate)
	}
	p.until("connected", func() bool { return us.up() && p.state().Open })
	return us
}

// until waits up to 20 s of real time.
func (p *page) until(what string, ok func() bool) {
	p.t.Helper()
	limit := time.After(20 * time.Second)
	tick := time.NewTicker(15 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			s := p.state()
			us := p.peer
			us.mu.Lock()
			defer us.mu.Unlock()
			p.t.Fatalf("not within 20 s: %s; page %+v; our tracks %d, errors %v, state %v, drops %v",
				what, s, len(us.tracks), us.errs, us.conn.State(), us.conn.Stats().Drops)
		}
	}
}

// here reports whether n tracks of the page arrive at us, and nothing else.
func (us *peer) here(n int) bool {
	us.mu.Lock()
	defer us.mu.Unlock()
	if len(us.tracks) != n {
		return false
	}
	for _, tr := range us.tracks {
		if tr.count() < 3 {
			return false
		}
	}
	return true
}

// there reports whether n tracks of ours arrive at the page, and nothing else.
func (p *page) there(n int) bool {
	s := p.state()
	if s.Live != n || len(s.Received) != n {
		return false
	}
	for _, packets := range s.Received {
		if packets < 3 {
			return false
		}
	}
	return true
}

var kinds = []codec.Kind{codec.Audio, codec.Video}

func TestBrowser(t *testing.T) {
	p := openPage(t)
	for _, weOffer := range []bool{true, false} {
		t.Run(fmt.Sprintf("we offer first %v", weOffer), func(t *testing.T) {
			us := p.connect(t, true, weOffer, Config{})
			if s := p.state(); s.Cipher != "SRTP_AEAD_AES_128_GCM" || s.Role != "client" {
				t.Errorf("SRTP %s, page is DTLS %s", s.Cipher, s.Role)
			}
			browserComesAndGoes(p)
			weComeAndGo(p, us)
		})
	}
	for _, polite := range []bool{true, false} {
		t.Run(fmt.Sprintf("both publish, we polite %v", polite), func(t *testing.T) {
			us := p.connect(t, polite, true, Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}})
			bothPublish(p, us)
		})
	}
	for name, cfg := range map[string]Config{
		"own sockets": {}, "shared socket": {Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}},
	} {
		t.Run("restart, "+name, func(t *testing.T) { restarts(p, p.connect(t, true, true, cfg)) })
	}
}

const rounds = 100

func browserComesAndGoes(p *page) {
	us := p.peer
	after2 := 0
	for i := range rounds {
		id := fmt.Sprint("b", i)
		p.must("add", map[string]any{"id": id, "kind": kinds[i%2].String()})
		p.until(fmt.Sprint("the page's track ", i), func() bool { return us.here(1) })
		p.must("remove", map[string]any{"id": id})
		p.until(fmt.Sprint("end of the page's track ", i), func() bool { return us.here(0) })
		if i == 1 {
			after2 = p.state().Longest
		}
	}
	s := p.state()
	p.t.Logf("page: longest offer %d bytes after 2, %d after %d; %d sections", after2, s.Longest, rounds, s.Sections)
	if s.Longest > after2+200 { // longer mids and versions
		p.t.Errorf("the page's offers grew from %d to %d bytes", after2, s.Longest)
	}
}

func weComeAndGo(p *page, us *peer) {
	after2, longest := 0, 0
	us.call(func() { us.longest = 0 })
	for i := range rounds {
		id := fmt.Sprint("u", i)
		us.add(id, kinds[i%2])
		p.until(fmt.Sprint("our track ", i), func() bool { return p.there(1) })
		us.remove(id)
		p.until(fmt.Sprint("end of our track ", i), func() bool { return p.there(0) })
		if i == 1 {
			us.call(func() { after2 = us.longest })
		}
	}
	us.call(func() { longest = us.longest })
	p.t.Logf("we: longest offer %d bytes after 2, %d after %d; %d sections", after2, longest, rounds, p.state().Sections)
	if longest > after2+64 { // SSRCs, versions and mids differ by digits
		p.t.Errorf("our offers grew from %d to %d bytes", after2, longest)
	}
}

func bothPublish(p *page, us *peer) {
	for i := range rounds {
		id := fmt.Sprint(i)
		us.add(id, kinds[i%2])
		p.must("add", map[string]any{"id": id, "kind": kinds[(i/2)%2].String()})
		p.until(fmt.Sprint("both tracks ", i), func() bool { return us.here(1) && p.there(1) })
		us.remove(id)
		p.must("remove", map[string]any{"id": id})
		p.until(fmt.Sprint("end of both tracks ", i), func() bool { return us.here(0) && p.there(0) })
	}
	s := p.state()
	ignored, collided := 0, 0
	us.call(func() { ignored, collided = us.ignored, us.collided })
	p.t.Logf("%d rounds: page rolled back %d times, we ignored %d and gave way to %d offers, %d sections",
		rounds, s.Rollbacks, ignored, collided, s.Sections)
	if ignored+collided == 0 {
		p.t.Error("no collision in all rounds")
	}
}

func restarts(p *page, us *peer) {
	us.add("v", codec.Video)
	p.must("add", map[string]any{"id": "v", "kind": "video"})
	p.until("media both ways", func() bool { return us.here(1) && p.there(1) })
	for i := range 6 {
		s := p.state()
		var remote string
		us.call(func() { remote = us.conn.RemoteUfrag() })
		if i%2 == 0 {
			us.do(func() { us.conn.Restart(); us.negotiate() })
		} else {
			p.must("restart", nil)
		}
		p.until(fmt.Sprint("restart ", i), func() bool {
			var now string
			us.call(func() { now = us.conn.RemoteUfrag() })
			return now != remote && p.state().Ufrag != s.Ufrag
		})
		p.until(fmt.Sprint("pion restarted ", i), func() bool {
			return us.conn.settled()
		})
		before := 0
		for _, n := range p.state().Received {
			before += n
		}
		us.forget()
		p.until(fmt.Sprint("media after restart ", i), func() bool {
			n := 0
			for _, m := range p.state().Received {
				n += m
			}
			return us.here(1) && n > before+20 && us.up()
		})
	}
}

// Chromium takes an offer with layers, answers without, and gets the track as one
// stream.
func TestBrowserTakesNoLayers(t *testing.T) {
	p := openPage(t)
	us := p.connect(t, true, true, Config{})
	wish := withLayers(newSend("v", codec.Video), "q", "h", "f")
	us.setSends(func([]sdp.Send) []sdp.Send { return []sdp.Send{wish} })
	p.until("our track", func() bool { return p.there(1) })
	us.mu.Lock()
	s := us.sending["v"]
	us.mu.Unlock()
	if s == nil || len(s.s.Layers()) > 0 || s.s.SSRC() != wish.SSRC {
		t.Errorf("sent as %+v", s)
	}
	us.setSends(func([]sdp.Send) []sdp.Send { return nil })
	p.until("its end", func() bool { return p.there(0) })
}

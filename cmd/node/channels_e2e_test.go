//go:build browser

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/weft-rtc/weft/mesh/channel"
	"github.com/weft-rtc/weft/mesh/conn"
	"github.com/weft-rtc/weft/mesh/driver/dial"
	"github.com/weft-rtc/weft/node"
)

// correspondent is what both ends of TestBrowserChannels note of a message, in the
// same words: label, kind, info, bytes and hash, or that it failed.
const correspondent = `
window.mail = { got: [], waiting: [] };
mail.hash = async (b) => [...new Uint8Array(await crypto.subtle.digest("SHA-256", b))].map((x) => x.toString(16).padStart(2, "0")).join("");
mail.note = (line) => { mail.got.push(line); mail.waiting.splice(0).forEach((f) => f()); };
mail.next = async () => {
  const late = setTimeout(() => mail.note("nothing in a minute; links: " + [...weft.peer.links.values()].map((l) => l.id + " " + l.state).join()), 60_000);
  while (!mail.got.length) await new Promise((f) => mail.waiting.push(f));
  clearTimeout(late);
  return mail.got.shift();
};
mail.big = new Uint8Array(20_000_000).map((_, i) => i * 7);
weft.peer.on("channel", ({ action, label }) => { if (action !== "new" && label !== "files") mail.note(label + " " + action); });
weft.peer.on("data", async ({ message }) => {
  try {
    const b = await message.bytes(64e6);
    mail.note([message.label, message.kind, JSON.stringify(message.info ?? null), b.byteLength, await mail.hash(b)].join(" "));
  } catch (e) { mail.note(message.label + " failed " + e.code); }
});
mail.send = async (label, content, options = {}) => (await weft.peer.send(label, content, options)).map(({ error }) => error ? (typeof error.code === "string" ? error.code : error.name) : "sent").join();
true`

func note(label string, kind channel.Type, info string, body []byte) string {
	sum := sha256.Sum256(body)
	return fmt.Sprint(label, " ", uint32(kind), " ", info, " ", len(body), " ", hex.EncodeToString(sum[:]))
}

// TestBrowserChannels: a page and a node exchange every type of message and 20 MB
// both ways, give up halves, close and open again, in Chromium and in Firefox.
func TestBrowserChannels(t *testing.T) {
	for _, browser := range []string{"media", "firefox"} {
		t.Run(browser, func(t *testing.T) {
			h := newHouse(t, "--no-hub")
			m := newMail(h, browser)
			m.open()
			m.fromNode()
			m.fromPage()
			m.reopen()
		})
	}
}

// mail is a page and a peer in this process that write to each other.
type mail struct {
	*house
	page string
	peer *node.Peer
	got  chan string // what the peer got
	big  []byte

	mu    sync.Mutex
	lines []string
}

func newMail(h *house, browser string) *mail {
	h.t.Helper()
	h.enter("mia", browser, "mail", "watch", "")
	d, err := dial.New(h.info.Signal, dial.Options{})
	if err != nil {
		h.t.Fatal(err)
	}
	api, err := conn.NewAPI(conn.Config{Loopback: true})
	if err != nil {
		h.t.Fatal(err)
	}
	p, err := node.New(node.Config{Driver: d, Conn: api, Metadata: map[string]any{"name": "node"}})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		if err := errors.Join(p.Close(), api.Close(), d.Close()); err != nil {
			h.t.Error(err)
		}
	})
	m := &mail{house: h, page: "mia", peer: p, got: make(chan string, 100), big: make([]byte, 20_000_000)}
	for i := range m.big {
		m.big[i] = byte(i * 7)
	}
	p.OnMessage(m.receive)
	p.OnConnection(func(e node.ConnectionEvent) { m.log(e.State, e.Err) })
	h.t.Cleanup(m.failed)
	m.call("wait", args{"page": m.page, "expression": "!!window.weft?.peer", "timeout": patience})
	m.eval(correspondent)
	return m
}

// log keeps what may explain a failure; failed shows it.
func (m *mail) log(v ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lines = append(m.lines, fmt.Sprintln(append([]any{time.Now().Format("05.000")}, v...)...))
}

func (m *mail) failed() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.t.Failed() {
		m.t.Logf("connections of the node:\n%s", m.lines)
	}
}

func (m *mail) receive(e node.ChannelEvent) {
	if string(e.Message.Info) == `"refuse"` {
		_, err := io.CopyN(io.Discard, e.Message, 100_000)
		m.got <- fmt.Sprint("refused ", err)
		return
	}
	info := string(e.Message.Info)
	if info == "" {
		info = "null"
	}
	body, err := e.Message.Bytes(context.Background(), 64<<20)
	if err != nil {
		m.got <- fmt.Sprint(e.Channel.Label(), " failed")
		return
	}
	m.got <- note(e.Channel.Label(), e.Message.Type, info, body)
}

// eval returns the value of an expression on the page as text.
func (m *mail) eval(expression string) string {
	m.t.Helper()
	v := m.call("eval", args{"page": m.page, "expression": expression})
	var s string
	if json.Unmarshal(v, &s) != nil {
		s = string(v)
	}
	return s
}

func (m *mail) pageGets(want string) {
	m.t.Helper()
	if got := m.eval("mail.next()"); got != want {
		for _, r := range m.peer.Connections() {
			m.t.Logf("the node has %s: %v, %d channels", r.ID(), r.State(), len(r.Channels()))
		}
		m.t.Fatalf("the page got %s, want %s", got, want)
	}
}

func (m *mail) nodeGets(want string) {
	m.t.Helper()
	select {
	case got := <-m.got:
		if got != want {
			m.t.Errorf("the node got %s, want %s", got, want)
		}
	case <-time.After(patience):
		m.t.Fatalf("the node got nothing, want %s", want)
	}
}

// open: the node joins with a channel of its own, the page opens another.
func (m *mail) open() {
	m.t.Helper()
	if err := m.peer.Open(node.ChannelOptions{Label: "post"}); err != nil {
		m.t.Fatal(err)
	}
	if err := m.peer.Join(context.Background(), "mail"); err != nil {
		m.t.Fatal(err)
	}
	m.pageGets("post open")
	m.eval(`weft.peer.open("wire")`)
	m.pageGets("wire open")
}

func (m *mail) send(what string, o node.Outgoing) error {
	o.Channel = "post"
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	start := time.Now()
	err := m.peer.Send(ctx, o)
	m.t.Log(what, time.Since(start).Round(time.Millisecond))
	return err
}

func (m *mail) fromNode() {
	m.t.Helper()
	big := node.Reader(bytes.NewReader(m.big), int64(len(m.big)))
	big.Info = map[string]string{"name": "big"}
	steps := 0
	big.Progress = func(string, int64, int64) { steps++ }
	for _, c := range []struct {
		what string
		m    node.Outgoing
		want string
	}{
		{"text", node.Text("grüße"), note("post", channel.Text, "null", []byte("grüße"))},
		{"json", node.JSON([]any{1, nil}), note("post", channel.JSON, "null", []byte("[1,null]"))},
		{"bytes", node.Bytes([]byte{0, 255}), note("post", channel.Bytes, "null", []byte{0, 255})},
		{"nothing", node.Bytes(nil), note("post", channel.Bytes, "null", nil)},
		{"20 MB to the page", big, note("post", channel.Blob, `{"name":"big"}`, m.big)},
	} {
		if err := m.send(c.what, c.m); err != nil {
			m.t.Errorf("%s: %v", c.what, err)
		}
		m.pageGets(c.want)
	}
	if steps < len(m.big)/16384 {
		m.t.Errorf("%d steps of progress", steps)
	}
	ctx, cancel := context.WithCancel(context.Background())
	half := node.Reader(io.MultiReader(bytes.NewReader(m.big), bytes.NewReader(m.big)), -1)
	half.Channel = "post"
	half.Progress = func(_ string, sent, _ int64) {
		if sent > 500_000 {
			cancel()
		}
	}
	if err := m.peer.Send(ctx, half); !errors.Is(err, context.Canceled) {
		m.t.Errorf("given up: %v", err)
	}
	m.pageGets("post failed aborted")
}

func (m *mail) fromPage() {
	m.t.Helper()
	for _, c := range []struct{ content, sent, want string }{
		{`"grüße"`, "sent", note("wire", channel.Text, "null", []byte("grüße"))},
		{`{ a: [1, null] }`, "sent", note("wire", channel.JSON, "null", []byte(`{"a":[1,null]}`))},
		{`new Blob(["blob"]), { info: { n: 1 } }`, "sent", note("wire", channel.Blob, `{"n":1}`, []byte("blob"))},
		{`new Uint8Array([0, 255])`, "sent", note("wire", channel.Bytes, "null", []byte{0, 255})},
		{`""`, "sent", note("wire", channel.Text, "null", nil)},
		{`new Blob([mail.big]), { info: "big" }`, "sent", note("wire", channel.Blob, `"big"`, m.big)},
		{`new Blob([mail.big]), { info: "refuse" }`, "aborted", "refused <nil>"},
		{`new Blob([mail.big, mail.big]), ((c) => ({ signal: c.signal, onprogress: (id, sent) => { if (sent > 5e5) c.abort(); } }))(new AbortController())`, "AbortError", "wire failed"},
		{`"after all"`, "sent", note("wire", channel.Text, "null", []byte("after all"))},
	} {
		start := time.Now()
		if got := m.eval(`mail.send("wire", ` + c.content + `)`); got != c.sent {
			m.t.Errorf("%s: %s, want %s", c.content, got, c.sent)
		}
		m.nodeGets(c.want)
		if len(c.content) > 20 {
			m.t.Log(c.content[:20], time.Since(start).Round(time.Millisecond))
		}
	}
}

// reopen: each side closes what it has opened, and opens it again.
func (m *mail) reopen() {
	m.t.Helper()
	for range 3 {
		m.peer.CloseChannel("post")
		m.pageGets("post close")
		if err := m.peer.Open(node.ChannelOptions{Label: "post"}); err != nil {
			m.t.Fatal(err)
		}
		m.pageGets("post open")
		if err := m.send("on the new channel", node.Text("again")); err != nil {
			m.t.Error(err)
		}
		m.pageGets(note("post", channel.Text, "null", []byte("again")))

		m.eval(`weft.peer.close("wire")`)
		m.pageGets("wire close")
		m.eval(`weft.peer.open("wire")`)
		m.pageGets("wire open")
		if got := m.eval(`mail.send("wire", "again")`); got != "sent" {
			m.t.Errorf("on the new channel: %s", got)
		}
		m.nodeGets(note("wire", channel.Text, "null", []byte("again")))
	}
}

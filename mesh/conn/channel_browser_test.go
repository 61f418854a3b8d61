//go:build browser

package conn

import (
	"encoding/json"
	"fmt"
	"testing"
)

// pageChannel is what the page says of a data channel.
type pageChannel struct {
	Label, Protocol, State string
	Ordered, Negotiated    bool
	ID                     uint16
	Life, Retransmits      *uint16
	Opened, Closed         int
	Messages, Bytes        int
	Texts                  []string
	Sum                    uint32
}

func (p *page) channels() []pageChannel {
	p.t.Helper()
	v, err := p.call("channels", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	var all []pageChannel
	if err := json.Unmarshal(v, &all); err != nil {
		p.t.Fatal(err)
	}
	return all
}

// channel waits for the channel with that index to be in a state.
func (p *page) channel(index int, state string) (c pageChannel) {
	p.t.Helper()
	p.until(fmt.Sprintf("the page's channel %d is %s", index, state), func() bool {
		all := p.channels()
		if index < len(all) {
			c = all[index]
		}
		return c.State == state
	})
	return c
}

func sumOf(b []byte) (sum uint32) {
	for _, c := range b {
		sum = sum*31 + uint32(c)
	}
	return sum
}

func counting(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

func TestBrowserChannels(t *testing.T) {
	p := openPage(t)
	for _, weOffer := range []bool{true, false} {
		t.Run(fmt.Sprintf("we offer first %v", weOffer), func(t *testing.T) {
			k := newDesk(p.connect(t, false, weOffer, Config{}))
			browserOpens(t, p, k)
			weOpen(t, p, k)
			browserNegotiated(t, p, k)
			browserReopens(t, p, k)
			browserFloods(t, p, k)
		})
	}
}

const megabyte = 1 << 20

func browserOpens(t *testing.T, p *page, k *desk) {
	p.must("openChannel", map[string]any{"label": "theirs", "options": map[string]any{"protocol": "p", "ordered": false, "maxRetransmits": 2}})
	p.must("openChannel", map[string]any{"label": "data"})
	first, e := k.here(p, 1), k.here(p, 2)
	if o := first.d.Options(); o.Label != "theirs" || o.Protocol != "p" || !o.Unordered || !same(o.MaxRetransmits, num(2)) || o.MaxPacketLifeTime != nil {
		t.Errorf("options %+v", o)
	}
	p.channel(1, "open")
	p.must("sendText", map[string]any{"index": 1, "text": "zażółć"})
	p.must("sendText", map[string]any{"index": 1, "text": ""})
	p.must("sendBytes", map[string]any{"index": 1, "total": megabyte, "size": 16384})
	p.must("sendBytes", map[string]any{"index": 1, "total": MaxChannelMessage, "size": MaxChannelMessage})
	p.until("what the page sends", func() bool { n, _, _ := e.count(); return n == 2+64+1 })
	e.mu.Lock()
	defer e.mu.Unlock()
	if string(e.notes[0].data) != "zażółć" || !e.notes[0].text || len(e.notes[1].data) != 0 || !e.notes[1].text {
		t.Errorf("texts %+v", e.notes[:2])
	}
	for i, n := range e.notes[2:66] {
		if n.text || len(n.data) != 16384 || n.data[1] != 1 {
			t.Fatalf("message %d: %d bytes", i, len(n.data))
		}
	}
	if n := len(e.notes[66].data); n != MaxChannelMessage {
		t.Errorf("longest message has %d bytes", n)
	}
}

// here is nth in real time.
func (k *desk) here(p *page, n int) (e *ears) {
	p.until(fmt.Sprint("our channel ", n), func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		if len(k.all) >= n {
			e = k.all[n-1]
		}
		return e != nil
	})
	return e
}

func weOpen(t *testing.T, p *page, k *desk) {
	life := k.open(t, ChannelOptions{Label: "life", MaxPacketLifeTime: num(500), Protocol: "q"})
	if c := p.channel(2, "open"); c.Label != "life" || !same(c.Life, num(500)) || c.Retransmits != nil || !c.Ordered || c.Protocol != "q" || c.ID != life.d.ID() {
		t.Errorf("%+v", c)
	}
	e := k.open(t, ChannelOptions{Label: "ours"})
	low := make(chan struct{}, 1)
	e.d.OnLow(32768, func() {
		select {
		case low <- struct{}{}:
		default:
		}
	})
	data := counting(megabyte)
	for at := 0; at < megabyte; at += 16384 {
		for e.d.Buffered() > 262144 {
			<-low
		}
		if err := e.d.Send(data[at : at+16384]); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.d.Send(data[:MaxChannelMessage]); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"zażółć", ""} {
		if err := e.d.SendText(text); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.d.Send(nil); err != nil {
		t.Fatal(err)
	}
	var c pageChannel
	p.until("what we send", func() bool { c = p.channels()[3]; return c.Messages == 64+1+2+1 })
	if c.Bytes != megabyte+MaxChannelMessage || c.Sum != sumOf(append(data, data[:MaxChannelMessage]...)) || fmt.Sprint(c.Texts) != "[zażółć ]" {
		t.Errorf("%+v", c)
	}
}

func browserNegotiated(t *testing.T, p *page, k *desk) {
	e := k.open(t, ChannelOptions{Negotiated: true, ID: 100})
	if err := e.d.SendText("early"); err != nil { // which Chromium may lose
		t.Fatal(err)
	}
	p.must("openChannel", map[string]any{"label": "n", "options": map[string]any{"negotiated": true, "id": 100}})
	p.channel(4, "open")
	p.must("sendText", map[string]any{"index": 4, "text": "hello"})
	p.until("a text", func() bool { n, _, _ := e.count(); return n == 1 })
	if err := e.d.SendText("hello"); err != nil {
		t.Fatal(err)
	}
	p.until("a text back", func() bool { return p.channels()[4].Messages >= 1 })
	p.must("openChannel", map[string]any{"label": "m", "options": map[string]any{"negotiated": true, "id": 102}})
	p.channel(5, "open")
	p.must("sendText", map[string]any{"index": 5, "text": "early"})
	p.must("openChannel", map[string]any{"label": "after"})
	k.here(p, 6)
	late := k.open(t, ChannelOptions{Negotiated: true, ID: 102})
	p.until("what came early", func() bool { n, _, _ := late.count(); return n == 1 })
}

// browserReopens closes and reopens a channel 100 times, each side in turn.
func browserReopens(t *testing.T, p *page, k *desk) {
	theirs := len(p.channels())
	stuck := 0
	for i := range 100 {
		ours := len(k.all)
		var e *ears
		if i%2 == 0 {
			e = k.open(t, ChannelOptions{Label: "again"})
		} else {
			p.must("openChannel", map[string]any{"label": "again"})
			e = k.here(p, ours+1)
		}
		p.channel(theirs+i, "open")
		if err := e.d.SendText("x"); err != nil {
			t.Fatal(err)
		}
		p.until("a text", func() bool { return p.channels()[theirs+i].Messages == 1 })
		if i%4 < 2 {
			if err := e.d.Close(); err != nil {
				t.Fatal(err)
			}
		} else {
			p.must("closeChannel", map[string]any{"index": theirs + i})
		}
		p.until("our channel is closed", func() bool { _, _, n := e.count(); return n == 1 })
		if c := p.channels()[theirs+i]; c.State != "closed" {
			stuck++
		}
	}
	all := p.channels()[theirs:]
	p.until("the page's are closed", func() bool { all = p.channels()[theirs:]; return closed(all) == len(all) })
	p.until("no stream is left", func() bool { return len(k.conn.transport.Load().channels.all()) == 7 })
	t.Logf("%d of 100 were not closed at once on the page", stuck)
}

func closed(all []pageChannel) (n int) {
	for _, c := range all {
		if c.State == "closed" {
			n++
		}
	}
	return n
}

// browserFloods opens more channels than we take.
func browserFloods(t *testing.T, p *page, k *desk) {
	before := len(p.channels())
	for i := range 300 {
		p.must("openChannel", map[string]any{"label": fmt.Sprint("flood ", i)})
	}
	p.until("the refusal of some", func() bool {
		n := closed(p.channels()[before:])
		return n == 300-(MaxChannels-7)
	})
	if err := k.conn.Err(); err != nil {
		t.Error(err)
	}
}

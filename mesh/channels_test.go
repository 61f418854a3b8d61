package mesh

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-rtc/weft/mesh/conn"
	"github.com/weft-rtc/weft/mesh/sdp"
	"github.com/weft-rtc/weft/mesh/signal"
)

// ears is a ChannelSink that remembers.
type ears struct {
	d *conn.DataChannel

	mu     sync.Mutex
	opened int
	texts  []string
	closed []error
}

func newEars(d *conn.DataChannel) *ears { return &ears{d: d} }

func (e *ears) ChannelOpen() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.opened++
}

func (e *ears) ChannelMessage(b []byte, _ bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.texts = append(e.texts, string(b))
}

func (e *ears) ChannelClosed(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = append(e.closed, err)
}

// linkPair is a pair of guests; a is the impolite one.
type linkPair struct {
	t    *testing.T
	a, b *guest
}

func joinPair(t *testing.T, s *site) *linkPair {
	a, b := s.join(Config{}), s.join(Config{})
	if signal.Polite(a.room.ID(), b.room.ID()) {
		a, b = b, a
	}
	return &linkPair{t, a, b}
}

func (p *linkPair) links() (a, b *Link) {
	p.t.Helper()
	pass(3 * time.Second)
	linked(p.t, p.a, p.b)
	return p.a.ready[p.b.room.ID()], p.b.ready[p.a.room.ID()]
}

// alive returns the channels of a guest that are open, in the order in which
// they came.
func (w *witness) alive() (all []*ears) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.channels {
		e.mu.Lock()
		if len(e.closed) == 0 {
			all = append(all, e)
		}
		e.mu.Unlock()
	}
	return all
}

func labels(all []*ears) string {
	var names []string
	for _, e := range all {
		names = append(names, e.d.Label())
	}
	return strings.Join(names, " ")
}

// check looks whether both sides have these channels and no others, and whether
// each carries a message both ways.
func (p *linkPair) check(want string) {
	p.t.Helper()
	pass(time.Second)
	synctest.Wait()
	a, b := p.a.alive(), p.b.alive()
	if labels(a) != want || labels(b) != want {
		p.t.Fatalf("channels %q and %q, want %q", labels(a), labels(b), want)
	}
	for i := range a {
		if a[i].d.ID() != b[i].d.ID() {
			p.t.Errorf("%q has ids %d and %d", a[i].d.Label(), a[i].d.ID(), b[i].d.ID())
		}
		for _, pair := range [][2]*ears{{a[i], b[i]}, {b[i], a[i]}} {
			if err := pair[0].d.SendText("x"); err != nil {
				p.t.Error(err)
			}
		}
	}
	pass(time.Second)
	synctest.Wait()
	for _, e := range append(a, b...) {
		e.mu.Lock()
		if e.opened != 1 || len(e.texts) == 0 {
			p.t.Errorf("%q: opened %d times, %d messages", e.d.Label(), e.opened, len(e.texts))
		}
		e.mu.Unlock()
	}
}

// made counts the channels that ever were.
func (p *linkPair) made(want int) {
	p.t.Helper()
	if a, b := len(p.a.channels), len(p.b.channels); a != want || b != want {
		p.t.Errorf("%d and %d channels were made, want %d", a, b, want)
	}
}

func TestOpenChannel(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		p := joinPair(t, s)
		a, b := p.links()
		retransmits := uint16(3)
		a.OpenChannel(conn.ChannelOptions{Label: "impolite"})
		p.check("impolite")
		b.OpenChannel(conn.ChannelOptions{Label: "polite", Protocol: "p", Unordered: true, MaxRetransmits: &retransmits})
		p.check("impolite polite")
		for _, e := range []*ears{p.a.alive()[1], p.b.alive()[1]} {
			if o := e.d.Options(); o.Protocol != "p" || !o.Unordered || o.MaxRetransmits == nil || *o.MaxRetransmits != 3 {
				t.Errorf("options %+v", o)
			}
		}
		for range 3 { // the same labels again, from both sides, and what is not valid
			for _, l := range []*Link{a, b} {
				l.OpenChannel(conn.ChannelOptions{Label: "impolite"})
				l.OpenChannel(conn.ChannelOptions{Label: "polite"})
				l.OpenChannel(conn.ChannelOptions{Label: "\xff"})
			}
		}
		p.check("impolite polite")
		a.OpenChannel(conn.ChannelOptions{Label: "both"})
		b.OpenChannel(conn.ChannelOptions{Label: "both"})
		p.check("impolite polite both")
		p.made(3)
	})
}

// TestOpenChannelEarly: wishes made before there is a control channel.
func TestOpenChannelEarly(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		p := joinPair(t, s)
		early := 0
		for range 200 {
			pass(time.Millisecond)
			for _, g := range []*guest{p.a, p.b} {
				for _, l := range g.room.Links() {
					if l.State() != conn.StateConnected {
						early++
					}
					l.OpenChannel(conn.ChannelOptions{Label: "early"})
					l.OpenChannel(conn.ChannelOptions{Label: "negotiated", Negotiated: true, ID: 5})
				}
			}
		}
		if early == 0 {
			t.Error("no wish was made before the connection was up")
		}
		pass(3 * time.Second)
		for _, g := range []*guest{p.a, p.b} {
			if n := len(g.alive()); n != 2 || len(g.channels) != 2 {
				t.Errorf("%d channels of %d", n, len(g.channels))
			}
		}
	})
}

// TestForgetChannel: a wish that was taken back before it could be done is not
// done, and may be made again.
func TestForgetChannel(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		p := joinPair(t, s)
		gone, kept := conn.ChannelOptions{Label: "gone"}, conn.ChannelOptions{Label: "kept"}
		early := 0
		for range 200 {
			pass(time.Millisecond)
			for _, g := range []*guest{p.a, p.b} {
				for _, l := range g.room.Links() {
					if l.State() == conn.StateConnected {
						continue
					}
					early++
					l.OpenChannel(gone)
					l.OpenChannel(kept)
					l.ForgetChannel(gone)
				}
			}
		}
		if early == 0 {
			t.Error("no wish was made before the connection was up")
		}
		a, _ := p.links()
		p.check("kept")
		a.OpenChannel(gone)
		p.check("kept gone")
	})
}

// TestWishInRestart: a channel that is wished for while ICE restarts comes when
// that is over, whoever wishes.
func TestWishInRestart(t *testing.T) {
	for _, polite := range []bool{false, true} {
		bubble(t, func(t *testing.T, s *site) {
			p := joinPair(t, s)
			a, b := p.links()
			l := a
			if polite {
				l = b
			}
			l.RestartICE()
			for i := range 40 {
				pass(5 * time.Millisecond)
				l.OpenChannel(conn.ChannelOptions{Label: fmt.Sprint(i)})
			}
			pass(10 * time.Second)
			synctest.Wait()
			if a, b := len(p.a.alive()), len(p.b.alive()); a != 40 || b != 40 {
				t.Errorf("polite %v: %d and %d channels of 40", polite, a, b)
			}
		})
	}
}

func TestChannelReopens(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		p := joinPair(t, s)
		a, b := p.links()
		for i := range 100 {
			opener, closer := a, b
			if i%2 == 1 {
				opener = b
			}
			if i%4 < 2 {
				closer = a
			}
			opener.OpenChannel(conn.ChannelOptions{Label: "again"})
			pass(time.Second)
			synctest.Wait()
			x, y := p.a.alive(), p.b.alive()
			if len(x) != 1 || len(y) != 1 {
				t.Fatalf("round %d: %d and %d channels", i, len(x), len(y))
			}
			closing := y[0].d
			if closer == a {
				closing = x[0].d
			}
			closer.CloseChannel(closing)
			if i%5 == 0 {
				closer.OpenChannel(conn.ChannelOptions{Label: "again"}) // at once
				pass(time.Second)
				synctest.Wait()
				if len(p.a.alive()) != 1 || len(p.b.alive()) != 1 {
					t.Fatalf("round %d: not reopened at once: %d and %d", i, len(p.a.alive()), len(p.b.alive()))
				}
				closer.CloseChannel(p.side(closer).alive()[0].d)
			}
			pass(time.Second)
			synctest.Wait()
			if len(p.a.alive())+len(p.b.alive()) != 0 {
				t.Fatalf("round %d: still open", i)
			}
		}
		for _, l := range []*Link{a, b} {
			if n := len(l.channels.table); n > 1 {
				t.Errorf("%d channels in the table", n)
			}
		}
	})
}

func (p *linkPair) side(l *Link) *guest {
	if p.a.ready[p.b.room.ID()] == l {
		return p.a
	}
	return p.b
}

// TestChannelReplaced: what the polite side creates by itself is taken, and a
// second one of the label replaces the first.
func TestChannelReplaced(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		p := joinPair(t, s)
		a, b := p.links()
		a.OpenChannel(conn.ChannelOptions{Label: "x"})
		p.check("x")
		old := p.a.alive()[0]
		d, err := b.conn.OpenChannel(conn.ChannelOptions{Label: "x"})
		if err != nil {
			t.Fatal(err)
		}
		b.room.cfg.Handler.LinkChannel(b, d)
		pass(time.Second)
		synctest.Wait()
		if now := p.a.alive(); len(now) != 1 || now[0] == old || now[0].d.ID() != d.ID() {
			t.Errorf("%d channels", len(now))
		}
		if now := p.b.alive(); len(now) != 1 || now[0].d != d {
			t.Errorf("%d channels on the polite side", len(now))
		}
	})
}

// TestChannelRequests: what a peer may say, and whom.
func TestChannelRequests(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		p := joinPair(t, s)
		a, b := p.links()
		for _, text := range []string{
			`null`, `[]`, `{"label":5}`, `{"label":"` + strings.Repeat("l", 300) + `"}`,
			`{"label":"x","maxRetransmits":1,"maxPacketLifeTime":1}`, `{"protocol":"no label"}`,
		} {
			if err := b.SendEvent(signal.EventChannel, json.RawMessage(text)); err != nil {
				t.Fatal(err)
			}
		}
		// The impolite side has nothing to ask for.
		if err := a.SendEvent(signal.EventChannel, signal.ChannelRequest{Label: "x"}); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		p.made(0)
		for i := range 2 * conn.MaxChannels {
			if err := b.SendEvent(signal.EventChannel, signal.ChannelRequest{Label: fmt.Sprint("x", i)}); err != nil {
				t.Fatal(err)
			}
		}
		pass(time.Second)
		synctest.Wait()
		p.made(conn.MaxChannels)
		linked(t, p.a, p.b)
		b.Close()
		pass(time.Second)
		synctest.Wait()
		if n := len(p.a.alive()) + len(p.b.alive()); n != 0 {
			t.Errorf("%d channels outlived their link", n)
		}
	})
}

// TestChannelsBeforeMedia: the order on the wire (WIRE 9).
func TestChannelsBeforeMedia(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		p := joinPair(t, s)
		var order []string
		for range 200 {
			pass(time.Millisecond)
			for _, l := range p.a.room.Links() {
				l.SetSends([]sdp.Send{video("v")}, map[string]string{"sv": "v"})
				l.OpenChannel(conn.ChannelOptions{Label: "x"})
			}
			p.b.locked(func() {
				if len(p.b.channels) > 0 && len(order) == 0 {
					order = append(order, "channel")
				}
				if len(p.b.tracks) > 0 && len(order) == 0 {
					order = append(order, "track")
				}
			})
		}
		pass(3 * time.Second)
		if len(order) != 1 || order[0] != "channel" || len(p.b.tracks) != 1 {
			t.Errorf("first came %v; %d tracks, %d channels", order, len(p.b.tracks), len(p.b.channels))
		}
	})
}

// TestNegotiatedReopens: the same stream id again, at once, on both sides.
func TestNegotiatedReopens(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		p := joinPair(t, s)
		a, b := p.links()
		o := conn.ChannelOptions{Label: "n", Negotiated: true, ID: 5}
		a.OpenChannel(o)
		b.OpenChannel(o)
		a.OpenChannel(conn.ChannelOptions{Label: "n"}) // another: ids and labels do not mix
		p.check("n n")
		for range 10 {
			for _, x := range []struct {
				l *Link
				g *guest
			}{{a, p.a}, {b, p.b}} {
				for _, e := range x.g.alive() {
					if e.d.Options().Negotiated {
						x.l.CloseChannel(e.d)
						x.l.OpenChannel(o)
						x.l.OpenChannel(o)
					}
				}
			}
			p.check("n n")
		}
		p.made(12)
	})
}

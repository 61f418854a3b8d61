package conn

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// note is a message that came.
type note struct {
	data []byte
	text bool
}

// ears is a ChannelSink that remembers.
type ears struct {
	d    *DataChannel
	hear func(b []byte, text bool) // called with each message, if set

	mu     sync.Mutex
	opened int
	notes  []note
	bytes  int
	closed []error
	bad    []string
}

func (e *ears) ChannelOpen() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.opened++
	if len(e.notes)+len(e.closed) > 0 {
		e.bad = append(e.bad, "ChannelOpen was not first")
	}
}

func (e *ears) ChannelMessage(b []byte, text bool) {
	if e.hear != nil {
		e.hear(b, text)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.opened != 1 {
		e.bad = append(e.bad, "message before ChannelOpen")
	}
	if len(e.closed) > 0 && e.hear == nil {
		e.bad = append(e.bad, "message after ChannelClosed")
	}
	e.bytes += len(b)
	if len(e.notes) < 10000 {
		e.notes = append(e.notes, note{b, text})
	}
}

func (e *ears) ChannelClosed(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = append(e.closed, err)
	if len(e.closed) > 1 {
		e.bad = append(e.bad, "ChannelClosed twice")
	}
}

func (e *ears) count() (notes, bytes, closed int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.notes), e.bytes, len(e.closed)
}

// why returns what ChannelClosed said.
func (e *ears) why() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.closed[0]
}

// desk opens and takes the channels of a peer.
type desk struct {
	*peer
	mu   sync.Mutex
	all  []*ears
	hear func(b []byte, text bool)
}

func newDesk(p *peer) *desk {
	k := &desk{peer: p}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.accept = func(d *DataChannel) { k.attach(d) }
	return k
}

func (k *desk) attach(d *DataChannel) *ears {
	k.mu.Lock()
	e := &ears{d: d, hear: k.hear}
	k.all = append(k.all, e)
	k.mu.Unlock()
	d.SetSink(e)
	return e
}

func (k *desk) open(t testing.TB, o ChannelOptions) *ears {
	t.Helper()
	d, err := k.conn.OpenChannel(o)
	if err != nil {
		t.Fatal(err)
	}
	return k.attach(d)
}

// last returns the n-th channel of the desk, counted from 1, when it is there.
func (k *desk) nth(t *testing.T, n int) *ears {
	t.Helper()
	var e *ears
	eventually(t, fmt.Sprintf("channel %d of %s", n, k.name), func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		if len(k.all) < n {
			return false
		}
		e = k.all[n-1]
		return true
	})
	return e
}

// fine reports what any of the sinks found wrong.
func (k *desk) fine(t *testing.T, closed bool) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, e := range k.all {
		e.mu.Lock()
		if len(e.bad) > 0 || closed && len(e.closed) != 1 {
			t.Errorf("%s, channel %d: %v, closed %v", k.name, i, e.bad, e.closed)
		}
		e.mu.Unlock()
	}
}

// inChannels is inBubble with the pair connected and desks, and looks at the end
// whether every sink heard ChannelClosed once.
func inChannels(t *testing.T, f func(t *testing.T, w *wan, a, b *desk)) {
	inBubble(t, func(t *testing.T, w *wan, a, b *peer) {
		da, db := newDesk(a), newDesk(b)
		connect(t, a, b)
		f(t, w, da, db)
		a.close()
		b.close()
		da.fine(t, true)
		db.fine(t, true)
	})
}

func num(n uint16) *uint16 { return &n }

func same(a, b *uint16) bool { return a == b || a != nil && b != nil && *a == *b }

func TestChannelOptionsArrive(t *testing.T) {
	inChannels(t, func(t *testing.T, w *wan, a, b *desk) {
		for i, o := range []ChannelOptions{
			{Label: "plain"},
			{Label: "", Protocol: "p"},
			{Label: "ż", Unordered: true},
			{Label: "life", MaxPacketLifeTime: num(300)},
			{Label: "retransmits", Unordered: true, MaxRetransmits: num(0)},
		} {
			from, to := a, b
			if i%2 == 1 {
				from, to = b, a
			}
			near := from.open(t, o)
			far := to.nth(t, i+1)
			got := far.d.Options()
			if got.Label != o.Label || got.Protocol != o.Protocol || got.Unordered != o.Unordered ||
				!same(got.MaxPacketLifeTime, o.MaxPacketLifeTime) || !same(got.MaxRetransmits, o.MaxRetransmits) || got.Negotiated {
				t.Errorf("opened %+v, came %+v", o, got)
			}
			if got.Framed() != (i == 0 || i == 3) {
				t.Errorf("%+v: framed %v", got, got.Framed())
			}
			if near.d.ID() != far.d.ID() || far.d.Label() != o.Label {
				t.Errorf("ids %d %d", near.d.ID(), far.d.ID())
			}
			exchange(t, near, far)
		}
	})
}

// exchange sends each kind of message both ways.
func exchange(t *testing.T, x, y *ears) {
	t.Helper()
	for _, pair := range [][2]*ears{{x, y}, {y, x}} {
		before, _, _ := pair[1].count()
		d := pair[0].d
		big := bytes.Repeat([]byte("0123456789abcdef"), MaxChannelMessage/16)
		for _, err := range []error{d.Send([]byte{1, 0, 2}), d.SendText("ż"), d.Send(nil), d.SendText(""), d.Send(big)} {
			if err != nil {
				t.Error(err)
			}
		}
		if err := d.Send(append(big, 'x')); !errors.Is(err, ErrChannelTooLarge) {
			t.Errorf("too large: %v", err)
		}
		eventually(t, "five messages", func() bool { n, _, _ := pair[1].count(); return n == before+5 })
		want := []note{{[]byte{1, 0, 2}, false}, {[]byte("ż"), true}, {nil, false}, {nil, true}, {big, false}}
		pair[1].mu.Lock()
		for i, n := range pair[1].notes[before:] {
			is := func(w note) bool { return n.text == w.text && bytes.Equal(n.data, w.data) }
			at := slices.IndexFunc(want, is)
			if at < 0 || at > 0 && !d.Options().Unordered {
				t.Errorf("message %d: %d bytes, text %v", i, len(n.data), n.text)
				continue
			}
			want = slices.Delete(want, at, at+1)
		}
		pair[1].mu.Unlock()
	}
}

func TestChannelNegotiated(t *testing.T) {
	inChannels(t, func(t *testing.T, w *wan, a, b *desk) {
		// What comes before the other side has opened its end is not lost, and
		// channels in band still work after it.
		x := a.open(t, ChannelOptions{Label: "mine", Negotiated: true, ID: 7})
		if err := x.d.SendText("early"); err != nil {
			t.Fatal(err)
		}
		if err := x.d.SendText("early too"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		y := b.open(t, ChannelOptions{Label: "yours", Negotiated: true, ID: 7})
		eventually(t, "what came early", func() bool { n, _, _ := y.count(); return n == 2 })
		y.mu.Lock()
		y.notes = nil
		y.mu.Unlock()
		exchange(t, x, y)
		if _, err := a.conn.OpenChannel(ChannelOptions{Negotiated: true, ID: 7}); !errors.Is(err, ErrChannelID) {
			t.Errorf("the id is in use: %v", err)
		}
		a.open(t, ChannelOptions{Label: "in band"})
		exchange(t, a.nth(t, 2), b.nth(t, 2))
		for range 3 { // the id again, on both sides
			x.d.Close()
			eventually(t, "both closed", func() bool {
				_, _, m := x.count()
				_, _, n := y.count()
				return m == 1 && n == 1
			})
			var err error
			var d *DataChannel
			eventually(t, "the id free again", func() bool {
				d, err = a.conn.OpenChannel(ChannelOptions{Negotiated: true, ID: 7})
				return err == nil
			})
			x, y = a.attach(d), b.open(t, ChannelOptions{Negotiated: true, ID: 7})
			exchange(t, x, y)
		}
	})
}

// Data on a stream that nobody opens is given up.
func TestChannelNegotiatedBySomebody(t *testing.T) {
	inChannels(t, func(t *testing.T, w *wan, a, b *desk) {
		x := a.open(t, ChannelOptions{Negotiated: true, ID: 9})
		if err := x.d.Send(make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "closed by the other side", func() bool { _, _, n := x.count(); return n == 1 })
		if n := b.conn.Stats().Drops[DropChannel]; n != 1 {
			t.Errorf("%d drops", n)
		}
		a.open(t, ChannelOptions{Label: "other"})
		exchange(t, a.nth(t, 2), b.nth(t, 1))
	})
}

func TestChannelRefusesOptions(t *testing.T) {
	long := string(make([]byte, MaxChannelName+1))
	for _, o := range []ChannelOptions{
		{Label: long}, {Protocol: long}, {Label: "\xff"}, {MaxRetransmits: num(1), MaxPacketLifeTime: num(1)},
		{Negotiated: true}, {Negotiated: true, ID: MaxChannelID + 1},
	} {
		if err := o.Validate(); err == nil {
			t.Errorf("%+v accepted", o)
		}
	}
	inBubble(t, func(t *testing.T, w *wan, a, b *peer) {
		if _, err := a.conn.OpenChannel(ChannelOptions{}); !errors.Is(err, ErrControlClosed) {
			t.Errorf("before the control channel: %v", err)
		}
		connect(t, a, b)
		a.close()
		if _, err := a.conn.OpenChannel(ChannelOptions{}); err == nil {
			t.Error("after Close")
		}
	})
}

func TestChannelCloses(t *testing.T) {
	inChannels(t, func(t *testing.T, w *wan, a, b *desk) {
		for i := range 100 {
			from, to := a, b
			if i%3 == 1 {
				from, to = b, a
			}
			x := from.open(t, ChannelOptions{Label: "again"})
			y := to.nth(t, i+1)
			if err := x.d.SendText("last words"); err != nil {
				t.Fatal(err)
			}
			if i%2 == 0 {
				x.d.Close()
				x.d.Close()
			} else {
				eventually(t, "the message", func() bool { n, _, _ := y.count(); return n == 1 })
				y.d.Close()
			}
			eventually(t, fmt.Sprint("round ", i), func() bool {
				_, _, m := x.count()
				n, _, k := y.count()
				return m == 1 && k == 1 && n == 1
			})
			if x.why() != nil || y.why() != nil {
				t.Errorf("closed with %v, %v", x.why(), y.why())
			}
			if err := x.d.Send(nil); !errors.Is(err, ErrChannelClosed) {
				t.Errorf("Send after Close: %v", err)
			}
		}
		time.Sleep(time.Second)
		for _, k := range []*desk{a, b} {
			if n := len(k.conn.transport.Load().channels.all()); n != 0 {
				t.Errorf("%s still has %d streams", k.name, n)
			}
		}
	})
}

// Under loss, ids that are used again must not be hit by resets that are sent
// again.
func TestChannelClosesUnderLoss(t *testing.T) {
	inChannels(t, func(t *testing.T, w *wan, a, b *desk) {
		w.setLoss(20)
		for i := range 60 {
			x := a.open(t, ChannelOptions{Label: "again"})
			y := b.nth(t, i+1)
			if err := y.d.Send([]byte{1}); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the message", func() bool { n, _, _ := x.count(); return n == 1 })
			if i%2 == 0 {
				x.d.Close()
			} else {
				y.d.Close()
			}
		}
		w.setLoss(0)
	})
}

// TestChannelLoopback is the whole over real sockets, and leaves nothing behind.
func TestChannelLoopback(t *testing.T) {
	defer goleak.VerifyNone(t)
	x, y := newPeer(t, "x", false, Config{Loopback: true}), newPeer(t, "y", true, Config{Loopback: true})
	x.other, y.other = y, x
	dx, dy := newDesk(x), newDesk(y)
	connect(t, x, y)
	near := dx.open(t, ChannelOptions{Label: "x"})
	far := dy.nth(t, 1)
	exchange(t, near, far)
	dy.open(t, ChannelOptions{Label: "y"})
	exchange(t, dx.nth(t, 2), dy.nth(t, 2))
	near.d.Close()
	eventually(t, "the end of one", func() bool { _, _, n := far.count(); return n == 1 })
	for _, p := range []*peer{x, y} {
		p.close()
		p.stop()
		p.noErrors()
	}
	dx.fine(t, true)
	dy.fine(t, true)
}

package conn

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pion/sctp"
)

// raw begins a stream of p's association with bytes of the test's own.
func raw(t *testing.T, p *peer, id uint16, kind sctp.PayloadProtocolIdentifier, b []byte) *sctp.Stream {
	t.Helper()
	s, err := p.conn.transport.Load().channels.assoc.OpenStream(id, kind)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.WriteSCTP(b, kind); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestChannelLimit(t *testing.T) {
	inChannels(t, func(t *testing.T, w *wan, a, b *desk) {
		for i := range MaxChannels {
			a.open(t, ChannelOptions{Label: fmt.Sprint(i)})
		}
		if _, err := a.conn.OpenChannel(ChannelOptions{Label: "more"}); !errors.Is(err, ErrTooManyChannels) {
			t.Errorf("one more: %v", err)
		}
		b.nth(t, MaxChannels)
		for i, e := range b.all {
			if e.d.Label() != fmt.Sprint(i) {
				t.Fatalf("channel %d has label %q", i, e.d.Label())
			}
		}
		if _, err := b.conn.OpenChannel(ChannelOptions{Label: "more"}); !errors.Is(err, ErrTooManyChannels) {
			t.Errorf("one more from the other side: %v", err)
		}
		a.all[100].d.Close()
		eventually(t, "a place is free", func() bool {
			_, err := a.conn.OpenChannel(ChannelOptions{Label: "more"})
			return err == nil
		})
	})
}

// TestChannelFlood: far more channels than allowed, opened behind the back of
// our own limit. Those beyond it are closed, the others work.
func TestChannelFlood(t *testing.T) {
	inChannels(t, func(t *testing.T, w *wan, a, b *desk) {
		const more = 200
		for i := range MaxChannels + more {
			raw(t, a.peer, uint16(1000+i), sctp.PayloadTypeWebRTCDCEP, encodeOpen(ChannelOptions{Label: fmt.Sprint(i)}))
		}
		eventually(t, "the refusal of the others", func() bool { return b.conn.Stats().Drops[DropChannel] == more })
		time.Sleep(5 * time.Second)
		if n := len(b.all); n != MaxChannels || b.conn.Err() != nil {
			t.Errorf("%d channels, error %v", n, b.conn.Err())
		}
		if err := a.conn.SendControl([]byte("xcontrol")); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the control channel", func() bool { return b.heard() == 1 })
	})
}

func (p *peer) heard() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.app)
}

// TestChannelFloodWithoutEnd: a peer that begins streams and never closes one
// loses its connection, and no other.
func TestChannelFloodWithoutEnd(t *testing.T) {
	inChannels(t, func(t *testing.T, w *wan, a, b *desk) {
		open := encodeOpen(ChannelOptions{Label: "x"})
		for i := range 3 * maxStreams {
			s, err := a.conn.transport.Load().channels.assoc.OpenStream(uint16(1024+i), sctp.PayloadTypeWebRTCDCEP)
			if err != nil {
				break
			}
			if _, err := s.WriteSCTP(open, sctp.PayloadTypeWebRTCDCEP); err != nil {
				break
			}
			if i%50 == 0 {
				time.Sleep(100 * time.Millisecond)
			}
			if i == 400 {
				// Nobody reads these streams of a, so their resets go unanswered.
				if n := len(b.conn.transport.Load().channels.all()); n > maxStreams {
					t.Errorf("%d streams", n)
				}
			}
		}
		eventually(t, "the end", func() bool { return errors.Is(b.conn.Err(), ErrTooManyChannels) })
	})
}

// TestChannelRate: opening and closing in a tight loop.
func TestChannelRate(t *testing.T) {
	inChannels(t, func(t *testing.T, w *wan, a, b *desk) {
		start := time.Now()
		opened := 0
		for time.Since(start) < 20*time.Second {
			d, err := a.conn.OpenChannel(ChannelOptions{Label: "x"})
			if err != nil {
				if !errors.Is(err, ErrTooManyChannels) {
					t.Fatal(err)
				}
			} else {
				a.attach(d)
				opened++
				d.Close()
			}
			time.Sleep(time.Millisecond)
		}
		time.Sleep(2 * time.Second)
		if most := 3 * MaxChannelID / 2; opened > most || opened < 600 {
			t.Errorf("%d channels opened in 20 s, at most %d", opened, most)
		}
		for _, k := range []*desk{a, b} {
			if n := len(k.conn.transport.Load().channels.all()); n != 0 || k.conn.Err() != nil {
				t.Errorf("%s: %d streams are left, error %v", k.name, n, k.conn.Err())
			}
		}
	})
}

func TestChannelMalformed(t *testing.T) {
	long := strings.Repeat("l", MaxChannelName+1)
	lies := encodeOpen(ChannelOptions{Label: "lies"})
	binary.BigEndian.PutUint16(lies[8:], 60000)
	for name, open := range map[string][]byte{
		"long label":     encodeOpen(ChannelOptions{Label: long}),
		"huge label":     encodeOpen(ChannelOptions{Label: strings.Repeat("x", 65535)}),
		"long protocol":  encodeOpen(ChannelOptions{Protocol: long}),
		"not UTF-8":      encodeOpen(ChannelOptions{Label: "\xff\xfe"}),
		"short":          {dcepOpen},
		"acknowledgment": {dcepAck},
		"unknown":        {77, 1, 2},
		"type":           append([]byte{dcepOpen, 0x7f}, make([]byte, 10)...),
		"length":         lies,
	} {
		t.Run(name, func(t *testing.T) {
			inChannels(t, func(t *testing.T, w *wan, a, b *desk) {
				for i := range 20 {
					raw(t, a.peer, uint16(500+i), sctp.PayloadTypeWebRTCDCEP, open)
				}
				eventually(t, "refusals", func() bool { return b.conn.Stats().Drops[DropChannel] == 20 })
				exchange(t, a.open(t, ChannelOptions{Label: "good"}), b.nth(t, 1))
			})
		})
	}
}

// TestChannelRubbish: messages that no data channel has.
func TestChannelRubbish(t *testing.T) {
	inChannels(t, func(t *testing.T, w *wan, a, b *desk) {
		x := a.open(t, ChannelOptions{Label: "x"})
		y := b.nth(t, 1)
		for _, kind := range []sctp.PayloadProtocolIdentifier{0, 46, 52, 54, 60, 1 << 31} {
			if _, err := x.d.stream.WriteSCTP([]byte("rubbish"), kind); err != nil {
				t.Fatal(err)
			}
		}
		for _, b := range [][]byte{{dcepAck}, {dcepOpen}, encodeOpen(ChannelOptions{Label: "other", Unordered: true}), {0}} {
			if _, err := x.d.stream.WriteSCTP(b, sctp.PayloadTypeWebRTCDCEP); err != nil {
				t.Fatal(err)
			}
		}
		exchange(t, x, y)
		if n := b.conn.Stats().Drops[DropChannel]; n != 6 {
			t.Errorf("%d drops", n)
		}
		// A message beyond what we take ends its channel alone.
		z := a.open(t, ChannelOptions{Label: "z"})
		b.nth(t, 2)
		a.conn.transport.Load().channels.assoc.SetMaxMessageSize(1 << 20)
		if _, err := z.d.stream.WriteSCTP(make([]byte, MaxChannelMessage+1), sctp.PayloadTypeWebRTCBinary); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the end of that channel", func() bool { _, _, n := z.count(); return n == 1 })
		if err := b.nth(t, 2).why(); !errors.Is(err, ErrChannelTooLarge) {
			t.Errorf("closed with %v", err)
		}
		exchange(t, x, y)
	})
}

func TestChannelFlow(t *testing.T) {
	inChannels(t, func(t *testing.T, w *wan, a, b *desk) {
		x := a.open(t, ChannelOptions{Label: "x"})
		y := b.nth(t, 1)
		low := make(chan struct{}, 1)
		x.d.OnLow(32768, func() {
			select {
			case low <- struct{}{}:
			default:
			}
		})
		chunk := make([]byte, 16384)
		const total = 8 << 20
		for range total / len(chunk) {
			for x.d.Buffered() > 262144 {
				<-low
			}
			if err := x.d.Send(chunk); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "all of it", func() bool { _, n, _ := y.count(); return n == total })
		eventually(t, "nothing unacknowledged", func() bool { return x.d.Buffered() == 0 })
		w.setLoss(100)
		var err error
		for range 100 {
			if err = x.d.Send(chunk); err != nil {
				break
			}
		}
		if !errors.Is(err, ErrChannelFull) || x.d.Buffered() < maxChannelBuffered-len(chunk) {
			t.Errorf("full: %v with %d bytes", err, x.d.Buffered())
		}
		w.setLoss(0)
		x.d.OnLow(0, nil)
		x.d.OnLow(1000, func() { panic("low") })
		eventually(t, "the end", func() bool { return a.conn.Err() != nil })
	})
}

// TestChannelUnreliable: messages may be lost, nothing else.
func TestChannelUnreliable(t *testing.T) {
	inChannels(t, func(t *testing.T, w *wan, a, b *desk) {
		for i, o := range []ChannelOptions{
			{Label: "0", MaxRetransmits: num(0)}, {Label: "1", MaxRetransmits: num(0), Unordered: true},
			{Label: "2", MaxPacketLifeTime: num(5)}, {Label: "3", MaxPacketLifeTime: num(5), Unordered: true},
		} {
			x := a.open(t, o)
			y := b.nth(t, i+1)
			time.Sleep(time.Second) // until it is acknowledged, it is reliable
			w.setLoss(30)
			const sent = 300
			for range sent {
				if err := x.d.Send(make([]byte, 1000)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(5 * time.Millisecond)
			}
			w.setLoss(0)
			eventually(t, "nothing unacknowledged", func() bool { return x.d.Buffered() == 0 })
			// pion retransmits early enough for a life of 5 ms too.
			if n, _, _ := y.count(); n < sent/3 || n > sent || n == sent && o.MaxRetransmits != nil {
				t.Errorf("%+v: %d of %d messages arrived", o, n, sent)
			}
		}
	})
}

// TestChannelsAtOnce: many channels with the longest message at the same time,
// which together are more than the receiver's window.
func TestChannelsAtOnce(t *testing.T) {
	inChannels(t, func(t *testing.T, w *wan, a, b *desk) {
		const n = 20
		for i := range n {
			a.open(t, ChannelOptions{Label: fmt.Sprint(i), Unordered: i%3 == 0})
		}
		b.nth(t, n)
		for i := range n {
			if err := a.nth(t, i+1).d.Send(make([]byte, MaxChannelMessage)); err != nil {
				t.Fatal(err)
			}
		}
		if err := a.conn.SendControl([]byte("xcontrol")); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the control message", func() bool { return b.heard() == 1 })
		if _, bytes, _ := b.nth(t, n).count(); bytes != 0 {
			t.Error("the control message had to wait for all data")
		}
		for i := range n {
			eventually(t, fmt.Sprint("message ", i), func() bool { _, bytes, _ := b.nth(t, i+1).count(); return bytes == MaxChannelMessage })
		}
	})
}

func FuzzDecodeOpen(f *testing.F) {
	n := uint16(3)
	for _, o := range []ChannelOptions{{}, {Label: "chat", Protocol: "p"}, {Unordered: true, MaxRetransmits: &n}, {MaxPacketLifeTime: &n}} {
		f.Add(encodeOpen(o))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := decodeOpen(b)
		if err != nil {
			return
		}
		again, err := decodeOpen(encodeOpen(o))
		if err != nil || again.Label != o.Label || again.Protocol != o.Protocol || again.Unordered != o.Unordered ||
			!same(again.MaxRetransmits, o.MaxRetransmits) || !same(again.MaxPacketLifeTime, o.MaxPacketLifeTime) {
			t.Errorf("%+v became %+v, %v", o, again, err)
		}
		if !bytes.HasSuffix(b, []byte(o.Protocol)) {
			t.Errorf("protocol %q", o.Protocol)
		}
	})
}

package conn

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/mesh/sdp"
)

// flowing reports whether every wish of p arrives at its other side.
func (p *peer) flowing(want int) bool {
	q := p.other
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.tracks) != want {
		return false
	}
	for _, tr := range q.tracks {
		if tr.count() < 5 {
			return false
		}
	}
	return true
}

func (p *peer) forgive() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.errs = nil
}

func (p *peer) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, tr := range p.tracks {
		tr.mu.Lock()
		clear(tr.seqs)
		tr.mu.Unlock()
	}
}

func TestConnect(t *testing.T) {
	inBubble(t, func(t *testing.T, w *wan, a, b *peer) {
		connect(t, a, b)
		a.mu.Lock()
		defer a.mu.Unlock()
		if got, want := fmt.Sprint(a.states), "[connecting connected]"; got != want {
			t.Errorf("states %s, want %s", got, want)
		}
		if s := a.conn.Stats(); !strings.HasPrefix(s.RemoteAddr, "10.0.0.2:") {
			t.Errorf("remote address %q", s.RemoteAddr)
		}
	})
}

func TestTracksBothWays(t *testing.T) {
	inBubble(t, func(t *testing.T, w *wan, a, b *peer) {
		for _, p := range []*peer{a, b} {
			p.add("v", codec.Video)
			p.add("a", codec.Audio)
		}
		connect(t, a, b)
		eventually(t, "media both ways", func() bool { return a.flowing(2) && b.flowing(2) })
		time.Sleep(3 * time.Second)
		for _, p := range []*peer{a, b} {
			p.mu.Lock()
			for _, tr := range p.tracks {
				tr.mu.Lock()
				if len(tr.bad) > 0 || tr.reports == 0 {
					t.Errorf("%s %s: %v, %d sender reports", p.name, tr.r.Mid(), tr.bad, tr.reports)
				}
				tr.mu.Unlock()
				if tr.r.StreamID() != "sv" && tr.r.StreamID() != "sa" {
					t.Errorf("stream id %q", tr.r.StreamID())
				}
				tr.r.RequestKeyframe(0)
			}
			p.mu.Unlock()
		}
		time.Sleep(time.Second)
		for _, p := range []*peer{a, b} {
			p.mu.Lock()
			for id, x := range p.sending {
				x.mu.Lock()
				if x.reports == 0 || x.plis != 1 {
					t.Errorf("%s %s: %d receiver reports, %d PLIs", p.name, id, x.reports, x.plis)
				}
				x.mu.Unlock()
			}
			p.mu.Unlock()
		}
	})
}

func TestFirstOffersCollide(t *testing.T) {
	inBubble(t, func(t *testing.T, w *wan, a, b *peer) {
		b.add("v", codec.Video)
		b.do(b.negotiate)
		connect(t, a, b)
		eventually(t, "media from the polite side", func() bool { return b.flowing(1) })
		ignored := 0
		a.call(func() { ignored = a.ignored })
		if ignored != 1 {
			t.Errorf("the impolite side ignored %d offers, want 1", ignored)
		}
	})
}

func TestLaterOffersCollide(t *testing.T) {
	inBubble(t, func(t *testing.T, w *wan, a, b *peer) {
		connect(t, a, b)
		for i := range 20 {
			a.add(fmt.Sprint("v", i), codec.Video)
			b.add(fmt.Sprint("a", i), codec.Audio)
			eventually(t, "media of both", func() bool { return a.flowing(1) && b.flowing(1) })
			a.remove(fmt.Sprint("v", i))
			b.remove(fmt.Sprint("a", i))
			eventually(t, "both gone", func() bool { return a.flowing(0) && b.flowing(0) })
		}
		ignored := 0
		a.call(func() { ignored = a.ignored })
		if ignored < 20 {
			t.Errorf("%d collisions of 40 changes made at the same instant", ignored)
		}
	})
}

func TestComeAndGo(t *testing.T) {
	inBubble(t, func(t *testing.T, w *wan, a, b *peer) {
		connect(t, a, b)
		after2 := 0
		for i := range 100 {
			kind := []codec.Kind{codec.Audio, codec.Video}[i%2]
			a.add(fmt.Sprint(i), kind)
			eventually(t, fmt.Sprint("round ", i), func() bool { return a.flowing(1) })
			a.remove(fmt.Sprint(i))
			eventually(t, fmt.Sprint("end of round ", i), func() bool { return a.flowing(0) })
			if i == 1 {
				a.call(func() { after2 = a.longest })
			}
		}
		a.call(func() {
			if a.longest > after2+64 { // SSRCs, versions and mids differ by digits
				t.Errorf("longest offer %d bytes after 2 rounds, %d after 100", after2, a.longest)
			}
		})
	})
}

func TestICERestart(t *testing.T) {
	for _, side := range []string{"impolite", "polite"} {
		t.Run(side, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *wan, a, b *peer) {
				a.add("v", codec.Video)
				b.add("v", codec.Video)
				connect(t, a, b)
				eventually(t, "media both ways", func() bool { return a.flowing(1) && b.flowing(1) })
				p := a
				if side == "polite" {
					p = b
				}
				for range 3 {
					var mine, theirs string
					p.call(func() { theirs = p.conn.RemoteUfrag() })
					p.other.call(func() { mine = p.other.conn.RemoteUfrag() })
					p.do(func() { p.conn.Restart(); p.negotiate() })
					eventually(t, "new credentials on both sides", func() bool {
						var m, th string
						p.call(func() { th = p.conn.RemoteUfrag() })
						p.other.call(func() { m = p.other.conn.RemoteUfrag() })
						return m != mine && th != theirs
					})
					eventually(t, "connected again", func() bool {
						return a.conn.settled() && b.conn.settled() && a.up() && b.up()
					})
					a.forget()
					b.forget()
					eventually(t, "media goes on", func() bool { return a.flowing(1) && b.flowing(1) })
				}
				p.add("second", codec.Audio) // negotiation goes on
				eventually(t, "a track more", func() bool { return p.flowing(2) })
			})
		})
	}
}

// A restart that collides is made again by the polite side; if both sides
// restart at once, one restart serves both.
func TestRestartCollision(t *testing.T) {
	for _, both := range []bool{false, true} {
		t.Run(fmt.Sprint("both ", both), func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *wan, a, b *peer) {
				connect(t, a, b)
				time.Sleep(time.Second)
				var before string
				a.call(func() { before = a.conn.RemoteUfrag() })
				a.add("v", codec.Video)
				if both {
					a.do(func() { a.conn.Restart() })
				}
				b.do(func() { b.conn.Restart(); b.negotiate() })
				eventually(t, "new credentials", func() bool {
					var now string
					a.call(func() { now = a.conn.RemoteUfrag() })
					return now != before
				})
				eventually(t, "media", func() bool { return a.flowing(1) && a.up() && b.up() })
				time.Sleep(5 * time.Second)
				a.forget()
				b.forget()
				eventually(t, "media goes on", func() bool { return a.flowing(1) && a.up() && b.up() })
			})
		})
	}
}

func TestLossIsRepaired(t *testing.T) {
	inBubble(t, func(t *testing.T, w *wan, a, b *peer) {
		a.add("v", codec.Video)
		b.add("v", codec.Video)
		connect(t, a, b)
		eventually(t, "media both ways", func() bool { return a.flowing(1) && b.flowing(1) })
		w.setLoss(5)
		time.Sleep(20 * time.Second)
		w.setLoss(0)
		time.Sleep(2 * time.Second)
		for _, p := range []*peer{a, b} {
			p.mu.Lock()
			for _, tr := range p.tracks {
				tr.mu.Lock()
				missing := 0
				for seq := range p.other.sending["v"].sentNumbers() {
					if tr.seqs[seq] == 0 && int16(tr.last-seq) > 5 {
						missing++
					}
				}
				s := p.conn.Stats()
				t.Logf("%s: %d packets, %d repaired, %d missing; asked for %d, again %d, in %d NACKs; %d given up",
					p.name, len(tr.seqs), tr.repairs, missing, s.Asked, s.AskedAgain, s.NACKs, s.GivenUp)
				// Each lost packet is asked for 1/(1-0.05)^2 times, if not in vain.
				if s.Repaired != s.Asked || s.GivenUp > 0 || s.AskedAgain > s.Asked/3 || s.NACKs > s.Asked+s.AskedAgain {
					t.Errorf("%s: counted %+v", p.name, s)
				}
				if missing > 0 || tr.repairs < 20 || len(tr.bad) > 0 {
					t.Errorf("%s: %d packets, %d repaired, %d missing, %v", p.name, len(tr.seqs), tr.repairs, missing, tr.bad)
				}
				tr.mu.Unlock()
			}
			p.mu.Unlock()
		}
	})
}

func (x *sending) sentNumbers() map[uint16]bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	out := map[uint16]bool{}
	for seq := range x.sent {
		out[seq] = true
	}
	return out
}

func TestControlChannel(t *testing.T) {
	inBubble(t, func(t *testing.T, w *wan, a, b *peer) {
		if err := a.conn.SendControl([]byte("x")); !errors.Is(err, ErrControlClosed) {
			t.Errorf("before it is open: %v", err)
		}
		connect(t, a, b)
		big := append([]byte{'x'}, strings.Repeat("m", MaxControlMessage-1)...)
		if err := a.conn.SendControl(big); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the largest message", func() bool {
			b.mu.Lock()
			defer b.mu.Unlock()
			return len(b.app) == 1 && len(b.app[0]) == MaxControlMessage-1
		})
		if err := a.conn.SendControl(append(big, 'x')); !errors.Is(err, ErrControlTooLarge) {
			t.Errorf("too large: %v", err)
		}
		w.setLoss(100)
		var err error
		for range 8 {
			if err = a.conn.SendControl(big); err != nil {
				break
			}
		}
		if !errors.Is(err, ErrControlFull) {
			t.Errorf("full: %v", err)
		}
		w.setLoss(0)
	})
}

func TestCloseIsHeardAndIdempotent(t *testing.T) {
	inBubble(t, func(t *testing.T, w *wan, a, b *peer) {
		a.add("v", codec.Video)
		connect(t, a, b)
		eventually(t, "media", func() bool { return a.flowing(1) })
		a.close()
		eventually(t, "control channel closed", func() bool {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.closes == 1
		})
		n := len(a.states)
		if err := a.conn.Close(); err != nil {
			t.Error(err)
		}
		if _, err := a.conn.Offer(context.Background()); !errors.Is(err, ErrClosed) {
			t.Errorf("Offer after Close: %v", err)
		}
		if len(a.states) != n || a.closes != 0 {
			t.Errorf("handler was called after Close")
		}
	})
}

// A peer that leaves when DTLS is up and the control channel is not yet open is
// heard of at once.
func TestCloseBeforeControlOpens(t *testing.T) {
	left := 0
	for after := range 12 {
		inBubble(t, func(t *testing.T, w *wan, a, b *peer) {
			a.do(a.negotiate)
			eventually(t, "DTLS", func() bool { return a.conn.State() == StateConnected })
			time.Sleep(time.Duration(after) * 5 * time.Millisecond)
			open := false
			b.call(func() { open = b.open })
			if open || b.conn.State() != StateConnected {
				return
			}
			left++
			a.close()
			time.Sleep(time.Second)
			b.mu.Lock()
			defer b.mu.Unlock()
			if !slices.Contains(b.states, StateClosed) && b.closes == 0 {
				t.Errorf("after %d ms: states %v", 5*after, b.states)
			}
		})
	}
	if left == 0 {
		t.Error("there was no such moment")
	}
}

// Closing at any moment of coming up leaves nothing behind.
func TestCloseEarly(t *testing.T) {
	for _, after := range []time.Duration{0, 15, 25, 45, 60, 75, 90, 110, 150} {
		t.Run(fmt.Sprint(after*time.Millisecond), func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *wan, a, b *peer) {
				a.add("v", codec.Video)
				a.do(a.negotiate)
				time.Sleep(after * time.Millisecond)
				a.close()
				b.close()
				time.Sleep(time.Second)
				a.forgive() // descriptions that came too late
				b.forgive()
			})
		})
	}
}

func TestWritesBeforeDTLS(t *testing.T) {
	inBubble(t, func(t *testing.T, w *wan, a, b *peer) {
		s := newSender(a.conn, sdp.Sending{ID: "x", SSRC: 7}, "")
		h := sinkHeader(7, 1)
		if err := s.WriteRTP(&h, []byte("x"), nil); !errors.Is(err, ErrNotConnected) {
			t.Errorf("WriteRTP: %v", err)
		}
		if err := s.WriteRTCP(nil); !errors.Is(err, ErrNotConnected) {
			t.Errorf("WriteRTCP: %v", err)
		}
		if n := a.conn.Stats().Drops[DropWrite]; n != 1 {
			t.Errorf("%d dropped writes", n)
		}
	})
}

package conn

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtcp"

	"github.com/weft-rtc/weft/interceptors/codec"
)

// mailbag takes NACKs.
type mailbag struct {
	mu     sync.Mutex
	began  time.Time
	writes [][]rtcp.Packet
	seqs   []uint16
	at     []time.Duration // of each of seqs
	block  chan struct{}   // writes wait for it, if not nil
	err    error
}

func (o *mailbag) write(p []rtcp.Packet) error {
	if o.block != nil {
		<-o.block
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.writes = append(o.writes, p)
	for _, p := range p {
		for _, pair := range p.(*rtcp.TransportLayerNack).Nacks {
			for _, seq := range pair.PacketList() {
				o.seqs, o.at = append(o.seqs, seq), append(o.at, time.Since(o.began).Round(time.Millisecond))
			}
		}
	}
	return o.err
}

// withNACKs runs a test of the driver alone, in virtual time.
func withNACKs(t *testing.T, trip time.Duration, f func(t *testing.T, n *nacks, o *mailbag)) {
	synctest.Test(t, func(t *testing.T) {
		o := &mailbag{began: time.Now()}
		n := newNACKs(o.write, func() time.Duration { return trip }, func(string) {})
		defer n.close()
		f(t, n, o)
	})
}

func TestNACKAtOnceAndAgain(t *testing.T) {
	withNACKs(t, 30*time.Millisecond, func(t *testing.T, n *nacks, o *mailbag) {
		s := n.open(1, codec.Video)
		s.arrived(1, true, time.Now())
		time.Sleep(time.Second)
		s.arrived(3, true, time.Now())
		time.Sleep(120 * time.Millisecond)
		s.repaired(2, true, time.Now())
		time.Sleep(5 * time.Second)
		synctest.Wait()
		want := []time.Duration{time.Second, 1040 * time.Millisecond, 1100 * time.Millisecond}
		if !slices.Equal(o.at, want) || !slices.Equal(o.seqs, []uint16{2, 2, 2}) {
			t.Errorf("asked for %v after %v, want 2 after %v", o.seqs, o.at, want)
		}
		if messages, all := n.totals(); messages != 3 || all.Recovered != 1 || all.Repeated != 2 {
			t.Errorf("%d messages, %+v", messages, all)
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.armed || n.busy {
			t.Error("the timer runs with nothing missing")
		}
	})
}

func TestNACKOneMessageForAllStreams(t *testing.T) {
	withNACKs(t, 0, func(t *testing.T, n *nacks, o *mailbag) {
		for ssrc := range uint32(3) {
			s := n.open(ssrc, codec.Audio)
			for seq := uint16(0); seq < 100; seq += 2 {
				s.t.Arrived(seq, false, time.Now()) // before the timer is set
			}
		}
		n.rearm(false, 0)
		synctest.Wait()
		if len(o.writes) != 1 || len(o.writes[0]) != 3 || len(o.seqs) != 3*49 {
			t.Errorf("%d packets for %d numbers", len(o.writes), len(o.seqs))
		}
	})
}

// TestNACKsAreFewHoweverManyAreLost: numbers that jump about with every packet,
// on many streams, bring no more than the rate allows, in packets of modest size.
func TestNACKsAreFewHoweverManyAreLost(t *testing.T) {
	withNACKs(t, 0, func(t *testing.T, n *nacks, o *mailbag) {
		var all []*nackStream
		for ssrc := range uint32(8) {
			all = append(all, n.open(ssrc, codec.Video))
		}
		for i := range uint16(1000) {
			for _, s := range all {
				s.arrived(i*1000, true, time.Now())
			}
			time.Sleep(5 * time.Millisecond)
		}
		synctest.Wait()
		bytes := 0
		for _, w := range o.writes {
			size := 0
			for _, p := range w {
				size += p.MarshalSize()
			}
			if size > nackSize {
				t.Errorf("a packet of %d bytes", size)
			}
			bytes += size
		}
		// What all of them ask for at once may go beyond, once.
		if most := 6 * nackRate; bytes > most || bytes < nackRate {
			t.Errorf("%d bytes in 5 s, want at most %d", bytes, most)
		}
	})
}

func TestNACKsDoNotPileUpBehindASlowSocket(t *testing.T) {
	withNACKs(t, 20*time.Millisecond, func(t *testing.T, n *nacks, o *mailbag) {
		o.block = make(chan struct{})
		s := n.open(1, codec.Video)
		for seq := uint16(0); seq < 400; seq += 2 {
			s.arrived(seq, true, time.Now()) // never waits
			time.Sleep(10 * time.Millisecond)
		}
		close(o.block)
		synctest.Wait()
		if len(o.writes) > 2 {
			t.Errorf("%d packets had waited", len(o.writes))
		}
	})
}

func TestNACKCloseWaits(t *testing.T) {
	for _, what := range []string{"unused", "idle", "armed", "writing"} {
		t.Run(what, func(t *testing.T) {
			withNACKs(t, 20*time.Millisecond, func(t *testing.T, n *nacks, o *mailbag) {
				o.err = errors.New("gone")
				s := n.open(1, codec.Video)
				switch what {
				case "idle":
					s.arrived(1, true, time.Now())
				case "writing":
					o.block = make(chan struct{})
					time.AfterFunc(time.Second, func() { close(o.block) })
					fallthrough
				case "armed":
					s.arrived(1, true, time.Now())
					s.arrived(3, true, time.Now())
					synctest.Wait()
				}
				before := time.Now()
				n.close()
				if waited := time.Since(before) > 0; waited != (what == "writing") {
					t.Errorf("close took %v", time.Since(before))
				}
				wrote := len(o.writes)
				s.arrived(9, true, time.Now())
				if n.open(2, codec.Video) != nil {
					t.Error("opened after close")
				}
				time.Sleep(5 * time.Second)
				synctest.Wait()
				if len(o.writes) != wrote {
					t.Error("written after close")
				}
			})
		})
	}
}

func TestNACKPanicClosesTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t, "rig", true, Config{Loopback: true})
		defer p.stop()
		defer p.close()
		n := newNACKs(func([]rtcp.Packet) error { panic("write") }, nil, p.conn.guard)
		s := n.open(1, codec.Video)
		s.arrived(1, true, time.Now())
		s.arrived(3, true, time.Now())
		synctest.Wait()
		if p.conn.Err() == nil {
			t.Error("no error")
		}
		n.close()
	})
}

func TestWhatIsTracked(t *testing.T) {
	plain := video
	plain.Payloads = slices.Clone(video.Payloads)
	plain.Payloads[0].Feedback = []string{"nack pli", "transport-cc"}
	for _, c := range []struct {
		name string
		cfg  Config
		open func(*rig)
		want int
	}{
		{"negotiated", Config{}, func(r *rig) { r.open(video) }, 1},
		{"not negotiated", Config{}, func(r *rig) { r.open(plain) }, 0},
		{"turned off", Config{NoNACK: true}, func(r *rig) { r.open(video) }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.cfg.Loopback = true
			p := newPeer(t, "rig", true, c.cfg)
			t.Cleanup(func() { p.close(); p.stop() })
			r := &rig{p: p, in: p.conn.transport.Load().in}
			c.open(r)
			for _, seq := range []uint16{1, 2, 6, 7} {
				r.rtp(t, sinkHeader(11, seq), "m", nil)
			}
			h := sinkHeader(12, 1)
			h.PayloadType = 97
			r.rtp(t, h, "\x00\x03lost", nil)
			rec := r.in.receivers["1"]
			got := 0
			if n := r.in.fb.nacks; n != nil {
				n.mu.Lock() // the timer is at work
				got = len(n.streams)
				if c.want == 1 && n.streams[11].t.Missing() != 2 {
					t.Errorf("%d missing, want 4 and 5", n.streams[11].t.Missing())
				}
				n.mu.Unlock()
			}
			if got != c.want {
				t.Errorf("%d streams are tracked, want %d", got, c.want)
			}
			r.in.closeReceiver(rec)
			if n := r.in.fb.nacks; n != nil && len(n.streams) != 0 {
				t.Error("tracked after the track was closed")
			}
		})
	}
}

package conn

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtp"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/mesh/sdp"
)

// withLayers gives a wish layers, of which those that it has stay.
func withLayers(s sdp.Send, rids ...string) sdp.Send {
	var all []sdp.Layer
	for _, rid := range rids {
		l := sdp.Layer{RID: rid, SSRC: rand.Uint32() | 1, RTXSSRC: rand.Uint32() | 1}
		if i := slices.IndexFunc(s.Layers, func(o sdp.Layer) bool { return o.RID == rid }); i >= 0 {
			l = s.Layers[i]
		}
		all = append(all, l)
	}
	s.Layers = all
	return s
}

// layersOf returns what came of the only track of p: packets by RID and SSRC.
func (p *peer) layersOf() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := map[string]int{}
	for _, tr := range p.tracks {
		tr.mu.Lock()
		for name, numbers := range tr.layers {
			all[name] = len(numbers)
		}
		tr.mu.Unlock()
	}
	return all
}

// Three layers arrive each under its RID, losses are repaired within their layer,
// feedback finds its layer, and a layer may come later and go.
func TestLayers(t *testing.T) {
	inBubble(t, func(t *testing.T, w *wan, a, b *peer) {
		wish := withLayers(newSend("v", codec.Video), "q", "h", "f")
		a.setSends(func([]sdp.Send) []sdp.Send { return []sdp.Send{wish} })
		connect(t, a, b)
		come := func(n int) func() bool {
			return func() bool {
				all := b.layersOf()
				for _, got := range all {
					if got < 5 {
						return false
					}
				}
				return len(all) == n
			}
		}
		eventually(t, "three layers", come(3))
		w.setLoss(5)
		time.Sleep(10 * time.Second)
		w.setLoss(0)
		time.Sleep(2 * time.Second)
		all := b.layersOf()
		for _, l := range wish.Layers {
			a.mu.Lock()
			x := a.sending["v/"+l.RID]
			a.mu.Unlock()
			if x == nil {
				t.Fatalf("layer %s has no sender", l.RID)
			}
			sent := len(x.sentNumbers())
			if got := all[fmt.Sprint(l.RID, " ", l.SSRC)]; got < sent-5 {
				t.Errorf("layer %s: %d of %d packets", l.RID, got, sent)
			}
			x.mu.Lock()
			if x.reports == 0 || x.nacked == 0 || x.s.SSRC() != l.SSRC {
				t.Errorf("layer %s, SSRC %d: %d reports, %d NACKs", l.RID, x.s.SSRC(), x.reports, x.nacked)
			}
			x.mu.Unlock()
			if !x.s.known.Load() || x.s.knownRTX.Load() {
				t.Errorf("layer %s is known: %v, its retransmissions: %v", l.RID, x.s.known.Load(), x.s.knownRTX.Load())
			}
		}
		b.mu.Lock()
		for _, tr := range b.tracks {
			tr.r.RequestKeyframe(wish.Layers[1].SSRC)
			if len(tr.bad) > 0 || tr.repairs == 0 {
				t.Errorf("%d repairs, %v", tr.repairs, tr.bad)
			}
		}
		b.mu.Unlock()
		time.Sleep(time.Second)
		for i, l := range wish.Layers {
			a.mu.Lock()
			x := a.sending["v/"+l.RID]
			a.mu.Unlock()
			x.mu.Lock()
			if want := i & 1; x.plis != want {
				t.Errorf("layer %s: %d PLIs, want %d", l.RID, x.plis, want)
			}
			x.mu.Unlock()
		}

		more := withLayers(wish, "q", "h", "f", "x")
		a.setSends(func([]sdp.Send) []sdp.Send { return []sdp.Send{more} })
		eventually(t, "a fourth layer", come(4))
		a.mu.Lock()
		gone := a.sending["v/h"]
		a.mu.Unlock()
		fewer := withLayers(wish, "q")
		a.setSends(func([]sdp.Send) []sdp.Send { return []sdp.Send{fewer} })
		eventually(t, "the end of a layer", func() bool { return gone.s.closed.Load() })
		h := sinkHeader(gone.s.SSRC(), 1)
		if err := gone.s.WriteRTP(&h, nil, nil); err == nil {
			t.Error("a layer that ended can be written")
		}
		a.mu.Lock()
		kept := a.sending["v/q"]
		if kept.s.closed.Load() {
			t.Error("the layer that stays is closed")
		}
		a.mu.Unlock()
	})
}

// A track that goes on under another SSRC has another Sender; the end of the first
// one is told of that.
func TestAnotherSSRC(t *testing.T) {
	inBubble(t, func(t *testing.T, w *wan, a, b *peer) {
		for range 3 {
			wish := newSend("v", codec.Video)
			a.setSends(func([]sdp.Send) []sdp.Send { return []sdp.Send{wish} })
			if a.conn.State() != StateConnected {
				connect(t, a, b)
			}
			eventually(t, "the SSRC", func() bool {
				b.mu.Lock()
				defer b.mu.Unlock()
				for _, tr := range b.tracks {
					if tr.count() > 5 && slices.Equal(tr.r.SSRCs(), []uint32{wish.SSRC}) {
						return true
					}
				}
				return false
			})
		}
	})
}

func TestLayerExtensions(t *testing.T) {
	n := sdp.Sending{
		ID: "v", Mid: "w01", SSRC: 9, RTXSSRC: 10, Payloads: []sdp.Payload{{Type: 96, RTX: 97}},
		Extensions: map[string]int{sdp.ExtMID: 1, sdp.ExtRID: 2, sdp.ExtRepairedRID: 3},
		Layers:     []sdp.Layer{{RID: "q", SSRC: 11, RTXSSRC: 12}, {RID: "f", SSRC: 21}},
	}
	r := newRig(t)
	out := &captured{}
	tr := r.p.conn.transport.Load()
	tr.out = out
	tr.dtlsState.Store(3) // connected
	s := newSender(r.p.conn, n, "")
	r.in.openSender(s)
	r.in.setLayers(s, n)
	q, f := s.Layers()[0], s.Layers()[1]
	for _, c := range []struct {
		name               string
		s                  *Sender
		ssrc               uint32
		known, knownRTX    bool
		mid, rid, repaired string
	}{
		{"new", q, 11, false, false, "w01", "q", ""},
		{"new RTX", q, 12, false, false, "w01", "", "q"},
		{"known", q, 11, true, false, "", "", ""},
		{"RTX of known media", q, 12, true, false, "w01", "", "q"},
		{"known RTX", q, 12, true, true, "", "", ""},
		{"without RTX", f, 21, false, false, "w01", "f", ""},
		{"without RTX, known", f, 21, true, false, "w01", "f", ""},
		{"not in layers", s, 9, false, false, "w01", "", ""},
	} {
		out.packets = nil
		c.s.known.Store(c.known)
		c.s.knownRTX.Store(c.knownRTX)
		h := sinkHeader(c.ssrc, 1)
		if err := c.s.WriteRTP(&h, []byte("m"), nil); err != nil {
			t.Fatal(err)
		}
		var p rtp.Packet
		if err := p.Unmarshal(out.packets[0]); err != nil {
			t.Fatal(err)
		}
		if mid, rid, repaired := string(p.GetExtension(1)), string(p.GetExtension(2)), string(p.GetExtension(3)); mid != c.mid || rid != c.rid || repaired != c.repaired {
			t.Errorf("%s: mid %q, rid %q, repaired %q", c.name, mid, rid, repaired)
		}
	}
	if r.in.senderOf(11) != q || r.in.senderOf(12) != q || r.in.senderOf(21) != f || r.in.senderOf(9) != s {
		t.Error("feedback does not find its layer")
	}
	n.Layers = n.Layers[1:]
	r.in.setLayers(s, n)
	if len(s.Layers()) != 1 || s.Layers()[0] != f || !q.closed.Load() || r.in.senderOf(11) != nil {
		t.Errorf("layers %v", s.Layers())
	}
	r.in.closeSender(s)
	if !f.closed.Load() || r.in.senderOf(21) != nil {
		t.Error("a layer is left behind")
	}
}

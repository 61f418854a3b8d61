package conn

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtp"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/mesh/sdp"
)

// A descriptor beyond the one-byte form arrives as it was sent, with repaired
// packets too, and audio has none.
func TestDependencyDescriptorPasses(t *testing.T) {
	inBubble(t, func(t *testing.T, w *wan, a, b *peer) {
		a.described = true
		a.add("v", codec.Video)
		a.add("a", codec.Audio)
		connect(t, a, b)
		eventually(t, "media", func() bool { return a.flowing(2) })
		w.setLoss(5)
		time.Sleep(10 * time.Second)
		w.setLoss(0)
		time.Sleep(time.Second)
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, tr := range b.tracks {
			tr.mu.Lock()
			want := 0
			if tr.r.Kind() == codec.Video {
				want = len(tr.seqs)
				if tr.repairs == 0 {
					t.Error("nothing was repaired")
				}
			}
			if tr.described < want || want == 0 && tr.described > 0 || len(tr.bad) > 0 {
				t.Errorf("%v: %d packets of %d have a descriptor, %v", tr.r.Kind(), tr.described, len(tr.seqs), tr.bad)
			}
			tr.mu.Unlock()
		}
		for id, want := range map[string]bool{"v": true, "a": false} {
			a.mu.Lock()
			if got := a.sending[id].s.Dependency(); got != want {
				t.Errorf("%s: Dependency is %v", id, got)
			}
			a.mu.Unlock()
		}
	})
}

func TestDependencyDescriptorOnTheWire(t *testing.T) {
	const dd = sdp.ExtDependencyDescriptor
	ids := func(mid, dependency int) map[string]int {
		return map[string]int{sdp.ExtMID: mid, dd: dependency}
	}
	short, full, long, huge := make([]byte, 3), make([]byte, 16), make([]byte, 95), make([]byte, 256)
	for _, c := range []struct {
		name    string
		terms   sdp.Sending
		value   []byte
		sent    bool
		profile uint16
	}{
		{"not negotiated", sdp.Sending{Extensions: map[string]int{sdp.ExtMID: 4}, Mixed: true}, short, false, rtp.ExtensionProfileOneByte},
		{"empty", sdp.Sending{Extensions: ids(4, 8), Mixed: true}, nil, false, rtp.ExtensionProfileOneByte},
		{"short", sdp.Sending{Extensions: ids(4, 8), Mixed: true}, short, true, rtp.ExtensionProfileOneByte},
		{"short, one-byte receiver", sdp.Sending{Extensions: ids(4, 8)}, short, false, rtp.ExtensionProfileOneByte},
		{"16 bytes", sdp.Sending{Extensions: ids(4, 8), Mixed: true}, full, true, rtp.ExtensionProfileOneByte},
		{"long", sdp.Sending{Extensions: ids(4, 8), Mixed: true}, long, true, rtp.ExtensionProfileTwoByte},
		{"long, one-byte receiver", sdp.Sending{Extensions: ids(4, 8)}, long, false, rtp.ExtensionProfileOneByte},
		{"large id", sdp.Sending{Extensions: ids(4, 19), Mixed: true}, short, true, rtp.ExtensionProfileTwoByte},
		{"large ids", sdp.Sending{Extensions: ids(16, 19), Mixed: true}, long, true, rtp.ExtensionProfileTwoByte},
		{"256 bytes", sdp.Sending{Extensions: ids(4, 8), Mixed: true}, huge, false, rtp.ExtensionProfileOneByte},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			out := &captured{}
			tr := r.p.conn.transport.Load()
			tr.out = out
			tr.dtlsState.Store(3) // connected
			c.terms.Mid, c.terms.SSRC = "w01", 1
			s := newSender(r.p.conn, c.terms, "")
			for range 2 { // no RTX: a packet sent again is the same, byte for byte
				h := sinkHeader(1, 1)
				if err := s.WriteRTP(&h, []byte("m"), c.value); err != nil {
					t.Fatal(err)
				}
				s.known.Store(true)
				s.renegotiate(sdp.Sending{Mid: "w01", SSRC: 1, Extensions: map[string]int{sdp.ExtMID: c.terms.Extensions[sdp.ExtMID]}, Mixed: !c.terms.Mixed})
			}
			if !bytes.Equal(out.packets[0], out.packets[1]) {
				t.Errorf("resent as another packet:\n%x\n%x", out.packets[0], out.packets[1])
			}
			var p rtp.Packet
			if err := p.Unmarshal(out.packets[0]); err != nil {
				t.Fatal(err)
			}
			got := p.GetExtension(uint8(c.terms.Extensions[dd]))
			if c.sent && !bytes.Equal(got, c.value) || !c.sent && slices.Contains(p.GetExtensionIDs(), 8) || p.ExtensionProfile != c.profile {
				t.Errorf("descriptor %x, profile %x", got, p.ExtensionProfile)
			}
			if mid := string(p.GetExtension(uint8(c.terms.Extensions[sdp.ExtMID]))); mid != "w01" {
				t.Errorf("mid %q", mid)
			}
		})
	}
}

package conn

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/srtp/v3"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/mesh/sdp"
)

// pionHolds counts what pion keeps by SSRC. Nothing must come in meanwhile.
func pionHolds(t *testing.T, c *Conn) map[string]int {
	t.Helper()
	tr := c.transport.Load()
	n := map[string]int{"pairs": reflect.ValueOf(tr.dtls).Elem().FieldByName("simulcastStreams").Len()}
	for _, rtp := range []bool{true, false} {
		s, err := tr.session(rtp)
		if err != nil {
			t.Fatal(err)
		}
		n[fmt.Sprint("streams ", rtp)] = s.FieldByName("readStreams").Len()
		for _, name := range []string{"localContext", "remoteContext"} {
			context, err := field[*srtp.Context](s, name)
			if err != nil {
				t.Fatal(err)
			}
			for _, states := range []string{"srtpSSRCStates", "srtcpSSRCStates"} {
				n[fmt.Sprint(name, " ", states, " ", rtp)] = reflect.ValueOf(*context).Elem().FieldByName(states).Len()
			}
		}
	}
	return n
}

// A hundred tracks that came and went leave nothing in pion.
func TestReleasesSSRCs(t *testing.T) {
	inBubble(t, func(t *testing.T, w *wan, a, b *peer) {
		connect(t, a, b)
		round := func(i int) {
			a.add(fmt.Sprint(i), codec.Kind(i%2)+codec.Audio)
			eventually(t, fmt.Sprint("round ", i), func() bool { return a.flowing(1) })
			<-time.After(1100 * time.Millisecond) // for reports
			a.remove(fmt.Sprint(i))
			eventually(t, fmt.Sprint("end of round ", i), func() bool { return a.flowing(0) })
		}
		for i := range 100 {
			round(i)
		}
		for i := range 2 { // the first releases, by the second pion's goroutines have done their part
			<-time.After(releaseAfter)
			round(i)
		}
		synctest.Wait()
		for _, p := range []*peer{a, b} {
			if n := p.conn.Stats().SSRCs; n > 5+2*keptEnded {
				t.Errorf("%s holds %d SSRCs", p.name, n)
			}
			for what, n := range pionHolds(t, p.conn) {
				if n > 5+keptEnded {
					t.Errorf("%s: %d %s", p.name, n, what)
				}
			}
		}
		// 151 ended; the last of them are kept, or may have been late and wait once more.
		if n := len(b.conn.transport.Load().in.dead); n < 149-keptEnded || n > 151-keptEnded {
			t.Errorf("%d dead SSRCs, want some %d", n, 150-keptEnded)
		}
	})
}

// A packet that comes again after its SSRC was released, replayed by somebody
// else, goes nowhere and counts as nobody's.
func TestDeadSSRC(t *testing.T) {
	r := newRig(t)
	r.in.keep = 0
	now := time.Now()
	rec, s := r.open(video)
	r.rtp(t, sinkHeader(11, 1), "m", nil)
	r.in.closeReceiver(rec)
	r.in.release(now.Add(releaseAfter / 2))
	r.rtp(t, sinkHeader(11, 2), "late", nil)
	r.in.release(now.Add(releaseAfter + time.Second)) // not yet: something came
	if n := r.in.held(); n != 1 {
		t.Errorf("holds %d, want 1", n)
	}
	r.in.release(now.Add(3 * releaseAfter))
	if n := r.in.held(); n != 0 || len(r.in.dead) != 2 {
		t.Errorf("holds %d, want none; %d dead, want 2", n, len(r.in.dead))
	}
	r.rtp(t, sinkHeader(11, 3), "replayed", nil)
	if n := r.in.held(); n != 1 || r.in.undeclared != 0 || len(s.got) != 1 {
		t.Errorf("holds %d, %d undeclared, got %d", n, r.in.undeclared, len(s.got))
	}
	r.in.release(now.Add(5 * releaseAfter)) // it was late
	r.in.release(now.Add(7 * releaseAfter))
	if n := r.in.held(); n != 0 {
		t.Errorf("holds %d after the replay, want none", n)
	}
	if d := r.p.conn.Stats().Drops; d[DropClosed] != 2 {
		t.Errorf("drops %v", d)
	}
	_, again := r.open(video)
	r.rtp(t, sinkHeader(11, 4), "anew", nil)
	if len(again.got) != 1 {
		t.Errorf("an SSRC declared again brought %d packets", len(again.got))
	}
}

// An SSRC of ours that the other side does not take for the moment keeps its place
// in the cipher: it would count from zero again, under the same keys.
func TestWishedSSRCsStay(t *testing.T) {
	r := newRig(t)
	now := time.Now()
	wish := sdp.Send{ID: "cam", Kind: codec.Video, SSRC: 21, RTXSSRC: 22, Layers: []sdp.Layer{{RID: "q", SSRC: 23, RTXSSRC: 24}}}
	r.p.conn.SetSends([]sdp.Send{wish})
	s := newSender(r.p.conn, sdp.Sending{ID: "cam", SSRC: 21, RTXSSRC: 22}, "")
	r.in.openSender(s)
	r.in.setLayers(s, sdp.Sending{ID: "cam", Layers: wish.Layers})
	r.in.closeSender(s)
	if gone, _ := r.in.outdated(now.Add(2 * releaseAfter)); len(gone) != 0 || len(r.in.ended) != 4 {
		t.Errorf("released %v, %d wait", gone, len(r.in.ended))
	}
	r.p.conn.SetSends(nil)
	gone, theirs := r.in.outdated(now.Add(4 * releaseAfter))
	slices.Sort(gone)
	if !slices.Equal(gone, []uint32{21, 22, 23, 24}) || len(theirs) != 0 || len(r.in.ended) != 0 {
		t.Errorf("released %v, %d wait", gone, len(r.in.ended))
	}
}

// A browser goes on with an SSRC that it has paused, however long that was, and
// with the rollovers that it has counted.
func TestLastSSRCsStay(t *testing.T) {
	r := newRig(t)
	now := time.Now()
	for i := range uint32(keptEnded + 3) {
		r.in.finish(100+i, false, now.Add(time.Duration(i)))
	}
	for round := range 3 {
		gone, _ := r.in.outdated(now.Add(time.Duration(round+2) * releaseAfter))
		want := []uint32{100, 101, 102}
		if round > 0 {
			want = nil
		}
		if !slices.Equal(gone, want) {
			t.Errorf("round %d: released %v, want %v", round, gone, want)
		}
	}
}

func TestTooManyDeadSSRCs(t *testing.T) {
	r := newRig(t)
	for i := range uint32(maxLife) {
		r.in.dead[i] = struct{}{}
	}
	r.in.buffer(true, maxLife)
	if err := r.p.conn.Err(); !errors.Is(err, ErrTooManySSRCs) {
		t.Errorf("error %v", err)
	}
}

package nack

import (
	"strings"
	"testing"
	"time"
)

// FuzzTracker lets the bytes be packets: each has a step of the number, a time
// and a way to come. What is asked for must be missing, ascending, and not asked
// for twice within a round trip.
func FuzzTracker(f *testing.F) {
	for _, s := range scenarios {
		var b []byte
		at, seq := 0, uint16(0)
		for _, st := range s.steps {
			b = append(b, byte(st.do), byte(min(st.at-at, 255)), byte((st.seq-seq)>>8), byte(st.seq-seq))
			at, seq = st.at, st.seq
		}
		f.Add(uint8(s.cfg.Packets), s.cfg.Frames, b)
	}
	f.Fuzz(func(t *testing.T, packets uint8, frames bool, b []byte) {
		tr := New(Config{Window: 400 * ms, Packets: int(packets), Frames: frames})
		tr.SetRTT(50 * ms)
		asked, came := map[int64]time.Time{}, map[int64]bool{}
		now, seq := epoch, uint16(0)
		place := func(seq uint16) int64 { return tr.newest + int64(int16(seq-uint16(tr.newest))) }
		for ; len(b) >= 4; b = b[4:] {
			now = now.Add(time.Duration(b[1]) * ms)
			seq += uint16(b[2])<<8 | uint16(b[3])
			st := step{do: rune("aaaerst"[int(b[0])%7]), seq: seq}
			if strings.ContainsRune("aerst", rune(b[0])) {
				st.do = rune(b[0])
			}
			doubted := tr.restart.seen
			st.tell(tr, now)
			if doubted == probation-1 && tr.restart.seen == 0 { // perhaps a restart
				clear(asked)
				clear(came)
			}
			if (st.do == 'a' || st.do == 'e') && tr.restart.seen == 0 {
				came[place(seq)] = true
			}
			due := tr.Due(now, nil)
			for i, n := range due {
				if i > 0 && int16(n-due[i-1]) <= 0 {
					t.Fatalf("not ascending: %v", due)
				}
				if last, ok := asked[place(n)]; ok && now.Sub(last) < 50*ms {
					t.Fatalf("%d asked for again after %v", n, now.Sub(last))
				}
				if came[place(n)] {
					t.Fatalf("%d asked for, which came", n)
				}
				asked[place(n)] = now
			}
			check(t, tr)
		}
		// Whatever is missing is given up in the end.
		for range 50 {
			next, ok := tr.Next()
			if !ok {
				break
			}
			now = next
			tr.Due(now, nil)
		}
		if tr.Missing() > 0 {
			t.Errorf("%d are missing for ever", tr.Missing())
		}
	})
}

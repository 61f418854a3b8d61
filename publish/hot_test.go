package publish

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/pion/rtp"
)

// TestHotPathAllocatesNothing holds history and fan-out at zero.
func TestHotPathAllocatesNothing(t *testing.T) {
	for _, sel := range []int{selVP8, selVP9, selH264, selAV1, selOpus} {
		c := lookCodecs[sel]
		t.Run(c.Name, func(t *testing.T) {
			track := NewTrack(TrackConfig{Codec: c, KeyframeRequest: func() {}})
			for range 50 {
				track.Add(&discard{})
			}
			payload, buf := bytes.Repeat([]byte{0x10}, 300), make([]byte, MaxPayload)
			h := rtp.Header{SSRC: 1}
			packet := func() {
				h.SequenceNumber++
				h.Timestamp += 3000
				track.WriteRTP(&h, payload, epoch)
				track.Lookup(track.out.Index, buf)
			}
			for range track.Window() {
				packet()
			}
			if n := testing.AllocsPerRun(2000, packet); n != 0 {
				t.Errorf("%v allocations a packet", n)
			}
		})
	}
}

// FuzzTrackWrite writes what the bytes say (flags, step of the number, step of
// the time, length) and checks that each index is given on once, that the
// history holds exactly what was given on, and that counters add up.
func FuzzTrackWrite(f *testing.F) {
	f.Add(uint8(selVP8), []byte{0, 1, 1, 9, 0, 1, 1, 9, 0, 255, 0, 9, 1, 1, 1, 0})
	f.Add(uint8(selH264), []byte{2, 1, 1, 9, 4, 200, 1, 9, 4, 1, 0, 9, 4, 1, 0, 9, 4, 1, 0, 9})
	f.Add(uint8(selOpus), []byte{8, 1, 1, 255, 0, 1, 1, 255, 16, 250, 0, 255})
	f.Fuzz(func(t *testing.T, sel uint8, data []byte) {
		track := NewTrack(TrackConfig{Codec: lookCodecs[int(sel)%len(lookCodecs)], History: 64})
		rec := &recorder{}
		track.Add(rec)
		h := rtp.Header{SSRC: 1, SequenceNumber: 65530, Timestamp: 1 << 31}
		written, at := 0, epoch
		for ; len(data) >= 4; data = data[4:] {
			flags, step := data[0], uint16(int8(data[1]))
			if flags&4 != 0 {
				step *= 97
			}
			if flags&8 != 0 {
				h.SSRC++
			}
			h.SequenceNumber += step
			h.Timestamp += uint32(data[2]) * 300
			h.Marker = flags&1 != 0
			at = at.Add(time.Duration(data[2]) * time.Millisecond)
			payload := make([]byte, int(data[3])*7)
			if len(payload) >= 3 {
				payload[0] = flags
				binary.BigEndian.PutUint16(payload[1:], uint16(written))
			}
			track.WriteRTP(&h, payload, at)
			written++
		}
		checkTrack(t, track, rec, written)
	})
}

func checkTrack(t *testing.T, track *Track, rec *recorder, written int) {
	t.Helper()
	seen, newest := map[int64]bool{}, int64(0)
	for _, p := range rec.got {
		if seen[p.Index] {
			t.Fatalf("index %d given on twice", p.Index)
		}
		seen[p.Index] = true
		newest = max(newest, p.Index)
	}
	buf := make([]byte, MaxPayload)
	for _, p := range rec.got {
		q, ok := track.Lookup(p.Index, buf)
		if kept := p.Index > newest-int64(track.Window()); ok != kept {
			t.Fatalf("index %d (newest %d) is kept: %v", p.Index, newest, ok)
		}
		if ok && (!bytes.Equal(q.Payload, p.Payload) || q.Timestamp != p.Timestamp || q.Seq != p.Seq) {
			t.Fatalf("history has %+v, given on was %+v", q, p)
		}
	}
	s := track.Stats()
	if int(s.Packets) != len(rec.got) || int(s.Packets+s.Drops.Total()) != written {
		t.Fatalf("%d written, %d given on, counters %+v", written, len(rec.got), s)
	}
	if len(rec.got) > 0 && s.Lost > uint64(newest) {
		t.Fatalf("lost %d", s.Lost)
	}
	key, ok := track.LastKeyframe()
	for i := key; ok && i <= newest; i++ {
		if !seen[i] {
			t.Fatalf("LastKeyframe %d, but %d never came", key, i)
		}
	}
}

func BenchmarkHistory(b *testing.B) {
	payload := append([]byte{0x10, 0x01}, make([]byte, 1150)...)
	b.Run("write", func(b *testing.B) {
		track := NewTrack(TrackConfig{Codec: lookCodecs[selVP8]})
		h := rtp.Header{SSRC: 1}
		b.ReportAllocs()
		for b.Loop() {
			h.SequenceNumber++
			h.Timestamp += 1000
			track.WriteRTP(&h, payload, epoch)
		}
	})
	b.Run("lookup", func(b *testing.B) {
		track := NewTrack(TrackConfig{Codec: lookCodecs[selVP8]})
		h := rtp.Header{SSRC: 1}
		for range 1024 {
			h.SequenceNumber++
			track.WriteRTP(&h, payload, epoch)
		}
		buf := make([]byte, MaxPayload)
		b.ReportAllocs()
		i := int64(0)
		for b.Loop() {
			i++
			if _, ok := track.Lookup(firstIndex+1+i&1023, buf); !ok {
				b.Fatal("not kept")
			}
		}
	})
}

func BenchmarkFanOut(b *testing.B) {
	payload := append([]byte{0x10, 0x01}, make([]byte, 1150)...)
	for _, n := range []int{1, 10, 50} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			track := NewTrack(TrackConfig{Codec: lookCodecs[selVP8]})
			for range n {
				track.Add(&discard{})
			}
			h := rtp.Header{SSRC: 1}
			b.ReportAllocs()
			for b.Loop() {
				h.SequenceNumber++
				h.Timestamp += 1000
				track.WriteRTP(&h, payload, epoch)
			}
		})
	}
}

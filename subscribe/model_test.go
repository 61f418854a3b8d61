package subscribe

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtp"
)

// world is a publisher behind a bad path, a forwarder, and a subscriber behind
// another bad path that asks for what it misses.
type world struct {
	*scene
	rng     *rand.Rand
	rtx     bool
	n, pic  int // last number and picture published
	delayed []delayed
	media   map[int]int // number published -> how many of them had a payload so far
	key     map[int]bool
	got     map[int64]rtp.Packet // by extended outgoing number
	high    int64
	sent    map[int64]bool
}

type delayed struct {
	due, n, f int
	kind      string
	marker    bool
}

// step publishes one picture of one to four packets.
func (w *world) step(gop int) {
	w.pic++
	size := 1 + w.rng.IntN(4)
	for i := range size {
		w.n++
		kind := more
		if i == 0 {
			kind = deltaStart
			if w.pic%gop == 1 {
				kind = keyStart
				w.key[w.n] = true
			}
		}
		w.media[w.n] = w.media[w.n-1] + 1
		w.upstream(delayed{n: w.n, f: w.pic, kind: kind, marker: i == size-1})
	}
	if w.rng.IntN(20) == 0 {
		w.n++
		w.media[w.n] = w.media[w.n-1]
		w.padding(w.n, w.pic)
	}
	w.release(w.n)
}

// upstream loses 4 of 100, delays as many (repairs and reordering), doubles one.
func (w *world) upstream(d delayed) {
	switch r := w.rng.IntN(100); {
	case r < 4:
	case r < 8:
		d.due = w.n + 1 + w.rng.IntN(60)
		w.delayed = append(w.delayed, d)
	case r < 9:
		w.write(d.n, d.f, d.kind, d.marker)
		fallthrough
	default:
		w.write(d.n, d.f, d.kind, d.marker)
	}
}

func (w *world) release(n int) {
	w.delayed = slices.DeleteFunc(w.delayed, func(d delayed) bool {
		if d.due <= n {
			now := w.now
			w.write(d.n, d.f, d.kind, d.marker)
			w.now = now
		}
		return d.due <= n
	})
}

// downstream takes what is on the wire and loses some of it.
func (w *world) downstream(loss int) {
	for _, p := range w.w.take() {
		number := w.extend(&p)
		w.sent[number] = true
		if w.rng.IntN(100) < loss {
			continue
		}
		if before, ok := w.got[number]; ok && fmt.Sprint(before.Payload) != fmt.Sprint(p.Payload) {
			w.t.Fatalf("number %d stands for %x and %x", number, before.Payload, p.Payload)
		}
		w.got[number] = p
		w.high = max(w.high, number)
	}
}

// extend unwraps RTX and extends the outgoing number.
func (w *world) extend(p *rtp.Packet) int64 {
	if p.SSRC == rtxSSRC {
		p.SSRC, p.SequenceNumber = mainSSRC, uint16(p.Payload[0])<<8|uint16(p.Payload[1])
		p.Payload = p.Payload[osnSize:]
	}
	if w.high == 0 {
		w.high = 1<<16 + int64(p.SequenceNumber)
	}
	return w.high + int64(int16(p.SequenceNumber-uint16(w.high)))
}

// ask sends a NACK for all that is missing among the last 900.
func (w *world) ask(now time.Time) {
	var missing []uint16
	for i := max(w.high-900, 1<<16); i < w.high; i++ {
		if _, ok := w.got[i]; !ok {
			missing = append(missing, uint16(i))
		}
	}
	w.nack(now, missing...)
}

// check compares what the subscriber has with what was published.
func (w *world) check() {
	for number := range w.sent {
		if _, ok := w.got[number]; !ok {
			w.t.Errorf("number %d was never repaired", number)
		}
	}
	numbers := make([]int64, 0, len(w.got))
	for i := range w.got {
		numbers = append(numbers, i)
	}
	slices.Sort(numbers)
	for i := 1; i < len(numbers); i++ {
		a, b := w.got[numbers[i-1]], w.got[numbers[i]]
		na, nb := number(a), number(b)
		passed := int(numbers[i] - numbers[i-1])
		if dt := int32(b.Timestamp - a.Timestamp); dt < 0 {
			w.t.Fatalf("time goes back by %d from packet %d to %d", -dt, na, nb)
		}
		if w.key[nb] && string(b.Payload[:2]) == keyStart && passed == 1 {
			continue // a start: anything may have been left out before it
		}
		if want := w.media[nb] - w.media[na]; want != passed {
			w.t.Fatalf("packet %d follows %d after %d numbers, want %d", nb, na, passed, want)
		}
	}
}

// TestModel runs calls over bad paths: each number stands for one packet, holes
// are exactly what upstream lost, and all that was sent once arrives.
func TestModel(t *testing.T) {
	for seed := range uint64(24) {
		rtx := seed%2 == 0
		t.Run(fmt.Sprintf("seed %d, rtx %v", seed, rtx), func(t *testing.T) {
			w := &world{
				scene: newScene(t, vp8, false, rtx), rng: rand.New(rand.NewPCG(seed, 7)),
				media: map[int]int{}, key: map[int]bool{}, got: map[int64]rtp.Packet{}, sent: map[int64]bool{},
			}
			w.n = 65000
			for i := range 900 {
				w.step(40)
				w.downstream(8)
				switch {
				case i%6 == 5:
					w.ask(w.now)
					w.downstream(8)
				case w.rng.IntN(80) == 0:
					w.f.Pause()
				case w.rng.IntN(20) == 0:
					w.f.Resume()
				}
			}
			w.f.Resume()
			for i := range 80 { // so that it ends with something live
				w.step(40)
				w.downstream(0)
				if i%6 == 5 {
					w.ask(w.now)
					w.downstream(0)
				}
			}
			w.check()
			if len(w.got) < 500 {
				t.Errorf("only %d packets arrived", len(w.got))
			}
		})
	}
}

// TestOutgoingModel compares the numbers with a map that forgets nothing.
func TestOutgoingModel(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 3))
		o := newOutgoing(128)
		o.begin(nil, 1000)
		place, start := map[int64]int64{}, o.next // index -> number, of packets and holes
		high := int64(999)
		for range 2000 {
			index := high + 1 + int64(rng.IntN(4)/2)
			if rng.IntN(4) == 0 {
				index = high - int64(rng.IntN(100))
			}
			if index > high && rng.IntN(8) == 0 {
				for i := high + 1; i < index; i++ {
					place[i] = start
					start++
				}
				o.skip(index, mark{})
				high = index
				continue
			}
			fresh := index > high
			if fresh {
				for i := high + 1; i <= index; i++ {
					place[i] = start
					start++
				}
				high = index
			}
			want, known := place[index]
			number, late, ok := o.take(index, mark{})
			if fresh && (!ok || late || number != want) || ok && (!known || number != want) {
				t.Fatalf("seed %d: index %d got number %d (late %v, ok %v), want %d (%v)", seed, index, number, late, ok, want, known)
			}
			if !ok {
				continue
			}
			o.at(number).sent = sentOnce
			if n, e, found := o.sent(uint16(number)); !found || n != number || e.index != index {
				t.Fatalf("seed %d: number %d is not found again", seed, number)
			}
		}
	}
}

func TestOutgoingGivesUpOnHugeGaps(t *testing.T) {
	o := newOutgoing(1024)
	o.begin(nil, 10)
	a, _, _ := o.take(10, mark{})
	b, _, _ := o.take(10+513, mark{})
	c, _, _ := o.take(10+513+100_000, mark{})
	equal(t, "numbers passed", []int64{b - a, c - b}, []int{513, 2})
}

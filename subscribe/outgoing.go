package subscribe

import (
	"math/rand/v2"

	"github.com/weft-rtc/weft/publish"
)

// Sizes of the ring of outgoing numbers: 32 kB for video, as far back as a
// track's history goes; for audio 128 numbers are 2.5 s.
const (
	videoRing = 1024
	audioRing = 128
)

// entry is what stands behind one outgoing sequence number. 32 bytes.
type entry struct {
	index int64 // the layer's number
	layer *publish.Layer
	ts    uint32 // outgoing timestamp
	sent  uint32 // neverSent, sentOnce, or when it was sent again, see stamp
	mark         // of a hole: what holds if it is still filled
}

const (
	neverSent = 0 // a hole: lost upstream, perhaps still to be repaired
	sentOnce  = 1
)

// outgoing maps the track's numbers to the subscriber's. Numbers are handed out
// without a gap, except that a packet lost upstream leaves its hole, so that the
// subscriber knows of the loss and the packet still has its place when it is
// repaired. It is not safe for concurrent use.
type outgoing struct {
	size   int            // of the ring, a power of two
	ring   []entry        // made when the first run begins
	next   int64          // the next number; its low 16 bits go on the wire
	floor  int64          // numbers below belong to another track
	run    int64          // number at which the present run began; indexes rise within it
	expect int64          // the next index of the run
	layer  *publish.Layer // of the run
}

// newOutgoing starts at a random number. RFC 3711 section 3.3.1 wants the first
// in the lower half, or a lost start makes the receiver miscount rollovers.
func newOutgoing(size int) outgoing {
	n := int64(1<<16 + rand.IntN(1<<15))
	return outgoing{size: size, next: n, floor: n, run: n}
}

func (o *outgoing) at(number int64) *entry { return &o.ring[number&int64(len(o.ring)-1)] }

// lowest is the oldest number that the ring still holds.
func (o *outgoing) lowest() int64 { return max(o.floor, o.next-int64(len(o.ring))) }

// begin starts a run at an index of a layer, which need not have to do with those
// before.
func (o *outgoing) begin(layer *publish.Layer, index int64) {
	if o.ring == nil {
		o.ring = make([]entry, o.size)
	}
	o.run, o.expect, o.layer = o.next, index, layer
}

// newTrack forgets what earlier numbers stood for.
func (o *outgoing) newTrack() { o.floor, o.run = o.next, o.next }

// take gives the packet with this index its number. late says that it fills a
// hole. Not ok: its place is gone, or taken. m goes to the holes before it.
func (o *outgoing) take(index int64, m mark) (number int64, late, ok bool) {
	if index < o.expect {
		number, ok = o.find(index)
		return number, true, ok && o.at(number).sent == neverSent
	}
	o.holes(index, m)
	number = o.next
	*o.at(number) = entry{index: index, layer: o.layer, mark: m}
	o.next++
	o.expect = index + 1
	return number, false, true
}

// skip leaves out a packet on purpose: what follows closes up.
func (o *outgoing) skip(index int64, m mark) {
	if index >= o.expect {
		o.holes(index, m)
		o.expect = index + 1
	}
}

// jump leaves out all before index on purpose.
func (o *outgoing) jump(index int64) { o.expect = max(o.expect, index) }

// holes keeps the numbers of the packets missing before index. Of a gap beyond
// half the ring nothing will be repaired, and holes in their thousands would
// only make NACKs: one is left, for the subscriber to know.
func (o *outgoing) holes(index int64, m mark) {
	if index-o.expect > int64(len(o.ring)/2) {
		o.expect = index - 1
	}
	for ; o.expect < index; o.expect++ {
		*o.at(o.next) = entry{index: o.expect, layer: o.layer, mark: m}
		o.next++
	}
}

// find searches the run for the number of index.
func (o *outgoing) find(index int64) (int64, bool) {
	low, high := max(o.run, o.lowest()), o.next
	for low < high {
		mid := low + (high-low)/2
		if o.at(mid).index < index {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low, low < o.next && o.at(low).index == index
}

// sent returns what was sent under a sequence number of the wire.
func (o *outgoing) sent(seq uint16) (number int64, e *entry, ok bool) {
	last := o.next - 1
	number = last - int64(uint16(last)-seq)
	if number < o.lowest() {
		return 0, nil, false
	}
	e = o.at(number)
	return number, e, e.sent != neverSent
}

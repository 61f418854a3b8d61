package publish

import "time"

// Slots come from slabs so that a track of 128 packets does not hold the memory
// of 1024, and so that a full ring never allocates again. 32 slots of video are
// 47 kB, of audio 10 kB.
const (
	slabSlots = 32
	// smallSlot takes Opus at up to 128 kbit/s in 20 ms; a longer payload gives
	// its slot a buffer of MaxPayload for good.
	smallSlot = 320
)

// slot is one packet of the history.
type slot struct {
	index     int64 // extended sequence number; 0: empty, since they begin higher
	key       int64 // index of the packet at which the key picture that it belongs to starts
	timestamp uint32
	seq       uint16
	length    uint16
	extra     uint8 // bytes of dependency descriptor behind the payload
	flags     slotFlags
	arrival   time.Time
	place     Place
	buf       []byte
}

type slotFlags uint8

const (
	flagMarker slotFlags = 1 << iota
	flagStart            // first packet of its picture
	flagKey              // belongs to a key picture from slot.key on
)

// history is a ring of the most recent packets, indexed by the low bits of the
// extended sequence number. It is not safe for concurrent use: Track.mu guards it.
type history struct {
	slots    []slot // length: a power of two
	slotSize int    // bytes a slot starts with
	slab     []byte // what is left of the last slab
	newest   int64  // highest index stored; 0: none
	lastKey  int64  // start of the newest key picture
	hasKey   bool

	wholeFrom, wholeTo int64 // without a hole, as far as wholeKey has looked
}

func newHistory(size, slotSize int) history {
	return history{slots: make([]slot, size), slotSize: slotSize}
}

func (h *history) size() int64 { return int64(len(h.slots)) }

// at returns the slot that holds index, or nil.
func (h *history) at(index int64) *slot {
	if index > h.newest || index <= max(h.newest-h.size(), 0) {
		return nil // not yet, or its slot is due for another, or there are none
	}
	s := &h.slots[index&(h.size()-1)]
	if s.index != index {
		return nil
	}
	return s
}

// put stores p, whose index is new and at most size below the newest, with what
// the look told, and completes the three flags of p from its neighbours.
func (h *history) put(p *Packet, info Info) {
	s := &h.slots[p.Index&(h.size()-1)]
	h.reserve(s, len(p.Payload)+len(p.Dependency))
	copy(s.buf[copy(s.buf, p.Payload):], p.Dependency)
	s.extra, s.place = uint8(len(p.Dependency)), p.Place
	s.index, s.seq, s.timestamp, s.length = p.Index, p.Seq, p.Timestamp, uint16(len(p.Payload))
	s.arrival, s.flags, s.key = p.Arrival, 0, 0
	if p.Marker {
		s.flags |= flagMarker
	}
	if info.NoParameters && h.newest > 0 && h.at(p.Index-1) == nil {
		// What is missing before it is most likely the packet of its parameter
		// sets: who started here could decode nothing. When that comes it takes
		// this one into its key picture.
		info.Keyframe = false
	}
	h.newest = max(h.newest, p.Index)
	h.judge(s, info)
	p.FrameStart = s.flags&flagStart != 0
	p.Keyframe = s.flags&flagKey != 0 && s.key == s.index
}

// judge decides where pictures and key pictures start. The packet before knows
// better than the payload: H264 and AV1 cut pictures into packets that look like
// starts, and pictures begin with packets that look like nothing.
func (h *history) judge(s *slot, info Info) {
	before := h.at(s.index - 1)
	same := before != nil && before.timestamp == s.timestamp
	if !same && s.length > 0 && (info.FrameStart || before != nil) {
		s.flags |= flagStart
	}
	if after := h.at(s.index + 1); after != nil { // it came before its time
		after.flags &^= flagStart
		if after.timestamp != s.timestamp {
			after.flags |= flagStart
		}
	}
	switch {
	case same && before.flags&flagKey != 0:
		s.flags |= flagKey
		s.key = before.key
	case info.Keyframe:
		s.flags |= flagKey
		s.key = s.index
		if !h.hasKey || s.index > h.lastKey {
			h.lastKey, h.hasKey = s.index, true
		}
	default:
		return
	}
	h.join(s)
}

// join gives the packets of the same picture that came before their time, so
// after s in number, to the key picture that s belongs to.
func (h *history) join(s *slot) {
	for i := s.index + 1; i <= h.newest; i++ {
		after := h.at(i)
		if after == nil || after.timestamp != s.timestamp {
			return
		}
		if h.lastKey == i {
			h.lastKey = s.key
		}
		after.flags |= flagKey
		after.key = s.key
	}
}

// reserve gives s a buffer of at least n bytes.
func (h *history) reserve(s *slot, n int) {
	if cap(s.buf) >= n {
		s.buf = s.buf[:cap(s.buf)]
		return
	}
	if n > h.slotSize {
		s.buf = make([]byte, max(n, MaxPayload))
		return
	}
	if len(h.slab) < h.slotSize {
		h.slab = make([]byte, h.slotSize*min(slabSlots, len(h.slots)))
	}
	s.buf = h.slab[:h.slotSize:h.slotSize]
	h.slab = h.slab[h.slotSize:]
}

// packet returns what the slot holds; its payload is the slot's own memory.
func (h *history) packet(s *slot, audio bool) Packet {
	after := h.at(s.index + 1)
	p := Packet{
		Seq: s.seq, Timestamp: s.timestamp, Marker: s.flags&flagMarker != 0,
		Payload: s.buf[:s.length], Arrival: s.arrival, Index: s.index,
		Keyframe:   s.flags&flagKey != 0 && s.key == s.index,
		FrameStart: audio || s.flags&flagStart != 0,
		FrameEnd: s.length > 0 && (audio || s.flags&flagMarker != 0 ||
			after != nil && after.timestamp != s.timestamp),
		Place: s.place,
	}
	if s.extra > 0 {
		p.Dependency = s.buf[s.length : int(s.length)+int(s.extra)]
	}
	return p
}

// forgetKey ends the group of pictures: what comes does not build on it.
func (h *history) forgetKey() { h.hasKey = false }

// wholeKey returns the start of the newest key picture if it and everything
// since is here. It goes on where the last scan ended, since subscribers that
// wait ask at every packet.
func (h *history) wholeKey() (int64, bool) {
	if !h.hasKey || h.lastKey <= h.newest-h.size() {
		return 0, false
	}
	i := h.lastKey
	if h.wholeFrom <= i && i <= h.wholeTo {
		i = h.wholeTo
	} else {
		h.wholeFrom = i
	}
	for i < h.newest && h.at(i+1) != nil {
		i++
	}
	h.wholeTo = i
	return h.lastKey, i == h.newest
}

package subscribe

import (
	"time"

	"github.com/pion/rtp"

	"github.com/weft-rtc/weft/publish"
)

// parcel is what a write needs after the lock is given back: a header that does
// not move, and room for a payload out of the history behind an OSN. A forwarder
// has as many as there were ever goroutines writing for it at one moment, two as
// a rule: the publisher's and the one that brings feedback.
type parcel struct {
	header     rtp.Header
	payload    []byte
	dependency []byte // dependency descriptor
	writer     Writer
	buf        []byte  // osnSize and publish.MaxPacket long; nil until it is needed
	next       *parcel // in Forwarder.free
	extension  [publish.MaxPacket - publish.MaxPayload]byte
}

// room returns the buffer.
func (p *parcel) room() []byte {
	if p.buf == nil {
		p.buf = make([]byte, osnSize+publish.MaxPacket)
	}
	return p.buf
}

// owns reports whether a payload lies in the buffer, at its beginning or behind an
// OSN.
func (p *parcel) owns(payload []byte) bool {
	return len(p.buf) > 0 && len(payload) > 0 && (&payload[0] == &p.buf[0] || &payload[0] == &p.buf[osnSize])
}

// parcel takes one from the free list. Callers hold mu.
func (f *Forwarder) parcel() *parcel {
	p := f.free
	if p == nil {
		return new(parcel)
	}
	f.free = p.next
	return p
}

// give puts a parcel back. Callers hold mu.
func (f *Forwarder) give(p *parcel) {
	p.writer, p.payload, p.dependency, p.next = nil, nil, nil, f.free
	f.free = p
}

// send writes the parcel and takes mu, to give the parcel back; callers release
// mu when they want it no more.
func (f *Forwarder) send(p *parcel) {
	err := p.writer.WriteRTP(&p.header, p.payload, p.dependency)
	f.mu.Lock()
	f.give(p)
	if err != nil {
		f.stats.Drops[ReasonWrite]++
	}
}

// receive takes a packet on the publisher's goroutine.
func (f *Forwarder) receive(in *input, p *publish.Packet) {
	f.mu.Lock()
	if in == f.coming && in != nil {
		f.receiveNext(p)
		return
	}
	if in != f.in {
		f.mu.Unlock() // the track before still had it under way
		return
	}
	if why := f.refusal(); why != ReasonNone {
		f.stats.Drops[why]++
		f.mu.Unlock()
		return
	}
	wantKey := false
	if f.phase == waiting {
		wantKey = f.start(p, p.Arrival)
	}
	switch {
	case f.phase == waiting:
		f.stats.Drops[ReasonKeyframe]++
		f.mu.Unlock()
	case f.phase == replaying && p.Index >= f.out.expect:
		f.cursor = min(f.cursor, p.Index) // the cursor may have passed its hole
		f.mu.Unlock()
		f.drip(p.Arrival, max(in.layer.Extra(dripPackets), minDrip))
	default:
		f.forward(p)
	}
	if wantKey {
		in.layer.RequestKeyframe(p.Arrival)
	}
}

// receiveNext takes a packet of the layer that is to come, of which only the
// beginning of a key picture is of use. It is called with mu held and gives it
// back.
func (f *Forwarder) receiveNext(p *publish.Packet) {
	newest, _, _ := f.coming.layer.Newest()
	if !p.Keyframe || p.Index != newest || f.refusal() != ReasonNone {
		f.mu.Unlock()
		return
	}
	left := f.change(p)
	f.forward(p)
	left.layer.Remove(left)
}

// forward sends a live packet, or one that fills a hole. It is called with mu
// held and gives it back before it writes.
func (f *Forwarder) forward(p *publish.Packet) {
	out := f.parcel()
	out.payload = p.Payload
	why := f.plan(p, p.Timestamp+f.times.offset, out)
	if why != ReasonNone {
		f.stats.Drops[why]++
		f.give(out)
		f.mu.Unlock()
		return
	}
	f.mu.Unlock()
	f.send(out)
	f.mu.Unlock()
}

// begin starts a run of numbers. Callers hold mu.
func (f *Forwarder) begin(layer *publish.Layer, index int64) {
	f.out.cut(f.torn)
	f.torn = false
	f.pictures.begin()
	f.aim.begin()
	f.gap = gap{}
	f.out.begin(layer, index)
}

// start leaves waiting if it can: at the packet p if that is a key picture, else
// at the last one that the history has whole. p is nil on a tick. wantKey says
// that the publisher should be asked for a key picture. Callers hold mu.
func (f *Forwarder) start(p *publish.Packet, now time.Time) (wantKey bool) {
	newest, ts, _ := f.in.layer.Newest()
	if p != nil && p.Keyframe && p.Index == newest { // not one that was repaired
		f.times.anchor(p.Timestamp, now)
		f.begin(f.in.layer, p.Index)
		f.phase, f.liveFrom = live, p.Index
		return false
	}
	key, ok := f.in.layer.LastKeyframe()
	if !ok || f.group == key && now.Sub(f.replayed) < replayInterval {
		return f.video()
	}
	f.times.anchor(ts, now)
	f.begin(f.in.layer, key)
	f.phase, f.cursor, f.boundary = replaying, key, false
	f.liveFrom = newest + 1 // moved on until the end of the replay
	f.stats.Replays++
	f.replayed, f.group = now, key
	// What is kept shows a picture at once; when it is long, a fresh key picture
	// is less to send. drip jumps to it.
	return newest-key > longReplay
}

// plan gives the packet its number, notes it and fills the header. Callers hold
// mu. liveTS is the outgoing timestamp if the packet is not late in a replay.
func (f *Forwarder) plan(p *publish.Packet, liveTS uint32, out *parcel) DropReason {
	m := f.pictures.now // of what is missing before p, too
	m.target = uint8(f.aim.current)
	if p.Index >= f.out.expect {
		if why := f.pass(p, m); why != ReasonNone {
			return why
		}
	} // else it fills the hole that it left, or the subscriber would ask for ever
	number, late, ok := f.out.take(p.Index, m)
	if !ok {
		return ReasonLate
	}
	if late && p.Index < f.liveFrom {
		if liveTS, ok = f.neighbourTime(number, p); !ok {
			return ReasonLate
		}
	}
	e := f.out.at(number)
	e.ts, e.sent = liveTS, sentOnce
	if late {
		// The subscriber has asked for it, perhaps, and need not get it twice.
		e.sent = f.stamp(p.Arrival)
		m = e.mark
	} else {
		m = f.pictures.place(p)
		m.target = uint8(f.aim.current)
		f.times.sent(p.Timestamp, liveTS, p.Arrival)
	}
	sent, marker := part(p, m.target)
	if !late {
		f.torn = !marker && f.video()
	}
	if sent {
		m.apply(f.pictures.format, out, p)
	} else { // lost, and of a layer that is not sent, as shows only now
		m.target, out.payload = filler, nil
	}
	e.mark = m
	out.header = rtp.Header{
		Version: 2, Marker: marker, PayloadType: f.payload.Type,
		SequenceNumber: uint16(number), Timestamp: liveTS, SSRC: f.ssrc,
	}
	out.writer = f.writer
	f.stats.Packets++
	f.stats.Bytes += uint64(len(out.payload))
	f.pace.add(p.Arrival, len(out.payload))
	return ReasonNone
}

// pass decides whether a packet that comes in order is sent, and leaves it out if
// not. Callers hold mu; m is what holes before it are marked with.
func (f *Forwarder) pass(p *publish.Packet, m mark) DropReason {
	if f.gap.within(p) {
		f.out.jump(p.Index)
	}
	if len(p.Payload) == 0 {
		f.out.skip(p.Index, m)
		return ReasonPadding
	}
	if p.Keyframe && p.Targets != nil {
		f.reconsider(p.Arrival)
	}
	before, begun := f.aim.current, f.aim.targets != nil
	if f.aim.admits(p) {
		f.gap = gap{}
		if begun && f.aim.current != before {
			f.stats.Switches++
		}
		return ReasonNone
	}
	f.pictures.leave(p)
	f.gap = gap{open: !p.LayerEnd, timestamp: p.Timestamp, spatial: p.Spatial}
	f.out.skip(p.Index, m)
	return ReasonLayer
}

// gap is a frame that is being left out. What is lost of it leaves no hole.
type gap struct {
	open      bool
	timestamp uint32
	spatial   uint8
}

// within reports whether p goes on with the frame, so that all before it belongs to
// it as well.
func (g gap) within(p *publish.Packet) bool {
	return g.open && p.Targets != nil && !p.LayerStart && p.Timestamp == g.timestamp && p.Spatial == g.spatial
}

// neighbourTime finds the stamp of a packet that was missing when its picture
// was replayed: the packet before or after it has it. Callers hold mu.
func (f *Forwarder) neighbourTime(number int64, p *publish.Packet) (uint32, bool) {
	for _, n := range [...]int64{number - 1, number + 1} {
		if n < f.out.run || n < f.out.lowest() || n >= f.out.next {
			continue
		}
		e := f.out.at(n)
		if e.sent == neverSent {
			continue
		}
		if q, ok := e.layer.Peek(e.index); ok && q.Timestamp == p.Timestamp {
			return e.ts, true
		}
	}
	return 0, false
}

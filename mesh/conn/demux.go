package conn

import (
	"slices"
	"time"

	"github.com/pion/rtp"

	"github.com/weft-rtc/weft/mesh/sdp"
)

// resolve finds the track of an SSRC by its first packets (RFC 9143 section
// 9.2): by the description that declares it, by the mid and RID extensions, or
// by a payload type that only one track uses. nil if it is not known (yet).
func (in *ingest) resolve(b *tap, packet []byte) *stream {
	h := &in.scratch
	if _, err := h.Unmarshal(packet); err != nil {
		in.drop(DropMalformed)
		return nil
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	s := in.find(b.ssrc, h)
	if s == nil {
		in.drop(DropUnknownSSRC)
		return nil
	}
	b.stream.Store(s)
	return s
}

// find returns the stream of an SSRC, made now if it is new. Called with mu held.
func (in *ingest) find(ssrc uint32, h *rtp.Header) *stream {
	if s := in.streams[ssrc]; s != nil {
		return s
	}
	if d, ok := in.declared[ssrc]; ok {
		return in.bind(d.receiver, ssrc, d.rtx, "", h.PayloadType)
	}
	r := in.receiverOf(h)
	if r == nil {
		return nil
	}
	terms := r.terms.Load()
	kind := terms.table[h.PayloadType&127]
	if !kind.known {
		return nil
	}
	rid, rtx := in.extension(h, in.ridID), kind.rtx
	if repaired := in.extension(h, in.repairID); repaired != "" {
		rid, rtx = repaired, true
	}
	if len(terms.rids) > 0 && !slices.Contains(terms.rids, rid) {
		return nil // a layer says which it is in its first packets
	}
	return in.bind(r, ssrc, rtx, rid, h.PayloadType)
}

// receiverOf finds the track of an undeclared SSRC. Called with mu held.
func (in *ingest) receiverOf(h *rtp.Header) *Receiver {
	if mid := in.extension(h, in.midID); mid != "" {
		return in.receivers[mid]
	}
	var only *Receiver
	for _, r := range in.receivers {
		if !r.terms.Load().table[h.PayloadType&127].known {
			continue
		}
		if only != nil {
			return nil
		}
		only = r
	}
	return only
}

// extension returns a header extension as text, "" for none.
func (in *ingest) extension(h *rtp.Header, id uint8) string {
	if id == 0 {
		return ""
	}
	return string(h.GetExtension(id))
}

// bind makes the stream of an SSRC. Called with mu held.
func (in *ingest) bind(r *Receiver, ssrc uint32, rtx bool, rid string, pt uint8) *stream {
	terms := r.terms.Load()
	kind := terms.table[pt&127]
	if !kind.known {
		return nil // comfort noise and the like
	}
	clock := terms.payloads[kind.index].Codec.ClockRate
	s := &stream{
		receiver: r, ssrc: ssrc, rtx: rtx, rid: rid,
		info: streamInfo(ssrc, pt, clock, terms, kind.index),
	}
	var err error
	if s.reader, s.lost, err = in.fb.bind(s.info, r.kind, rtx); err != nil {
		return nil
	}
	in.streams[ssrc] = s
	if !rtx {
		r.learned(ssrc)
	}
	return s
}

// repairs finds what a retransmission stream repairs: the declared SSRC of its
// track, or the layer with the same RID, or the only stream there is.
func (in *ingest) repairs(s *stream, index uint8) *stream {
	in.mu.Lock()
	defer in.mu.Unlock()
	terms := s.receiver.terms.Load()
	if terms.ssrc != 0 && (terms.rtx == s.ssrc || terms.rtx == 0) {
		if m := in.streams[terms.ssrc]; m != nil {
			return m
		}
		return in.bind(s.receiver, terms.ssrc, false, "", terms.payloads[index].Type)
	}
	var only *stream
	for _, m := range in.streams {
		if m.receiver != s.receiver || m.rtx || m.rid != s.rid {
			continue
		}
		if only != nil {
			return nil
		}
		only = m
	}
	return only
}

// openReceiver lets a track have the SSRCs that its description declares. An
// SSRC that came before, or belonged to a track that is closed, starts afresh.
func (in *ingest) openReceiver(r *Receiver) {
	in.mu.Lock()
	in.receivers[r.mid] = r
	in.declare(r)
	in.mu.Unlock()
	terms := r.terms.Load()
	in.t.expect(terms.ssrc, terms.rtx)
}

// updateReceiver takes a description that changed a track's payload types or
// extensions. Its streams stay bound: a layer names its RID only once.
func (in *ingest) updateReceiver(r *Receiver, n sdp.Receive) {
	in.mu.Lock()
	defer in.mu.Unlock()
	r.terms.Store(newReceiveTerms(n))
	in.declare(r)
}

// declare is called with mu held.
func (in *ingest) declare(r *Receiver) {
	terms := r.terms.Load()
	in.midID = either(extensionID(terms.extensions, sdp.ExtMID), in.midID)
	in.ridID = either(extensionID(terms.extensions, sdp.ExtRID), in.ridID)
	in.repairID = either(extensionID(terms.extensions, sdp.ExtRepairedRID), in.repairID)
	for _, d := range []struct {
		ssrc uint32
		rtx  bool
	}{{terms.ssrc, false}, {terms.rtx, true}} {
		if d.ssrc == 0 {
			continue
		}
		in.declared[d.ssrc] = declaration{r, d.rtx}
		delete(in.dead, d.ssrc)
		if s := in.streams[d.ssrc]; s != nil && s.receiver == r {
			continue
		}
		in.retire(d.ssrc, nil)
	}
}

func either(a, b uint8) uint8 {
	if a != 0 {
		return a
	}
	return b
}

// retire takes an SSRC from its stream, if it has one, and leaves its tap with
// next. Called with mu held.
func (in *ingest) retire(ssrc uint32, next *stream) {
	if s := in.streams[ssrc]; s != nil {
		in.fb.unbind(s.info)
		delete(in.streams, ssrc)
	}
	b := in.taps[ssrc]
	if b == nil {
		return
	}
	b.stream.Store(next)
	if b.undeclared {
		b.undeclared = false
		in.undeclared--
	}
}

// closeReceiver takes all SSRCs from a track. One packet may still be on its
// way to the sink when it returns.
func (in *ingest) closeReceiver(r *Receiver) {
	r.closed.Store(true)
	now := time.Now()
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.receivers[r.mid] == r {
		delete(in.receivers, r.mid)
	}
	for ssrc, d := range in.declared {
		if d.receiver == r {
			delete(in.declared, ssrc)
			in.retire(ssrc, retired)
			in.finish(ssrc, false, now)
		}
	}
	for ssrc, s := range in.streams {
		if s.receiver == r {
			in.retire(ssrc, retired)
			in.finish(ssrc, false, now)
		}
	}
}

// openSender and closeSender say whom RTCP about an SSRC is for.
func (in *ingest) openSender(s *Sender) {
	in.mu.Lock()
	in.senders[s.ssrc] = s
	if s.rtxSSRC != 0 {
		in.senders[s.rtxSSRC] = s
	}
	in.mu.Unlock()
	in.t.expect(s.ssrc, s.rtxSSRC)
}

func (in *ingest) closeSender(s *Sender) {
	for _, l := range s.Layers() {
		in.closeSender(l)
	}
	s.closed.Store(true)
	now := time.Now()
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, ssrc := range []uint32{s.ssrc, s.rtxSSRC} {
		if in.senders[ssrc] == s {
			delete(in.senders, ssrc)
			in.finish(ssrc, true, now)
		}
	}
}

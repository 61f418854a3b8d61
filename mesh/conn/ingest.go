package conn

import (
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtp"
)

// maxUndeclared bounds the SSRCs on which a peer sends without a description
// that names them (simulcast by RID, or nonsense). Declared ones are bounded by
// the sections of a description.
const maxUndeclared = 64

// maxTaps bounds the SSRCs of RTP and of RTCP, each some 600 bytes, that a
// connection holds at a time: those of tracks, and of tracks that ended lately.
const maxTaps = 16384

// maxLife bounds the SSRCs of the other side in a connection's whole life: each
// that ended is remembered, with some 10 bytes. A viewer sees three for each
// camera that is switched on.
const maxLife = 1 << 20

// maxStrayRTCP bounds the SSRCs, neither ours nor the peer's, that RTCP may
// speak of in a connection's life: each costs pion some memory until its end.
const maxStrayRTCP = 1024

// ingest takes RTP and RTCP from pion's SRTP loops, finds the track of each
// SSRC, and hands packets to its sink. It works on two goroutines of pion, one
// for RTP and one for RTCP, and must not block them: mu is never held while pion
// or a sink is called.
type ingest struct {
	conn  *Conn
	t     *transport
	fb    *feedback
	stats counters

	mu         sync.Mutex
	receivers  map[string]*Receiver   // by mid
	declared   map[uint32]declaration // by SSRC
	streams    map[uint32]*stream     // SSRCs that belong to a track
	senders    map[uint32]*Sender     // by SSRC and RTX SSRC
	taps       map[uint32]*tap        // RTP SSRCs that came and are not released
	reports    map[uint32]*tap        // likewise SSRCs that RTCP speaks of
	ended      []ended                // SSRCs to be released, in the order of their ends
	dead       map[uint32]struct{}    // SSRCs of the other side that were released
	keep       int                    // of these are not, the last to end
	undeclared int                    // taps that count towards maxUndeclared
	strays     int                    // RTCP taps that count towards maxStrayRTCP
	midID      uint8                  // header extension ids, 0 unknown
	ridID      uint8
	repairID   uint8

	stale [2]outbox // SSRCs whose states the RTP and the RTCP goroutine are to free

	// Owned by the RTP goroutine.
	scratch  rtp.Header
	incoming Incoming
}

// declaration says which track a description gives an SSRC to.
type declaration struct {
	receiver *Receiver
	rtx      bool
}

// stream is one SSRC of a track. Its reader is owned by the RTP goroutine.
type stream struct {
	receiver *Receiver
	ssrc     uint32
	rid      string
	rtx      bool
	main     *stream // of a retransmission stream: what it repairs; nil unknown
	info     *interceptor.StreamInfo
	reader   reader
	lost     *nackStream // nil asks for nothing
	repaired rtp.Header  // of the packet that a retransmission brings
}

// retired is the stream of taps whose track is closed: their packets are late.
var retired = &stream{}

// tap is what pion takes for an SSRC's packet buffer.
type tap struct {
	in         *ingest
	ssrc       uint32
	rtp        bool
	stream     atomic.Pointer[stream] // nil while not known
	late       atomic.Bool            // a packet came after the end of the track
	undeclared bool                   // counted; guarded by ingest.mu
}

func newIngest(c *Conn, t *transport) *ingest {
	return &ingest{
		conn:      c,
		t:         t,
		fb:        newFeedback(c, t),
		receivers: map[string]*Receiver{},
		declared:  map[uint32]declaration{},
		streams:   map[uint32]*stream{},
		senders:   map[uint32]*Sender{},
		taps:      map[uint32]*tap{},
		reports:   map[uint32]*tap{},
		dead:      map[uint32]struct{}{},
		keep:      keptEnded,
	}
}

// buffer is pion's BufferFactory: called once for each SSRC in RTP and once for
// each in RTCP.
func (in *ingest) buffer(isRTP bool, ssrc uint32) io.ReadWriteCloser {
	b := &tap{in: in, ssrc: ssrc, rtp: isRTP}
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.dead) >= maxLife || len(in.taps)+len(in.reports) >= maxTaps {
		in.conn.fail(ErrTooManySSRCs)
		return b
	}
	_, declared := in.declared[ssrc]
	_, dead := in.dead[ssrc]
	known := declared || dead
	if dead {
		in.bury(b, time.Now())
	}
	if !isRTP {
		if !known && in.senders[ssrc] == nil && in.taps[ssrc] == nil {
			in.strays++
		}
		in.reports[ssrc] = b
		if in.strays > maxStrayRTCP {
			in.conn.fail(ErrTooManySSRCs)
		}
		return b
	}
	in.taps[ssrc] = b
	if !known {
		b.undeclared = true
		in.undeclared++
		if in.undeclared > maxUndeclared {
			in.conn.fail(ErrTooManySSRCs)
		}
	}
	return b
}

// Read ends pion's own reading loops.
func (b *tap) Read([]byte) (int, error) { return 0, io.EOF }

// Close does nothing; the ingest ends with its transport.
func (b *tap) Close() error { return nil }

// Write takes one decrypted packet, valid during the call, on pion's goroutine.
func (b *tap) Write(packet []byte) (int, error) {
	defer b.in.conn.guard("ingest")
	b.in.decipher(b.rtp)
	switch {
	case b.in.t.stopped.Load():
	case b.rtp:
		b.in.rtp(b, packet, time.Now())
	default:
		b.late.Store(true)
		b.in.rtcp(b.ssrc, packet, time.Now())
	}
	return len(packet), nil
}

func (in *ingest) drop(r DropReason) { in.stats.drops[r].Add(1) }

// sent counts what a Sender sent.
func (in *ingest) sent(err error) error {
	if err == nil {
		in.stats.packetsOut.Add(1)
	} else {
		in.drop(DropWrite)
	}
	return err
}

// rtp takes one RTP packet.
func (in *ingest) rtp(b *tap, packet []byte, arrival time.Time) {
	in.stats.packetsIn.Add(1)
	in.stats.bytesIn.Add(uint64(len(packet)))
	s := b.stream.Load()
	if s == nil {
		if s = in.resolve(b, packet); s == nil {
			return
		}
	}
	if s == retired {
		b.late.Store(true)
		in.drop(DropClosed)
		return
	}
	h := s.reader.h
	n, err := h.Unmarshal(packet)
	if err != nil {
		in.drop(DropMalformed)
		return
	}
	payload, ok := unpad(h, packet[n:])
	if !ok {
		in.drop(DropMalformed)
		return
	}
	if err := s.reader.read(packet); err != nil {
		in.drop(DropInterceptor) // its loss is the feedback's, not the packet's
	}
	s.lost.arrived(h.SequenceNumber, h.Marker || len(payload) == 0, arrival)
	switch {
	case s.rtx && len(payload) == 0: // a probe of the sender's bandwidth estimate
		in.drop(DropPadding)
	case s.rtx:
		in.repair(s, h, payload, arrival)
	default:
		in.deliver(s, h, payload, arrival, false)
	}
}

// unpad cuts the padding off a payload (RFC 3550 section 5.1) and clears the
// padding bit.
func unpad(h *rtp.Header, payload []byte) ([]byte, bool) {
	if !h.Padding {
		return payload, true
	}
	if len(payload) == 0 {
		return nil, false
	}
	n := int(payload[len(payload)-1])
	if n == 0 || n > len(payload) {
		return nil, false
	}
	h.Padding, h.PaddingSize = false, 0
	return payload[:len(payload)-n], true
}

// repair unwraps a retransmission (RFC 4588 section 4): the original sequence
// number stands before the payload.
func (in *ingest) repair(s *stream, h *rtp.Header, payload []byte, arrival time.Time) {
	terms := s.receiver.terms.Load()
	kind := terms.table[h.PayloadType&127]
	if !kind.rtx || len(payload) < 2 {
		in.drop(DropRTX)
		return
	}
	main := s.main
	if main == nil {
		if main = in.repairs(s, kind.index); main == nil {
			in.drop(DropRTX)
			return
		}
		s.main = main
	}
	r := &main.repaired
	*r = *h
	r.SSRC = main.ssrc
	r.PayloadType = terms.payloads[kind.index].Type
	r.SequenceNumber = uint16(payload[0])<<8 | uint16(payload[1])
	main.lost.repaired(r.SequenceNumber, r.Marker || len(payload) == 2, arrival)
	in.deliver(main, r, payload[2:], arrival, true)
}

// deliver hands a packet to the track's sink, one of padding only as well: it
// takes up a sequence number, and whoever forwards the track would leave a hole.
func (in *ingest) deliver(s *stream, h *rtp.Header, payload []byte, arrival time.Time, recovered bool) {
	r := s.receiver
	terms := r.terms.Load()
	kind := terms.table[h.PayloadType&127]
	if !kind.known || kind.rtx {
		in.drop(DropPayloadType)
		return
	}
	sink := r.sink.Load()
	if sink == nil {
		in.drop(DropNoSink)
		return
	}
	level := uint8(NoAudioLevel)
	if terms.level != 0 {
		if v := h.GetExtension(terms.level); len(v) > 0 {
			level = v[0] & 0x7f
		}
	}
	var dependency []byte
	if terms.dependency != 0 {
		dependency = h.GetExtension(terms.dependency)
	}
	if recovered {
		in.stats.recovered.Add(1)
	}
	in.incoming = Incoming{
		Header:     *h,
		Payload:    payload,
		Arrival:    arrival,
		RID:        s.rid,
		Codec:      terms.payloads[kind.index].Codec,
		AudioLevel: level,
		Recovered:  recovered,
		Dependency: dependency,
	}
	(*sink).ReceiveRTP(&in.incoming)
}

// close stops the interceptors; packets are dropped from now on.
func (in *ingest) close() { in.fb.close() }

package subscribe

import (
	"bytes"
	"encoding/binary"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/publish"
)

const (
	mainSSRC, rtxSSRC = 0xaaaa, 0xbbbb
	mainType, rtxType = 96, 97
)

var (
	epoch = time.Unix(1_700_000_000, 0)
	vp8   = codec.Codec{Name: codec.VP8, ClockRate: 90000}
	opus  = codec.Codec{Name: codec.Opus, ClockRate: 48000, Channels: 2}

	errSocket = errors.New("socket is gone")
)

// nonce is what makes an SRTP nonce: the rollover counter and the sequence
// number are one number.
type nonce struct {
	ssrc   uint32
	number int64
}

// wire is a Writer that keeps the cleartext of everything, and fails the test
// when one nonce carries two packets.
type wire struct {
	t      *testing.T
	mu     sync.Mutex
	got    []rtp.Packet
	clear  map[nonce][]byte
	last   map[uint32]int64 // number sent last, by SSRC
	repeat int              // packets that came again, byte for byte
	fail   bool
}

func newWire(t *testing.T) *wire {
	return &wire{t: t, clear: map[nonce][]byte{}, last: map[uint32]int64{}}
}

// nonce counts the rollover as SRTP does (RFC 3711 section 3.3.1): the number is
// the one nearest to the last.
func (w *wire) nonce(h *rtp.Header) nonce {
	last, ok := w.last[h.SSRC]
	if !ok {
		last = int64(h.SequenceNumber)
	}
	last += int64(int16(h.SequenceNumber - uint16(last)))
	w.last[h.SSRC] = last
	return nonce{h.SSRC, last}
}

func (w *wire) WriteRTP(h *rtp.Header, payload, dependency []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fail {
		return errSocket
	}
	p := rtp.Packet{Header: h.Clone(), Payload: bytes.Clone(payload)}
	raw, err := p.Marshal()
	if err != nil {
		w.t.Errorf("a header that does not marshal: %v", err)
	}
	n := w.nonce(h)
	if before, ok := w.clear[n]; ok {
		w.repeat++
		if !bytes.Equal(before, raw) {
			w.t.Errorf("%+v carried two packets:\n%x\n%x", n, before, raw)
		}
	}
	w.clear[n] = raw
	w.got = append(w.got, p)
	return nil
}

func (w *wire) WriteRTCP([]rtcp.Packet) error { return nil }

// take returns what came since the last take.
func (w *wire) take() []rtp.Packet {
	w.mu.Lock()
	defer w.mu.Unlock()
	got := w.got
	w.got = nil
	return got
}

// scene is a track, a forwarder on it and the wire behind it.
type scene struct {
	t     *testing.T
	track *publish.Track
	f     *Forwarder
	w     *wire
	asked int
	now   time.Time
	ssrc  uint32
}

func newScene(t *testing.T, c codec.Codec, requestable, rtx bool) *scene {
	s := &scene{t: t, w: newWire(t), now: epoch, ssrc: 1}
	s.track = s.newTrack(c, requestable)
	cfg := Config{Track: s.track, SSRC: mainSSRC}
	p := Payload{Type: mainType}
	if rtx {
		cfg.RTXSSRC, p.RTX = rtxSSRC, rtxType
	}
	s.f = NewForwarder(cfg)
	s.f.Bind(s.w, p)
	return s
}

func (s *scene) newTrack(c codec.Codec, requestable bool) *publish.Track {
	cfg := publish.TrackConfig{ID: "t", Codec: c}
	if requestable {
		cfg.KeyframeRequest = func() { s.asked++ }
	}
	return publish.NewTrack(cfg)
}

// packet kinds of the fake publisher, as VP8 payload descriptor and header.
const (
	keyStart   = "\x10\x00"
	deltaStart = "\x10\x01"
	more       = "\x00\x01"
)

// write publishes number n at picture f (33 ms each), carrying n.
func (s *scene) write(n, f int, kind string, marker bool) {
	s.writeTo(s.track, n, f, kind, marker)
}

func (s *scene) writeTo(track *publish.Track, n, f int, kind string, marker bool) {
	payload := binary.BigEndian.AppendUint32([]byte(kind), uint32(n))
	s.now = epoch.Add(time.Duration(f) * 33 * time.Millisecond)
	track.WriteRTP(&rtp.Header{
		Version: 2, SSRC: s.ssrc, SequenceNumber: uint16(n), Timestamp: uint32(f) * 2970, Marker: marker,
	}, payload, s.now)
}

// picture publishes one picture of a single packet.
func (s *scene) picture(n int, key bool) {
	kind := deltaStart
	if key {
		kind = keyStart
	}
	s.write(n, n, kind, true)
}

// number reads what write put into the payload.
func number(p rtp.Packet) int {
	b := p.Payload
	if p.SSRC == rtxSSRC {
		b = b[osnSize:]
	}
	return int(binary.BigEndian.Uint32(b[2:]))
}

func numbers(pkts []rtp.Packet) (n []int) {
	for _, p := range pkts {
		n = append(n, number(p))
	}
	return n
}

// offsets returns sequence numbers relative to the first.
func offsets(pkts []rtp.Packet) (o []int) {
	for _, p := range pkts {
		o = append(o, int(int16(p.SequenceNumber-pkts[0].SequenceNumber)))
	}
	return o
}

func (s *scene) nack(now time.Time, seqs ...uint16) {
	s.f.HandleRTCP([]rtcp.Packet{&rtcp.TransportLayerNack{
		MediaSSRC: mainSSRC, Nacks: rtcp.NackPairsFromSequenceNumbers(seqs),
	}}, now)
}

// padding publishes a number without payload.
func (s *scene) padding(n, f int) {
	s.track.WriteRTP(&rtp.Header{
		Version: 2, SSRC: s.ssrc, SequenceNumber: uint16(n), Timestamp: uint32(f) * 2970,
	}, nil, s.now)
}

var _ Writer = (*wire)(nil)

package conn

import (
	"bytes"
	"fmt"
	"sync"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

// track is a sink that notes what came.
type track struct {
	r         *Receiver
	mu        sync.Mutex
	seqs      map[uint16]int
	bad       []string
	repairs   int
	reports   int
	level     uint8
	layers    map[string]map[uint16]bool // numbers that came, by RID and SSRC, where there are RIDs
	described int                        // packets with a dependency descriptor
	last      uint16
	codec     string
}

func (t *track) ReceiveRTP(p *Incoming) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seqs[p.Header.SequenceNumber]++
	t.last = p.Header.SequenceNumber
	t.codec = p.Codec.Name
	t.level = p.AudioLevel
	if p.RID != "" {
		name := fmt.Sprint(p.RID, " ", p.Header.SSRC)
		if t.layers[name] == nil {
			t.layers[name] = map[uint16]bool{}
		}
		t.layers[name][p.Header.SequenceNumber] = true
	}
	if p.Dependency != nil {
		t.described++
		if !bytes.Equal(p.Dependency, dependencyOf(p.Header.SequenceNumber)) && len(t.bad) < 3 {
			t.bad = append(t.bad, fmt.Sprintf("packet %d has dependency descriptor %x", p.Header.SequenceNumber, p.Dependency))
		}
	}
	if p.Recovered {
		t.repairs++
	}
	if want := payloadOf(p.Header.SequenceNumber); string(p.Payload) != string(want) && len(t.bad) < 3 {
		t.bad = append(t.bad, fmt.Sprintf("packet %d has payload %q", p.Header.SequenceNumber, p.Payload))
	}
}

func (t *track) ReceiveReport(uint32, uint64, uint32, time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reports++
}

func (t *track) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.seqs)
}

// dependencyOf is about as long as the descriptor of a key picture of AV1 in
// nine layers, and needs the two-byte form.
func dependencyOf(seq uint16) []byte {
	return append([]byte{byte(seq >> 8), byte(seq)}, bytes.Repeat([]byte{0xdd}, 93)...)
}

func (x *sending) dependency(seq uint16) []byte {
	if !x.described {
		return nil
	}
	return dependencyOf(seq)
}

func payloadOf(seq uint16) []byte { return fmt.Appendf(nil, "payload of %d", seq) }

// sending is a tiny forwarder: 50 packets a second, and it answers NACKs.
type sending struct {
	s         *Sender
	described bool // packets carry a dependency descriptor
	quit      chan struct{}
	done      chan struct{}
	once      sync.Once

	mu      sync.Mutex
	first   bool
	last    uint16
	sent    map[uint16]rtp.Header
	nacked  int
	reports int
	plis    int
}

func startSending(s *Sender, described bool) *sending {
	x := &sending{s: s, described: described, quit: make(chan struct{}), done: make(chan struct{}), sent: map[uint16]rtp.Header{}}
	s.SetFeedback(x.feedback)
	go x.run()
	return x
}

func (x *sending) stop() {
	x.once.Do(func() { close(x.quit) })
	<-x.done
}

func (x *sending) run() {
	defer close(x.done)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for seq := uint16(65500); ; seq++ {
		select {
		case <-x.quit:
			return
		case <-tick.C:
		}
		h := rtp.Header{Version: 2, SSRC: x.s.SSRC(), SequenceNumber: seq, Timestamp: uint32(seq) * 960, PayloadType: x.s.Payloads()[0].Type}
		if x.s.WriteRTP(&h, payloadOf(seq), x.dependency(seq)) == nil {
			x.mu.Lock()
			x.sent[seq], x.last = h, seq
			x.mu.Unlock()
		}
		if seq%50 == 0 {
			_ = x.s.WriteRTCP([]rtcp.Packet{&rtcp.SenderReport{SSRC: x.s.SSRC(), NTPTime: 1 << 40, RTPTime: h.Timestamp}})
		}
	}
}

func (x *sending) feedback(packets []rtcp.Packet, _ time.Time) {
	for _, p := range packets {
		switch p := p.(type) {
		case *rtcp.TransportLayerNack:
			for _, n := range p.Nacks {
				for _, seq := range n.PacketList() {
					x.resend(seq)
				}
			}
		case *rtcp.ReceiverReport:
			x.mu.Lock()
			x.reports++
			x.mu.Unlock()
		case *rtcp.PictureLossIndication:
			x.mu.Lock()
			x.plis++
			x.mu.Unlock()
		}
	}
}

var rtxSeq struct {
	sync.Mutex
	n map[uint32]uint16
}

func (x *sending) resend(seq uint16) {
	x.mu.Lock()
	h, ok := x.sent[seq]
	x.nacked++
	x.mu.Unlock()
	pt := x.s.Payloads()[0].RTX
	if !ok || pt == 0 {
		return
	}
	rtxSeq.Lock()
	if rtxSeq.n == nil {
		rtxSeq.n = map[uint32]uint16{}
	}
	rtxSeq.n[x.s.RTXSSRC()]++
	n := rtxSeq.n[x.s.RTXSSRC()]
	rtxSeq.Unlock()
	h.SSRC, h.SequenceNumber, h.PayloadType = x.s.RTXSSRC(), n, pt
	_ = x.s.WriteRTP(&h, append([]byte{byte(seq >> 8), byte(seq)}, payloadOf(seq)...), x.dependency(seq))
}

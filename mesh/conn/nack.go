package conn

import (
	"sync"
	"time"

	"github.com/pion/rtcp"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/interceptors/nack"
)

const (
	// audioHistory and videoHistory are how many packets publish keeps of a
	// track: one that comes later is dropped there.
	audioHistory = 128
	videoHistory = 1024

	// nackPace is the least time between two looks at what is still missing.
	nackPace = 5 * time.Millisecond
	// nackRate bounds NACKs, in bytes a second: 20 % loss of 1000 packets a second
	// takes some 2000. A peer whose numbers jump about would take any amount.
	nackRate = 32 << 10
	// nackSize is how long one packet of them may be, to pass any path whole.
	nackSize = 1100
	// rttAge is how old a round trip time may be. ICE measures it every 2 s.
	rttAge = time.Second
)

// nacks asks for the lost packets of a connection's streams. Numbers come on
// pion's SRTP goroutine. What is due is asked for on the goroutine of one timer,
// which runs only while something is missing or a frame is under way: whoever
// brings packets in never waits for a socket.
type nacks struct {
	write func([]rtcp.Packet) error
	rtt   func() time.Duration // 0 unknown; may take a while
	guard func(where string)

	calls sync.WaitGroup // of fire, waited for or running

	mu      sync.Mutex
	streams map[uint32]*nackStream
	trip    time.Duration // round trip time as of tripAt
	tripAt  time.Time
	timer   *time.Timer // of fire; nil before the first use
	armed   bool        // it runs, until at
	at      time.Time
	busy    bool      // fire is at work
	looked  time.Time // when fire last was
	free    time.Time // when the rate allows the next NACK
	sent    uint64    // NACK messages
	past    nack.Stats
	closed  bool
}

// nackStream is one SSRC's. A nil one asks for nothing.
type nackStream struct {
	of   *nacks
	ssrc uint32
	t    *nack.Tracker // guarded by nacks.mu
}

func newNACKs(write func([]rtcp.Packet) error, rtt func() time.Duration, guard func(string)) *nacks {
	return &nacks{write: write, rtt: rtt, guard: guard, streams: map[uint32]*nackStream{}}
}

// nackConfig says how long a lost packet of a kind is of use.
func nackConfig(kind codec.Kind) nack.Config {
	if kind == codec.Video {
		return nack.Config{Packets: videoHistory, Frames: true}
	}
	return nack.Config{Window: nack.AudioWindow, Packets: audioHistory}
}

// open begins to watch an SSRC; nil after close.
func (n *nacks) open(ssrc uint32, kind codec.Kind) *nackStream {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil
	}
	n.forget(ssrc)
	s := &nackStream{of: n, ssrc: ssrc, t: nack.New(nackConfig(kind))}
	s.t.SetRTT(n.trip)
	n.streams[ssrc] = s
	return s
}

// drop ends it.
func (n *nacks) drop(ssrc uint32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.forget(ssrc)
}

// forget is called with mu held.
func (n *nacks) forget(ssrc uint32) {
	if s := n.streams[ssrc]; s != nil {
		n.past.Add(s.t.Stats())
		delete(n.streams, ssrc)
	}
}

// arrived takes the number of a packet; last as [nack.Tracker.Arrived] has it.
func (s *nackStream) arrived(seq uint16, last bool, now time.Time) {
	if s == nil {
		return
	}
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	s.t.Arrived(seq, last, now)
	s.of.arm(s.t, now)
}

// repaired takes the number of a packet that came over RTX.
func (s *nackStream) repaired(seq uint16, last bool, now time.Time) {
	if s == nil {
		return
	}
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	s.t.Repaired(seq, last, now)
	s.of.arm(s.t, now)
}

// arm makes the timer fire when t has something to ask for. Called with mu held.
func (n *nacks) arm(t *nack.Tracker, now time.Time) {
	at, ok := t.Next()
	if !ok || n.busy || n.closed {
		return // fire looks at everything once it is done
	}
	if at.After(now) {
		at = later(at, n.looked.Add(nackPace))
	}
	at = later(at, n.free)
	switch {
	case n.armed && !at.Before(n.at):
		return
	case n.timer == nil:
		n.calls.Add(1)
		n.timer = time.AfterFunc(at.Sub(now), n.fire)
	case n.armed && !n.timer.Stop():
		return // it has fired and waits for mu
	default:
		if !n.armed {
			n.calls.Add(1)
		}
		n.timer.Reset(at.Sub(now))
	}
	n.armed, n.at = true, at
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// fire asks for what is due, and sets the timer again.
func (n *nacks) fire() {
	defer n.calls.Done()
	defer n.guard("NACK")
	packets, stale := n.collect()
	for len(packets) > 0 {
		k := fitting(packets)
		_ = n.write(packets[:k]) // fails only while the connection goes up or down
		packets = packets[k:]
	}
	var trip time.Duration
	if stale {
		trip = n.rtt()
	}
	n.rearm(stale, trip)
}

// collect makes the NACKs that are due, one for each stream. stale says that a
// round trip time is called for.
func (n *nacks) collect() (packets []rtcp.Packet, stale bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.armed, n.busy = false, true
	now := time.Now()
	n.looked = now
	if n.closed || now.Before(n.free) {
		return nil, false
	}
	var seqs []uint16
	size := 0
	for _, s := range n.streams {
		if seqs = s.t.Due(now, seqs[:0]); len(seqs) == 0 {
			continue
		}
		p := &rtcp.TransportLayerNack{
			SenderSSRC: receiverSSRC, MediaSSRC: s.ssrc, Nacks: rtcp.NackPairsFromSequenceNumbers(seqs),
		}
		packets = append(packets, p)
		size += p.MarshalSize()
		n.sent++
	}
	n.free = now.Add(time.Duration(size) * time.Second / nackRate)
	return packets, size > 0 && now.Sub(n.tripAt) >= rttAge
}

// fitting returns how many of the packets go into one, at least one.
func fitting(packets []rtcp.Packet) int {
	size := packets[0].MarshalSize()
	for i, p := range packets[1:] {
		if size += p.MarshalSize(); size > nackSize {
			return i + 1
		}
	}
	return len(packets)
}

// rearm ends fire, with a round trip time if it asked for one.
func (n *nacks) rearm(measured bool, trip time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.busy = false
	now := time.Now()
	if measured {
		n.trip, n.tripAt = trip, now
	}
	for _, s := range n.streams {
		if measured {
			s.t.SetRTT(trip)
		}
		n.arm(s.t, now)
	}
}

// totals returns the NACK messages sent and the counters of all streams.
func (n *nacks) totals() (messages uint64, all nack.Stats) {
	n.mu.Lock()
	defer n.mu.Unlock()
	all = n.past
	for _, s := range n.streams {
		all.Add(s.t.Stats())
	}
	return n.sent, all
}

// close ends the asking and waits for what is under way.
func (n *nacks) close() {
	n.mu.Lock()
	n.closed = true
	if n.armed && n.timer.Stop() {
		n.armed = false
		n.calls.Done()
	}
	n.mu.Unlock()
	n.calls.Wait()
}

// Package check is for tests. It looks at the packets that one viewer got of one
// video stream as a decoder would, by their descriptors alone, and says whether a
// forwarder has kept its word: no frame came whole whose references did not come
// (unless the viewer can see that something was lost), picture ids and TL0PICIDX
// run on, layers are added only where they may be, every picture has its marker.
//
// It is given all packets at once, in the order of arrival; repaired, reordered
// and doubled ones are put where they belong. It is pure, and slow.
package check

import (
	"errors"
	"fmt"
	"slices"
)

// Packet is one RTP packet as the viewer got it.
type Packet struct {
	Seq       uint16
	Timestamp uint32
	Marker    bool
	Payload   []byte // without padding; empty if it was padding only
	Extension []byte // dependency descriptor, for Dependency
}

// Report counts what was seen.
type Report struct {
	Packets int // without doubles and padding
	Gaps    int // places where sequence numbers are missing
	Frames  int // that came whole with all that they refer to; with spatial layers several a picture
	Broken  int // that cannot be decoded because of a gap
	Keys    int // of Frames
}

// What a viewer must not see. Problem wraps one of them.
var (
	ErrPacket    = errors.New("descriptor is malformed")
	ErrDouble    = errors.New("sequence number was used for two packets")
	ErrCut       = errors.New("frame is cut although nothing was lost")
	ErrOrder     = errors.New("picture id does not follow")
	ErrTL0       = errors.New("TL0PICIDX does not follow")
	ErrReference = errors.New("reference is missing although nothing was lost")
	ErrSwitchUp  = errors.New("layer is added where it cannot be")
	ErrMarker    = errors.New("marker is not at the end of the picture")
)

// Problem is one thing wrong, with the packet at which it shows.
type Problem struct {
	Index  int // in the packets that were given
	Seq    uint16
	Rule   error // one of the errors above
	Detail string
}

// Error implements error.
func (p *Problem) Error() string {
	return fmt.Sprintf("packet %d (sequence number %d): %v: %s", p.Index, p.Seq, p.Rule, p.Detail)
}

// Unwrap returns the rule.
func (p *Problem) Unwrap() error { return p.Rule }

// maxProblems is how many are told: one mistake of a forwarder shows in every
// frame that follows.
const maxProblems = 20

// VP8 checks a stream of VP8 (RFC 7741).
func VP8(packets []Packet) (Report, error) { return run(packets, &vp8{}) }

// VP9 checks a stream of VP9 (RFC 9628), of flexible or non-flexible mode.
func VP9(packets []Packet) (Report, error) { return run(packets, &vp9{}) }

// Dependency checks a stream by its dependency descriptors (AV1 RTP
// specification appendix A), whatever its codec.
func Dependency(packets []Packet) (Report, error) { return run(packets, &dependency{}) }

// codec is what differs.
type codec interface {
	// read tells what one packet is a part of.
	read(p *Packet) (part, error)
	// judge tells whether a frame that came whole can be decoded.
	judge(c *checker, f *frame) bool
	// lost is told that packets are missing before f, which may be of the same
	// frame as the ones before.
	lost(f *frame)
}

// run checks packets with the rules of one codec.
func run(packets []Packet, with codec) (Report, error) {
	c := &checker{codec: with, verdicts: map[name]bool{}}
	for _, p := range c.order(packets) {
		c.packet(p)
	}
	c.finish()
	return c.report, errors.Join(c.problems...)
}

// arrival is a packet in its place.
type arrival struct {
	*Packet
	index int   // in the packets that were given
	seq   int64 // without its wrap
}

// order sorts the packets by sequence number and drops doubles.
func (c *checker) order(packets []Packet) []arrival {
	var all []arrival
	seq := int64(0)
	for i := range packets {
		p := &packets[i]
		at := seq + int64(int16(p.Seq-uint16(seq)))
		if i == 0 {
			at = int64(p.Seq)
		}
		seq = max(seq, at)
		all = append(all, arrival{p, i, at})
	}
	slices.SortStableFunc(all, func(a, b arrival) int { return int(a.seq - b.seq) })
	return slices.CompactFunc(all, func(a, b arrival) bool {
		if a.seq != b.seq {
			return false
		}
		if a.Timestamp != b.Timestamp || !slices.Equal(a.Payload, b.Payload) {
			if a.index > b.index {
				a, b = b, a
			}
			c.problem(b, ErrDouble, "the other is packet %d", a.index)
		}
		return true
	})
}

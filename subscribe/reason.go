package subscribe

// DropReason says why a packet of the track did not go to the subscriber.
type DropReason uint8

// The reasons in the order of the checks.
const (
	ReasonNone     DropReason = iota // not dropped
	ReasonClosed                     // the forwarder is closed
	ReasonUnbound                    // not negotiated yet
	ReasonCodec                      // the subscriber does not take the codec
	ReasonPolicy                     // the node decided that the subscriber does not get the track
	ReasonPaused                     // the subscriber does not want it now
	ReasonKeyframe                   // waiting for a key picture
	ReasonLayer                      // of a spatial or temporal layer that is not sent
	ReasonPadding                    // nothing but padding, which is the publisher's own affair
	ReasonSkipped                    // passed over for a newer key picture
	ReasonLate                       // its place in the outgoing numbers is gone
	ReasonWrite                      // the writer failed
	numReasons
)

var reasonNames = [numReasons]string{
	"none", "closed", "unbound", "codec", "policy", "paused", "keyframe", "layer", "padding", "skipped", "late", "write",
}

// String returns the name under which metrics count the reason, and which page
// and roster show.
func (r DropReason) String() string {
	if r < numReasons {
		return reasonNames[r]
	}
	return "unknown"
}

// Drops counts packets by DropReason.
type Drops [numReasons]uint64

// Total returns the number of dropped packets.
func (d Drops) Total() (n uint64) {
	for _, c := range d {
		n += c
	}
	return n
}

// Map returns the counts that are not zero, by the reason's name.
func (d Drops) Map() map[string]uint64 {
	m := make(map[string]uint64)
	for r, c := range d {
		if c > 0 {
			m[DropReason(r).String()] = c
		}
	}
	return m
}

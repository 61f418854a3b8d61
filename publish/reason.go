package publish

// DropReason says why a track took a packet no further.
type DropReason uint8

// The reasons in the order of the checks.
const (
	ReasonNone      DropReason = iota // not dropped
	ReasonEnded                       // the track is closed
	ReasonOversize                    // payload longer than MaxPayload
	ReasonStale                       // from the SSRC that the publisher has just left
	ReasonJump                        // far from the expected number, not yet believed to be a restart
	ReasonOld                         // older than the history
	ReasonDuplicate                   // already in the history
	numReasons
)

var reasonNames = [numReasons]string{
	"none", "ended", "oversize", "stale", "jump", "old", "duplicate",
}

// String returns the name under which metrics count the reason.
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

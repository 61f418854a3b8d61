package publish

import "time"

// Packet is one RTP packet of a track as its sinks see it. A sink must not
// change it, and neither it nor its payload may be kept after WritePacket
// returns: later needs are served by Track.Lookup.
type Packet struct {
	Seq       uint16    // the publisher's own sequence number
	Timestamp uint32    // ticks of the codec's clock, continuous over a publisher's restart
	Marker    bool      // RTP marker bit as the publisher set it
	Payload   []byte    // without padding; empty when there was nothing else
	Arrival   time.Time // when the packet reached the node; the only clock of the hot path
	Index     int64     // extended sequence number, continuous over a publisher's restart

	Dependency []byte // dependency descriptor as it came (AV1 RTP specification section A.8); nil: none
	Place             // in a scalable stream

	// Keyframe marks the packet at which a decoder can start: the first of a
	// key picture or of the parameter sets before it, once per key picture.
	Keyframe   bool
	FrameStart bool // first packet of a picture; always true for audio
	FrameEnd   bool // last packet of a picture; always true for audio
}

// Sink eats the packets of a track. WritePacket is called on the goroutine that
// writes the track, in the order of arrival (which is not always the order of
// Index), and must not block.
type Sink interface{ WritePacket(p *Packet) }

// Stream is a set of tracks shared under one label.
type Stream struct {
	ID     string // distinguishes streams of one publisher
	Label  string // what the publisher calls it
	Tracks []*Track
	// Audio and Video say how the sources of the tracks of that kind are asked to
	// encode. Zero leaves them as they are.
	Audio, Video Encoding
}

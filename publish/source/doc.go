// Package source feeds tracks from files and from the embedded test patterns:
// IVF (VP8, VP9, AV1), Annex-B H.264 and Ogg Opus, in real time, once or for
// ever. Several files make one stream, whose tracks start at one instant and
// stay together.
//
// On a packet's way it is the beginning: it reads a frame, packetises it and
// calls publish.Track.WriteRTP on the goroutine that runs Source.Run, the only
// one there is. Every frame has its instant on a schedule that is computed from
// the start and the media clock, never from the frame before, so nothing drifts;
// timestamps come from the same clock, and a report each second tells the track
// which wall time belongs to them.
//
// It does not encode, decode, transcode or seek, and holds no more of a file
// than one frame of at most 8 MiB. The file readers are our own because those
// of pion take any frame size that a header claims and, for Ogg, one packet to
// a page; the packetisers are pion's.
package source

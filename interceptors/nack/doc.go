// Package nack decides which packets of an incoming RTP stream are asked for
// again (generic NACK, RFC 4585 section 6.2.1), and when.
//
// A Tracker watches one SSRC. It stands beside a packet's way: mesh/conn tells
// it the number of each packet that comes, and calls Due when the time that Next
// told is there. It decides by what it is told and by the time that comes with
// it; it has no clock, no goroutine and no lock, and sends nothing.
//
// A number that is passed over is asked for at once. Where packets have been
// seen to overtake one another it waits as long as the late ones took. An answer
// has a round trip to come, each repeat waits longer than the one before, and
// asking ends when the packet came, when it would come too late to be of use, or
// after ten times.
//
// The last packet of a video frame has none after it to show that it is lost,
// for 200 ms at 5 frames a second. So where the marker bit is in use, a frame
// that stops without it is taken to have lost the next packet, and that one is
// asked for. A sender that had not sent it yet ignores that, and the pause that
// it made is remembered.
//
// It does not answer NACKs (that is the forwarder's), and does not ask for key
// pictures.
package nack

// Package descriptor reads what a video packet says of its frame without a
// decoder: the payload descriptors of VP8 (RFC 7741) and VP9 (RFC 9628), and the
// dependency descriptor, the header extension of the AV1 RTP specification
// (appendix A) that other codecs may carry too. Start and end of the frame, key,
// spatial and temporal layer, switch points, references; and it rewrites in
// place what a forwarder that drops layers has to rewrite.
//
// On a packet's way it stands twice: where a layer takes a packet in, which is
// parsed once, and where a forwarder sends its copy on. ParseVP8, ParseVP9 and
// the Rewrite methods keep nothing and may be called on any goroutine; a Parser
// belongs to the one goroutine that brings its stream in. None of them
// allocates, but for a Parser when it learns a new structure.
//
// It chooses no layer, orders no packets and knows no RTP header: the marker bit
// is the caller's.
package descriptor

// Package sdp is the negotiation of one connection as a pure state machine:
// descriptions and wishes go in, descriptions and changes come out. It owns
// sections, mids, places, codecs, payload types, header extension ids and glare.
//
// It stands on the way of signaling, not of packets. Package mesh/conn holds one
// [Session] for each remote party and calls it from the queue of its link; pion
// underneath sees only the data-only description of the first exchange, which
// it makes itself and which [Session.Bootstrap] reads. Every later offer and
// answer is written and read here. A party that speaks WHIP or WHEP has no such
// first exchange; its offer goes straight to [Session.HandleOffer].
//
// The package opens no socket, starts no goroutine, reads no clock and keeps no
// lock: a Session belongs to one goroutine. Descriptions are read by a parser of
// its own, because what it needs and a general parser lacks is bounds that hold
// before anything is kept, errors that name line and section, and attributes
// looked up by section; the grammar itself (RFC 8866) is one letter, an equals
// sign and a value.
//
// Two rules of the wire decide the shape. A section keeps its place (the index of
// its m-line) for ever, so a removed one stays as a stub with port 0 until a
// later offer uses the place again under a new mid (RFC 8829 section 5.2.2). And
// all sections share one transport (BUNDLE, RFC 9143), so a payload type or a
// header extension id has one meaning on the whole connection.
package sdp

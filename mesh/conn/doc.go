// Package conn is one connection to a remote party: a browser, another node, a
// WHIP or WHEP client.
//
// It uses a pion PeerConnection as a transport only: ICE, DTLS, SCTP and SRTP.
// pion sees nothing but data-only descriptions; every description that carries
// media is made and read by mesh/sdp. Incoming RTP is taken from pion's SRTP
// loop (BufferFactory) and is demultiplexed here by SSRC, mid and RID; outgoing
// RTP goes straight to the SRTP session through the writer of one RTPSender.
// Data channels are made here too, on the SCTP association that pion has set up
// (association.go says why); only the control channel is one of pion's.
//
// Four kinds of goroutines meet here. One goroutine of the caller (a link's)
// negotiates: Offer, HandleOffer, HandleAnswer, AddCandidate, SetSends, Needed,
// Stable, RemoteUfrag, Restart. pion's goroutines bring packets and changes of
// state; packets are handed to an [RTPSink] right there. Each data channel has a
// goroutine that reads it and calls its [ChannelSink]. Everything else reaches
// the [Handler] on one goroutine of the connection, in order.
//
// The package makes no signaling, knows no stream labels, no rooms and no
// publications, answers no NACK and makes no sender report: that is the
// forwarder's work. What of the incoming streams is lost it asks for itself
// (interceptors/nack).
package conn

// Package access says who may do what in which room. It stands in front of
// everything that a server lets in: the API, signaling, WHIP and WHEP, and the
// peers that a hub connects to.
//
// There are three ways to decide, and a Gate is one of them: tokens, which are
// JWTs (RFC 7519) signed by a key of the operator's; a webhook, which asks an
// application that has users of its own; or letting everybody in.
//
// A token is a bearer's: whoever has it may use it. It is never put on the
// signaling, where others of the room could read it. For that it is exchanged,
// over HTTP, for an Admission, which names a peer id. Peer ids are public keys, so
// an admission is of no use to anybody else.
//
// The package knows nothing of rooms, connections or nats-server, and links the
// standard library alone. Its functions may be called from any goroutine; only
// Gate.Check blocks, for a webhook's answer.
package access

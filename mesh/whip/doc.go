// Package whip is HTTP as the signaling of a connection: WHIP (RFC 9725), by
// which a client publishes, and WHEP (draft-ietf-wish-whep-04), by which one
// plays.
//
// [Endpoint] is an http.Handler that knows the protocols' rules and nothing of
// rooms, media or connections: what an offer leads to is its [Backend]'s
// business. It works on the HTTP server's goroutines and starts none. Bodies are
// bounded in length and in time, sessions in number.
//
// A session's URL is a path with 128 random bits and no query, since OBS drops
// queries; who knows it may end the session, as the token that began it may have
// run out since.
package whip

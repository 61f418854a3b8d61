// Package channel carries messages over data channels: texts, JSON, bytes and
// streams of any length, cut into chunks, acknowledged, abortable from both
// sides, with progress and back-pressure (WIRE 11).
//
// A [Channel] stands between a [Pipe], which is one data channel of mesh/conn,
// and the application. It is that pipe's sink: everything that arrives comes in
// on the pipe's reading goroutine, is taken apart there and handed to whoever
// reads the [Message]. What is sent goes out on the goroutine that calls
// [Channel.Send], which blocks until the other side has acknowledged the
// message. The package has no goroutines of its own.
//
// # The receive window
//
// The protocol bounds what a sender has in flight, but not what a reader has
// still to read. A channel bounds that: it tells the sender how far it may go by
// packets with id, ask and index N, neither done nor abort, which mean "chunks
// with an index below N have room". The first goes out on the first chunk of a
// message that is not complete with it, later ones when half a window was read.
// Weft's sender keeps to what it was told; of a message of more than 16 chunks it
// sends those and then waits half a second for that, once for each channel of a
// peer that knows no windows. A Peerix sender takes such a packet for no answer at
// all and sends on; for it, the pipe is not read while the window is full, at most
// 2 s, because that holds up the whole connection.
//
// The package knows neither pion nor peers, rooms or labels' owners, and retries
// nothing: a message that failed on the way was not delivered, and both sides
// know it by a named error.
package channel

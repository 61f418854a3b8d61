// Package subscribe is how media leaves the node, whoever receives it: a
// browser, a recorder, another hub. A Forwarder is one subscriber's copy of a
// publish.Track: it decides which packets go, rewrites their numbers and times
// so that the subscriber sees one unbroken stream, answers its NACKs from the
// track's history and makes its sender reports.
//
// On a packet's way it stands between the track, which calls it on the
// publisher's goroutine, and a Writer (a sender of mesh/conn). It starts no
// goroutine and reads no clock: time comes with packets and calls. It does not
// negotiate, pace or encrypt.
package subscribe

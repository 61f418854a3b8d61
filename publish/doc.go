// Package publish is how media enters the node, whoever stands behind it: a
// browser, a camera, a file, another hub. A Track takes the RTP packets of one
// audio or video source, looks at each payload once, keeps the recent ones in a
// history that answers the retransmissions of all subscribers, and gives them
// on to its sinks.
//
// On a packet's way it stands between the connection (mesh/conn) or a source
// (publish/source), which call WriteRTP on their one goroutine, and the
// forwarders of package subscribe, which it knows only as sinks. It does not
// choose, pace, rewrite or send anything.
package publish

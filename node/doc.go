// Package node is the engine of Weft: a Peer that joins a room as one more
// member, publishes streams, receives what others publish, and can be the
// room's hub.
//
// Everything that enters the node is a publication in one table, everything
// that leaves it a subscription; mesh and hub are two rules over that table
// (rule.go). Peer wires the two ends together: receivers of mesh feed tracks of
// publish, forwarders of subscribe feed senders of mesh. It owns no packet and
// no negotiation.
//
// Packets do not pass through this package's goroutines. They go from the
// connection's reading goroutine through a track to the forwarders and out. One
// goroutine of the Peer does what comes round by time: sender reports, rosters,
// tracks that began.
package node

package node

// role is what the node does with other peers' streams.
type role uint8

const (
	roleMesh role = iota // local publications go to every remote peer
	roleHub              // every publication goes to every peer but its own
)

// audience is what the rule has to know of a remote peer.
type audience struct {
	id     string
	direct map[string]bool // peers that it says it has a connection of its own to
	rights Rights
}

// forwards is the rule over the table: whether publication p goes to peer a.
//
//	origin          mesh   hub
//	any, no right   no     no
//	local           yes    yes   (one that is for one peer only, to that one)
//	a itself        no     no
//	from a hub      no     no    (hubs are not chained)
//	a has it direct no     no
//	another peer    no     yes
func (r role) forwards(p *publication, a audience) bool {
	switch {
	case a.rights.NoWatch:
		return false
	case p.origin == "":
		return p.only == "" || p.only == a.id
	case r == roleMesh, p.fromHub, p.via == a.id, p.origin == a.id, a.direct[p.origin]:
		return false
	}
	return true
}

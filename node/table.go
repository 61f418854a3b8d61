package node

import (
	"cmp"
	"slices"

	"github.com/weft-rtc/weft/publish"
)

// publication is one row of the table: a stream that is in the node, whoever
// brought it. It is guarded by Peer.mu.
type publication struct {
	origin   string // id of the peer whose stream it is; empty for the local peer
	via      string // id of the remote peer that it came from; empty for the local peer
	fromHub  bool   // it came from a hub, and so is never forwarded again
	label    string // unique within origin and only
	only     string // id of the one remote peer that gets it; empty for all
	streamID string // names the stream in our own descriptions
	slots    []slot
}

// slot is the place of one track within a publication. A track that replaces
// another of its kind takes over the slot, so that nothing is renegotiated.
type slot struct {
	name  string // unique within the publication
	track *publish.Track
}

// key identifies a publication in the table.
type key struct{ origin, label, only string }

func (p *publication) key() key { return key{p.origin, p.label, p.only} }

// stream returns what the publication shares.
func (p *publication) stream() publish.Stream {
	s := publish.Stream{Label: p.label}
	for _, slot := range p.slots {
		s.Tracks = append(s.Tracks, slot.track)
	}
	return s
}

// wireLabel is the label under which the stream is shown to others.
func (p *publication) wireLabel() string {
	if p.origin == "" {
		return p.label
	}
	return p.origin + "/" + p.label
}

// find returns the index of the slot with that name, or -1.
func (p *publication) find(name string) int {
	return slices.IndexFunc(p.slots, func(s slot) bool { return s.name == name })
}

// table holds all that is published in the node.
type table map[key]*publication

// sorted returns the publications in a stable order, so that sections are
// negotiated in the same order everywhere and logs can be compared.
func (t table) sorted() []*publication {
	all := make([]*publication, 0, len(t))
	for _, p := range t {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *publication) int {
		return cmp.Or(cmp.Compare(a.origin, b.origin), cmp.Compare(a.label, b.label), cmp.Compare(a.only, b.only))
	})
	return all
}

// from returns the publications that came from a remote peer.
func (t table) from(via string) []*publication {
	var all []*publication
	for _, p := range t.sorted() {
		if p.via == via {
			all = append(all, p)
		}
	}
	return all
}

// overrides reports whether the peer of that id gets a publication of its own in
// the place of p.
func (t table) overrides(p *publication, id string) bool {
	return p.origin == "" && p.only == "" && t[key{label: p.label, only: id}] != nil
}

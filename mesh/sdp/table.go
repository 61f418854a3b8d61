package sdp

import (
	"maps"
	"slices"

	"github.com/weft-rtc/weft/interceptors/codec"
)

const dataKind = "application" // the section of data channels (RFC 8841)

// A table is everything that is agreed, or would be once an answer comes. It is
// copied before it is changed; what its pointers and slices hold is never changed.
type table struct {
	sections   []section
	bundle     []string // live mids in the order of a=group:BUNDLE
	remote     Remote
	localUfrag string // ours, as negotiated
	role       string // our DTLS role, "" before the first answer
	mixed      bool   // the remote side allows two-byte extension headers beside one-byte ones
	registry   registry
}

// A section is one m-line at its place. A dead one is a stub.
type section struct {
	mid, kind, proto string
	format           string // first format, for a stub that is no RTP
	live             bool

	send    *Send   // the wish it carries
	sending bool    // the remote side takes it
	layers  []Layer // those of send that the remote side takes
	recv    *Receive

	offer  []Payload // what our descriptions list
	accept []Payload // what the remote side accepts of it
	exts   []extmap  // with our directions
	agreed []extmap  // those of them that the remote side accepts
	mixed  bool      // the remote side takes extension headers of both forms here
	rsize  bool      // a=rtcp-rsize (RFC 5506)
	// simulcast says that the layers of recv were named by a=simulcast, not by
	// a=rid alone.
	simulcast bool
}

func (t table) clone() table {
	t.sections = slices.Clone(t.sections)
	t.registry = t.registry.clone()
	return t
}

// bury makes a section a stub at its place.
func (x *section) bury() {
	*x = section{mid: x.mid, kind: x.kind, proto: x.proto, format: x.format}
}

// inUse reports whether any section, dead ones included, has the mid.
func (t *table) inUse(mid string) bool {
	return slices.ContainsFunc(t.sections, func(x section) bool { return x.mid == mid })
}

// carries reports whether a live section has the wish.
func (t *table) carries(id string) bool {
	return slices.ContainsFunc(t.sections, func(x section) bool { return x.live && x.send != nil && x.send.ID == id })
}

// order makes the bundle group: first those of wanted that live, then the other
// live ones by place. The first one owns the transport (RFC 9143 section 7.3.1),
// so it should stay first.
func (t *table) order(wanted []string) {
	live := map[string]bool{}
	for _, x := range t.sections {
		if x.live {
			live[x.mid] = true
		}
	}
	t.bundle = make([]string, 0, len(live))
	add := func(mid string) {
		if live[mid] {
			t.bundle = append(t.bundle, mid)
			delete(live, mid)
		}
	}
	for _, mid := range wanted {
		add(mid)
	}
	for _, x := range t.sections {
		add(x.mid)
	}
}

// sendingOf describes the wish of a section for the caller.
func (x *section) sendingOf() Sending {
	s := Sending{
		ID: x.send.ID, Mid: x.mid, Payloads: x.accept, SSRC: x.send.SSRC,
		Extensions: ids(x.agreed, "sendonly"), Mixed: x.mixed, Layers: x.layers,
	}
	if hasRTX(x.accept) {
		s.RTXSSRC = x.send.RTXSSRC
	}
	return s
}

// receiveOf describes the remote track of a section for the caller.
func (x *section) receiveOf(m *media) *Receive {
	r := &Receive{
		Mid: x.mid, Kind: codec.ParseKind(x.kind), StreamID: m.streamID, TrackID: m.trackID,
		Payloads: x.accept, Extensions: ids(x.agreed, "recvonly"), RIDs: m.layers(),
	}
	if r.RIDs == nil {
		r.SSRC, r.RTXSSRC = m.mainSSRC() // layers are known by their RIDs
	}
	return r
}

// changes compares two tables.
func changes(from, to *table) Changes {
	c := Changes{Remote: to.remote, Restarted: from.remote.Ufrag != "" && from.remote.Ufrag != to.remote.Ufrag}
	c.receives(from, to)
	c.sends(from, to)
	return c
}

func (c *Changes) receives(from, to *table) {
	now := map[string]*Receive{}
	for _, x := range to.sections {
		if x.recv != nil {
			now[x.mid] = x.recv
		}
	}
	before := map[string]*Receive{}
	for _, x := range from.sections {
		if x.recv == nil {
			continue
		}
		before[x.mid] = x.recv
		if n := now[x.mid]; n == nil || !sameTrack(x.recv, n) {
			c.Closed = append(c.Closed, x.mid)
		}
	}
	for _, x := range to.sections {
		if x.recv == nil {
			continue
		}
		switch b := before[x.mid]; {
		case b == nil || !sameTrack(b, x.recv):
			c.Opened = append(c.Opened, *x.recv)
		case !samePayloads(b.Payloads, x.recv.Payloads) || !maps.Equal(b.Extensions, x.recv.Extensions) || !slices.Equal(b.RIDs, x.recv.RIDs):
			c.Updated = append(c.Updated, *x.recv)
		}
	}
}

// sameTrack leaves out which layers there are: their number may change.
func sameTrack(a, b *Receive) bool {
	return a.Kind == b.Kind && a.StreamID == b.StreamID && a.TrackID == b.TrackID &&
		a.SSRC == b.SSRC && a.RTXSSRC == b.RTXSSRC && (a.RIDs == nil) == (b.RIDs == nil)
}

func (c *Changes) sends(from, to *table) {
	before := map[string]Sending{}
	for _, x := range from.sections {
		if x.sending {
			before[x.send.ID] = x.sendingOf()
		}
	}
	now := map[string]bool{}
	for _, x := range to.sections {
		if !x.sending {
			continue
		}
		n := x.sendingOf()
		now[n.ID] = true
		if b, ok := before[n.ID]; !ok || !sameSending(b, n) {
			c.Sends = append(c.Sends, n)
		}
	}
	for _, x := range from.sections {
		if x.sending && !now[x.send.ID] {
			c.Stopped = append(c.Stopped, x.send.ID)
		}
	}
}

func sameSending(a, b Sending) bool {
	return a.ID == b.ID && a.Mid == b.Mid && a.SSRC == b.SSRC && a.RTXSSRC == b.RTXSSRC && a.Mixed == b.Mixed && slices.Equal(a.Layers, b.Layers) &&
		slices.EqualFunc(a.Payloads, b.Payloads, equalPayload) && maps.Equal(a.Extensions, b.Extensions)
}

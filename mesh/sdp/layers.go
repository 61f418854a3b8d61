package sdp

import (
	"slices"
	"strings"
)

// This file is about the layers that we send; source.go reads those that come.

// maxOwnRID is in bytes: what the one-byte form of header extensions carries.
const maxOwnRID = 16

// fitLayers returns the layers that can be offered.
func fitLayers(layers []Layer) []Layer {
	var fit []Layer
	for _, l := range layers {
		known := slices.ContainsFunc(fit, func(o Layer) bool { return o.RID == l.RID })
		if isRID(l.RID) && len(l.RID) <= maxOwnRID && !known && len(fit) < maxRIDs {
			fit = append(fit, l)
		}
	}
	return fit
}

// sameSend reports whether two wishes ask for the same.
func sameSend(a, b Send) bool {
	return a.ID == b.ID && a.Kind == b.Kind && a.StreamID == b.StreamID && a.TrackID == b.TrackID &&
		a.SSRC == b.SSRC && a.RTXSSRC == b.RTXSSRC && slices.Equal(a.Layers, b.Layers)
}

// takes returns the RIDs that the remote side receives (RFC 8853 section 5.2): a
// list without its a=rid lines is none, nor are such lines without a list.
func (m *media) takes() []string {
	var ids []string
	for _, id := range strings.FieldsFunc(m.simulcastRecv, func(c rune) bool { return c == ';' || c == ',' }) {
		id = strings.TrimPrefix(id, "~")
		if slices.Contains(m.rids, rid{id, "recv"}) {
			ids = append(ids, id)
		}
	}
	return ids
}

// agree finds the layers that a section sends from now on: those that the remote
// side names, if packets can say which they belong to.
func (x *section) agree(m *media) {
	x.layers = nil
	exts := ids(x.agreed, "sendonly")
	if !x.sending || exts[ExtMID] == 0 || exts[ExtRID] == 0 {
		return
	}
	takes := m.takes()
	for _, l := range x.offeredLayers() {
		if !slices.Contains(takes, l.RID) {
			continue
		}
		if exts[ExtRepairedRID] == 0 || !hasRTX(x.accept) {
			l.RTXSSRC = 0
		}
		x.layers = append(x.layers, l)
	}
}

// offeredLayers returns the layers of the wish of a section, none where the
// remote side sends layers itself: its names might be the same.
func (x *section) offeredLayers() []Layer {
	if x.send == nil || x.recv != nil && x.recv.RIDs != nil {
		return nil
	}
	return x.send.Layers
}

// sendLayers writes layers that we send (RFC 8851 section 10, RFC 8853 section 5.1).
func (w *writer) sendLayers(layers []Layer) {
	rids := make([]string, len(layers))
	for i, l := range layers {
		rids[i] = l.RID
		w.line("a=rid:%s send", l.RID)
	}
	w.line("a=simulcast:send %s", strings.Join(rids, ";"))
}

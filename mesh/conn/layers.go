package conn

import (
	"slices"

	"github.com/weft-rtc/weft/mesh/sdp"
)

// setLayers makes the layers of a sender what a description says. Those that stay
// keep their Sender; the others are closed.
func (in *ingest) setLayers(s *Sender, n sdp.Sending) {
	was := s.Layers()
	var now []*Sender
	for _, l := range n.Layers {
		of := n
		of.SSRC, of.RTXSSRC, of.Layers = l.SSRC, l.RTXSSRC, nil
		x := findLayer(was, l)
		if x == nil {
			x = newSender(s.conn, of, l.RID)
		} else {
			x.renegotiate(of)
		}
		now = append(now, x)
	}
	for _, l := range was {
		if !slices.Contains(now, l) {
			in.closeSender(l)
		}
	}
	for _, l := range now {
		in.openSender(l)
	}
	s.layers.Store(&now)
}

func findLayer(all []*Sender, l sdp.Layer) *Sender {
	for _, s := range all {
		if s.rid == l.RID && s.ssrc == l.SSRC && s.rtxSSRC == l.RTXSSRC {
			return s
		}
	}
	return nil
}

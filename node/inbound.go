package node

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/weft-rtc/weft/mesh/conn"
	"github.com/weft-rtc/weft/publish"
)

// codecHold is how long an incoming track keeps a codec at least: a sender that
// changes it with every packet would make a new track with every packet.
const codecHold = time.Second

// inbound feeds a remote track's packets into the track that is published for
// it. What the codec is shows with the first packet, so the publication begins
// there. Methods of conn.RTPSink run on the connection's reading goroutine.
type inbound struct {
	recv  *conn.Receiver
	began func(t *publish.Track) bool // queues the publication, on the reading goroutine; false: not now

	// Owned by the reading goroutine.
	since time.Time // of the current codec
	rid   string    // the layer that is taken
	owed  bool      // began has to be called again

	track atomic.Pointer[publish.Track] // current one, nil before the first packet
	ssrc  atomic.Uint32                 // current source, for keyframe requests
	count int                           // tracks made so far
	done  atomic.Bool
}

// name is the slot of the track within its publication.
func (in *inbound) name() string { return in.recv.Kind().String() + "-" + in.recv.Mid() }

// ReceiveRTP takes one packet in.
func (in *inbound) ReceiveRTP(p *conn.Incoming) {
	if in.done.Load() {
		return
	}
	t := in.track.Load()
	if t == nil || t.Codec() != p.Codec {
		if len(p.Payload) == 0 { // padding begins nothing
			return
		}
		if t != nil && p.Arrival.Sub(in.since) < codecHold {
			return
		}
		t = in.begin(p)
	}
	if p.RID != in.rid { // one layer for now
		return
	}
	if in.owed {
		in.owed = !in.began(t)
	}
	if in.ssrc.Load() != p.Header.SSRC {
		in.ssrc.Store(p.Header.SSRC)
	}
	t.WriteRTP(&p.Header, p.Payload, p.Arrival)
}

func (in *inbound) begin(p *conn.Incoming) *publish.Track {
	in.count++
	t := publish.NewTrack(publish.TrackConfig{
		ID:    fmt.Sprint(in.recv.TrackID(), "#", in.count),
		Kind:  in.recv.Kind(),
		Codec: p.Codec,
		KeyframeRequest: func() {
			if ssrc := in.ssrc.Load(); ssrc != 0 {
				in.recv.RequestKeyframe(ssrc)
			}
		},
	})
	in.since, in.rid = p.Arrival, p.RID
	in.ssrc.Store(p.Header.SSRC)
	if old := in.track.Swap(t); old != nil {
		old.Close()
	}
	in.owed = !in.began(t)
	return t
}

// ReceiveReport takes the publisher's clock over.
func (in *inbound) ReceiveReport(ssrc uint32, ntp uint64, rtp uint32, arrival time.Time) {
	if t := in.track.Load(); t != nil && ssrc == in.ssrc.Load() {
		t.Report(ntp, rtp, arrival)
	}
}

// close ends the current track; packets that still come are ignored.
func (in *inbound) close() {
	in.done.Store(true)
	in.recv.SetSink(nil)
	if t := in.track.Load(); t != nil {
		t.Close()
	}
}

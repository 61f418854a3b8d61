package node

import (
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/mesh/conn"
	"github.com/weft-rtc/weft/publish"
)

// codecHold is how long an incoming track keeps a codec at least: a sender that
// changes it with every packet would make a new track with every packet.
const codecHold = time.Second

// inbound feeds a remote track's packets into the track that is published for
// it, each simulcast layer into its own. What the codec is shows with the first
// packet, so the publication begins there. Methods of conn.RTPSink run on the
// connection's reading goroutines.
type inbound struct {
	recv  *conn.Receiver
	label string                      // of the stream, as on the wire
	slot  string                      // that a guest's track takes; "": one of its own
	began func(t *publish.Track) bool // queues the publication, on the reading goroutine; false: not now

	// Owned by the goroutine that reads RTP.
	since time.Time // of the current codec
	owed  bool      // began has to be called again
	count int       // tracks made so far
	meter meter

	demand demand // of the Peer's loop
	loud   loudness

	track  atomic.Pointer[publish.Track] // current one, nil before the first packet
	layers atomic.Pointer[[]*arriving]   // of the current track; replaced, never changed
	done   atomic.Bool
}

// arriving is one layer as it comes in.
type arriving struct {
	rid   string
	layer *publish.Layer
	ssrc  atomic.Uint32 // current source, for keyframe requests and reports
}

// name is the slot of the track within its publication.
func (in *inbound) name() string {
	if in.slot != "" {
		return in.slot
	}
	return in.recv.Kind().String() + "-" + in.recv.Mid()
}

// ReceiveRTP takes one packet in.
func (in *inbound) ReceiveRTP(p *conn.Incoming) {
	if in.done.Load() || !in.meter.pass(len(p.Payload), p.Arrival) {
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
	if in.owed {
		in.owed = !in.began(t)
	}
	if p.AudioLevel != conn.NoAudioLevel && t.Kind() == codec.Audio {
		in.loud.observe(p.AudioLevel, p.Arrival)
	}
	l := in.layer(t, p.RID)
	if l == nil {
		return
	}
	if l.ssrc.Load() != p.Header.SSRC {
		l.ssrc.Store(p.Header.SSRC)
	}
	l.layer.WriteDescribed(&p.Header, p.Payload, p.Dependency, p.Arrival)
}

// layer returns the layer of that RID, made with its first packet; nil if the
// track has too many.
func (in *inbound) layer(t *publish.Track, rid string) *arriving {
	all := *in.layers.Load()
	for _, l := range all {
		if l.rid == rid {
			return l
		}
	}
	l := &arriving{rid: rid}
	if l.layer = t.AddLayer(publish.TrackConfig{RID: rid, KeyframeRequest: in.request(l)}); l.layer == nil {
		return nil
	}
	all = append(slices.Clone(all), l)
	in.layers.Store(&all)
	return l
}

// request returns the function that asks the publisher for a key picture of l.
func (in *inbound) request(l *arriving) func() {
	return func() {
		if ssrc := l.ssrc.Load(); ssrc != 0 {
			in.recv.RequestKeyframe(ssrc)
		}
	}
}

// begin makes a track with the layer of p.
func (in *inbound) begin(p *conn.Incoming) *publish.Track {
	in.count++
	l := &arriving{rid: p.RID}
	l.ssrc.Store(p.Header.SSRC)
	t := publish.NewTrack(publish.TrackConfig{
		ID:              fmt.Sprint(in.recv.TrackID(), "#", in.count),
		Kind:            in.recv.Kind(),
		Codec:           p.Codec,
		RID:             p.RID,
		KeyframeRequest: in.request(l),
	})
	l.layer = t.Layer
	in.since = p.Arrival
	in.layers.Store(&[]*arriving{l})
	if old := in.track.Swap(t); old != nil {
		old.Close()
	}
	in.owed = !in.began(t)
	return t
}

// ReceiveReport takes the publisher's clock over.
func (in *inbound) ReceiveReport(ssrc uint32, ntp uint64, rtp uint32, arrival time.Time) {
	layers := in.layers.Load()
	if layers == nil {
		return
	}
	for _, l := range *layers {
		if l.ssrc.Load() == ssrc {
			l.layer.Report(ntp, rtp, arrival)
		}
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

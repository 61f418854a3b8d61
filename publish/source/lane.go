package source

import (
	"errors"
	"fmt"
	"io"
	"math/bits"
	"math/rand/v2"
	"time"

	"github.com/pion/rtp"
	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/publish"
)

// reportInterval is the media time between two reports of a track's clock.
const reportInterval = time.Second

// lane plays one file into one layer of a track. It belongs to the goroutine of Run.
type lane struct {
	in     input
	format codec.Codec
	track  *publish.Track // nil until begin
	layer  *publish.Layer
	split  packetizer

	pass *pass // nil: not begun, or ended
	head frame // the next one, while pass is not nil
	end  time.Duration
	err  error // what is wrong with the file

	header     rtp.Header
	origin     uint32        // timestamp of media time 0
	nextReport time.Duration // media time
}

func newLane(in input, c codec.Codec) *lane {
	return &lane{
		in:     in,
		format: c,
		split:  newPacketizer(c),
		header: rtp.Header{Version: 2, SSRC: rand.Uint32() | 1, SequenceNumber: uint16(rand.Uint32())},
		origin: rand.Uint32(),
	}
}

// begin makes the track that the lane plays into.
func (l *lane) begin(id, rid string, ask func()) {
	l.track = publish.NewTrack(publish.TrackConfig{ID: id, Kind: l.format.Kind(), Codec: l.format, RID: rid, KeyframeRequest: ask})
	l.layer = l.track.Layer
}

// join makes the lane another layer of the track of first, with the same
// timestamps.
func (l *lane) join(first *lane, rid string, ask func()) {
	l.track, l.origin = first.track, first.origin
	l.layer = l.track.AddLayer(publish.TrackConfig{RID: rid, KeyframeRequest: ask})
}

// rewind begins the file anew.
func (l *lane) rewind() error {
	l.close()
	p, err := l.in.begin()
	if err != nil {
		return err
	}
	if p.codec() != l.format {
		p.close()
		return &FileError{l.in.name, -1, fmt.Sprintf(
			"has changed from %v to %v while it was played", l.format, p.codec()), nil}
	}
	l.pass, l.end = p, 0
	return l.advance()
}

// advance reads the next frame. At the end of the file, damaged or not, the
// lane has no pass any more; damage is returned.
func (l *lane) advance() error {
	f, err := l.pass.next()
	if err == nil {
		l.head = f
		return nil
	}
	l.close()
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func (l *lane) close() {
	l.pass.close()
	l.pass = nil
}

// send gives the head to the track, its packets back to back. at is its media
// time, due the instant that belongs to it, now the present.
func (l *lane) send(at time.Duration, due, now time.Time) (packets int) {
	stamp := l.origin + uint32(toTicks(at, l.format.ClockRate)) // wraps, as timestamps do
	if at >= l.nextReport {
		l.nextReport = at + reportInterval
		l.layer.Report(toNTP(due), stamp, due)
	}
	l.end = l.head.at + l.head.length
	payloads := l.split.split(l.head)
	l.header.Timestamp = stamp
	for i, p := range payloads {
		l.header.Marker = !l.split.audio && i == len(payloads)-1
		l.layer.WriteRTP(&l.header, p, now)
		l.header.SequenceNumber++
	}
	return len(payloads)
}

// toTicks rounds a media time, which is not negative, to the clock of a codec.
func toTicks(d time.Duration, rate uint32) uint64 {
	hi, lo := bits.Mul64(uint64(d), uint64(rate))
	lo, carry := bits.Add64(lo, uint64(time.Second/2), 0)
	q, _ := bits.Div64(hi+carry, lo, uint64(time.Second)) // 2^63 ns at 90 kHz is below the limit of Div64
	return q
}

// toNTP returns t as an NTP timestamp (RFC 3550 section 4).
func toNTP(t time.Time) uint64 {
	const from1900To1970 = 2208988800
	s := uint64(t.Unix() + from1900To1970)
	return s<<32 | uint64(t.Nanosecond())<<32/uint64(time.Second)
}

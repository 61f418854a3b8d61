package node

import (
	"errors"
	"sync/atomic"
	"time"
)

// ErrTracks: a remote peer brings more tracks than Config.MaxTracks.
var ErrTracks = errors.New("the peer has more tracks than are taken of one")

// meterBurst is how much of a second's bits may come at once: a key picture is
// many times the size of others.
const meterBurst = 2

// meter bounds the bits of one track, as a bucket that fills in time. It is owned
// by the goroutine that reads the track, but for dropped. The zero value bounds
// nothing.
type meter struct {
	rate    int64 // bits a second, 0: no bound
	left    int64 // bits
	at      time.Time
	dropped atomic.Uint64 // packets, drop reason "bitrate"
}

// pass takes a packet of so many bytes, or says that it is to be dropped.
func (m *meter) pass(bytes int, now time.Time) bool {
	if m.rate <= 0 {
		return true
	}
	most := meterBurst * m.rate
	if m.at.IsZero() {
		m.left = most
	} else if gone := now.Sub(m.at); gone >= meterBurst*time.Second {
		m.left = most
	} else if gone > 0 {
		m.left = min(most, m.left+int64(gone.Seconds()*float64(m.rate)))
	}
	m.at = now
	bits := int64(bytes) * 8
	if bits > m.left {
		m.dropped.Add(1)
		return false
	}
	m.left -= bits
	return true
}

// RefusedStats count what was not taken of a remote peer, by reason.
type RefusedStats struct {
	Tracks  uint64 // more than Config.MaxTracks, or by a peer that may not publish
	Bitrate uint64 // packets above Config.MaxBitrate
}

func (s *RefusedStats) add(more RefusedStats) {
	s.Tracks += more.Tracks
	s.Bitrate += more.Bitrate
}

// refusals returns what was not taken of r. Peer.mu is held.
func (r *remote) refusals() RefusedStats {
	s := RefusedStats{Tracks: r.refused, Bitrate: r.dropped}
	for _, in := range r.in {
		s.Bitrate += in.meter.dropped.Load()
	}
	return s
}

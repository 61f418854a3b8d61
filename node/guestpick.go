package node

import (
	"slices"
	"time"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/publish"
)

// source is one stream that a guest may be shown.
type source struct {
	peer         string // whose it is
	since        time.Time
	video, audio *publish.Track // nil: it has none
}

func (s source) track(kind codec.Kind) *publish.Track {
	if kind == codec.Video {
		return s.video
	}
	return s.audio
}

// pickTrack returns which track of a kind to show: that of who leads among those who
// speak, as order says, else what is shown already, else that of the first source
// that has one. A picture is held where the next one has another codec, or who
// leads has none. nil: nothing there. Pure.
func pickTrack(kind codec.Kind, sources []source, order []string, now *publish.Track) *publish.Track {
	var first, lead *publish.Track
	held := false // what is shown is still there
	for _, s := range sources {
		t := s.track(kind)
		held = held || t != nil && t == now
		if first == nil {
			first = t
		}
	}
	if !held {
		now = nil
	}
	for _, id := range order {
		i := slices.IndexFunc(sources, func(s source) bool { return s.peer == id && s.track(kind) != nil })
		if i >= 0 {
			lead = sources[i].track(kind)
		}
		if i >= 0 || kind == codec.Video {
			break // the picture of who speaks second is not looked for
		}
	}
	switch {
	case now == nil && lead != nil:
		return lead
	case now == nil:
		return first
	case lead != nil && (kind == codec.Audio || lead.Codec().Matches(now.Codec())):
		return lead
	}
	return now
}

const (
	// lossDown and lossUp are the shares of lost packets above which a guest gets
	// less, and below which more.
	lossDown = 0.10
	lossUp   = 0.02
	// downAfter and upAfter are how long that has to be so.
	downAfter = 2 * time.Second
	upAfter   = 10 * time.Second
	// canAfter is how long a guest has to say that it cannot take what it gets. A
	// receiver's estimate is no more than half again what comes (libwebrtc), and
	// grows by 8 % a second: it takes so long to take in the next layer.
	canAfter = 12 * time.Second
	// upMost is what upAfter grows to, twofold each time that more was too much.
	upMost = 2 * time.Minute
)

// observation is what is known of the way to a guest.
type observation struct {
	lost    float64 // of the last report, 0 to 1
	sent    int     // bit/s of video
	can     int     // bit/s that the guest said it can take (REMB); 0: it has not
	layers  int     // that there are
	current int     // which of them is sent, from 1; 0: none
}

// throttle finds out how many layers a guest can take by trying, while nothing
// better is known. It belongs to one goroutine at a time.
type throttle struct {
	limit                int           // 0: any
	lossy, short, better time.Time     // since when it is so; zero: it is not
	raised               time.Time     // the last time
	wait                 time.Duration // before the next; 0: upAfter
}

// update takes an observation, about once a second, and returns the highest layer
// that is to be sent, from 1; 0 is any. Pure but for the receiver.
func (t *throttle) update(o observation, now time.Time) int {
	lossy, short := o.lost > lossDown, o.can > 0 && o.can < o.sent*9/10
	mark(&t.lossy, lossy, now)
	mark(&t.short, short, now)
	mark(&t.better, o.lost < lossUp && !short, now)
	wait := max(t.wait, upAfter)
	switch {
	case o.current == 0:
	case lossy && now.Sub(t.lossy) >= downAfter, short && now.Sub(t.short) >= canAfter:
		t.lower(o.current, now)
	case t.limit > 0 && !t.better.IsZero() && now.Sub(t.better) >= wait:
		t.limit++
		if t.limit >= o.layers {
			t.limit = 0
		}
		t.raised, t.better = now, now
	}
	return t.limit
}

// lower takes a layer away from the one that is sent. What was too much soon after
// it was tried is tried again later.
func (t *throttle) lower(current int, now time.Time) {
	next := max(current-1, 1)
	if t.limit > 0 {
		next = min(next, t.limit)
	}
	if wait := max(t.wait, upAfter); !t.raised.IsZero() && now.Sub(t.raised) < 2*canAfter {
		t.wait = min(2*wait, upMost)
	} else {
		t.wait = 0
	}
	t.limit, t.lossy, t.short, t.better = next, now, now, time.Time{}
}

// mark keeps since when something is so.
func mark(since *time.Time, so bool, now time.Time) {
	switch {
	case !so:
		*since = time.Time{}
	case since.IsZero():
		*since = now
	}
}

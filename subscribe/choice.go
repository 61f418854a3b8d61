package subscribe

import (
	"time"

	"github.com/weft-rtc/weft/publish"
)

// Wish is what a subscriber wants of a track. The zero value is the best there
// is.
type Wish struct {
	// Paused: nothing at present.
	Paused bool
	// Width and Height are the size in pixels at which the picture is shown; 0
	// is any. The smallest layer that fills it is enough.
	Width, Height int
	// FrameRate is how many pictures per second are enough; 0 is any.
	FrameRate float64
	// Layer limits which layer of simulcast, or spatial layer, is sent, counted
	// from 1 for the lowest; 0 is any.
	Layer int
	// Temporal limits temporal layers, counted likewise.
	Temporal int
}

// quality is what can be chosen of a track: a layer, of a scalable stream up to one
// of its spatial layers.
type quality struct {
	layer   *publish.Layer // nil: none
	spatial int            // anyLayer where the stream does not number them
}

// whole is the quality of a layer that has no spatial layers to choose from.
func whole(l *publish.Layer) quality {
	if l.SpatialLayers() == 1 {
		return quality{l, 0}
	}
	return quality{l, anyLayer}
}

// option is what is known of a quality when one is chosen.
type option struct {
	quality
	usable        bool // it has packets, and has not just failed to bring a key picture
	width, height int  // 0: not known
}

// maxOptions bounds what is chosen from.
const maxOptions = 2 * publish.MaxLayers

// appendOptions lists what the layers of a track offer, from low to high, within the
// capacity of options.
func appendOptions(options []option, layers []*publish.Layer, now time.Time) []option {
	for _, l := range layers {
		n := l.SpatialLayers()
		if len(options)+max(n, 1) > cap(options) {
			break
		}
		if n < 2 {
			o := option{quality: whole(l), usable: l.Active(now)}
			o.width, o.height = l.Size()
			options = append(options, o)
			continue
		}
		for s := range n {
			o := option{quality: quality{l, s}}
			o.width, o.height, o.usable = l.Spatial(s, now)
			options = append(options, o)
		}
	}
	return options
}

// choose returns the index of the quality to send, options being in order from
// low to high. It keeps to current while none is usable. Pure.
func choose(options []option, w Wish, current int) int {
	best := -1
	for i, o := range options {
		if !o.usable {
			continue
		}
		if best >= 0 && (w.Layer > 0 && i >= w.Layer || fills(options[best], w)) {
			break
		}
		best = i
	}
	if best < 0 {
		return current
	}
	return best
}

// fills reports whether a layer is as large as it is shown, or near enough: with
// a tenth missing nobody sees a difference.
func fills(o option, w Wish) bool {
	if w.Width <= 0 && w.Height <= 0 || o.width == 0 || o.height == 0 {
		return false
	}
	return 10*o.width >= 9*w.Width && 10*o.height >= 9*w.Height
}

// enoughRate is what part of the wanted pictures per second is as good as all:
// what is measured varies.
const enoughRate = 0.8

// temporalLimit returns the highest temporal layer that is wanted, given the rates
// of the stream up to the spatial layer. Pure.
func temporalLimit(w Wish, rates *publish.Rates, spatial int) int {
	limit := anyLayer
	if w.Temporal > 0 {
		limit = min(w.Temporal-1, limit)
	}
	if w.FrameRate > 0 {
		for t := range rates[0] {
			if rates.Within(spatial, t).FrameRate >= enoughRate*w.FrameRate {
				return min(t, limit)
			}
		}
	}
	return limit
}

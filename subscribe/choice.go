package subscribe

import "github.com/weft-rtc/weft/publish"

// Wish is what a subscriber wants of a track. The zero value is the best there
// is.
type Wish struct {
	// Paused: nothing at present.
	Paused bool
	// Width and Height are the size in pixels at which the picture is shown; 0
	// is any. The smallest layer that fills it is enough.
	Width, Height int
	// Layer limits which layer is sent, counted from 1 for the lowest; 0 is any.
	Layer int
}

// option is what is known of a layer when one is chosen.
type option struct {
	layer         *publish.Layer
	usable        bool // it has packets, and has not just failed to bring a key picture
	width, height int  // 0: not known
}

// choose returns the index of the layer to send, options being in order from
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

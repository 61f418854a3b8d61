package nack

import "time"

const (
	// A frame that stops for one and a half of its sender's longest pause and
	// tailGrace more, at least minTailWait, has lost its tail.
	tailGrace   = 10 * time.Millisecond
	minTailWait = 30 * time.Millisecond
	// firstPause is taken for the longest pause before one is known: browsers
	// send the packets of a large picture in bursts some 40 ms apart.
	firstPause = 25 * time.Millisecond
	// maxPause is the pause within frames beyond which nothing is guessed: the
	// next frame shows a loss as soon.
	maxPause = 100 * time.Millisecond
	// maxGuesses is how often a packet is asked for that may not exist.
	maxGuesses = 2
)

// tail watches for frames that stop before their last packet.
type tail struct {
	frames bool          // the marker bit ends a frame
	marked bool          // and is in use
	open   bool          // the newest packet did not end its frame
	at     time.Duration // when it came
	pause  time.Duration // the longest within a frame; frames wear it off
}

func newTail(frames bool) tail { return tail{frames: frames, pause: firstPause} }

// reset forgets the frame under way.
func (t *tail) reset() { *t = newTail(t.frames) }

// packet takes the newest packet.
func (t *tail) packet(last bool, at time.Duration) {
	t.at, t.open = at, t.frames && !last
	if last {
		t.marked = true
		t.pause -= t.pause / 32
	}
}

// follow learns from a packet that is the next of its stream.
func (t *tail) follow(at time.Duration) {
	if t.open && t.marked {
		t.learn(at)
	}
}

// learn takes the time of a packet of the same frame as the one before.
func (t *tail) learn(at time.Duration) { t.pause = max(t.pause, min(at-t.at, 2*maxPause)) }

// usable says whether anything is to be guessed of this stream.
func (t *tail) usable() bool { return t.marked && t.pause <= maxPause }

// due is when the frame has stopped.
func (t *tail) due() time.Duration {
	return t.at + max(t.pause+t.pause/2+tailGrace, minTailWait)
}

package subscribe

import "time"

// paceWindow is over how long a bitrate is measured.
const paceWindow = 500 * time.Millisecond

// pace measures what is sent. It is not safe for concurrent use.
type pace struct {
	since   time.Time
	bytes   int
	bitrate int // of the window before
}

func (p *pace) add(now time.Time, bytes int) {
	p.turn(now)
	p.bytes += bytes
}

// turn closes the window when it is over.
func (p *pace) turn(now time.Time) {
	passed := now.Sub(p.since)
	if passed >= 0 && passed < paceWindow {
		return
	}
	p.bitrate = 0
	if passed > 0 && passed < 3*paceWindow {
		p.bitrate = int(float64(8*p.bytes) / passed.Seconds())
	}
	p.since, p.bytes = now, 0
}

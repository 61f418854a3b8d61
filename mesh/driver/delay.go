package driver

import "time"

// MinDelay and MaxDelay bound the wait before an attempt to connect.
const (
	MinDelay = 200 * time.Millisecond
	MaxDelay = 4 * time.Second
)

// Delay is the wait before an attempt to connect when attempt others have
// failed: doubled each time from 0.2 to 4 s, and spread by random in [0,1) over
// half of it, so that the peers of a service that comes back do not come all at
// once.
func Delay(attempt int, random float64) time.Duration {
	d := MaxDelay
	if attempt = max(attempt-1, 0); attempt < 8 {
		d = min(MinDelay<<attempt, MaxDelay)
	}
	return d/2 + time.Duration(random*float64(d/2))
}

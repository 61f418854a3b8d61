package publish

import (
	"errors"
	"fmt"
)

// ErrFixed: the source of the track cannot encode otherwise than it does.
var ErrFixed = errors.New("source cannot change its encoding")

// Priority says how much a track matters among those of one publisher, as in
// RTCRtpEncodingParameters of browsers.
type Priority uint8

// The priorities. Each gets twice the share of the one below it, as RFC 8835
// section 4.1 has it.
const (
	PriorityDefault Priority = iota // Low
	PriorityVeryLow
	PriorityLow
	PriorityMedium
	PriorityHigh
)

// String returns the word that browsers use.
func (p Priority) String() string {
	switch p {
	case PriorityVeryLow:
		return "very-low"
	case PriorityMedium:
		return "medium"
	case PriorityHigh:
		return "high"
	default:
		return "low"
	}
}

// Encoding says what a source shall keep to. A field that is zero leaves it to
// the source.
type Encoding struct {
	Bitrate   int     // bits per second at most
	FrameRate float64 // pictures per second at most
	Scale     float64 // by how much width and height are divided, 1 or more
	Priority  Priority
}

// Validate returns an error that names the field that is wrong.
func (e Encoding) Validate() error {
	switch {
	case e.Bitrate < 0:
		return fmt.Errorf("Encoding.Bitrate is %d", e.Bitrate)
	case !(e.FrameRate >= 0 && e.FrameRate <= 1000): // NaN too
		return fmt.Errorf("Encoding.FrameRate is %v", e.FrameRate)
	case e.Scale != 0 && !(e.Scale >= 1 && e.Scale <= 1000):
		return fmt.Errorf("Encoding.Scale is %v, want 1 or more", e.Scale)
	case e.Priority > PriorityHigh:
		return fmt.Errorf("Encoding.Priority is %d", e.Priority)
	}
	return nil
}

// Encode asks the source of the track to encode otherwise from now on. It fails
// with ErrFixed if the source cannot, which is no harm, and may be called at any
// time, on any goroutine.
func (t *Track) Encode(e Encoding) error {
	if err := e.Validate(); err != nil {
		return err
	}
	if t.encode == nil {
		return ErrFixed
	}
	return t.encode(e)
}

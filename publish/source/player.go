package source

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/publish"
)

const (
	// maxLate is how far behind its schedule a source may fall (a suspended
	// machine, a stuck disk) and still catch up by sending faster. Beyond it
	// the schedule moves.
	maxLate = 2 * time.Second

	// minPass is how long a pass must have lasted before a keyframe request
	// ends it: its first keyframe is not a second old.
	minPass = time.Second
)

// player is the Source of files and patterns.
type player struct {
	// set by Open
	lanes   []*lane
	loop    bool
	restart bool
	logger  *slog.Logger
	wake    chan struct{} // a keyframe was asked for; one at most waits

	// owned by Run
	epoch  time.Time     // instant of media time 0
	base   time.Duration // media time at which this pass began
	latest time.Duration // end of the frames sent in this pass, since base

	begun    atomic.Bool
	counters struct{ frames, packets, loops, restarts, stalls, unsendable, damaged atomic.Uint64 }
}

var _ Source = (*player)(nil)

// keyframeHook is what a track calls when somebody asks for a keyframe.
func (p *player) keyframeHook(c codec.Codec) func() {
	if !p.restart || c.Kind() != codec.Video {
		return nil
	}
	return func() {
		select {
		case p.wake <- struct{}{}:
		default: // one is waiting already
		}
	}
}

// Tracks implements Source.
func (p *player) Tracks() []*publish.Track {
	var tracks []*publish.Track
	for _, l := range p.lanes {
		if !slices.Contains(tracks, l.track) {
			tracks = append(tracks, l.track)
		}
	}
	return tracks
}

// Stats implements Source.
func (p *player) Stats() Stats {
	c := &p.counters
	s := Stats{
		Frames: c.frames.Load(), Packets: c.packets.Load(), Loops: c.loops.Load(),
		Restarts: c.restarts.Load(), Stalls: c.stalls.Load(),
		Unsendable: c.unsendable.Load(), Damaged: c.damaged.Load(),
	}
	for _, l := range p.lanes {
		s.KeyframeRequests += l.layer.Stats().KeyframeRequests
	}
	return s
}

// Run implements Source.
func (p *player) Run(ctx context.Context) error {
	if p.begun.Swap(true) {
		return ErrRunTwice
	}
	defer func() {
		for _, l := range p.lanes {
			l.close()
			l.track.Close()
		}
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	p.epoch = time.Now()
	if err := p.beginPass(0); err != nil {
		return err
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		l := p.earliest()
		if l == nil {
			if !p.loop {
				return p.damage()
			}
			if err := p.again(&p.counters.loops); err != nil {
				return err
			}
			continue
		}
		now, due := p.wait(ctx, timer, p.epoch.Add(p.base+l.head.at))
		if !due {
			if err := p.interrupted(ctx); err != nil {
				return err
			}
			continue
		}
		p.play(l, now)
	}
}

// earliest returns the lane whose next frame is due first, nil at the end.
func (p *player) earliest() (first *lane) {
	for _, l := range p.lanes {
		if l.pass != nil && (first == nil || l.head.at < first.head.at) {
			first = l
		}
	}
	return first
}

// wait sleeps until the instant. It returns the present, and false when ctx
// ended or a keyframe was asked for before.
func (p *player) wait(ctx context.Context, timer *time.Timer, until time.Time) (time.Time, bool) {
	now := time.Now()
	if !now.Before(until) {
		return now, true
	}
	timer.Reset(until.Sub(now))
	select {
	case <-timer.C:
		return time.Now(), true
	case <-p.wake:
	case <-ctx.Done():
	}
	return now, false
}

// interrupted begins the pass anew, unless the source is to end or the pass is
// too young.
func (p *player) interrupted(ctx context.Context) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	played := time.Since(p.epoch) - p.base
	if played < minPass {
		return nil
	}
	// Never before the end of what was sent: timestamps must not go back.
	p.latest = max(p.latest, played)
	return p.again(&p.counters.restarts)
}

// play sends a lane's next frame and reads the one behind it.
func (p *player) play(l *lane, now time.Time) {
	at := p.base + l.head.at
	due := p.epoch.Add(at)
	if late := now.Sub(due); late > maxLate {
		p.epoch, due = p.epoch.Add(late), now
		p.counters.stalls.Add(1)
		for _, o := range p.lanes {
			o.nextReport = 0 // their clocks have moved
		}
	}
	packets := l.send(at, due, now)
	p.latest = max(p.latest, l.end)
	p.counters.frames.Add(1)
	p.counters.packets.Add(uint64(packets))
	if packets == 0 {
		p.counters.unsendable.Add(1)
	}
	if err := l.advance(); err != nil {
		p.damaged(l, err)
	}
}

// again begins the next pass where this one ends and counts it.
func (p *player) again(count *atomic.Uint64) error {
	count.Add(1)
	return p.beginPass(p.base + p.latest)
}

func (p *player) beginPass(base time.Duration) error {
	p.base, p.latest = base, 0
	for _, l := range p.lanes {
		if err := l.rewind(); err != nil {
			return err
		}
	}
	return nil
}

// damaged remembers what is wrong with a file and says so the first time.
func (p *player) damaged(l *lane, err error) {
	if l.err != nil {
		return
	}
	l.err = err
	p.counters.damaged.Add(1)
	if p.loop {
		p.logger.Warn("a file is damaged and loops before that place", "track", l.track.ID(), "error", err)
	}
}

// damage returns what is wrong with the files.
func (p *player) damage() error {
	var errs []error
	for _, l := range p.lanes {
		errs = append(errs, l.err)
	}
	return errors.Join(errs...)
}

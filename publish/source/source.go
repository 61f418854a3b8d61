package source

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strconv"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/publish"
)

// Config says what to play. The zero value plays the default test pattern.
type Config struct {
	// Files are the paths of one stream: usually one with video, one with
	// audio. The extension names the format: .ivf, .h264 or .264, .ogg, .oga
	// or .opus.
	Files []string

	// Pattern names a test pattern, see Patterns. It is DefaultPattern when
	// Files is empty too, and must be empty when Files is not.
	Pattern string

	// Simulcast makes one track of all video files: they are its layers, from the
	// lowest quality to the highest, two to eight of one codec, which show the same.
	// A test pattern has three, if any.
	Simulcast bool

	// Loop plays for ever: when the longest file has ended all begin anew,
	// timestamps and sequence numbers go on. Patterns always loop.
	Loop bool

	// RestartOnRequest begins all files anew when a keyframe is asked for and
	// at least a second has been played: for clips where that is better than
	// waiting. Without it the tracks say that they cannot be asked.
	RestartOnRequest bool

	// FrameRate is that of H.264 files, in frames per second. Default: what
	// the file's SPS says, or else 30.
	FrameRate float64

	// ID begins the ids of the tracks. Default: random.
	ID string

	// Logger is told, once per file, about damage. Default: none.
	Logger *slog.Logger
}

// Source feeds a set of tracks.
type Source interface {
	// Tracks returns the tracks in the order of Config.Files, that of several
	// layers in the place of its lowest. Any goroutine.
	Tracks() []*publish.Track

	// Run plays until the end or until ctx ends, writing the tracks on the
	// caller's goroutine and on no other; it closes the tracks when it returns.
	// At the end of undamaged files it returns nil, of damaged ones what was
	// wrong; when ctx ended it returns ctx.Err(). It can be called once.
	Run(ctx context.Context) error

	// Stats returns the counters so far. Any goroutine.
	Stats() Stats
}

// Stats are counters of a source since Open.
type Stats struct {
	Frames           uint64 // frames given to the tracks, audio packets included
	Packets          uint64 // RTP packets given to the tracks
	Loops            uint64 // times that the files were begun anew, which is when their last frame was sent
	Restarts         uint64 // times that they began anew for a keyframe request
	Stalls           uint64 // times that the schedule was moved, being over 2 s late
	Unsendable       uint64 // frames dropped because they fit no packet
	Damaged          uint64 // files found damaged while playing
	KeyframeRequests uint64 // that reached a file which RestartOnRequest marks
}

// ErrRunTwice is what a second Run returns.
var ErrRunTwice = errors.New("source: Run was called before")

// Open looks at the beginning of every file and makes the tracks. It keeps no
// file open, so a Source that is never run needs no closing. A file that is
// missing, of a kind it does not know or damaged at its beginning is an error
// that names it.
func Open(cfg Config) (Source, error) {
	inputs, err := cfg.inputs()
	if err != nil {
		return nil, err
	}
	if cfg.FrameRate < 0 || cfg.FrameRate > maxFrameRate {
		return nil, fmt.Errorf("source: frame rate %g is not within 0 and %d", cfg.FrameRate, maxFrameRate)
	}
	if cfg.ID == "" {
		cfg.ID = rand.Text()[:10]
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	p := &player{
		loop:    cfg.Loop,
		restart: cfg.RestartOnRequest,
		logger:  cfg.Logger,
		wake:    make(chan struct{}, 1),
	}
	for i := range inputs {
		inputs[i].frameRate = cfg.FrameRate
		c, err := inputs[i].probe()
		if err != nil {
			return nil, err
		}
		p.lanes = append(p.lanes, newLane(inputs[i], c))
	}
	if cfg.Simulcast {
		if err := p.simulcast(cfg.ID); err != nil {
			return nil, err
		}
	}
	count := map[codec.Kind]int{}
	for _, l := range p.lanes {
		if l.track == nil {
			k := l.format.Kind()
			count[k]++
			l.begin(trackID(cfg.ID, k, count[k]), "", p.keyframeHook(l.format))
		}
	}
	return p, nil
}

// inputs resolves the Config into things to open.
func (cfg *Config) inputs() ([]input, error) {
	if len(cfg.Files) > 0 {
		if cfg.Pattern != "" {
			return nil, errors.New("source: files and a test pattern are given; choose one")
		}
		return fileInputs(cfg.Files)
	}
	if cfg.Pattern == "" {
		cfg.Pattern = DefaultPattern
	}
	cfg.Loop = true
	return patternInputs(cfg.Pattern, cfg.Simulcast)
}

// trackID names a track: "x-video" and, should there be another, "x-video2".
func trackID(prefix string, k codec.Kind, n int) string {
	id := prefix + "-" + k.String()
	if n > 1 {
		id += strconv.Itoa(n)
	}
	return id
}

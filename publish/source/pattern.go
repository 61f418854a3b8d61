package source

import (
	"embed"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
)

// clips are made by testdata/make.sh. Each lasts ten seconds, and its sixteen
// bars at the top are the frame's number in binary, lowest bit on the left.
//
//go:embed clips
var clips embed.FS

// DefaultPattern is the test pattern of a Config that names nothing.
const DefaultPattern = "vp8"

// patterns: the clips of every test pattern. All have 640x360 pixels, 30 frames
// per second and a bell each second, when the lamp in the picture lights.
var patterns = map[string][]string{
	"vp8":  {"pattern-vp8.ivf", "tone.ogg"},   // VP8, keyframe every 2 s
	"h264": {"pattern-h264.h264", "tone.ogg"}, // H.264 constrained baseline, keyframe every 2 s
	"slow": {"pattern-slow.ivf", "tone.ogg"},  // VP8, keyframe every 10 s only
}

// lowerLayers: the same pictures in 160x90 and in 320x180 pixels, for simulcast.
var lowerLayers = map[string][]string{
	"vp8":  {"pattern-vp8-q.ivf", "pattern-vp8-h.ivf"},
	"h264": {"pattern-h264-q.h264", "pattern-h264-h.h264"},
}

// Patterns returns the names of the test patterns, sorted.
func Patterns() []string { return slices.Sorted(maps.Keys(patterns)) }

// SimulcastPatterns returns the names of those that there are in three qualities.
func SimulcastPatterns() []string { return slices.Sorted(maps.Keys(lowerLayers)) }

func patternInputs(name string, simulcast bool) ([]input, error) {
	files, ok := patterns[name]
	if !ok {
		return nil, fmt.Errorf("source: no test pattern %q; there are %s", name, strings.Join(Patterns(), ", "))
	}
	if simulcast {
		lower, ok := lowerLayers[name]
		if !ok {
			return nil, fmt.Errorf("source: test pattern %q has one quality; %s have three", name, strings.Join(SimulcastPatterns(), ", "))
		}
		files = slices.Concat(lower, files)
	}
	inputs := make([]input, 0, len(files))
	for _, f := range files {
		inputs = append(inputs, input{name: f, open: func() (fs.File, error) { return clips.Open("clips/" + f) }})
	}
	return inputs, nil
}

package source

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/publish"
)

// NAL unit types (H.264 table 7-1) that matter here.
const (
	nalSlice      = 1
	nalPartitionA = 2
	nalIDR        = 5
	nalSEI        = 6
	nalSPS        = 7
	nalPPS        = 8
	nalAUD        = 9
	nalFiller     = 12
	nalPrefix     = 14 // 14 to 18 begin an access unit
	nalReserved18 = 18
)

// Frame rates of H.264 files, per second.
const (
	defaultFrameRate = 30
	maxFrameRate     = 240
)

// nalReader splits a byte stream (H.264 annex B) into NAL units. A unit ends
// where the next start code, 00 00 01, begins; zeros before that are padding.
type nalReader struct {
	name   string
	r      *bufio.Reader
	offset int64 // of what is read next
	begun  bool
	done   bool
	buf    []byte
}

// next returns a unit that is not empty, valid until the next call.
func (n *nalReader) next() ([]byte, error) {
	for !n.done {
		unit, err := n.unit()
		if err != nil {
			return nil, err
		}
		if len(unit) > 0 {
			return unit, nil
		}
	}
	return nil, io.EOF
}

func (n *nalReader) unit() ([]byte, error) {
	start := n.offset
	n.buf = n.buf[:0]
	for {
		part, err := n.r.ReadSlice(1)
		n.buf = append(n.buf, part...)
		n.offset += int64(len(part))
		if !n.begun {
			if !isStartCode(n.buf) {
				return nil, &FileError{n.name, 0, "is not an H.264 byte stream: does not begin with a start code", nil}
			}
			n.begun = true
			return nil, nil
		}
		switch {
		case err == nil && bytes.HasSuffix(n.buf, startCode):
			return bytes.TrimRight(n.buf[:len(n.buf)-len(startCode)], "\x00"), nil
		case err == io.EOF:
			n.done = true
			return bytes.TrimRight(n.buf, "\x00"), nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return nil, readError(n.name, start, "a NAL unit", err)
		case len(n.buf) > maxFrame:
			return nil, &FileError{n.name, start, fmt.Sprintf("a NAL unit is longer than %d bytes", maxFrame), nil}
		}
	}
}

var startCode = []byte{0, 0, 1}

// isStartCode reports whether b is a start code with any zeros before it.
func isStartCode(b []byte) bool {
	zeros, ok := bytes.CutSuffix(b, startCode)
	return ok && len(bytes.Trim(zeros, "\x00")) == 0
}

// annexB reads the access units of an H.264 byte stream. The format has no
// timestamps: frames follow each other at the frame rate.
//
// A cut file cannot be told from a whole one, save where the cut leaves
// something that is no NAL unit: then the units before it are played.
type annexB struct {
	nals        nalReader
	rate, scale uint64 // frames per scale seconds
	format      codec.Codec

	bidirectional bool // a B slice was seen
	unit          []byte
	pending       []byte // the unit that began the next picture
	number        uint64
	parameterSets [2]int // SPS and PPS in unit
	oddOrder      bool   // parameter sets behind a slice

	held *frame
	err  error // found when a picture was already whole
}

// openAnnexB reads the first picture and finds the parameter sets.
func openAnnexB(in input, r io.Reader) (frameReader, error) {
	a := &annexB{rate: defaultFrameRate, scale: 1}
	a.nals = nalReader{name: in.name, r: bufio.NewReaderSize(r, 64<<10)}
	f, err := a.next()
	if errors.Is(err, io.EOF) {
		return nil, &FileError{in.name, a.nals.offset, "holds no picture", nil}
	} else if err != nil {
		return nil, err
	}
	if a.format.Name == "" {
		return nil, &FileError{in.name, 0, "has no SPS before its first picture, so nobody could decode it", nil}
	}
	if in.frameRate > 0 {
		a.rate, a.scale = uint64(in.frameRate*1000+.5), 1000
		if a.rate == 0 {
			return nil, &FileError{in.name, -1, fmt.Sprintf("frame rate %g is too low", in.frameRate), nil}
		}
	}
	f.length = ticks(a.scale, a.rate)
	a.held = &f
	return a, nil
}

func (a *annexB) codec() codec.Codec { return a.format }

func (a *annexB) next() (frame, error) {
	if a.held != nil {
		f := *a.held
		a.held = nil
		return f, nil
	}
	if a.err != nil {
		return frame{}, a.err
	}
	a.unit, a.parameterSets, a.oddOrder = a.unit[:0], [2]int{}, false
	picture := false
	if len(a.pending) > 0 {
		picture = a.add(a.pending, picture)
		a.pending = a.pending[:0]
	}
	for {
		at := a.nals.offset
		nal, err := a.nals.next()
		if err == nil {
			err = a.check(nal, at)
		}
		if err != nil {
			if !picture {
				return frame{}, err
			}
			a.err = err
			return a.timed(), nil
		}
		if picture && beginsPicture(nal) {
			a.pending = append(a.pending[:0], nal...)
			return a.timed(), nil
		}
		picture = a.add(nal, picture)
	}
}

// check refuses what is no NAL unit or would make the picture too large.
func (a *annexB) check(nal []byte, at int64) error {
	kind := nal[0] & 31
	switch {
	case nal[0]&0x80 != 0:
		return &FileError{a.nals.name, at, "is damaged: a NAL unit has its forbidden bit set", nil}
	case (kind == nalSlice || kind == nalIDR || kind == nalPartitionA) && len(nal) < 2:
		return &FileError{a.nals.name, at, "a slice is cut short", io.ErrUnexpectedEOF}
	case len(a.unit)+4+len(nal) > maxFrame:
		return &FileError{a.nals.name, at, fmt.Sprintf("a picture is larger than %d bytes", maxFrame), nil}
	}
	return nil
}

// beginsPicture tells the first unit of an access unit from the others, given
// that the one before has a slice (H.264 section 7.4.1.2.3, without redundant
// and arbitrarily ordered slices, which are of no use in WebRTC): a delimiter,
// parameter set or SEI, or a slice whose first_mb_in_slice is 0, which is coded
// as a single bit of one.
func beginsPicture(nal []byte) bool {
	switch kind := nal[0] & 31; {
	case kind == nalSlice, kind == nalIDR, kind == nalPartitionA:
		return nal[1]&0x80 != 0
	default:
		return kind >= nalSEI && kind <= nalAUD || kind >= nalPrefix && kind <= nalReserved18
	}
}

// add appends a unit to the picture and reports whether that has a slice now.
func (a *annexB) add(nal []byte, picture bool) bool {
	kind := nal[0] & 31
	switch kind {
	case nalFiller:
		return picture
	case nalSPS, nalPPS:
		a.parameterSets[kind-nalSPS]++
		a.oddOrder = a.oddOrder || picture
		if s, ok := publish.ParseSPS(nal); ok && kind == nalSPS && a.format.Name == "" {
			a.format = withParam(codec.H264, "profile-level-id", s.ProfileLevelID())
			if s.Rate != 0 {
				a.rate, a.scale = s.Rate, s.Scale
			}
		}
	case nalSlice, nalIDR, nalPartitionA:
		picture = true
		a.bidirectional = a.bidirectional || kind == nalSlice && publish.IsBSlice(nal)
	}
	a.unit = append(append(a.unit, 0, 0, 0, 1), nal...)
	return picture
}

func (a *annexB) timed() frame {
	f := frame{
		data:   a.unit,
		at:     ticksOf(a.number, a.scale, a.rate),
		length: ticks(a.scale, a.rate),
		single: a.oddOrder || a.parameterSets != [2]int{} && a.parameterSets != [2]int{1, 1},
	}
	a.number++
	return f
}

package source

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/weft-rtc/weft/interceptors/codec"
)

// maxFrame bounds one frame of any file, in bytes: a 4K keyframe at the best
// quality is about 4 MB.
const maxFrame = 8 << 20

// maxGap bounds the time between two frames of a file. Longer ones are taken
// for a damaged timestamp.
const maxGap = time.Minute

// frame is one picture or one audio packet of a file.
type frame struct {
	data   []byte        // until the reader's next call
	at     time.Duration // since the first frame of the file
	length time.Duration // until the next one, as far as the file tells
	single bool          // H.264: parameter sets must not share a packet
}

// frameReader reads a file from its beginning to its end. After the last whole
// frame next returns io.EOF, or a *FileError when the file is damaged there.
type frameReader interface {
	next() (frame, error)
	// codec tells the format. It is known once open has returned.
	codec() codec.Codec
}

// FileError says what is wrong with a file.
type FileError struct {
	Name   string
	Offset int64 // byte at which what is wrong begins; -1: the file as a whole
	Reason string
	Err    error // io.ErrUnexpectedEOF when the file is cut short; may be nil
}

// Error names the file, the place and the reason.
func (e *FileError) Error() string {
	if e.Offset < 0 {
		return fmt.Sprintf("%s: %s", e.Name, e.Reason)
	}
	return fmt.Sprintf("%s: at byte %d: %s", e.Name, e.Offset, e.Reason)
}

// Unwrap returns the cause.
func (e *FileError) Unwrap() error { return e.Err }

// readError turns what reading returned into a FileError; what says which part
// of the file was being read.
func readError(name string, offset int64, what string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &FileError{name, offset, what + " is cut short", io.ErrUnexpectedEOF}
	}
	return &FileError{name, offset, "reading " + what + ": " + err.Error(), err}
}

// input is a file on disk or an embedded one, opened anew for every pass.
type input struct {
	name      string
	frameRate float64 // H.264 only, 0: as the file says
	open      func() (fs.File, error)
}

// formats maps the extensions to their readers.
var formats = map[string]func(in input, r io.Reader) (frameReader, error){
	".ivf":  func(in input, r io.Reader) (frameReader, error) { return openIVF(in.name, r) },
	".h264": openAnnexB,
	".264":  openAnnexB,
	".ogg":  func(in input, r io.Reader) (frameReader, error) { return openOgg(in.name, r) },
	".oga":  func(in input, r io.Reader) (frameReader, error) { return openOgg(in.name, r) },
	".opus": func(in input, r io.Reader) (frameReader, error) { return openOgg(in.name, r) },
}

func fileInputs(paths []string) ([]input, error) {
	inputs := make([]input, 0, len(paths))
	for _, p := range paths {
		if _, ok := formats[strings.ToLower(filepath.Ext(p))]; !ok {
			return nil, &FileError{p, -1, fmt.Sprintf(
				"the extension %q is none of .ivf, .h264, .264, .ogg, .oga, .opus", filepath.Ext(p)), nil}
		}
		inputs = append(inputs, input{name: p, open: func() (fs.File, error) { return openRegular(p) }})
	}
	return inputs, nil
}

// openRegular refuses directories and devices, and FIFOs before opening them,
// which would wait for a writer: the file must be there again for the next pass.
func openRegular(path string) (fs.File, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	return os.Open(path)
}

// pass is one reading of an input.
type pass struct {
	frameReader
	file fs.File
}

func (p *pass) close() {
	if p != nil {
		p.file.Close() //nolint:errcheck // opened for reading only
	}
}

// begin opens the input and reads as far as its codec is known.
func (in input) begin() (*pass, error) {
	file, err := in.open()
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return nil, &FileError{in.name, -1, "cannot be opened: " + err.Error(), err}
	}
	r, err := formats[strings.ToLower(filepath.Ext(in.name))](in, file)
	if err != nil {
		file.Close() //nolint:errcheck // opened for reading only
		return nil, err
	}
	return &pass{r, file}, nil
}

// probe reads the beginning for what would be noticed too late in playing.
func (in input) probe() (codec.Codec, error) {
	p, err := in.begin()
	if err != nil {
		return codec.Codec{}, err
	}
	defer p.close()
	for range 60 {
		if _, err := p.next(); err != nil {
			break // damage after the first frame is found when it is played
		}
		if a, ok := p.frameReader.(*annexB); ok && a.bidirectional {
			return codec.Codec{}, &FileError{in.name, -1,
				"has B-frames, which WebRTC cannot show in order: encode without them (ffmpeg: -bf 0)", nil}
		}
	}
	return p.codec(), nil
}

// readInto reads n bytes behind buf[:0]. It grows the buffer as bytes come, so
// that a size which the file only claims costs nothing.
func readInto(buf []byte, r io.Reader, n int) ([]byte, error) {
	const step = 64 << 10
	buf = buf[:0]
	for len(buf) < n {
		have, want := len(buf), min(n-len(buf), step)
		if cap(buf) < have+want {
			buf = append(buf, make([]byte, want)...)
		}
		buf = buf[:have+want]
		if _, err := io.ReadFull(r, buf[have:]); err != nil {
			return buf[:have], err
		}
	}
	return buf, nil
}

// withParam returns the default codec of that name with a parameter replaced.
func withParam(name, key, value string) codec.Codec {
	for _, k := range []codec.Kind{codec.Video, codec.Audio} {
		for _, c := range codec.Default(k) {
			if c.Name != name {
				continue
			}
			if key != "" {
				c.Fmtp = strings.Replace(c.Fmtp, key+"="+c.Param(key), key+"="+value, 1)
			}
			return c
		}
	}
	return codec.Codec{Name: name}
}

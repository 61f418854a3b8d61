package source

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/weft-rtc/weft/interceptors/codec"
)

// oggOpus reads the first Opus stream of an Ogg file (RFC 3533, RFC 7845).
// Packets are placed by their own durations; where a page's granule position
// says that time is missing before it (a pause that was not recorded), there is
// a gap.
type oggOpus struct {
	pages   oggPages
	serial  uint32
	packets []oggPacket // of the current page, not yet returned
	joined  []byte      // a packet that began on an earlier page
	partial bool        // joined waits for its rest
	err     error       // found behind packets that are good

	placed bool
	origin int64 // granule position at which the first packet begins
	next48 int64 // 48 kHz samples from there to the next packet
	number int   // packets returned
	last   bool  // the stream's last page was read
	held   *frame
}

// oggPacket is a packet that ended on the current page.
type oggPacket struct {
	data    []byte
	samples int64 // at 48 kHz
}

// opusRate is the clock of granule positions and of RTP (RFC 7587 section 4.1),
// in Hz.
const opusRate = 48000

// openOgg reads the headers and the first packet.
func openOgg(name string, r io.Reader) (*oggOpus, error) {
	o := &oggOpus{pages: oggPages{name: name, r: bufio.NewReaderSize(r, 64<<10)}}
	if err := o.readHead(); err != nil {
		return nil, err
	}
	if err := o.readTags(); err != nil {
		return nil, err
	}
	f, err := o.next()
	if errors.Is(err, io.EOF) {
		return nil, &FileError{name, o.pages.offset, "holds no audio", nil}
	} else if err != nil {
		return nil, err
	}
	o.held = &f
	return o, nil
}

// readHead finds the Opus stream among those that begin in the file: all their
// first pages come before any other page (RFC 3533 section 6).
func (o *oggOpus) readHead() error {
	for {
		at := o.pages.offset
		err := o.pages.read()
		if errors.Is(err, io.EOF) {
			return &FileError{o.pages.name, at, "holds no Opus stream", nil}
		} else if err != nil {
			return err
		}
		if o.pages.flags&oggBegin == 0 {
			return &FileError{o.pages.name, at, "holds no Opus stream: Vorbis and others cannot be sent", nil}
		}
		head := o.pages.body
		if len(head) < 8 || string(head[:8]) != "OpusHead" {
			continue
		}
		// RFC 7845 section 5.1: version, channels, pre-skip, rate, gain, family.
		switch {
		case len(head) < 19:
			return &FileError{o.pages.name, at, "the Opus header is cut short", io.ErrUnexpectedEOF}
		case head[8]>>4 != 0:
			return &FileError{o.pages.name, at, fmt.Sprintf("the Opus header has version %d", head[8]), nil}
		case head[9] < 1 || head[9] > 2 || head[18] != 0:
			return &FileError{o.pages.name, at, fmt.Sprintf(
				"has %d channels in mapping family %d: only mono and stereo can be sent", head[9], head[18]), nil}
		}
		o.serial = o.pages.serial
		return nil
	}
}

// readTags skips the comment packet, which may fill many pages.
func (o *oggOpus) readTags() error {
	first := true
	for {
		at := o.pages.offset
		err := o.pages.read()
		if errors.Is(err, io.EOF) {
			return &FileError{o.pages.name, at, "ends before the Opus comment header does", io.ErrUnexpectedEOF}
		} else if err != nil {
			return err
		}
		if o.pages.serial != o.serial {
			continue
		}
		if body := o.pages.body; first && (len(body) < 8 || string(body[:8]) != "OpusTags") {
			return &FileError{o.pages.name, at, "has no Opus comment header", nil}
		}
		first = false
		for _, s := range o.pages.segments {
			if s < 255 {
				return nil // it ends here, and its page with it (RFC 7845 section 3)
			}
		}
	}
}

func (o *oggOpus) codec() codec.Codec { return withParam(codec.Opus, "", "") }

func (o *oggOpus) next() (frame, error) {
	if o.held != nil {
		f := *o.held
		o.held = nil
		return f, nil
	}
	for len(o.packets) == 0 {
		if o.err == nil && o.last {
			o.err = io.EOF
		}
		if o.err != nil {
			return frame{}, o.err
		}
		if err := o.readPage(); err != nil {
			return frame{}, err
		}
	}
	p := o.packets[0]
	o.packets = o.packets[1:]
	f := frame{data: p.data, at: samples(o.next48), length: samples(p.samples)}
	o.next48 += p.samples
	o.number++
	return f, nil
}

// readPage takes one page of the stream apart and places it in time.
func (o *oggOpus) readPage() error {
	at := o.pages.offset
	err := o.pages.read()
	if errors.Is(err, io.EOF) && o.partial {
		return readError(o.pages.name, at, fmt.Sprintf("packet %d", o.number), err)
	} else if err != nil {
		return err
	}
	if o.pages.serial != o.serial {
		return nil
	}
	if o.pages.flags&oggBegin != 0 {
		return &FileError{o.pages.name, at, "a second stream begins in the same file", nil}
	}
	o.last = o.pages.flags&oggEnd != 0
	total := o.takeApart(at)
	if len(o.packets) == 0 || o.pages.granule < 0 || o.err != nil {
		return nil
	}
	begin := o.pages.granule - total
	if !o.placed {
		o.placed, o.origin = true, begin
		return nil
	}
	// The last page may say less than it holds: the end is to be trimmed.
	missing := begin - o.origin - o.next48
	if missing > int64(maxGap.Seconds())*opusRate {
		o.packets = nil
		return &FileError{o.pages.name, at, fmt.Sprintf("the granule position %d leaves %v out",
			o.pages.granule, samples(missing).Round(time.Second)), nil}
	}
	if missing > 0 && !o.last {
		o.next48 += missing
	}
	return nil
}

// takeApart splits the page's body by its lacing values (RFC 3533 section 5):
// a packet ends with the first segment below 255. It returns how many samples
// the packets hold.
func (o *oggOpus) takeApart(at int64) (total int64) {
	o.packets = o.packets[:0]
	body, skip := o.pages.body, false
	if continued := o.pages.flags&oggContinued != 0; continued != o.partial {
		skip = continued // the beginning was never seen
		o.joined, o.partial = o.joined[:0], false
	}
	begin, end := 0, 0
	for _, s := range o.pages.segments {
		end += int(s)
		if s == 255 {
			continue
		}
		data := body[begin:end]
		begin = end
		if skip {
			skip = false
			continue
		}
		if o.partial {
			o.joined = append(o.joined, data...)
			data, o.partial = o.joined, false
		}
		n, ok := opusSamples(data)
		if !ok {
			o.err = &FileError{o.pages.name, at, fmt.Sprintf(
				"packet %d is no Opus packet", o.number+len(o.packets)), nil}
			return total
		}
		o.packets = append(o.packets, oggPacket{data, n})
		total += n
	}
	if rest := body[begin:end]; len(rest) > 0 && !skip {
		o.keep(rest, at)
	}
	return total
}

// keep stores the beginning of a packet that goes on, on the next page.
func (o *oggOpus) keep(rest []byte, at int64) {
	if !o.partial {
		// A packet of this page may still lie in joined.
		o.joined, o.partial = nil, true
	}
	if o.joined = append(o.joined, rest...); len(o.joined) > 64<<10 {
		o.err = &FileError{o.pages.name, at, "an Opus packet is longer than 64 KiB", nil}
	}
}

func samples(n int64) time.Duration {
	return time.Duration(n/opusRate)*time.Second + time.Duration(n%opusRate)*time.Second/opusRate
}

// opusSamples returns how much sound a packet holds, in samples at 48 kHz, from
// its table-of-contents byte (RFC 6716 sections 3.1 and 3.2).
func opusSamples(p []byte) (int64, bool) {
	if len(p) == 0 {
		return 0, false
	}
	var one int64
	switch config := p[0] >> 3; {
	case config < 12: // SILK: 10, 20, 40, 60 ms
		one = [4]int64{480, 960, 1920, 2880}[config&3]
	case config < 16: // hybrid: 10, 20 ms
		one = [2]int64{480, 960}[config&1]
	default: // CELT: 2.5, 5, 10, 20 ms
		one = 120 << (config & 3)
	}
	count := int64(1)
	switch p[0] & 3 {
	case 1, 2:
		count = 2
	case 3:
		if len(p) < 2 {
			return 0, false
		}
		count = int64(p[1] & 63)
	}
	total := one * count
	return total, total > 0 && total <= 5760 // 120 ms
}

package source

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"

	"github.com/weft-rtc/weft/publish"
)

// ivfFrameAt returns where the n-th frame of an IVF file begins.
func ivfFrameAt(b []byte, n int) int {
	at := ivfHeader
	for range n {
		at += ivfFrameHeader + int(binary.LittleEndian.Uint32(b[at:]))
	}
	return at
}

// oggPagesOf returns the whole pages of b.
func oggPagesOf(b []byte) (pages [][]byte) {
	for len(b) >= oggHeader && string(b[:4]) == "OggS" {
		n := oggHeader + int(b[26])
		if len(b) < n {
			break
		}
		for _, s := range b[oggHeader:n] {
			n += int(s)
		}
		if len(b) < n {
			break
		}
		pages, b = append(pages, b[:n]), b[n:]
	}
	return pages
}

// checksummed puts right the checksums of all pages in b, which it changes.
func checksummed(b []byte) []byte {
	for _, p := range oggPagesOf(b) {
		clear(p[22:26])
		binary.LittleEndian.PutUint32(p[22:], oggChecksum(p))
	}
	return b
}

// oggPage makes a page of serial 1.
func oggPage(flags byte, granule int64, number uint32, segments []byte, body []byte) []byte {
	p := []byte("OggS\x00")
	p = append(p, flags)
	p = binary.LittleEndian.AppendUint64(p, uint64(granule))
	p = binary.LittleEndian.AppendUint32(p, 1)
	p = binary.LittleEndian.AppendUint32(p, number)
	p = append(p, 0, 0, 0, 0, byte(len(segments)))
	return checksummed(append(append(p, segments...), body...))
}

func oggFile(pages ...[]byte) []byte {
	head := []byte("OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00")
	tags := []byte("OpusTags\x00\x00\x00\x00\x00\x00\x00\x00")
	b := oggPage(oggBegin, 0, 0, []byte{byte(len(head))}, head)
	b = append(b, oggPage(0, 0, 1, []byte{byte(len(tags))}, tags)...)
	return append(b, bytes.Join(pages, nil)...)
}

// bFrames is a stream whose second picture is a B slice.
func bFrames() []byte {
	return []byte{
		0, 0, 0, 1, 0x67, 0x4d, 0, 0x1e, 0x95, 0xa0, 0, 0, 1, 0x68, 0xce, 0x38, 0x80,
		0, 0, 1, 0x65, 0x88, 0x80, 0x11, // first_mb 0, slice_type 7
		0, 0, 1, 0x01, 0xa8, 0x11, // first_mb 0, slice_type 1
	}
}

// drain reads all frames and checks what must hold for any input.
func drain(t testing.TB, r frameReader) (frames []frame, end error) {
	t.Helper()
	last := time.Duration(0)
	for {
		f, err := r.next()
		if err != nil {
			var fe *FileError
			if err != io.EOF && (!errors.As(err, &fe) || fe.Reason == "") {
				t.Fatalf("error %#v", err)
			}
			if _, again := r.next(); again == nil && err == io.EOF {
				t.Fatal("a frame after the end")
			}
			return frames, err
		}
		if len(f.data) == 0 || len(f.data) > maxFrame || f.at < last || f.length <= 0 {
			t.Fatalf("frame %d: %d bytes at %v after %v for %v", len(frames), len(f.data), f.at, last, f.length)
		}
		last = f.at
		f.data = append([]byte(nil), f.data...)
		frames = append(frames, f)
	}
}

func TestAccessUnits(t *testing.T) {
	const sps, pps, aud, sei = "\x67\x42\xc0\x1e\x95\xa0", "\x68\xce\x38\x80", "\x09\xf0", "\x06\x05\x01\x00\x80"
	const idr, idr2 = "\x65\x88\x80\x11", "\x65\x40\x80\x11" // first_mb 0 and 1
	const p, p2 = "\x41\xe0\x22", "\x41\x40\x22"
	for _, c := range []struct {
		name string
		nals []string
		want []int // units in each picture
	}{
		{"delimiters", []string{aud, sps, pps, idr, aud, p, aud, p}, []int{4, 2, 2}},
		{"no delimiters", []string{sps, pps, idr, p, p}, []int{3, 1, 1}},
		{"slices", []string{sps, pps, idr, idr2, p, p2, p2, p}, []int{4, 3, 1}},
		{"parameter sets and SEI", []string{sps, pps, sei, idr, idr2, sps, pps, idr, sei, p}, []int{5, 3, 2}},
		{"filler", []string{sps, pps, idr, "\x0c\xff\xff", p}, []int{3, 1}},
		{"end of sequence", []string{sps, pps, idr, "\x0a", sps, pps, idr}, []int{4, 3}},
		{"left over", []string{sps, pps, idr, aud}, []int{3}},
		{"two PPS", []string{sps, pps, pps, idr}, []int{4}},
	} {
		for _, code := range []string{"\x00\x00\x01", "\x00\x00\x00\x01", "\x00\x00\x00\x00\x01"} {
			t.Run(fmt.Sprintf("%s, %d byte codes", c.name, len(code)), func(t *testing.T) {
				in := code + strings.Join(c.nals, code)
				r, err := openAnnexB(input{name: "x"}, strings.NewReader(in))
				if err != nil {
					t.Fatal(err)
				}
				frames, _ := drain(t, r)
				var got []int
				for i, f := range frames {
					got = append(got, bytes.Count(f.data, []byte{0, 0, 0, 1}))
					if f.at != ticksOf(uint64(i), 1, 30) {
						t.Errorf("picture %d at %v", i, f.at)
					}
				}
				if fmt.Sprint(got) != fmt.Sprint(c.want) {
					t.Errorf("got %v, want %v", got, c.want)
				}
			})
		}
	}
}

func TestH264FrameRate(t *testing.T) {
	b := read(t, fixture("a.h264"))
	for _, c := range []struct {
		configured float64
		want       time.Duration
	}{{0, time.Second / 30}, {25, 40 * time.Millisecond}, {29.97, 33366700 * time.Nanosecond}} {
		r, err := openAnnexB(input{name: "x", frameRate: c.configured}, bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		f, _ := r.next()
		g, _ := r.next()
		if g.at != c.want || f.length != c.want {
			t.Errorf("%g: second frame at %v, want %v", c.configured, g.at, c.want)
		}
	}
}

func TestSPS(t *testing.T) {
	for _, c := range []struct {
		name, nal, id string
		rate, scale   uint64
	}{
		{"too short", "6742", "", 0, 0},
		{"no VUI", "6742c01e95a0", "42c01e", 0, 0},
		{"nothing behind", "67640028ff", "640028", 0, 0},
		// Made by ffmpeg's libx264 for 320x240.
		{"baseline, 25", "6742c00dd90141fb011000000300100000030320f142a480", "42c00d", 50, 2},
		{"high with flat matrices, aspect ratio and colours, 30000/1001", "6764000dacb20283f602d404040500000303e90000ea600f142a48", "64000d", 60000, 2002},
		{"high 4:4:4, 50", "67f40015919640507ec044000003000400000301903c58b920", "f40015", 100, 2},
		{"interlaced, 60", "67640015ace405043f2e0220000003002000000f03e28549", "640015", 120, 2},
		{"high 10, 24", "676e000da6cb20283f6022000003000200000300601e285490", "6e000d", 48, 2},
		// Made by hand: one list that is read to its end, one that stops at once.
		{"high with matrices of its own, 15", "6764000cad93fff8211740a0fd08000003000800000300f6", "64000c", 30, 2},
	} {
		nal, err := hex.DecodeString(c.nal)
		if err != nil {
			t.Fatal(err)
		}
		s, ok := publish.ParseSPS(nal)
		if ok != (c.id != "") || ok && s.ProfileLevelID() != c.id || s.Rate != c.rate || s.Scale != c.scale {
			t.Errorf("%s: %+v %v", c.name, s, ok)
		}
		for cut := range nal {
			publish.ParseSPS(nal[:cut])
		}
	}
}

func TestOggDurationsAndGaps(t *testing.T) {
	// TOC bytes: 0x78 is CELT 20 ms (config 15 is hybrid 20), see RFC 6716.
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	silk60, celt2, two20, three20 := "\x18a", "\x80b", "\x79c", "\x7b\x03d"
	long := "\x78" + strings.Repeat("x", 299)
	for _, c := range []struct {
		name  string
		pages [][]byte
		want  []time.Duration // of each packet
		end   time.Duration
		err   string
	}{
		{
			"sizes", [][]byte{oggPage(oggEnd, 48*60+120+1920+2880, 2, []byte{2, 2, 2, 3}, []byte(silk60+celt2+two20+three20))},
			[]time.Duration{0, ms(60), 62500 * time.Microsecond, 102500 * time.Microsecond}, 162500 * time.Microsecond, "",
		},
		{
			"a packet on two pages", [][]byte{
				oggPage(0, -1, 2, []byte{255}, []byte(long[:255])),
				oggPage(oggContinued|oggEnd, 960, 3, []byte{45}, []byte(long[255:])),
			},
			[]time.Duration{0}, ms(20), "",
		},
		{
			"a gap", [][]byte{
				oggPage(0, 960+5000, 2, []byte{2}, []byte("\x78a")),
				oggPage(0, 2*960+5000+48000, 3, []byte{2}, []byte("\x78b")),
			},
			[]time.Duration{0, ms(1020)}, ms(1040), "",
		},
		{
			"a trimmed end", [][]byte{
				oggPage(0, 960, 2, []byte{2}, []byte("\x78a")), oggPage(oggEnd, 1000, 3, []byte{2}, []byte("\x78b")),
			},
			[]time.Duration{0, ms(20)}, ms(40), "",
		},
		{
			"a huge gap", [][]byte{
				oggPage(0, 960, 2, []byte{2}, []byte("\x78a")), oggPage(0, 1<<62, 3, []byte{2}, []byte("\x78b")),
			},
			[]time.Duration{0}, ms(20), "leaves",
		},
		{
			"a lost page", [][]byte{
				oggPage(0, 960, 2, []byte{2}, []byte("\x78a")), oggPage(0, 1920, 4, []byte{2}, []byte("\x78b")),
			},
			[]time.Duration{0}, ms(20), "page 4 follows where 3 should",
		},
		{
			"an empty packet", [][]byte{oggPage(0, 960, 2, []byte{2, 0, 2}, []byte("\x78a\x78b"))},
			[]time.Duration{0}, ms(20), "packet 1 is no Opus packet",
		},
		{
			"too long a packet", [][]byte{oggPage(0, 960, 2, []byte{2, 2}, []byte("\x78a\x1b\x03"))},
			[]time.Duration{0}, ms(20), "packet 1 is no Opus packet",
		},
		{
			"half a packet", [][]byte{
				oggPage(0, 960, 2, []byte{2}, []byte("\x78a")), oggPage(0, -1, 3, []byte{255}, []byte(long[:255])),
			},
			[]time.Duration{0}, ms(20), "packet 1 is cut short",
		},
		{
			"the rest of an unknown packet", [][]byte{oggPage(oggContinued|oggEnd, 960, 2, []byte{3, 2}, []byte("xyz\x78a"))},
			[]time.Duration{0}, ms(20), "",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := openOgg("x", bytes.NewReader(oggFile(c.pages...)))
			if err != nil {
				t.Fatal(err)
			}
			frames, err := drain(t, r)
			if (err == io.EOF) != (c.err == "") || c.err != "" && !strings.Contains(err.Error(), c.err) {
				t.Errorf("ended with %v, want %q", err, c.err)
			}
			var got []time.Duration
			for _, f := range frames {
				got = append(got, f.at)
			}
			if fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Fatalf("packets at %v, want %v", got, c.want)
			}
			if last := frames[len(frames)-1]; last.at+last.length != c.end {
				t.Errorf("ends at %v, want %v", last.at+last.length, c.end)
			}
		})
	}
}

// TestPackets puts the packets of every fixture together again.
func TestPackets(t *testing.T) {
	for _, c := range []struct {
		file string
		open func(io.Reader) (frameReader, error)
		depo func() rtp.Depacketizer
	}{
		{"vp8.ivf", ivfOf, func() rtp.Depacketizer { return &codecs.VP8Packet{} }},
		{"vp9.ivf", ivfOf, func() rtp.Depacketizer { return &codecs.VP9Packet{} }},
		{"av1.ivf", ivfOf, func() rtp.Depacketizer { return &codecs.AV1Depacketizer{} }},
		{"a.h264", func(r io.Reader) (frameReader, error) { return openAnnexB(input{name: "x"}, r) },
			func() rtp.Depacketizer { return &codecs.H264Packet{} }},
	} {
		t.Run(c.file, func(t *testing.T) {
			r, err := c.open(bytes.NewReader(read(t, fixture(c.file))))
			if err != nil {
				t.Fatal(err)
			}
			frames, err := drain(t, r)
			if err != io.EOF || len(frames) != 150 {
				t.Fatalf("%d frames, then %v", len(frames), err)
			}
			split := newPacketizer(r.codec())
			for n, f := range frames {
				d, whole := c.depo(), []byte(nil)
				for _, p := range split.split(f) {
					if len(p) > maxVideoPayload {
						t.Fatalf("a payload of %d bytes", len(p))
					}
					part, err := d.Unmarshal(p)
					if err != nil {
						t.Fatal(err)
					}
					whole = append(whole, part...)
				}
				if want := withoutDelimiter(c.file, f.data); !bytes.Equal(whole, want) {
					t.Fatalf("frame %d: %d bytes became %d", n, len(want), len(whole))
				}
			}
		})
	}
}

func ivfOf(r io.Reader) (frameReader, error) { return openIVF("x", r) }

// withoutDelimiter removes what is not to be sent: AV1's temporal delimiter and
// H.264's access unit delimiter.
func withoutDelimiter(file string, b []byte) []byte {
	switch file {
	case "av1.ivf":
		b, _ = bytes.CutPrefix(b, []byte{0x12, 0})
	case "a.h264":
		if rest, ok := bytes.CutPrefix(b, []byte{0, 0, 0, 1, 9}); ok {
			b = rest[1:]
		}
	}
	return b
}

func TestH264ParameterSetsThatDoNotPair(t *testing.T) {
	in := "\x00\x00\x01\x67\x42\xc0\x1e\x95\xa0\x00\x00\x01\x68\xce\x38\x80\x00\x00\x01\x68\xce\x39\x80\x00\x00\x01\x65\x88\x80\x11"
	r, err := openAnnexB(input{name: "x"}, strings.NewReader(in))
	if err != nil {
		t.Fatal(err)
	}
	f, err := r.next()
	if err != nil {
		t.Fatal(err)
	}
	if got := newPacketizer(r.codec()).split(f); len(got) != 4 {
		t.Errorf("%d packets, want 4: %x", len(got), got)
	}
}

func TestReadIntoBelievesNoSize(t *testing.T) {
	b, err := readInto(nil, strings.NewReader("abc"), maxFrame)
	if err == nil || cap(b) > 256<<10 {
		t.Errorf("%v with %d bytes taken", err, cap(b))
	}
}

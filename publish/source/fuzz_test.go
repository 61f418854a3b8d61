package source

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// seed adds an input whole, cut in several places, and with a byte changed.
// Inputs are small, or the engine spends its time on minimising them.
func seed(f *testing.F, b []byte) {
	f.Add(b)
	for _, cut := range []int{1, 5, 13, len(b) / 2, len(b) - 30} {
		f.Add(b[:len(b)-cut])
	}
	for _, at := range []int{0, 8, 20, 33, 40, len(b) / 2} {
		c := bytes.Clone(b)
		c[at] ^= 0xff
		f.Add(c)
	}
}

// shortIVF keeps the beginnings of the first frames of an IVF file.
func shortIVF(b []byte) []byte {
	short := bytes.Clone(b[:ivfHeader])
	for n := range 4 {
		head := bytes.Clone(b[ivfFrameAt(b, n):][:ivfFrameHeader+64])
		binary.LittleEndian.PutUint32(head, 64)
		short = append(short, head...)
	}
	return short
}

func fuzzReader(t *testing.T, r frameReader, err error) {
	if err != nil {
		return
	}
	split := newPacketizer(r.codec())
	frames, _ := drain(t, r)
	for _, f := range frames {
		for _, p := range split.split(f) {
			if !split.audio && len(p) > maxVideoPayload {
				t.Fatalf("a payload of %d bytes", len(p))
			}
		}
	}
}

func FuzzIVF(f *testing.F) {
	for _, name := range []string{"vp8.ivf", "vp9.ivf", "av1.ivf"} {
		seed(f, shortIVF(read(f, fixture(name))))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := openIVF("x", bytes.NewReader(b))
		fuzzReader(t, r, err)
	})
}

func FuzzAnnexB(f *testing.F) {
	b := read(f, fixture("a.h264"))
	sei, idr := bytes.Index(b, []byte{0, 0, 1, nalSEI}), bytes.Index(b, []byte{0, 0, 1, 0x65})
	seed(f, append(bytes.Clone(b[:sei]), b[idr:idr+200]...))
	f.Add(bFrames())
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := openAnnexB(input{name: "x"}, bytes.NewReader(b))
		fuzzReader(t, r, err)
	})
}

// FuzzOgg puts the checksums right first, or nothing would pass them.
func FuzzOgg(f *testing.F) {
	seed(f, read(f, fixture("a.ogg"))[:600])
	f.Add(oggFile(oggPage(0, 960, 2, []byte{2}, []byte("\x78a")), oggPage(0, -1, 3, []byte{255}, make([]byte, 255))))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := openOgg("x", bytes.NewReader(checksummed(bytes.Clone(b))))
		fuzzReader(t, r, err)
	})
}

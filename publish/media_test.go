package publish

import (
	"bytes"
	"encoding/binary"
	"os"
	"testing"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
)

// frames reads a file of testdata: the frames of an IVF, or of an Annex B
// stream, whose access units the encoder delimits.
func frames(t *testing.T, name string) (out [][]byte) {
	t.Helper()
	data, err := os.ReadFile("../testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(data, []byte("DKIF")) {
		return accessUnits(data)
	}
	for data = data[32:]; len(data) > 12; {
		size := int(binary.LittleEndian.Uint32(data))
		out = append(out, data[12:12+size])
		data = data[12+size:]
	}
	return out
}

// accessUnits cuts before each SPS, and before each picture's first slice
// that no SPS has announced.
func accessUnits(data []byte) (out [][]byte) {
	begin, picture := 0, false
	for i := 0; i+5 < len(data); i++ {
		if data[i] != 0 || data[i+1] != 0 || data[i+2] != 1 {
			continue
		}
		unit := data[i+3] & 0x1f
		slice := (unit == nalSlice || unit == nalIDR) && data[i+4]&0x80 != 0
		if picture && (slice || unit == nalSPS || unit == 6 || unit == nalAUD) {
			out = append(out, data[begin:i])
			begin, picture = i, false
		}
		picture = picture || slice
	}
	return append(out, data[begin:])
}

// TestRealMedia packetizes what real encoders made and compares the count of
// key pictures and pictures with what the bitstream itself says.
func TestRealMedia(t *testing.T) {
	cases := []struct {
		file    string
		sel     int
		payload rtp.Payloader
		isKey   func(frame []byte) bool
	}{
		{"vp8.ivf", selVP8, &codecs.VP8Payloader{EnablePictureID: true}, func(b []byte) bool { return b[0]&1 == 0 }},
		{"vp9.ivf", selVP9, &codecs.VP9Payloader{}, func(b []byte) bool { return b[0]&0x0c == 0 }},
		{"av1.ivf", selAV1, &codecs.AV1Payloader{}, func(b []byte) bool { return bytes.HasPrefix(b[2:], []byte{0x0a}) }},
		{"a.h264", selH264, &codecs.H264Payloader{}, func(b []byte) bool {
			return bytes.Contains(b, []byte{0, 0, 1, 0x65})
		}},
	}
	for _, c := range cases {
		t.Run(c.file, func(t *testing.T) {
			track := NewTrack(TrackConfig{Codec: lookCodecs[c.sel]})
			var pictures, keys uint64
			seq := uint16(0)
			for i, frame := range frames(t, c.file) {
				pictures++
				if c.isKey(frame) {
					keys++
				}
				payloads := c.payload.Payload(1000, frame)
				for j, p := range payloads {
					seq++
					write(track, 1, seq, uint32(i)*3000, j == len(payloads)-1, p)
				}
			}
			s := track.Stats()
			if s.Frames != pictures || s.Keyframes != keys || keys == 0 {
				t.Errorf("%d pictures and %d keys became %d and %d (%d packets)", pictures, keys, s.Frames, s.Keyframes, s.Packets)
			}
		})
	}
}

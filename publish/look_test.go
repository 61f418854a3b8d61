package publish

import (
	"testing"

	"github.com/weft-rtc/weft/interceptors/codec"
)

// lookCodecs is what the selector of FuzzLook and the tables mean.
var lookCodecs = []codec.Codec{
	{Name: codec.VP8, ClockRate: 90000}, {Name: codec.VP9, ClockRate: 90000},
	{Name: codec.H264, ClockRate: 90000}, {Name: codec.AV1, ClockRate: 90000},
	{Name: codec.Opus, ClockRate: 48000}, {Name: "H265", ClockRate: 90000},
}

const (
	selVP8 = iota
	selVP9
	selH264
	selAV1
	selOpus
	selOther
)

var (
	key   = Info{Keyframe: true, FrameStart: true}
	start = Info{FrameStart: true}
	none  = Info{}
	idr   = Info{Keyframe: true, FrameStart: true, NoParameters: true}
)

// lookCases feeds TestLook and seeds FuzzLook.
var lookCases = []struct {
	name    string
	codec   uint8
	payload []byte
	want    Info
}{
	{"vp8 empty", selVP8, nil, none},
	{"vp8 key, short descriptor", selVP8, []byte{0x10, 0x10, 0x02}, key},
	{"vp8 delta, short descriptor", selVP8, []byte{0x10, 0x11}, start},
	{"vp8 continuation", selVP8, []byte{0x00, 0x10}, none},
	{"vp8 second partition", selVP8, []byte{0x11, 0x10}, none},
	{"vp8 15-bit picture id, tl0, tid", selVP8, []byte{0x90, 0xf0, 0x81, 0x02, 0x03, 0x20, 0x10}, key},
	{"vp8 7-bit picture id", selVP8, []byte{0x90, 0x80, 0x11, 0x10}, key},
	{"vp8 7-bit picture id, delta", selVP8, []byte{0x90, 0x80, 0x11, 0x11}, start},
	{"vp8 keyidx only", selVP8, []byte{0x90, 0x10, 0x05, 0x10}, key},
	{"vp8 cut after X", selVP8, []byte{0x90}, none},
	{"vp8 cut in picture id", selVP8, []byte{0x90, 0x80}, none},
	{"vp8 cut before payload", selVP8, []byte{0x90, 0xf0, 0x81, 0x02, 0x03, 0x20}, none},
	{"vp9 empty", selVP9, nil, none},
	{"vp9 descriptor only", selVP9, []byte{0x08}, none},
	{"vp9 key, plain", selVP9, []byte{0x08, 0x82}, key},
	{"vp9 delta, plain", selVP9, []byte{0x48, 0x82}, start},
	{"vp9 key, 15-bit id, layers, structure", selVP9, []byte{0xaa, 0x81, 0x02, 0x00, 0x00, 0x00, 0x82}, key},
	{"vp9 upper layer of a key picture", selVP9, []byte{0xa8, 0x81, 0x02, 0x03, 0x00, 0x82}, none},
	{"vp9 not the beginning", selVP9, []byte{0xa0, 0x81, 0x02, 0x00, 0x82}, none},
	{"vp9 cut in layers", selVP9, []byte{0xa8, 0x81, 0x02}, none},
	{"h264 empty", selH264, nil, none},
	{"h264 one byte", selH264, []byte{0x65}, none},
	{"h264 idr", selH264, []byte{0x65, 0x88}, idr},
	{"h264 second slice of an idr", selH264, []byte{0x65, 0x40}, none},
	{"h264 slice", selH264, []byte{0x41, 0x9a}, start},
	{"h264 second slice", selH264, []byte{0x41, 0x5a}, none},
	{"h264 sps", selH264, []byte{0x67, 0x42}, key},
	{"h264 pps", selH264, []byte{0x68, 0xce}, none},
	{"h264 aud", selH264, []byte{0x09, 0xf0}, start},
	{"h264 stap-a sps pps", selH264, []byte{0x78, 0, 2, 0x67, 0x42, 0, 2, 0x68, 0xce}, key},
	{"h264 stap-a aud sps", selH264, []byte{0x78, 0, 2, 0x09, 0xf0, 0, 2, 0x67, 0x42}, key},
	{"h264 stap-a sps idr", selH264, []byte{0x78, 0, 2, 0x67, 0x42, 0, 2, 0x65, 0x88}, key},
	{"h264 stap-a idr", selH264, []byte{0x78, 0, 2, 0x65, 0x88}, idr},
	{"h264 stap-a slices", selH264, []byte{0x78, 0, 2, 0x41, 0x9a, 0, 2, 0x41, 0x5a}, start},
	{"h264 stap-a size beyond", selH264, []byte{0x78, 0, 9, 0x67, 0x42}, none},
	{"h264 stap-a size zero", selH264, []byte{0x78, 0, 0, 0, 2, 0x67, 0x42}, none},
	{"h264 fu-a start of idr", selH264, []byte{0x7c, 0x85, 0x88}, idr},
	{"h264 fu-a middle of idr", selH264, []byte{0x7c, 0x05, 0x88}, none},
	{"h264 fu-a start of slice", selH264, []byte{0x5c, 0x81, 0x9a}, start},
	{"h264 fu-a cut", selH264, []byte{0x7c, 0x85}, none},
	{"av1 empty", selAV1, nil, none},
	{"av1 header only", selAV1, []byte{0x08}, none},
	{"av1 N bit", selAV1, []byte{0x18, 0x32, 0x00}, key},
	{"av1 delta", selAV1, []byte{0x10, 0x32, 0x00}, start},
	{"av1 continuation", selAV1, []byte{0x98, 0x0a, 0x00}, none},
	{"av1 sequence header, W=2", selAV1, []byte{0x20, 0x03, 0x0a, 0x01, 0x02, 0x32, 0x00}, key},
	{"av1 sequence header second, W=0", selAV1, []byte{0x00, 0x02, 0x12, 0x00, 0x02, 0x0a, 0x01}, key},
	{"av1 sequence header last without length", selAV1, []byte{0x20, 0x02, 0x12, 0x00, 0x0a, 0x01}, key},
	{"av1 length beyond", selAV1, []byte{0x20, 0x7f, 0x0a}, start},
	{"av1 length endless", selAV1, []byte{0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, start},
	{"opus", selOpus, []byte{0xfc}, key},
	{"opus empty", selOpus, nil, none},
	{"unknown codec", selOther, []byte{0x00}, key},
}

func TestLook(t *testing.T) {
	for _, c := range lookCases {
		t.Run(c.name, func(t *testing.T) {
			if got := Look(lookCodecs[c.codec], c.payload); got != c.want {
				t.Errorf("Look(%x) = %+v, want %+v", c.payload, got, c.want)
			}
		})
	}
}

// FuzzLook checks that no payload makes a codec's look read out of bounds, that
// a key picture of VP8, VP9 and AV1 is also a start, and that what is cut short
// never tells more than nothing.
func FuzzLook(f *testing.F) {
	for _, c := range lookCases {
		f.Add(c.codec, c.payload)
	}
	f.Fuzz(func(t *testing.T, sel uint8, payload []byte) {
		c := lookCodecs[int(sel)%len(lookCodecs)]
		got := Look(c, payload)
		if got.Keyframe && !got.FrameStart {
			t.Errorf("%s %x: key picture that starts nothing", c.Name, payload)
		}
		if len(payload) == 0 && got != none {
			t.Errorf("%s: an empty payload is %+v", c.Name, got)
		}
		if again := Look(c, payload[:len(payload):len(payload)]); again != got {
			t.Errorf("%s %x: %+v, then %+v", c.Name, payload, got, again)
		}
	})
}

func BenchmarkLook(b *testing.B) {
	payloads := map[string][]byte{
		"VP8":  append([]byte{0x90, 0xf0, 0x81, 0x02, 0x03, 0x20, 0x10}, make([]byte, 1100)...),
		"VP9":  append([]byte{0xaa, 0x81, 0x02, 0x00, 0x00, 0x82}, make([]byte, 1100)...),
		"H264": append([]byte{0x78, 0, 2, 0x09, 0xf0, 0, 2, 0x67, 0x42, 4, 0}, make([]byte, 1100)...),
		"AV1":  append([]byte{0x20, 0x03, 0x0a, 0x01, 0x02, 0x32}, make([]byte, 1100)...),
	}
	for _, c := range lookCodecs[:4] {
		b.Run(c.Name, func(b *testing.B) {
			look, p := looker(c), payloads[c.Name]
			b.ReportAllocs()
			for b.Loop() {
				look(p)
			}
		})
	}
}

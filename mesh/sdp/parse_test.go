package sdp

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

const head = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n"

const liveVideo = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=rtcp-mux\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\na=fingerprint:sha-256 AA\r\na=rtpmap:96 VP8/90000\r\n"

// malformed cases also seed the fuzzers.
var malformed = []struct {
	name, text    string
	line, section int
	large         bool
}{
	{"empty", "", 0, -1, false},
	{"no version", "o=- 1 2 IN IP4 0.0.0.0\r\n", 1, -1, false},
	{"wrong version", "v=1\r\n", 1, -1, false},
	{"no equals sign", head + "hello\r\n", 6, -1, false},
	{"carriage return inside", head + liveVideo + "a=x\ry\r\n", 13, 0, false},
	{"origin", "v=0\r\no=- x 2 IN IP4 0.0.0.0\r\n", 2, -1, false},
	{"port", head + "m=video 99999 UDP/TLS/RTP/SAVPF 96\r\n", 6, 0, false},
	{"no format", head + "m=video 9 UDP/TLS/RTP/SAVPF\r\n", 6, 0, false},
	{"no mid", head + "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n", 6, 0, false},
	{"mid twice", head + liveVideo + liveVideo, 13, 1, false},
	{"mid with space", head + liveVideo + "a=mid:a b\r\n", 13, 0, false},
	{"rtpmap without clock", head + liveVideo + "a=rtpmap:97 VP9\r\n", 13, 0, false},
	{"rtpmap above 127", head + liveVideo + "a=rtpmap:128 VP9/90000\r\n", 13, 0, false},
	{"fmtp without type", head + liveVideo + "a=fmtp:x y\r\n", 13, 0, false},
	{"feedback without type", head + liveVideo + "a=rtcp-fb:nack\r\n", 13, 0, false},
	{"extmap id 0", head + liveVideo + "a=extmap:0 urn:x\r\n", 13, 0, false},
	{"extmap direction", head + liveVideo + "a=extmap:1/up urn:x\r\n", 13, 0, false},
	{"ssrc", head + liveVideo + "a=ssrc:4294967296 cname:x\r\n", 13, 0, false},
	{"ssrc group", head + liveVideo + "a=ssrc-group:FID 1 -2\r\n", 13, 0, false},
	{"rid direction", head + liveVideo + "a=rid:h both\r\n", 13, 0, false},
	{"rid characters", head + liveVideo + "a=rid:h;h send\r\n", 13, 0, false},
	{"simulcast", head + liveVideo + "a=simulcast:send\r\n", 13, 0, false},
	{"setup", head + liveVideo + "a=setup:maybe\r\n", 13, 0, false},
	{"fingerprint", head + liveVideo + "a=fingerprint:sha-256\r\n", 13, 0, false},
	{"sctp port", head + "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=sctp-port:-1\r\n", 7, 0, false},
	{"long line", head + liveVideo + "a=x:" + strings.Repeat("y", maxLine) + "\r\n", 13, 0, true},
	{"long text", head + strings.Repeat("a=x\r\n", maxDescription/5), 0, -1, true},
	{"many sections", head + strings.Repeat("m=video 0 RTP/SAVPF 0\r\n", 257), 262, 256, true},
	{"many ssrcs", head + liveVideo + repeat("a=ssrc:%d cname:x\r\n", 1, 65), 77, 0, true},
	{"many groups", head + liveVideo + repeat("a=ssrc-group:FID 1 %d\r\n", 2, 65), 77, 0, true},
	{"many extensions", head + liveVideo + repeat("a=extmap:%d urn:x\r\n", 1, 65), 77, 0, true},
	{"many rids", head + liveVideo + repeat("a=rid:r%d send\r\n", 1, 17), 29, 0, true},
	{"many formats", head + "m=video 9 RTP/SAVPF" + strings.Repeat(" 96", 129) + "\r\n", 6, 0, true},
	{"many rtpmaps", head + liveVideo + strings.Repeat("a=rtpmap:96 VP8/90000\r\n", 128), 140, 0, true},
	{"many candidates", head + liveVideo + repeat("a=candidate:%d\r\n", 1, 129), 141, 0, true},
	{"no ufrag", head + strings.Replace(liveVideo, "a=ice-ufrag:u\r\n", "", 1), 6, 0, false},
	{"no password", head + strings.Replace(liveVideo, "a=ice-pwd:p\r\n", "", 1), 6, 0, false},
	{"no fingerprint", head + strings.Replace(liveVideo, "a=fingerprint:sha-256 AA\r\n", "", 1), 6, 0, false},
}

func repeat(format string, from, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, from+i)
	}
	return b.String()
}

func TestMalformedIsNamedAndChangesNothing(t *testing.T) {
	for _, c := range malformed {
		t.Run(c.name, func(t *testing.T) {
			s := NewSession(Config{Polite: true})
			s.SetLocal(local("u1"))
			s.SetSends([]Send{video("v")})
			must(s.Offer())(t)
			_, err := s.HandleOffer(c.text)
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("error %v", err)
			}
			if e.Line != c.line || e.Section != c.section {
				t.Errorf("%q names line %d section %d, want %d and %d", err, e.Line, e.Section, c.line, c.section)
			}
			if errors.Is(err, ErrTooLarge) != c.large {
				t.Errorf("%v: too large is %v", err, !c.large)
			}
			if s.State() != HaveLocalOffer || len(s.current.sections) != 0 || len(s.pending.sections) != 1 {
				t.Error("state changed")
			}
		})
	}
}

func TestParseSources(t *testing.T) {
	for _, c := range []struct {
		name, lines   string
		ssrc, rtx     uint32
		stream, track string
		layers        string
	}{
		{"none", "", 0, 0, "", "", "[]"},
		{"plain", "a=ssrc:7 cname:x\r\n", 7, 0, "", "", "[]"},
		{"group after", "a=ssrc:7 cname:x\r\na=ssrc:8 cname:x\r\na=ssrc-group:FID 7 8\r\n", 7, 8, "", "", "[]"},
		{"repair first", "a=ssrc-group:FID 7 8\r\na=ssrc:8 cname:x\r\na=ssrc:7 cname:x\r\n", 7, 8, "", "", "[]"},
		{"group alone", "a=ssrc-group:FID 7 8\r\n", 7, 8, "", "", "[]"},
		{"fec", "a=ssrc-group:FEC-FR 7 9\r\na=ssrc:9 cname:x\r\na=ssrc:7 cname:x\r\n", 7, 0, "", "", "[]"},
		{"group with itself", "a=ssrc:7 cname:x\r\na=ssrc-group:FID 7 7\r\n", 7, 0, "", "", "[]"},
		{"msid", "a=msid:s t\r\n", 0, 0, "s", "t", "[]"},
		{"msid without stream", "a=msid:- t\r\n", 0, 0, "", "t", "[]"},
		{"msid twice", "a=msid:s t\r\na=msid:s2 t\r\n", 0, 0, "s", "t", "[]"},
		{"msid of ssrc", "a=ssrc:7 msid:s t\r\n", 7, 0, "s", "t", "[]"},
		{"layers", "a=rid:q send\r\na=rid:f send pt=96\r\na=simulcast:send f;~q\r\n", 0, 0, "", "", "[f q]"},
		{"alternatives", "a=rid:a send\r\na=rid:b send\r\na=rid:c recv\r\na=simulcast: recv c send a,b\r\n", 0, 0, "", "", "[a b]"},
		{"layer undeclared", "a=rid:a send\r\na=simulcast:send a;b\r\n", 0, 0, "", "", "[a]"},
		{"rid alone", "a=rid:a send\r\n", 0, 0, "", "", "[a]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := must(parse(head+liveVideo+c.lines, 9))(t).media[0]
			ssrc, rtx := m.mainSSRC()
			if ssrc != c.ssrc || rtx != c.rtx || m.streamID != c.stream || m.trackID != c.track || fmt.Sprint(m.layers()) != c.layers {
				t.Errorf("%d %d %q %q %v", ssrc, rtx, m.streamID, m.trackID, m.layers())
			}
		})
	}
}

func TestReceivingParameters(t *testing.T) {
	for in, want := range map[string]string{
		"":                                 "",
		"minptime=10;useinbandfec=1":       "minptime=10;useinbandfec=1",
		"max-fs=12288;max-fr=60":           "",
		"a=1; sprop-stereo=1":              "a=1;stereo=1",
		"stereo=1;sprop-stereo=1":          "stereo=1",
		"sprop-stereo=0;x=1":               "x=1",
		"x=1;sprop-parameter-sets=Z0LAH,y": "x=1",
	} {
		if got := receiving(in); got != want {
			t.Errorf("receiving(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestReadRemote(t *testing.T) {
	for name, want := range map[string]Remote{
		"chromium-media-offer": {Ufrag: "enoc", Setup: "actpass"},
		"firefox-media-offer":  {Ufrag: "a38dbced", Setup: "actpass"},
		"ffmpeg":               {Ufrag: "9a1c8f20", Setup: "passive"},
		"obs":                  {Ufrag: "Zc2r", Setup: "actpass"},
	} {
		r := must(ReadRemote(fixture(t, name)))(t)
		if r.Ufrag != want.Ufrag || r.Setup != want.Setup || r.Pwd == "" || !strings.HasPrefix(r.Fingerprint, "sha-256 ") {
			t.Errorf("%s: %+v", name, r)
		}
	}
	r := must(ReadRemote(fixture(t, "chromium-media-offer")))(t)
	if len(r.Candidates) != 4 || !strings.HasPrefix(r.Candidates[0], "candidate:") {
		t.Errorf("candidates %q", r.Candidates)
	}
}

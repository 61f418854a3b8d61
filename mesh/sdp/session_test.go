package sdp

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/weft-rtc/weft/interceptors/codec"
)

func ids2(s Send) string { return fmt.Sprintf("%d %d", s.SSRC, s.RTXSSRC) }

func TestBootstrap(t *testing.T) {
	a, b := pair(t)
	if a.local.Setup != "active" || b.local.Setup != "passive" || a.Remote().Ufrag != "bb1" || b.Remote().Ufrag != "aa1" {
		t.Errorf("a %+v %+v, b %+v %+v", a.local, a.Remote(), b.local, b.Remote())
	}
	if a.Needed() || b.Needed() {
		t.Error("needed without wishes")
	}
	has(t, must(a.Offer())(t), "o=- 4711 1700000001 IN IP4 127.0.0.1", "a=mid:0")
	for _, c := range []struct{ name, offer, answer string }{
		{"media", fixture(t, "chromium-media-offer"), fixture(t, "chromium-media-answer")},
		{"mids", data("a", "actpass"), strings.Replace(data("b", "active"), "mid:0", "mid:1", 1)},
		{"rubbish", "x", data("b", "active")},
		{"nothing", data("a", "actpass"), ""},
	} {
		if err := a.Bootstrap(c.offer, c.answer, true); err == nil {
			t.Errorf("%s: no error", c.name)
		}
		if a.State() != HaveLocalOffer || len(a.current.sections) != 1 {
			t.Errorf("%s: state changed", c.name)
		}
	}
}

func TestOwnOffer(t *testing.T) {
	a, b := pair(t)
	a.SetSends([]Send{video("v"), audio("a")})
	if !a.Needed() {
		t.Fatal("not needed")
	}
	offer := must(a.Offer())(t)
	if a.Needed() || a.State() != HaveLocalOffer {
		t.Error("needed while an offer is open")
	}
	x := sectionsOf(offer)
	has(t, x[1], "m=video 9 UDP/TLS/RTP/SAVPF 96 97 98 99 108 109 45 46", "a=sendonly", "a=mid:w01", "a=msid:s-v t-v", "a=extmap:16 "+ExtMID,
		"a=extmap:17 "+ExtTransportCC, "a=extmap:19 "+ExtDependencyDescriptor, "a=ssrc-group:FID "+ids2(video("v")), fmt.Sprintf("a=ssrc:%d cname:s-v", video("v").SSRC), "a=rtcp-fb:98 ccm fir")
	has(t, x[2], "m=audio 9 UDP/TLS/RTP/SAVPF 111", "a=extmap:18 "+ExtAudioLevel)
	lacks(t, offer, "goog-remb")
	lacks(t, x[2], ExtDependencyDescriptor)
	o := must(b.HandleOffer(offer))(t)
	if len(o.Opened) != 2 || o.Opened[0].StreamID != "s-v" || o.Opened[0].SSRC != video("v").SSRC || o.Opened[0].RTXSSRC != video("v").RTXSSRC {
		t.Errorf("%+v", o.Opened)
	}
	c := must(a.HandleAnswer(o.Answer))(t)
	if len(c.Sends) != 2 || c.Sends[0].Mid != "w01" || payloadTypes(c.Sends[0].Payloads) != "VP8=96/97 VP9=98/99 H264=108/109 AV1=45/46" ||
		c.Sends[0].Extensions[ExtMID] != 16 || c.Sends[0].Extensions[ExtDependencyDescriptor] != 19 || !c.Sends[0].Mixed || strings.Join(c.Sends[0].Payloads[0].Feedback, ",") != "nack,nack pli,ccm fir,transport-cc" {
		t.Errorf("%+v", c.Sends)
	}
	if a.Needed() {
		t.Error("still needed")
	}
}

func TestRemovalThenReuseInALaterOffer(t *testing.T) {
	a, b := pair(t)
	a.SetSends([]Send{audio("a")})
	exchange(t, a, b)
	a.SetSends([]Send{video("v")})
	offer := must(a.Offer())(t)
	x := sectionsOf(offer)
	if len(x) != 3 || x[1] != "m=audio 0 UDP/TLS/RTP/SAVPF 0\r\nc=IN IP4 0.0.0.0\r\na=mid:w01\r\na=inactive\r\n" {
		t.Fatalf("offer\n%s", offer)
	}
	has(t, offer, "a=group:BUNDLE 0 w02")
	o := must(b.HandleOffer(offer))(t)
	c := must(a.HandleAnswer(o.Answer))(t)
	if len(o.Closed) != 1 || len(o.Opened) != 1 || len(c.Stopped) != 1 || c.Stopped[0] != "a" {
		t.Errorf("b %+v, a %+v", o.Changes, c)
	}
	a.SetSends([]Send{video("v"), video("v3")})
	x = sectionsOf(must(a.Offer())(t))
	if len(x) != 3 || !strings.Contains(x[1], "a=mid:w03") || !strings.HasPrefix(x[1], "m=video 9") {
		t.Errorf("place not used again: %q", x[1])
	}
}

var version = regexp.MustCompile(`o=- (\d+) (\d+) `)

func TestDescriptionDoesNotGrow(t *testing.T) {
	for _, c := range []struct {
		name string
		gap  bool // an offer without the track between two tracks
	}{{"apart", true}, {"at once", false}} {
		t.Run(c.name, func(t *testing.T) {
			a, b := pair(t)
			var second, last string
			for i := range 100 {
				id := fmt.Sprintf("x%03d", i)
				wish := audio(id)
				if i%2 == 1 {
					wish = video(id)
				}
				wish.SSRC, wish.RTXSSRC = 1000+uint32(i), 2000+uint32(i)
				if wish.Kind == codec.Audio {
					wish.RTXSSRC = 0
				}
				a.SetSends([]Send{wish})
				last = must(a.Offer())(t)
				must(a.HandleAnswer(must(b.HandleOffer(last))(t).Answer))(t)
				if i == 1 {
					second = last
				}
				if c.gap {
					a.SetSends(nil)
					exchange(t, a, b)
				}
			}
			if len(last) != len(second) {
				t.Errorf("%d bytes after 2, %d after 100\n%s", len(second), len(last), last)
			}
			if m, n := version.FindStringSubmatch(second), version.FindStringSubmatch(last); m[1] != n[1] || m[2] >= n[2] {
				t.Errorf("origin %v then %v", m, n)
			}
		})
	}
}

func TestRejectedByAnswer(t *testing.T) {
	a, b := pair(t)
	b.cfg.Codecs = func(k codec.Kind) []codec.Codec {
		if k == codec.Video {
			return nil
		}
		return codec.Default(k)
	}
	a.SetSends([]Send{video("v"), audio("a")})
	o, c := exchange(t, a, b)
	if len(o.Opened) != 1 || len(c.Sends) != 1 || len(c.Stopped) != 1 || c.Stopped[0] != "v" || a.Needed() || !a.Refused("v") {
		t.Errorf("b %+v, a %+v, needed %v", o, c, a.Needed())
	}
	a.SetSends([]Send{video("v"), audio("a")})
	if a.Needed() {
		t.Error("a refused wish is tried again")
	}
	a.SetSends([]Send{video("v2"), audio("a")})
	if !a.Needed() {
		t.Error("another wish is not tried")
	}
}

func TestRejectedByOffer(t *testing.T) {
	a, b := pair(t)
	a.SetSends([]Send{video("v")})
	exchange(t, a, b)
	offer := must(b.Offer())(t)
	i := strings.Index(offer, "m=video 9")
	offer = offer[:i] + "m=video 0 UDP/TLS/RTP/SAVPF 0\r\na=mid:w01\r\na=inactive\r\n"
	o := must(a.HandleOffer(offer))(t)
	if len(o.Stopped) != 1 || o.Stopped[0] != "v" || a.Needed() {
		t.Errorf("%+v needed %v", o.Changes, a.Needed())
	}
	a.SetSends(nil)
	a.SetSends([]Send{video("v")})
	if !a.Needed() {
		t.Error("a wish taken back and set again is not tried")
	}
}

// A browser's addTrack may use the section that our offer made.
func TestRemoteSendsInOurSection(t *testing.T) {
	a, b := pair(t)
	a.SetSends([]Send{video("v")})
	exchange(t, a, b)
	theirs := strings.Replace(must(b.Offer())(t), "a=recvonly\r\n", "a=sendrecv\r\na=msid:their track\r\na=ssrc:77 cname:x\r\n", 1)
	o := must(a.HandleOffer(theirs))(t)
	if len(o.Opened) != 1 || o.Opened[0].SSRC != 77 || len(o.Stopped)+len(o.Sends) != 0 {
		t.Fatalf("%+v", o.Changes)
	}
	has(t, o.Answer, "a=sendrecv", "a=msid:s-v t-v")
	a.SetSends(nil)
	text := must(a.Offer())(t)
	has(t, text, "a=mid:w01", "a=recvonly")
	lacks(t, text, "m=video 0")
}

func TestReofferOfOurSectionStaysOurs(t *testing.T) {
	a, b := pair(t)
	a.SetSends([]Send{video("v")})
	exchange(t, a, b)
	b.SetSends([]Send{video("w")})
	o, c := exchange(t, b, a)
	if len(o.Sends)+len(o.Stopped) != 0 || len(o.Opened) != 1 || len(c.Sends) != 1 || len(c.Closed) != 0 {
		t.Errorf("a %+v, b %+v", o, c)
	}
	if m := a.current.sections[2].mid; m != "w02" {
		t.Errorf("mid %q", m)
	}
}

func TestPausedByDirection(t *testing.T) {
	a, b := pair(t)
	a.SetSends([]Send{video("v")})
	exchange(t, a, b)
	offer := must(b.Offer())(t)
	o := must(a.HandleOffer(strings.Replace(offer, "a=recvonly", "a=inactive", 1)))(t)
	if len(o.Stopped) != 1 || a.Needed() {
		t.Errorf("%+v, needed %v", o.Changes, a.Needed())
	}
	has(t, sectionsOf(o.Answer)[1], "a=inactive", "a=mid:w01")
	if o = must(a.HandleOffer(offer))(t); len(o.Sends) != 1 {
		t.Errorf("%+v", o.Changes)
	}
}

func TestGlare(t *testing.T) {
	a, b := pair(t) // b is polite
	a.SetSends([]Send{video("a")})
	b.SetSends([]Send{audio("b")})
	fromA, fromB := must(a.Offer())(t), must(b.Offer())(t)
	o := must(a.HandleOffer(fromB))(t)
	if !o.Ignored || o.Answer != "" || a.State() != HaveLocalOffer {
		t.Fatalf("impolite: %+v", o)
	}
	o = must(b.HandleOffer(fromA))(t)
	if o.Ignored || !o.Collided || b.State() != Stable || !b.Needed() || len(o.Opened) != 1 {
		t.Fatalf("polite: %+v needed %v", o, b.Needed())
	}
	must(a.HandleAnswer(o.Answer))(t)
	oa, cb := exchange(t, b, a)
	if len(oa.Opened) != 1 || len(cb.Sends) != 1 || a.Needed() || b.Needed() {
		t.Errorf("a %+v, b %+v", oa, cb)
	}
	if a.current.sections[2].mid == a.current.sections[1].mid {
		t.Error("one mid twice")
	}
}

func TestAnswerThatDoesNotFit(t *testing.T) {
	for _, c := range []struct{ name, old, new string }{
		{"kind", "m=video 9", "m=audio 9"},
		{"mid", "a=mid:w01", "a=mid:w02"},
		{"bundle", "BUNDLE 0 w01", "BUNDLE 0"},
		{"setup", "a=setup:passive", "a=setup:actpass"},
		{"fewer", "", ""},
		{"password", "a=ice-pwd:password-of-bb1\r\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := pair(t)
			a.SetSends([]Send{video("v")})
			answer := must(b.HandleOffer(must(a.Offer())(t)))(t).Answer
			if c.name == "fewer" {
				answer = answer[:strings.Index(answer, "m=video")]
			} else {
				answer = strings.ReplaceAll(answer, c.old, c.new)
			}
			_, err := a.HandleAnswer(answer)
			if err == nil || a.State() != Stable || !a.Needed() || len(a.current.sections) != 1 {
				t.Errorf("error %v, state %v, needed %v", err, a.State(), a.Needed())
			}
			if c.name != "password" && !errors.Is(err, ErrMismatch) {
				t.Errorf("error %v", err)
			}
		})
	}
	a, _ := pair(t)
	if _, err := a.HandleAnswer(data("x", "active")); !errors.Is(err, ErrState) {
		t.Errorf("answer in stable: %v", err)
	}
	must(a.Offer())(t)
	if _, err := a.Offer(); !errors.Is(err, ErrState) {
		t.Errorf("second offer: %v", err)
	}
	if _, err := a.HandleAnswer("v=0\r\nx\r\n"); err == nil || a.State() != HaveLocalOffer {
		t.Errorf("malformed answer: %v, %v", err, a.State())
	}
}

func TestOfferThatDoesNotFit(t *testing.T) {
	a, b := pair(t)
	a.SetSends([]Send{video("v")})
	exchange(t, a, b)
	offer := must(a.Offer())(t)
	for name, text := range map[string]string{
		"fewer sections": offer[:strings.Index(offer, "m=video")],
		"another kind":   strings.Replace(offer, "m=video", "m=audio", 1),
	} {
		if _, err := b.HandleOffer(text); !errors.Is(err, ErrMismatch) || len(b.current.sections) != 2 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUnusableSectionsAreRejected(t *testing.T) {
	s := NewSession(Config{})
	s.SetLocal(local("u"))
	base := head + liveVideo
	for name, extra := range map[string]string{
		"no codec":    "m=video 9 UDP/TLS/RTP/SAVPF 97\r\na=mid:1\r\na=rtcp-mux\r\na=rtpmap:97 H265/90000\r\n",
		"no mux":      "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=rtpmap:96 VP8/90000\r\n",
		"plain RTP":   "m=video 9 RTP/AVP 96\r\na=mid:1\r\na=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\n",
		"other kind":  "m=text 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\n",
		"not bundled": "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:2\r\na=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\n",
		"data":        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:1\r\na=sctp-port:5000\r\n",
	} {
		x := sectionsOf(must(s.HandleOffer(base + extra))(t).Answer)
		if f := strings.Fields(x[1]); f[1] != "0" || !strings.Contains(x[0], "m=video 9") {
			t.Errorf("%s: %q", name, x)
		}
	}
}

func TestICERestart(t *testing.T) {
	a, b := pair(t)
	l := a.local
	l.Ufrag = "aa2"
	a.SetLocal(l)
	if !a.Needed() {
		t.Fatal("restart needs no offer")
	}
	o, c := exchange(t, a, b)
	if !o.Restarted || o.Remote.Ufrag != "aa2" || c.Restarted || a.Needed() || b.Needed() {
		t.Errorf("b %+v, a %+v", o, c)
	}
	if o, _ = exchange(t, a, b); o.Restarted {
		t.Error("restarted twice")
	}
}

func TestBounds(t *testing.T) {
	s := NewSession(Config{MaxSections: 3})
	s.SetLocal(local("u"))
	s.SetSends([]Send{audio("1"), audio("2"), audio("3"), audio("4"), {ID: "x"}, audio("1")})
	if _, err := s.Offer(); !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), `"4"`) {
		t.Errorf("error %v", err)
	}
	if n := len(sectionsOf(must(s.Offer())(t))); n != 3 {
		t.Errorf("%d sections", n)
	}
	if _, err := NewSession(Config{}).Offer(); !errors.Is(err, ErrNoLocal) {
		t.Errorf("error %v", err)
	}
	if _, err := NewSession(Config{}).HandleOffer(fixture(t, "obs")); !errors.Is(err, ErrNoLocal) {
		t.Errorf("error %v", err)
	}
}

func TestOfferStaysBelowTheBoundOfTheReader(t *testing.T) {
	a, b := pair(t)
	var wishes []Send
	for i := range 240 {
		wishes = append(wishes, video(fmt.Sprint("v", i)))
	}
	a.SetSends(wishes)
	if _, err := a.Offer(); !errors.Is(err, ErrTooLarge) {
		t.Fatal(err)
	}
	o, _ := exchange(t, a, b)
	if n := len(o.Opened); n < 140 || a.Needed() {
		t.Errorf("%d sends, needed %v", n, a.Needed())
	}
}

// Names may come from other peers.
func TestNamesCannotWriteLines(t *testing.T) {
	a, _ := pair(t)
	a.SetSends([]Send{{ID: "i", Kind: codec.Audio, StreamID: "x\r\na=inactive", TrackID: strings.Repeat("y", 999), SSRC: 1}})
	offer := must(a.Offer())(t)
	has(t, offer, "a=msid:x__a=inactive "+strings.Repeat("y", 64))
	lacks(t, offer, "\na=inactive")
}

func TestChangedWishIsOfferedInPlace(t *testing.T) {
	a, b := pair(t)
	w := video("v")
	a.SetSends([]Send{w})
	exchange(t, a, b)
	w.SSRC, w.RTXSSRC = 5, 6
	a.SetSends([]Send{w})
	if !a.Needed() {
		t.Fatal("not needed")
	}
	o, c := exchange(t, a, b)
	if len(o.Closed) != 1 || len(o.Opened) != 1 || o.Opened[0].SSRC != 5 || len(c.Sends) != 1 || c.Sends[0].SSRC != 5 || len(c.Stopped) != 0 {
		t.Errorf("b %+v, a %+v", o, c)
	}
}

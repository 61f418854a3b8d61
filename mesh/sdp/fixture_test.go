package sdp

import (
	"strings"
	"testing"

	"github.com/weft-rtc/weft/interceptors/codec"
)

// whip answers a fixture as a server without a first exchange does.
func whip(t *testing.T, text string, wishes ...Send) (*Session, Outcome, []string) {
	t.Helper()
	s := NewSession(Config{Polite: true})
	l := local("srv")
	l.Candidates = []string{"candidate:1 1 udp 1 192.0.2.1 7882 typ host"}
	s.SetLocal(l)
	s.SetSends(wishes)
	o := must(s.HandleOffer(text))(t)
	if s.State() != Stable || o.Collided || o.Ignored {
		t.Fatalf("%v %+v", s.State(), o)
	}
	if strings.Count(o.Answer, "a=candidate:") != 1 {
		t.Errorf("candidates not once:\n%s", o.Answer)
	}
	return s, o, sectionsOf(o.Answer)
}

func TestChromiumMediaOffer(t *testing.T) {
	s := booted(t)
	o := must(s.HandleOffer(fixture(t, "chromium-media-offer")))(t)
	x := sectionsOf(o.Answer)
	has(t, o.Answer, "a=group:BUNDLE 0 1 2", "a=extmap-allow-mixed")
	has(t, x[0], "m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "a=max-message-size:262144", "a=setup:passive", "a=ice-ufrag:bb1")
	has(t, x[1], "m=audio 9 UDP/TLS/RTP/SAVPF 111", "a=recvonly", "a=rtcp-mux", "a=rtcp-rsize", "a=rtpmap:111 opus/48000/2",
		"a=rtcp-fb:111 transport-cc", "a=fmtp:111 minptime=10;useinbandfec=1", "a=extmap:4 "+ExtMID, "a=extmap:3 "+ExtTransportCC, "a=extmap:1 "+ExtAudioLevel)
	has(t, x[2], "m=video 9 UDP/TLS/RTP/SAVPF 96 97 102 103 108 109 45 46 98 99", "a=fmtp:103 apt=102", "a=rtcp-fb:45 goog-remb",
		"a=rtcp-fb:45 nack pli", "a=extmap:10 "+ExtRID, "a=extmap:11 "+ExtRepairedRID)
	lacks(t, o.Answer, "msid:", "a=ssrc", "actpass", "sendonly", "red/", "toffset", "nack\r\na=rtcp-fb:111")
	if len(o.Opened) != 2 || len(o.Closed)+len(o.Updated)+len(o.Sends)+len(o.Stopped) != 0 {
		t.Fatalf("%+v", o.Changes)
	}
	v := o.Opened[1]
	if v.Mid != "2" || v.Kind != codec.Video || v.StreamID != "2c1755c1-bd75-4653-bf68-61385b8be6f6" || v.TrackID != "713fb169-8254-46a2-af8e-cf95ea1a56e3" ||
		v.SSRC == 0 || v.RTXSSRC == 0 || v.RIDs != nil || v.Extensions[ExtMID] != 4 {
		t.Errorf("%+v", v)
	}
	if got := payloadTypes(v.Payloads); got != "VP8=96/97 H264=102/103 H264=108/109 AV1=45/46 VP9=98/99" {
		t.Error(got)
	}
	again := must(s.HandleOffer(fixture(t, "chromium-media-offer")))(t)
	if len(again.Opened)+len(again.Closed)+len(again.Updated) != 0 || again.Answer == "" {
		t.Errorf("a redundant offer changed %+v", again.Changes)
	}
}

func TestOwnOfferUsesWhatTheBrowserSaid(t *testing.T) {
	s := booted(t)
	must(s.HandleOffer(fixture(t, "firefox-media-offer")))(t)
	s.SetSends([]Send{video("v"), audio("a")})
	offer := must(s.Offer())(t)
	x := sectionsOf(offer)
	// Firefox has opus at 109, where the RTX of our H264 would stand.
	has(t, x[3], "m=video 9 UDP/TLS/RTP/SAVPF 120 124 121 125 108 102 99 100", "a=extmap:3 "+ExtMID, "a=extmap:7 "+ExtTransportCC, "a=mid:w01", "a=sendonly")
	has(t, x[4], "m=audio 9 UDP/TLS/RTP/SAVPF 109", "a=extmap:1 "+ExtAudioLevel, "a=mid:w02", "a=msid:s-a t-a")
	has(t, x[1], "a=mid:1", "a=recvonly", "m=audio 9 UDP/TLS/RTP/SAVPF 109")
	has(t, offer, "a=group:BUNDLE 0 1 2 w01 w02", "a=setup:actpass", "a=extmap-allow-mixed")
	lacks(t, offer, "a=setup:passive")
}

func TestPayloadTypesNeverClash(t *testing.T) {
	for name, text := range fixtures(t) {
		s := NewSession(Config{Polite: true, Application: true})
		s.SetLocal(local("u"))
		if _, err := s.HandleOffer(text); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		s.SetSends([]Send{video("v"), audio("a")})
		offer := must(s.Offer())(t)
		meaning := map[string]string{}
		for line := range strings.SplitSeq(offer, "\r\n") {
			pt, what, ok := strings.Cut(line, " ")
			if !ok || !strings.HasPrefix(pt, "a=rtpmap:") {
				continue
			}
			if old, ok := meaning[pt]; ok && old != what {
				t.Errorf("%s: %s is %s and %s", name, pt, old, what)
			}
			meaning[pt] = what
		}
	}
}

func TestStoppedAndRecycledSections(t *testing.T) {
	for _, browser := range []string{"chromium", "firefox"} {
		t.Run(browser, func(t *testing.T) {
			s := booted(t)
			must(s.HandleOffer(fixture(t, browser+"-media-offer")))(t)
			o := must(s.HandleOffer(fixture(t, browser+"-stop-offer")))(t)
			if len(o.Closed) != 1 || o.Closed[0] != "1" || len(o.Opened) != 0 {
				t.Fatalf("%+v", o.Changes)
			}
			x := sectionsOf(o.Answer)
			if x[1] != "m=audio 0 UDP/TLS/RTP/SAVPF 0\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=inactive\r\n" {
				t.Errorf("stub is %q", x[1])
			}
			has(t, o.Answer, "a=group:BUNDLE 0 2")
			o = must(s.HandleOffer(fixture(t, browser+"-recycle-offer")))(t)
			if len(o.Opened) != 1 || o.Opened[0].Kind != codec.Video || o.Opened[0].Mid == "1" || len(o.Closed) != 0 {
				t.Fatalf("%+v", o.Changes)
			}
			if browser == "chromium" { // Firefox opens a new place
				has(t, o.Answer, "a=group:BUNDLE 0 3 2")
				has(t, sectionsOf(o.Answer)[1], "a=mid:3", "a=recvonly")
			}
		})
	}
}

func TestBrowserSimulcast(t *testing.T) {
	for _, browser := range []string{"chromium", "firefox"} {
		t.Run(browser, func(t *testing.T) {
			s, o, x := whip(t, fixture(t, browser+"-simulcast"))
			has(t, x[1], "a=rid:q recv", "a=rid:h recv", "a=rid:f recv", "a=simulcast:recv q;h;f")
			v := o.Opened[1]
			if strings.Join(v.RIDs, " ") != "q h f" || v.SSRC != 0 || v.Extensions[ExtRID] == 0 {
				t.Errorf("%+v", v)
			}
			s.SetSends([]Send{audio("a")})
			has(t, sectionsOf(must(s.Offer())(t))[1], "a=rid:q recv", "a=simulcast:recv q;h;f", "a=recvonly")
		})
	}
}

func TestFirefoxExtensionDirections(t *testing.T) {
	_, _, x := whip(t, fixture(t, "firefox-simulcast"))
	for line := range strings.SplitSeq(fixture(t, "firefox-simulcast"), "\r\n") {
		if strings.HasPrefix(line, "a=extmap:") && strings.HasSuffix(line, ExtRID) && strings.Contains(line, "/sendonly") {
			has(t, x[1], strings.Replace(line, "/sendonly", "/recvonly", 1))
			return
		}
	}
}

func TestWHIPClients(t *testing.T) {
	t.Run("obs", func(t *testing.T) {
		_, o, x := whip(t, fixture(t, "obs"))
		has(t, o.Answer, "a=setup:passive", "a=group:BUNDLE 0 1")
		has(t, x[0], "a=recvonly", "a=fmtp:111 minptime=10;maxaveragebitrate=96000;stereo=1;useinbandfec=1")
		has(t, x[1], "m=video 9 UDP/TLS/RTP/SAVPF 96", "a=simulcast:recv 0;1;2", "a=extmap:2 "+ExtRID)
		lacks(t, x[0], "rtcp-rsize")
		if v := o.Opened[1]; strings.Join(v.RIDs, "") != "012" || v.StreamID != "uBq7mTz2" || o.Remote.Ufrag != "Zc2r" {
			t.Errorf("%+v", v)
		}
	})
	t.Run("gstreamer", func(t *testing.T) {
		_, o, x := whip(t, fixture(t, "gstreamer"))
		has(t, o.Answer, "a=group:BUNDLE video0 audio1")
		has(t, x[1], "m=audio 9 UDP/TLS/RTP/SAVPF 98", "a=rtpmap:98 opus/48000", "a=fmtp:98 stereo=1")
		if a := o.Opened[1]; a.SSRC != 2579283170 || a.TrackID != "webrtctransceiver1" || a.Payloads[0].Codec.Name != codec.Opus {
			t.Errorf("%+v", a)
		}
	})
	t.Run("ffmpeg", func(t *testing.T) {
		_, o, x := whip(t, fixture(t, "ffmpeg"))
		has(t, x[0], "a=setup:active") // it insists on passive
		has(t, x[1], "m=video 9 UDP/TLS/RTP/SAVPF 106 105")
		if v := o.Opened[1]; v.SSRC != 1166420351 || v.RTXSSRC != 3921834612 {
			t.Errorf("%+v", v)
		}
	})
}

func TestWHEP(t *testing.T) {
	s, o, x := whip(t, fixture(t, "chromium-whep"), video("v"), video("v2"), audio("a"))
	has(t, x[0], "m=audio 9 UDP/TLS/RTP/SAVPF 111", "a=sendonly", "a=msid:s-a t-a", "a=setup:passive")
	has(t, x[1], "a=sendonly", "a=msid:s-v t-v", "a=ssrc-group:FID "+ids2(video("v")), "a=rtcp-fb:96 nack pli")
	if len(o.Sends) != 2 || o.Sends[0].ID != "a" || o.Sends[1].ID != "v" || o.Sends[1].Payloads[0].Type != 96 || o.Sends[1].RTXSSRC == 0 {
		t.Errorf("%+v", o.Sends)
	}
	if !s.Needed() {
		t.Error("v2 has no section, but no offer is needed")
	}
	if o.Sends[1].Extensions[ExtTransportCC] == 0 || o.Sends[0].Extensions[ExtMID] == 0 {
		t.Errorf("extensions %v", o.Sends)
	}
}

func TestWHEPWithNothingToSend(t *testing.T) {
	_, o, x := whip(t, fixture(t, "chromium-whep"))
	has(t, x[0], "a=inactive", "m=audio 9 UDP/TLS/RTP/SAVPF 111")
	if len(o.Sends)+len(o.Opened) != 0 {
		t.Errorf("%+v", o.Changes)
	}
}

// addTrack makes sendrecv sections in the offer: we take the track, and our own
// get sections of their own.
func TestSendrecvOfferIsReceivedOnly(t *testing.T) {
	s, o, x := whip(t, fixture(t, "chromium-addtrack"), video("v"))
	has(t, x[0], "a=recvonly")
	has(t, x[1], "a=recvonly")
	if len(o.Opened) != 2 || len(o.Sends) != 0 || !s.Needed() {
		t.Errorf("%+v", o.Changes)
	}
}

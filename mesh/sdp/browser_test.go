package sdp

import (
	"slices"
	"strings"
	"testing"

	"github.com/weft-rtc/weft/interceptors/codec"
)

// Firefox 153 refuses a description with an extension id above 14, even after it
// answered a=extmap-allow-mixed with the same.
func TestOwnExtensionIDs(t *testing.T) {
	const chromiumOrigin = "o=- 4711 "
	for _, c := range []struct {
		name                  string
		edit                  func(string) string
		mid, twcc, dependency string
	}{
		{"chromium", func(s string) string { return s }, "16", "17", "19"},
		{"firefox", func(s string) string {
			return strings.Replace(s, chromiumOrigin, "o=mozilla...THIS_IS_SDPARTA-99.0 4711 ", 1)
		}, "3", "7", "8"},
		{"without mixed", func(s string) string { return strings.Replace(s, "a=extmap-allow-mixed\r\n", "", 1) }, "3", "7", "8"},
	} {
		for _, weOffer := range []bool{true, false} {
			s := NewSession(Config{})
			offer, answer := data("aa", "actpass"), data("bb", "active")
			if weOffer {
				answer = c.edit(answer)
			} else {
				offer = c.edit(offer)
			}
			if err := s.Bootstrap(offer, answer, weOffer); err != nil {
				t.Fatal(err)
			}
			s.SetSends([]Send{video("v")})
			text := must(s.Offer())(t)
			for id, uri := range map[string]string{c.mid: ExtMID, c.twcc: ExtTransportCC, c.dependency: ExtDependencyDescriptor} {
				if !strings.Contains(text, "a=extmap:"+id+" "+uri) {
					t.Errorf("%s, we offer %v, no %s:\n%s", c.name, weOffer, uri, text)
				}
			}
		}
	}
}

// An id keeps its meaning: what the browser used otherwise is not ours to take,
// and a remote offer that gives an agreed id another meaning does not get it.
func TestExtensionIDsKeepTheirMeaning(t *testing.T) {
	s := booted(t)
	taken := strings.Replace(fixture(t, "chromium-media-offer"), "a=extmap:4 "+ExtMID, "a=extmap:16 urn:example:other", 2)
	must(s.HandleOffer(taken))(t)
	s.SetSends([]Send{video("v")})
	has(t, sectionsOf(must(s.Offer())(t))[3], "a=extmap:22 "+ExtMID, "a=extmap:3 "+ExtTransportCC)
	s.Rollback()
	s = booted(t)
	must(s.HandleOffer(fixture(t, "chromium-media-offer")))(t)
	swapped := strings.NewReplacer("a=extmap:3 ", "a=extmap:4 ", "a=extmap:4 ", "a=extmap:3 ").Replace(fixture(t, "chromium-media-offer"))
	o := must(s.HandleOffer(swapped))(t)
	lacks(t, o.Answer, ExtMID, ExtTransportCC)
}

// Chromium has baseline H264 before constrained baseline; our offers must name
// the one that is ours under its number.
func TestLearnsTheExactProfile(t *testing.T) {
	s := booted(t)
	must(s.HandleOffer(fixture(t, "chromium-media-offer")))(t)
	s.SetSends([]Send{video("v")})
	x := sectionsOf(must(s.Offer())(t))[3]
	has(t, x, "m=video 9 UDP/TLS/RTP/SAVPF 96 97 98 99 108 109 45 46", "a=fmtp:108 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f")
}

// The answer of a browser that lacks a codec leaves it out; the next offers list
// it again, since another browser behind the same section may have it.
func TestAnswerWithFewerCodecs(t *testing.T) {
	a, b := pair(t)
	b.cfg.Codecs = func(k codec.Kind) []codec.Codec {
		return slices.DeleteFunc(codec.Default(k), func(c codec.Codec) bool { return c.Name == codec.H264 })
	}
	a.SetSends([]Send{video("v")})
	_, c := exchange(t, a, b)
	if got := payloadTypes(c.Sends[0].Payloads); got != "VP8=96/97 VP9=98/99 AV1=45/46" {
		t.Error(got)
	}
	has(t, sectionsOf(must(a.Offer())(t))[1], "m=video 9 UDP/TLS/RTP/SAVPF 96 97 98 99 108 109 45 46")
	a.Rollback()
	// b offers our section again with its three codecs; ours still lists four.
	exchange(t, b, a)
	has(t, sectionsOf(must(a.Offer())(t))[1], "m=video 9 UDP/TLS/RTP/SAVPF 96 97 98 99 45 46 108 109")
}

// An answer that takes the section and none of its codecs is a refusal, and the
// next offer removes the section.
func TestAnswerWithoutACommonCodec(t *testing.T) {
	a, b := pair(t)
	a.SetSends([]Send{audio("a")})
	answer := must(b.HandleOffer(must(a.Offer())(t)))(t).Answer
	c := must(a.HandleAnswer(strings.Replace(answer, "opus/48000", "speex/16000", 1)))(t)
	if len(c.Sends) != 0 || len(c.Stopped) != 1 || !a.Needed() {
		t.Fatalf("%+v needed %v", c, a.Needed())
	}
	o, _ := exchange(t, a, b)
	if len(o.Closed) != 1 || a.Needed() {
		t.Errorf("%+v needed %v", o, a.Needed())
	}
}

// An answer got lost and the offer was rolled back, but the other side has our
// section already. Either side's next offer heals that.
func TestLostAnswer(t *testing.T) {
	lost := func() (a, b *Session) {
		a, b = pair(t)
		a.SetSends([]Send{video("v")})
		must(b.HandleOffer(must(a.Offer())(t)))(t)
		a.Rollback()
		return a, b
	}
	a, b := lost()
	if o, c := exchange(t, b, a); len(o.Sends) != 1 || o.Sends[0].Mid != "w01" || a.Needed() || len(c.Closed) != 0 {
		t.Errorf("they offer: a %+v, b %+v", o, c)
	}
	a, b = lost()
	if o, c := exchange(t, a, b); len(c.Sends) != 1 || len(o.Opened) != 1 || len(o.Closed) != 1 || b.Needed() {
		t.Errorf("we offer: a %+v, b %+v", c, o)
	}
}

// A WHIP client of ours makes the first offer itself, without data channels.
func TestFirstOfferWithoutBootstrap(t *testing.T) {
	c, s := NewSession(Config{}), NewSession(Config{})
	c.SetLocal(local("client"))
	s.SetLocal(local("server"))
	c.SetSends([]Send{audio("a"), video("v")})
	o, mine := exchange(t, c, s)
	if len(o.Opened) != 2 || len(mine.Sends) != 2 || mine.Remote.Setup != "passive" || c.Needed() {
		t.Errorf("server %+v, client %+v", o, mine)
	}
	if c.current.role != "active" || s.current.role != "passive" {
		t.Errorf("roles %q and %q", c.current.role, s.current.role)
	}
}

// Dependency descriptors are for video, under the browser's id and with the
// direction reversed; an answer that lacks them ends them.
func TestDependencyDescriptor(t *testing.T) {
	for _, c := range []struct {
		name, fixture, line string
		id                  int
	}{
		{"chromium", "chromium-simulcast", "a=extmap:12 ", 12},
		{"firefox", "firefox-simulcast", "a=extmap:8/recvonly ", 8},
		{"not offered", "chromium-media-offer", "", 0},
		{"offered for audio", "audio", "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := ""
			if c.fixture == "audio" {
				text = strings.Replace(fixture(t, "chromium-simulcast"), "a=extmap:1 "+ExtAudioLevel, "a=extmap:12 "+ExtDependencyDescriptor, 1)
				text, _, _ = strings.Cut(text, "m=video")
				text = strings.Replace(text, "BUNDLE 0 1", "BUNDLE 0", 1)
			} else {
				text = fixture(t, c.fixture)
			}
			s := NewSession(Config{Polite: true, Application: true})
			s.SetLocal(local("u"))
			o := must(s.HandleOffer(text))(t)
			if c.line != "" {
				has(t, o.Answer, c.line+ExtDependencyDescriptor)
			} else {
				lacks(t, o.Answer, ExtDependencyDescriptor)
			}
			for _, r := range o.Opened {
				want := c.id
				if r.Kind == codec.Audio {
					want = 0
				}
				if got := r.Extensions[ExtDependencyDescriptor]; got != want {
					t.Errorf("%v has id %d, want %d", r.Kind, got, want)
				}
			}
		})
	}
	a, b := pair(t)
	a.SetSends([]Send{video("v")})
	answer := must(b.HandleOffer(must(a.Offer())(t)))(t).Answer
	var kept []string
	for line := range strings.Lines(answer) {
		if !strings.Contains(line, ExtDependencyDescriptor) && !strings.Contains(line, "extmap-allow-mixed") {
			kept = append(kept, line)
		}
	}
	c := must(a.HandleAnswer(strings.Join(kept, "")))(t)
	if n := c.Sends[0]; n.Extensions[ExtDependencyDescriptor] != 0 || n.Mixed {
		t.Errorf("%+v", n)
	}
}

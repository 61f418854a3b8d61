package sdp

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-rtc/weft/interceptors/codec"
)

const testFingerprint = "sha-256 12:34:56:78"

func fixture(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name+".sdp"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func fixtures(t testing.TB) map[string]string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.sdp")
	if err != nil || len(files) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	all := map[string]string{}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".sdp")
		all[name] = fixture(t, name)
	}
	return all
}

func local(ufrag string) Local {
	return Local{Ufrag: ufrag, Pwd: "password-of-" + ufrag, Fingerprint: testFingerprint}
}

// data is a data-only description as pion makes it.
func data(ufrag, setup string) string {
	return "v=0\r\no=- 4711 1700000000 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n" +
		"a=fingerprint:" + testFingerprint + "\r\na=extmap-allow-mixed\r\na=group:BUNDLE 0\r\n" +
		"m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=setup:" + setup +
		"\r\na=mid:0\r\na=sendrecv\r\na=sctp-port:5000\r\na=ice-ufrag:" + ufrag + "\r\na=ice-pwd:password-of-" + ufrag + "\r\n"
}

// pair returns two sessions after their first exchange; b answered and is the
// DTLS server.
func pair(t testing.TB) (a, b *Session) {
	t.Helper()
	a, b = NewSession(Config{}), NewSession(Config{Polite: true})
	offer, answer := data("aa1", "actpass"), data("bb1", "passive")
	if err := a.Bootstrap(offer, answer, true); err != nil {
		t.Fatal(err)
	}
	if err := b.Bootstrap(offer, answer, false); err != nil {
		t.Fatal(err)
	}
	return a, b
}

// booted returns one session that answered a data-only offer.
func booted(t testing.TB) *Session {
	t.Helper()
	_, b := pair(t)
	return b
}

func video(id string) Send {
	return Send{ID: id, Kind: codec.Video, StreamID: "s-" + id, TrackID: "t-" + id, SSRC: number(id), RTXSSRC: number(id) + 1}
}

func audio(id string) Send {
	return Send{ID: id, Kind: codec.Audio, StreamID: "s-" + id, TrackID: "t-" + id, SSRC: number(id)}
}

// number makes an SSRC of an id.
func number(id string) uint32 {
	n := uint32(1000)
	for _, c := range id {
		n = n*31 + uint32(c)*2
	}
	return n
}

// exchange lets from offer and to answer.
func exchange(t testing.TB, from, to *Session) (toChanges, fromChanges Changes) {
	t.Helper()
	offer := must(from.Offer())(t)
	o := must(to.HandleOffer(offer))(t)
	c := must(from.HandleAnswer(o.Answer))(t)
	return o.Changes, c
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// has fails unless the text has every line.
func has(t testing.TB, text string, lines ...string) {
	t.Helper()
	for _, l := range lines {
		if !strings.Contains(text, l+"\r\n") {
			t.Errorf("no line %q in\n%s", l, text)
		}
	}
}

func lacks(t testing.TB, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if strings.Contains(text, p) {
			t.Errorf("%q in\n%s", p, text)
		}
	}
}

// sectionsOf splits a description into its sections.
func sectionsOf(text string) []string {
	parts := strings.Split(text, "\r\nm=")
	for i, p := range parts[1:] {
		parts[i+1] = "m=" + p + "\r\n"
	}
	return parts[1:]
}

func payloadTypes(all []Payload) string {
	var words []string
	for _, p := range all {
		words = append(words, fmt.Sprintf("%s=%d/%d", p.Codec.Name, p.Type, p.RTX))
	}
	return strings.Join(words, " ")
}

package sdp

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func layered(id string, rids ...string) Send {
	s := video(id)
	for i, rid := range rids {
		n := 100 * uint32(i+1)
		s.Layers = append(s.Layers, Layer{RID: rid, SSRC: n, RTXSSRC: n + 1})
	}
	return s
}

func ridsOf(layers []Layer) string {
	var all []string
	for _, l := range layers {
		all = append(all, fmt.Sprintf("%s:%d:%d", l.RID, l.SSRC, l.RTXSSRC))
	}
	return strings.Join(all, " ")
}

func TestSendLayers(t *testing.T) {
	a, b := pair(t)
	a.SetSends([]Send{layered("v", "q", "h", "f")})
	offer := must(a.Offer())(t)
	x := sectionsOf(offer)[1]
	has(t, x, "a=rid:q send", "a=rid:h send", "a=rid:f send", "a=simulcast:send q;h;f", "a=sendonly", "a=msid:s-v t-v",
		"a=extmap:20 "+ExtRID, "a=extmap:21 "+ExtRepairedRID)
	lacks(t, x, "a=ssrc")
	o := must(b.HandleOffer(offer))(t)
	has(t, o.Answer, "a=rid:h recv", "a=simulcast:recv q;h;f")
	if r := o.Opened[0]; strings.Join(r.RIDs, " ") != "q h f" || r.SSRC != 0 || r.Extensions[ExtRID] != 20 || r.Extensions[ExtRepairedRID] != 21 {
		t.Errorf("%+v", r)
	}
	c := must(a.HandleAnswer(o.Answer))(t)
	if got := ridsOf(c.Sends[0].Layers); got != "q:100:101 h:200:201 f:300:301" || a.Needed() {
		t.Errorf("layers %s, needed %v", got, a.Needed())
	}

	// An offer of the other side keeps them.
	b.SetSends([]Send{audio("a")})
	offer = must(b.Offer())(t)
	has(t, sectionsOf(offer)[1], "a=rid:q recv", "a=simulcast:recv q;h;f", "a=recvonly")
	o = must(a.HandleOffer(offer))(t)
	has(t, sectionsOf(o.Answer)[1], "a=rid:q send", "a=simulcast:send q;h;f", "a=sendonly")
	lacks(t, sectionsOf(o.Answer)[1], "a=ssrc")
	if len(o.Sends)+len(o.Stopped) != 0 {
		t.Errorf("%+v", o.Changes)
	}
	if c = must(b.HandleAnswer(o.Answer))(t); len(c.Opened)+len(c.Closed)+len(c.Updated) != 0 {
		t.Errorf("%+v", c)
	}

	// Another number of layers is the same track still.
	for _, rids := range [][]string{{"q", "h", "f", "x"}, {"h"}} {
		a.SetSends([]Send{layered("v", rids...)})
		if !a.Needed() {
			t.Fatal("other layers need no offer")
		}
		got, sent := exchange(t, a, b)
		if len(got.Updated) != 1 || !slices.Equal(got.Updated[0].RIDs, rids) || len(got.Opened)+len(got.Closed) != 0 {
			t.Errorf("receiver: %+v", got)
		}
		if len(sent.Sends) != 1 || len(sent.Sends[0].Layers) != len(rids) || len(sent.Stopped) != 0 {
			t.Errorf("sender: %+v", sent)
		}
	}
}

// TestAnswersToLayers: an answer says which of the layers go, and whether any do.
func TestAnswersToLayers(t *testing.T) {
	without := func(words ...string) func(string) string {
		return func(answer string) string {
			var kept strings.Builder
			for line := range strings.Lines(answer) {
				if !slices.ContainsFunc(words, func(w string) bool { return strings.Contains(line, w) }) {
					kept.WriteString(line)
				}
			}
			return kept.String()
		}
	}
	for _, c := range []struct {
		name string
		edit func(string) string
		want string
	}{
		{"all", without(), "q:100:101 h:200:201 f:300:301"},
		{"browser", without("a=rid", "a=simulcast"), ""},
		{"list without rids", without("a=rid"), ""},
		{"rids without list", without("a=simulcast"), ""},
		{"some", func(s string) string { return strings.Replace(s, "recv q;h;f", "recv h;~f", 1) }, "h:200:201 f:300:301"},
		{"unknown", func(s string) string { return strings.Replace(s, "recv q;h;f", "recv x", 1) }, ""},
		{"other direction", func(s string) string { return strings.Replace(s, "recv q;h;f", "send q;h;f", 1) }, ""},
		{"no rid extension", without(ExtRID), ""},
		{"no mid extension", without(ExtMID), ""},
		{"no repaired rid extension", without(ExtRepairedRID), "q:100:0 h:200:0 f:300:0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := pair(t)
			a.SetSends([]Send{layered("v", "q", "h", "f")})
			o := must(b.HandleOffer(must(a.Offer())(t)))(t)
			s := must(a.HandleAnswer(c.edit(o.Answer)))(t).Sends[0]
			if got := ridsOf(s.Layers); got != c.want || s.SSRC != video("v").SSRC || s.RTXSSRC == 0 {
				t.Errorf("layers %q, want %q; %+v", got, c.want, s)
			}
			if a.Needed() {
				t.Error("an offer is needed again")
			}
		})
	}
}

func TestUnfitLayers(t *testing.T) {
	many := layered("v")
	for i := range 20 {
		many.Layers = append(many.Layers, Layer{RID: fmt.Sprint(i), SSRC: uint32(i + 1)})
	}
	for _, c := range []struct {
		name string
		send Send
		want int
	}{
		{"unfit names", layered("v", "", "q", "a b", "ä", "q", "a\r\nb", "12345678901234567", "f"), 2},
		{"too many", many, 16},
	} {
		a, b := pair(t)
		a.SetSends([]Send{c.send})
		if _, s := exchange(t, a, b); len(s.Sends[0].Layers) != c.want {
			t.Errorf("%s: %s", c.name, ridsOf(s.Sends[0].Layers))
		}
	}
}

// TestLayersLater: a track that begins with one stream may get layers; Firefox has
// its own numbers for the extensions.
func TestLayersLater(t *testing.T) {
	s := NewSession(Config{})
	firefox := strings.Replace(data("bb", "active"), "o=- 4711 ", "o=mozilla...THIS_IS_SDPARTA-99.0 4711 ", 1)
	if err := s.Bootstrap(data("aa", "actpass"), firefox, true); err != nil {
		t.Fatal(err)
	}
	s.SetSends([]Send{video("v")})
	lacks(t, must(s.Offer())(t), ExtRID, "a=simulcast")
	s.Rollback()
	s.SetSends([]Send{layered("v", "q", "h")})
	has(t, sectionsOf(must(s.Offer())(t))[1], "a=extmap:9 "+ExtRID, "a=extmap:10 "+ExtRepairedRID, "a=simulcast:send q;h")

	a, b := pair(t)
	a.SetSends([]Send{video("v")})
	exchange(t, a, b)
	a.SetSends([]Send{layered("v", "q", "h")})
	got, sent := exchange(t, a, b)
	if len(got.Closed) != 1 || len(got.Opened) != 1 || got.Opened[0].Extensions[ExtRID] != 20 || len(sent.Sends[0].Layers) != 2 {
		t.Errorf("%+v\n%+v", got, sent)
	}
	a.SetSends([]Send{video("v")})
	got, sent = exchange(t, a, b)
	if len(got.Opened) != 1 || got.Opened[0].SSRC != video("v").SSRC || len(sent.Sends) != 1 || sent.Sends[0].Layers != nil {
		t.Errorf("%+v\n%+v", got, sent)
	}
}

package sdp

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/weft-rtc/weft/interceptors/codec"
)

// A side is one session behind an ordered queue, with the changes it was told
// applied as package conn would apply them.
type side struct {
	*Session
	name     string
	inbox    []message
	wishes   []Send
	made     int
	receives map[string]Receive
	sends    map[string]Sending
	rolled   int
}

type message struct {
	offer bool
	text  string
}

func newSide(name string, s *Session) *side {
	return &side{Session: s, name: name, receives: map[string]Receive{}, sends: map[string]Sending{}}
}

// apply follows the documented order and fails on what cannot be.
func (d *side) apply(t *testing.T, c Changes) {
	t.Helper()
	for _, mid := range c.Closed {
		if _, ok := d.receives[mid]; !ok {
			t.Fatalf("%s: closed %q was not open", d.name, mid)
		}
		delete(d.receives, mid)
	}
	for _, r := range c.Opened {
		if _, ok := d.receives[r.Mid]; ok {
			t.Fatalf("%s: opened %q twice", d.name, r.Mid)
		}
		d.receives[r.Mid] = r
	}
	for _, r := range c.Updated {
		if _, ok := d.receives[r.Mid]; !ok {
			t.Fatalf("%s: updated %q was not open", d.name, r.Mid)
		}
		d.receives[r.Mid] = r
	}
	for _, id := range c.Stopped {
		delete(d.sends, id)
	}
	for _, s := range c.Sends {
		d.sends[s.ID] = s
	}
}

// wish changes the wishes by one: add, remove, replace, renumber or layer.
func (d *side) wish(r *rand.Rand, most int) {
	fresh := func() Send {
		d.made++
		id := fmt.Sprintf("%s%d", d.name, d.made)
		switch r.IntN(4) {
		case 0, 1:
			return audio(id)
		case 2:
			return layered(id, "q", "h", "f")
		}
		return video(id)
	}
	d.wishes = slices.Clone(d.wishes)
	at := 0
	if len(d.wishes) > 0 {
		at = r.IntN(len(d.wishes))
	}
	switch action := r.IntN(6); {
	case action == 5 && len(d.wishes) > 0 && d.wishes[at].Kind == codec.Video: // more or fewer layers
		d.wishes[at].Layers = layered("", []string{"q", "h", "f"}[:r.IntN(4)]...).Layers
	case action < 2 && len(d.wishes) < most:
		d.wishes = append(d.wishes, fresh())
	case action == 4 && len(d.wishes) > 0:
		d.wishes[at].SSRC += 100000
	case action == 3 && len(d.wishes) > 0:
		d.wishes[at] = fresh()
	case len(d.wishes) > 0:
		d.wishes = slices.Delete(d.wishes, at, at+1)
	}
	d.SetSends(d.wishes)
}

// offer starts an exchange if one is needed.
func (d *side) offer(t *testing.T, to *side) bool {
	t.Helper()
	if !d.Needed() {
		return false
	}
	text := must(d.Offer())(t)
	checkMids(t, text)
	to.inbox = append(to.inbox, message{true, text})
	return true
}

// deliver hands d the oldest message of its inbox.
func (d *side) deliver(t *testing.T, to *side) bool {
	t.Helper()
	if len(d.inbox) == 0 {
		return false
	}
	m := d.inbox[0]
	d.inbox = d.inbox[1:]
	if !m.offer {
		d.apply(t, must(d.HandleAnswer(m.text))(t))
		return true
	}
	o := must(d.HandleOffer(m.text))(t)
	if o.Ignored {
		return true
	}
	if o.Collided {
		d.rolled++
	}
	d.apply(t, o.Changes)
	checkMids(t, o.Answer)
	to.inbox = append(to.inbox, message{false, o.Answer})
	return true
}

func checkMids(t *testing.T, text string) {
	t.Helper()
	d := must(parse(text, 256))(t) // fails on a mid that lives twice
	for _, m := range d.media {
		if !m.dead() != slices.Contains(d.bundle, m.mid) {
			t.Fatalf("section %d: dead %v, bundle %v", m.index, m.dead(), d.bundle)
		}
	}
}

// settled compares what one side receives with what the other wishes to send.
func settled(t *testing.T, from, to *side) {
	t.Helper()
	if len(to.receives) != len(from.wishes) || len(from.sends) != len(from.wishes) {
		t.Fatalf("%s has %d wishes, %d sends; %s receives %d", from.name, len(from.wishes), len(from.sends), to.name, len(to.receives))
	}
	for _, w := range from.wishes {
		s, ok := from.sends[w.ID]
		r := to.receives[s.Mid]
		var rids []string
		for _, l := range w.Layers {
			rids = append(rids, l.RID)
		}
		if !slices.Equal(s.Layers, w.Layers) || !slices.Equal(r.RIDs, rids) {
			t.Fatalf("%s wishes layers %+v, sends %+v, %s receives %v", from.name, w.Layers, s.Layers, to.name, r.RIDs)
		}
		if len(rids) > 0 {
			r.SSRC, r.RTXSSRC = w.SSRC, w.RTXSSRC // which nobody declares
		}
		if !ok || r.Kind != w.Kind || r.StreamID != w.StreamID || r.TrackID != w.TrackID || r.SSRC != w.SSRC || r.RTXSSRC != w.RTXSSRC {
			t.Fatalf("%s wishes %+v, sends %+v, %s receives %+v", from.name, w, s, to.name, r)
		}
		if s.SSRC != r.SSRC || !samePayloads(s.Payloads, r.Payloads) || !reflect.DeepEqual(s.Extensions, r.Extensions) {
			t.Fatalf("%s sends %+v, %s receives %+v", from.name, s, to.name, r)
		}
	}
}

// Two sessions change their wishes at random moments while their descriptions
// travel in two ordered queues, and then must agree.
func TestConverges(t *testing.T) {
	const seeds, steps, most = 80, 120, 4
	collisions := 0
	for seed := range uint64(seeds) {
		r := rand.New(rand.NewPCG(seed, 1))
		sa, sb := pair(t)
		a, b := newSide("a", sa), newSide("b", sb)
		for range steps {
			from, to := a, b
			if r.IntN(2) == 0 {
				from, to = b, a
			}
			switch n := r.IntN(10); {
			case n < 3:
				from.wish(r, most)
			case n < 6:
				from.offer(t, to)
			case n < 9:
				from.deliver(t, to)
			case r.IntN(8) == 0:
				l := from.local
				l.Ufrag += "x"
				from.SetLocal(l)
			}
		}
		finish(t, seed, a, b)
		settled(t, a, b)
		settled(t, b, a)
		if n := len(a.current.sections); n > 1+4*most || n != len(b.current.sections) {
			t.Fatalf("seed %d: %d sections", seed, n)
		}
		if a.Remote().Ufrag != b.local.Ufrag || b.Remote().Ufrag != a.local.Ufrag {
			t.Fatalf("seed %d: ufrags differ", seed)
		}
		if a.rolled > 0 {
			t.Fatalf("seed %d: the impolite side rolled back", seed)
		}
		collisions += b.rolled
	}
	if collisions < seeds {
		t.Errorf("only %d collisions in %d runs", collisions, seeds)
	}
}

// finish runs until nothing is to say any more.
func finish(t *testing.T, seed uint64, a, b *side) {
	t.Helper()
	for range 100 {
		busy := a.deliver(t, b)
		busy = b.deliver(t, a) || busy
		busy = a.offer(t, b) || busy
		busy = b.offer(t, a) || busy
		if !busy {
			if a.State() != Stable || b.State() != Stable {
				t.Fatalf("seed %d: %v and %v with nothing to say", seed, a.State(), b.State())
			}
			return
		}
	}
	t.Fatalf("seed %d: does not converge", seed)
}

// Both sides publish at the same moment, again and again.
func TestCollidesEveryTime(t *testing.T) {
	sa, sb := pair(t)
	a, b := newSide("a", sa), newSide("b", sb)
	for i := range 100 {
		a.wishes, b.wishes = []Send{video(fmt.Sprint("a", i))}, []Send{audio(fmt.Sprint("b", i))}
		a.SetSends(a.wishes)
		b.SetSends(b.wishes)
		a.offer(t, b)
		b.offer(t, a)
		finish(t, uint64(i), a, b)
		settled(t, a, b)
		settled(t, b, a)
	}
	if b.rolled != 100 {
		t.Errorf("%d collisions", b.rolled)
	}
	if n := len(b.current.sections); n > 5 {
		t.Errorf("%d sections", n)
	}
}

// A hostile numbering must not use up ours or make it long.
func TestForeignMidsOfOurForm(t *testing.T) {
	a, b := pair(t)
	a.SetSends([]Send{video("v")})
	offer := must(a.Offer())(t)
	must(b.HandleOffer(strings.ReplaceAll(offer, "w01", "wzzzzzzzzzzzz")))(t)
	b.SetSends([]Send{video("x")})
	has(t, must(b.Offer())(t), "a=mid:w01")
	b.Rollback()
	must(b.HandleOffer(strings.ReplaceAll(offer, "w01", "w1z")))(t)
	has(t, must(b.Offer())(t), "a=mid:w20")
}

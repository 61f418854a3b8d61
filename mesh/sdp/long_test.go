package sdp

import (
	"errors"
	"fmt"
	"testing"
)

// A crowd is a hub's session with a viewer, who is sent a number of streams.
type crowd struct {
	hub, viewer *Session
	wishes      []Send
	made        int
	offer       int // bytes of the last one
}

func newCrowd(t testing.TB, streams int) *crowd {
	c := &crowd{}
	c.hub, c.viewer = pair(t)
	for range streams {
		c.made++
		c.wishes = append(c.wishes, c.stream())
	}
	c.negotiate(t)
	return c
}

// stream makes a wish with ids of the same length as all others.
func (c *crowd) stream() Send {
	s := video(fmt.Sprintf("v%05d", c.made))
	if c.made%2 == 0 {
		s = audio(fmt.Sprintf("a%05d", c.made))
	}
	s.SSRC = 4_000_000_000 + 2*uint32(c.made)
	if s.RTXSSRC != 0 {
		s.RTXSSRC = s.SSRC + 1
	}
	return s
}

func (c *crowd) negotiate(t testing.TB) {
	t.Helper()
	c.hub.SetSends(c.wishes)
	offer := must(c.hub.Offer())(t)
	c.offer = len(offer)
	o := must(c.viewer.HandleOffer(offer))(t)
	must(c.hub.HandleAnswer(o.Answer))(t)
}

// turn replaces the oldest n streams by new ones of their kinds.
func (c *crowd) turn(t testing.TB, n int) {
	t.Helper()
	for _, old := range c.wishes[:n] {
		c.made++
		for c.stream().Kind != old.Kind {
			c.made++
		}
		c.wishes = append(c.wishes, c.stream())
	}
	c.wishes = c.wishes[n:]
	c.negotiate(t)
}

// After a thousand streams have come and gone a negotiation is what it was.
func TestNegotiationStaysTheSame(t *testing.T) {
	c := newCrowd(t, 50)
	const n = 4
	c.turn(t, n) // the first ones leave stubs, which from now on are used again
	sections, offer := len(c.hub.current.sections), c.offer
	allocs := testing.AllocsPerRun(10, func() { c.turn(t, n) })
	for range 1000 / n {
		c.turn(t, n)
	}
	later := testing.AllocsPerRun(10, func() { c.turn(t, n) })
	t.Logf("%d sections, %d bytes, %.0f allocations; later %d, %d, %.0f",
		sections, offer, allocs, len(c.hub.current.sections), c.offer, later)
	if n := len(c.hub.current.sections); n != sections || n != len(c.viewer.current.sections) {
		t.Errorf("%d sections, the viewer has %d, before there were %d", n, len(c.viewer.current.sections), sections)
	}
	if c.offer > offer+4*50 { // mids and the version grow by digits
		t.Errorf("offer of %d bytes, before it was %d", c.offer, offer)
	}
	if later > 1.02*allocs {
		t.Errorf("%.0f allocations, before it was %.0f", later, allocs)
	}
	for name, s := range map[string]*Session{"hub": c.hub, "viewer": c.viewer} {
		if n := len(s.refused); n != 0 {
			t.Errorf("%s: %d refused", name, n)
		}
		r := s.current.registry
		if len(r.extURI) > 8 || len(r.extID) > 8 || len(r.payloads) > 8 {
			t.Errorf("%s: %d extension ids, %d codecs", name, len(r.extURI), len(r.payloads))
		}
	}
}

// Streams for which there was no room are offered when others have gone.
func TestCrowdedStreamsComeLater(t *testing.T) {
	for _, c := range []struct {
		name     string
		sections int
		wishes   int
	}{
		{"sections", 21, 30},
		{"bytes", 0, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			hub, viewer := pair(t)
			if c.sections > 0 {
				hub.cfg.MaxSections = c.sections
			}
			var wishes []Send
			for i := range c.wishes {
				wishes = append(wishes, video(fmt.Sprint("v", i)))
			}
			there := map[string]bool{}
			settle := func() (offers int) {
				hub.SetSends(wishes)
				for hub.Needed() {
					if offers++; offers > 6 {
						t.Fatal("does not come to rest")
					}
					offer, err := hub.Offer()
					for errors.Is(err, ErrTooLarge) {
						offer, err = hub.Offer()
					}
					o := must(viewer.HandleOffer(must(offer, err)(t)))(t)
					changes := must(hub.HandleAnswer(o.Answer))(t)
					for _, id := range changes.Stopped {
						delete(there, id)
					}
					for _, s := range changes.Sends {
						there[s.ID] = true
					}
				}
				return offers
			}
			settle()
			room := len(there)
			if room == c.wishes || room < 20 {
				t.Fatalf("%d of %d are there", room, c.wishes)
			}
			wishes = wishes[c.wishes-room+5:]
			t.Log(room, "had room, after", settle(), "more offers", len(there), "of", len(wishes))
			for _, w := range wishes {
				if !there[w.ID] {
					t.Errorf("%s is not there", w.ID)
				}
			}
			if len(hub.crowded) > 0 {
				t.Errorf("left over: %v", hub.crowded)
			}
		})
	}
}

// BenchmarkNegotiation is one exchange in which one stream is replaced, both
// sides together: of a few and of 50, at first and after a thousand.
func BenchmarkNegotiation(b *testing.B) {
	for _, bb := range []struct{ streams, turns int }{{2, 0}, {50, 0}, {50, 1000}} {
		b.Run(fmt.Sprintf("%d streams after %d", bb.streams, bb.turns), func(b *testing.B) {
			c := newCrowd(b, bb.streams)
			for range bb.turns {
				c.turn(b, 1)
			}
			b.ReportAllocs()
			for b.Loop() {
				c.turn(b, 1)
			}
			b.ReportMetric(float64(c.offer), "bytes/offer")
		})
	}
}

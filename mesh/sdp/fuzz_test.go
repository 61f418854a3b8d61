package sdp

import (
	"strings"
	"testing"
)

func seed(f *testing.F) {
	for _, c := range malformed {
		if len(c.text) < 10000 {
			f.Add(c.text)
		}
	}
	for _, text := range fixtures(f) {
		f.Add(text)
	}
	f.Add(data("x", "active"))
	f.Add(head + liveVideo)
}

// steady checks what must hold after anything was taken: we can offer, the
// offer can be read, and the offer's answer by another session of ours fits.
func steady(t *testing.T, s *Session) {
	t.Helper()
	offer, err := s.Offer()
	if err != nil {
		t.Fatalf("no offer after it: %v", err)
	}
	other := NewSession(Config{Application: true})
	other.SetLocal(local("other"))
	o, err := other.HandleOffer(offer)
	if err != nil {
		t.Fatalf("our offer is refused: %v\n%s", err, offer)
	}
	if _, err := s.HandleAnswer(o.Answer); err != nil {
		t.Fatalf("its answer is refused: %v\n%s\n%s", err, offer, o.Answer)
	}
}

func FuzzHandleOffer(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, text string) {
		s := NewSession(Config{Polite: true, Application: true})
		s.SetLocal(local("u"))
		s.SetSends([]Send{video("v"), audio("a")})
		if _, err := s.Offer(); err != nil {
			t.Fatal(err)
		}
		o, err := s.HandleOffer(text)
		if err != nil {
			if s.State() != HaveLocalOffer || len(s.current.sections) != 0 {
				t.Fatal("an error changed the state")
			}
			return
		}
		if strings.Contains(o.Answer, "\n\n") || strings.Count(o.Answer, "\r") != strings.Count(o.Answer, "\n") {
			t.Fatalf("line ends in %q", o.Answer)
		}
		if _, err := parse(o.Answer, 256); err != nil {
			t.Fatalf("our answer cannot be read: %v\n%s", err, o.Answer)
		}
		steady(t, s)
	})
}

func FuzzHandleAnswer(f *testing.F) {
	seed(f)
	s, peer := pair(f)
	s.SetSends([]Send{video("v"), audio("a")})
	f.Add(must(peer.HandleOffer(must(s.Offer())(f)))(f).Answer)
	f.Fuzz(func(t *testing.T, text string) {
		s, _ := pair(t)
		s.SetSends([]Send{video("v"), audio("a")})
		if _, err := s.Offer(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.HandleAnswer(text); err != nil {
			s.Rollback()
		}
		if s.State() != Stable {
			t.Fatalf("state %v", s.State())
		}
		steady(t, s)
	})
}

package sdp

import (
	"slices"
	"strings"
	"testing"
)

var fragments = []struct {
	name, text string
	want       Fragment
	bad        bool
}{
	{"candidates by section", "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n" +
		"a=candidate:1 1 udp 5 192.0.2.1 9 typ host\r\na=candidate:2 1 udp 4 192.0.2.2 9 typ host\r\na=end-of-candidates\r\n",
		Fragment{"EsAw", "P2uYro0UCOQ4zxjKXaWCBui1", []Candidate{{"candidate:1 1 udp 5 192.0.2.1 9 typ host", "0"}, {"candidate:2 1 udp 4 192.0.2.2 9 typ host", "0"}}, true}, false},
	{"credentials within the section", "m=audio 9 UDP/TLS/RTP/SAVPF 0\na=mid:x\na=ice-ufrag:EsAw\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\n",
		Fragment{Ufrag: "EsAw", Pwd: "P2uYro0UCOQ4zxjKXaWCBui1"}, false},
	{"the end alone", "a=end-of-candidates\r\n", Fragment{End: true}, false},
	{"nothing", "", Fragment{}, true},
	{"nothing of use", "a=mid:0\r\n", Fragment{}, true},
	{"half of the credentials", "a=ice-ufrag:EsAw\r\n", Fragment{}, true},
	{"no description", "hello", Fragment{}, true},
	{"too many candidates", strings.Repeat("a=candidate:1 1 udp 5 192.0.2.1 9 typ host\r\n", maxCandidates+1), Fragment{}, true},
	{"too long", strings.Repeat("a=mid:0\r\n", maxDescription/9+1), Fragment{}, true},
}

func TestFragment(t *testing.T) {
	for _, tt := range fragments {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ReadFragment(tt.text)
			if (err != nil) != tt.bad {
				t.Fatal(err)
			}
			same := func(a, b Fragment) bool {
				return a.Ufrag == b.Ufrag && a.Pwd == b.Pwd && a.End == b.End && slices.Equal(a.Candidates, b.Candidates)
			}
			if !same(got, tt.want) {
				t.Errorf("got %+v", got)
			}
			if again, err := ReadFragment(got.String()); err == nil && !same(again, got) || (err != nil) != tt.bad {
				t.Errorf("written and read: %+v, %v", again, err)
			}
		})
	}
}

func FuzzFragment(f *testing.F) {
	for _, tt := range fragments {
		f.Add(tt.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ReadFragment(text)
		if err != nil {
			return
		}
		if _, err := ReadFragment(got.String()); err != nil {
			t.Errorf("%v in what was written: %q", err, got.String())
		}
		Restarted(text, got)
		_, _ = ReadSections(text)
	})
}

func TestRestarted(t *testing.T) {
	for name, text := range fixtures(t) {
		next := Restarted(text, Fragment{Ufrag: "next", Pwd: "password-of-next", Candidates: []Candidate{{Text: "candidate:7 1 udp 5 192.0.2.7 9 typ host"}}})
		r, err := ReadRemote(next)
		if err != nil || r.Ufrag != "next" || r.Pwd != "password-of-next" || len(r.Candidates) != 1 {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

// TestSendOnly: a player that says sendrecv only means to receive.
func TestSendOnly(t *testing.T) {
	s := NewSession(Config{Polite: true, SendOnly: true})
	l := local("srv")
	l.Candidates, l.Complete = []string{"candidate:1 1 udp 1 192.0.2.1 7882 typ host"}, true
	s.SetLocal(l)
	s.SetSends([]Send{video("v"), audio("a")})
	o := must(s.HandleOffer(fixture(t, "chromium-addtrack")))(t)
	if len(o.Sends) != 2 || len(o.Opened) != 0 {
		t.Errorf("%+v", o.Changes)
	}
	for _, x := range sectionsOf(o.Answer) {
		has(t, x, "a=sendonly", "a=ice-options:trickle")
	}
	if strings.Count(o.Answer, "a=end-of-candidates") != 1 {
		t.Errorf("the end of candidates is not said once:\n%s", o.Answer)
	}
}

func TestReadSections(t *testing.T) {
	all := must(ReadSections(fixture(t, "obs")))(t)
	if len(all) != 2 || all[0].Kind != "audio" || all[1].Kind != "video" || !all[1].Live || !all[1].Sends || all[1].Receives {
		t.Errorf("%+v", all)
	}
}

func TestLite(t *testing.T) {
	text := strings.Replace(fixture(t, "obs"), "t=0 0\r\n", "t=0 0\r\na=ice-lite\r\n", 1)
	if r := must(ReadRemote(text))(t); !r.Lite {
		t.Error("not lite")
	}
}

package signal

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

func candidate(n int, ufrag string) Candidate {
	c := Candidate{Candidate: "candidate:" + strconv.Itoa(n)}
	if ufrag != "" {
		c.UsernameFragment = &ufrag
	}
	return c
}

// TestCandidateQueueVectors walks through the steps of the vectors, which are
// one story: "push" holds back what does not apply, "pull" takes.
func TestCandidateQueueVectors(t *testing.T) {
	v := golden(t).CandidateQueue
	first, other := FirstUfrag(v.Description), "Zz9/"
	var q, long CandidateQueue
	push := func(c Candidate, ufrag string) any {
		if Applies(c, ufrag) {
			return false
		}
		q.Hold("p", c)
		return true
	}
	pull := func(ufrag string) any { return len(q.Take("p", ufrag)) }
	for i := range 130 {
		long.Hold("p", candidate(i, first))
	}
	kept := long.Take("p", first)
	steps := map[string]func() any{
		"push with no remote description":                  func() any { return push(candidate(1, first), "") },
		"pull with a matching description":                 func() any { return pull(first) },
		"push with a matching description":                 func() any { return push(candidate(2, first), first) },
		"push with another ufrag":                          func() any { return push(candidate(3, other), first) },
		"pull with a description of the first ufrag":       func() any { return pull(first) },
		"pull later with a description of the other ufrag": func() any { return pull(other) },
		"push of a candidate without usernameFragment":     func() any { return push(candidate(4, ""), first) },
		"pull never gives it back":                         func() any { return pull(first) },
		"130 queued, how many are kept":                    func() any { return len(kept) },
		"the oldest kept is number":                        func() any { return strings.TrimPrefix(kept[0].Candidate, "candidate:") },
	}
	for _, s := range v.Steps {
		t.Run(s.What, func(t *testing.T) {
			step := steps[s.What]
			if step == nil {
				t.Fatal("unknown step")
			}
			if got := fmt.Sprint(step()); got != string(s.Result) {
				t.Errorf("got %s, want %s", got, s.Result)
			}
		})
	}
}

func TestCandidateQueueKeepsPeersApart(t *testing.T) {
	var q CandidateQueue
	q.Hold("a", candidate(1, "x"))
	q.Hold("b", candidate(2, "x"))
	q.Hold("a", candidate(3, "y"))
	q.Hold("a", candidate(4, "x"))
	if got := q.Take("a", "x"); len(got) != 2 || got[0].Candidate != "candidate:1" || got[1].Candidate != "candidate:4" {
		t.Errorf("a x: %+v", got)
	}
	q.Forget("a")
	q.Forget("nobody")
	if got := q.Take("a", "y"); got != nil {
		t.Errorf("a was not forgotten: %+v", got)
	}
	if got := q.Take("b", "x"); len(got) != 1 {
		t.Errorf("b x: %+v", got)
	}
	if q.total != 0 || q.order.Len() != 0 || len(q.peers) != 0 {
		t.Errorf("%d candidates of %d peers left", q.total, len(q.peers))
	}
}

func TestCandidateQueueIsBounded(t *testing.T) {
	var q CandidateQueue
	for i := range 2 * maxHeldPeers {
		q.Hold(PeerID(strconv.Itoa(i)), candidate(i, "x"))
	}
	if len(q.peers) != maxHeldPeers || q.total != maxHeldPeers {
		t.Errorf("%d candidates of %d peers", q.total, len(q.peers))
	}
	q = CandidateQueue{}
	for i := range 3 * maxHeldTotal {
		q.Hold(PeerID(strconv.Itoa(i/maxHeld)), candidate(i, "x"))
	}
	if q.total > maxHeldTotal || q.total < maxHeldTotal-maxHeld {
		t.Errorf("%d candidates", q.total)
	}
	q.Hold("long", Candidate{Candidate: strings.Repeat("x", MaxCandidate), UsernameFragment: new(string)})
	q.Hold("long", candidate(1, strings.Repeat("x", MaxCandidate)))
	if q.Take("long", strings.Repeat("x", MaxCandidate)) != nil {
		t.Error("kept a candidate that is too long")
	}
}

func TestFirstUfrag(t *testing.T) {
	for sdp, want := range map[string]string{
		"":                                 "",
		"v=0\r\n":                          "",
		"v=0\r\na=ice-ufrag:Ab1+\r\nx=1":   "Ab1+",
		"a=ice-ufrag:one\na=ice-ufrag:two": "one",
		"a=x a=ice-ufrag:no":               "",
	} {
		if got := FirstUfrag(sdp); got != want {
			t.Errorf("%q: %q, want %q", sdp, got, want)
		}
	}
}

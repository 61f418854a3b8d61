package signal

import (
	"container/list"
	"strings"
	"sync"
)

const (
	// maxHeld is how many candidates are kept for one peer.
	maxHeld = 100
	// maxHeldPeers and maxHeldTotal bound the queue as a whole: at MaxCandidate
	// bytes each, 8192 candidates are 8 MiB.
	maxHeldPeers = 1024
	maxHeldTotal = 8192
)

// CandidateQueue keeps candidates that came over a driver before the
// description that they belong to. The two are told apart by the ICE username
// fragment: a candidate waits until its peer's remote description has the same.
//
// At most 100 candidates are kept for each peer, the oldest is dropped first;
// and when there are too many in all, those of the peer that was silent for
// longest. The zero value is ready; it is safe for concurrent use and never
// blocks.
type CandidateQueue struct {
	mu    sync.Mutex
	order list.List // of *held, the peer heard from last in front
	peers map[PeerID]*list.Element
	total int
}

type held struct {
	peer       PeerID
	candidates []Candidate // oldest first
}

// Applies reports whether a candidate that came over a driver may be used with
// a remote description that has the username fragment ufrag ("" for no
// description). Others are to be held.
func Applies(c Candidate, ufrag string) bool { return ufrag != "" && c.Ufrag() == ufrag }

// Hold keeps a candidate of a peer. One without a username fragment can never
// be matched and is dropped at once.
func (q *CandidateQueue) Hold(peer PeerID, c Candidate) {
	if c.Ufrag() == "" || c.check() != nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	h := q.touch(peer)
	if len(h.candidates) == maxHeld {
		h.candidates = append(h.candidates[:0], h.candidates[1:]...)
		q.total--
	}
	h.candidates = append(h.candidates, c)
	q.total++
	for q.order.Len() > maxHeldPeers || q.total > maxHeldTotal {
		q.remove(q.order.Back())
	}
}

// Take returns the candidates of a peer that have the given username fragment,
// oldest first, and forgets them. The others stay.
func (q *CandidateQueue) Take(peer PeerID, ufrag string) []Candidate {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.peers[peer]
	if e == nil {
		return nil
	}
	h := e.Value.(*held)
	var taken, kept []Candidate
	for _, c := range h.candidates {
		if Applies(c, ufrag) {
			taken = append(taken, c)
		} else {
			kept = append(kept, c)
		}
	}
	q.total -= len(taken)
	h.candidates = kept
	if len(kept) == 0 {
		q.remove(e)
	}
	return taken
}

// Forget drops all candidates of a peer.
func (q *CandidateQueue) Forget(peer PeerID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e := q.peers[peer]; e != nil {
		q.remove(e)
	}
}

// touch returns what is held for a peer, as the one heard from last.
func (q *CandidateQueue) touch(peer PeerID) *held {
	if e := q.peers[peer]; e != nil {
		q.order.MoveToFront(e)
		return e.Value.(*held)
	}
	if q.peers == nil {
		q.peers = make(map[PeerID]*list.Element)
	}
	h := &held{peer: peer}
	q.peers[peer] = q.order.PushFront(h)
	return h
}

func (q *CandidateQueue) remove(e *list.Element) {
	h := q.order.Remove(e).(*held)
	delete(q.peers, h.peer)
	q.total -= len(h.candidates)
}

// FirstUfrag returns the first ICE username fragment of a description (RFC 8839
// section 5.4), or "".
func FirstUfrag(sdp string) string {
	for line := range strings.SplitSeq(sdp, "\n") {
		if ufrag, ok := strings.CutPrefix(line, "a=ice-ufrag:"); ok {
			return strings.TrimSpace(ufrag)
		}
	}
	return ""
}

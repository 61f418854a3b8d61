package whip

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/weft-rtc/weft/mesh/sdp"
)

// fake is a Backend that says what its offers ask for.
type fake struct {
	mu    sync.Mutex
	open  map[*fakeSession]bool
	last  Offer
	begun int
}

const ourAnswer = "v=0\r\nour answer\r\n"

func (f *fake) Begin(ctx context.Context, o Offer) (Session, Answer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = o
	switch {
	case o.Room == "full":
		return nil, Answer{}, fmt.Errorf("room: %w", ErrFull)
	case o.Room == "none":
		return nil, Answer{}, ErrNotFound
	case o.Room == "silent":
		return nil, Answer{}, fmt.Errorf("room silent: %w", ErrNotPublished)
	case o.Room == "broken":
		return nil, Answer{}, fmt.Errorf("secret")
	case o.Room == "panic":
		panic("fake")
	case !strings.HasPrefix(o.SDP, "v=0"):
		return nil, Answer{}, ErrMalformed
	case strings.Contains(o.SDP, "two videos"):
		return nil, Answer{}, ErrUnacceptable
	}
	s := &fakeSession{fake: f, ended: o.Ended, ufrag: "first"}
	if f.open == nil {
		f.open = map[*fakeSession]bool{}
	}
	f.open[s] = true
	f.begun++
	if o.Action == Publish {
		return s, Answer{SDP: ourAnswer}, nil
	}
	return &fakePlayer{fakeSession: s}, Answer{SDP: ourAnswer, Counter: strings.Contains(o.SDP, "counter")}, nil
}

func (f *fake) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.open)
}

// one returns a session that is open.
func (f *fake) one() *fakeSession {
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range f.open {
		return s
	}
	return nil
}

type fakeSession struct {
	fake  *fake
	ended func()
	ufrag string
	got   []sdp.Candidate
}

func (s *fakeSession) Fragment(_ context.Context, f sdp.Fragment) (sdp.Fragment, error) {
	s.got = append(s.got, f.Candidates...)
	switch f.Ufrag {
	case "", s.ufrag:
		return sdp.Fragment{}, nil
	case "refused":
		return sdp.Fragment{}, ErrUnacceptable
	}
	s.ufrag = f.Ufrag
	return sdp.Fragment{Ufrag: "ours", Pwd: "password-of-ours", End: true}, nil
}

func (s *fakeSession) End() {
	s.fake.mu.Lock()
	open := s.fake.open[s]
	delete(s.fake.open, s)
	s.fake.mu.Unlock()
	if open {
		s.ended()
	}
}

type fakePlayer struct {
	*fakeSession
	choice Choice
}

func (p *fakePlayer) Accept(_ context.Context, answer string) error {
	if !strings.HasPrefix(answer, "v=0") {
		return ErrMalformed
	}
	return nil
}

func (p *fakePlayer) Choose(c Choice) error {
	if c.Encoding == "nothing" {
		return ErrUnacceptable
	}
	p.choice = c
	return nil
}

func (p *fakePlayer) Status() Status {
	return Status{Active: true, Viewers: 3, Media: []Media{{Mid: "1", Layers: []Layer{
		{Encoding: "q", Width: 160, Height: 90, Bitrate: 60_000, Active: true, Current: true},
		{Encoding: "f", Width: 640, Height: 360, Bitrate: 420_000},
	}}}}
}

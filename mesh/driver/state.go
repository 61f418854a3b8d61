package driver

import (
	"slices"
	"sync"
)

// State is the active flag of a driver and those who watch it: it implements
// Active and Watch, for drivers to embed or keep. The zero value is inactive
// and ready; it is safe for concurrent use.
type State struct {
	turn sync.Mutex // held while watchers are called, so that they see changes in order

	mu       sync.Mutex
	active   bool
	closed   bool
	watchers []*func(bool)
}

// Active reports the state that was set last.
func (s *State) Active() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.active
}

// Watch implements Driver.Watch.
func (s *State) Watch(changed func(active bool)) (cancel func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := &changed
	s.watchers = append(s.watchers, w)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		// Not in place: Set may be walking over the old list.
		s.watchers = slices.DeleteFunc(slices.Clone(s.watchers), func(o *func(bool)) bool { return o == w })
	}
}

// Set changes the state and calls the watchers if it is another; it returns
// after them. It does nothing after Close.
func (s *State) Set(active bool) {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.mu.Lock()
	if s.closed || s.active == active {
		s.mu.Unlock()
		return
	}
	s.active = active
	watchers := slices.Clone(s.watchers)
	s.mu.Unlock()
	for _, w := range watchers {
		(*w)(active)
	}
}

// Close makes the state inactive for good without a word to the watchers. It
// reports whether this was the first call, and does not wait for calls that are
// under way.
func (s *State) Close() (first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first = !s.closed
	s.active, s.closed, s.watchers = false, true, nil
	return first
}

// Closed reports whether Close was called.
func (s *State) Closed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

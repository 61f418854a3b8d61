package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/weft-rtc/weft/publish"
)

// Errors of addons.
var (
	// ErrAttached: an addon of that name is attached already.
	ErrAttached = errors.New("addon is attached already")
	// ErrDetached: the addon is detached.
	ErrDetached = errors.New("addon is detached")
)

// An Addon extends a Peer: it listens to its events, publishes, opens channels,
// has a say in who is let in, or looks at media. It does all of it through the
// Scope that it is given, which takes everything back when the addon is
// detached.
type Addon interface {
	// Attach sets the addon up. It is called on the goroutine of Peer.Attach. If
	// it fails or panics, everything that it did through s is undone.
	Attach(s *Scope) error
}

// AddonFunc is an Addon that is nothing but a function.
type AddonFunc func(s *Scope) error

// Attach calls f.
func (f AddonFunc) Attach(s *Scope) error { return f(s) }

// Scope is what an addon has of a Peer. Its methods may be called from any
// goroutine, until the addon is detached; then they fail or do nothing.
type Scope struct {
	peer  *Peer
	name  string
	addon Addon
	ctx   context.Context
	end   context.CancelFunc

	mu       sync.Mutex
	undo     []deferred // in reverse order
	detached bool

	// Guarded by Peer.mu.
	verify func(next VerifyFunc) VerifyFunc
	taps   []*tap
}

// deferred is something to do when the addon is detached.
type deferred struct {
	what any // by what it is known; nil if it need not be
	do   func()
}

// Attach adds an addon under a name of the caller's choice. It fails with
// ErrAttached if the name is in use, with ErrClosed after Close, with ErrDetached
// if the addon was detached before it was set up, or with the error of the addon.
// Nothing is left of it then.
func (p *Peer) Attach(name string, a Addon) error {
	s := &Scope{peer: p, name: name, addon: a}
	s.ctx, s.end = context.WithCancel(context.Background())
	err := p.admit(s)
	if err == nil {
		err = s.attach()
	}
	if err == nil && s.ctx.Err() != nil {
		err = ErrDetached
	}
	if err != nil {
		s.detach()
		return fmt.Errorf("attach %q: %w", name, err)
	}
	return nil
}

// admit enters a scope that is new.
func (p *Peer) admit(s *Scope) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.sealed:
		return ErrClosed
	case p.addons[s.name] != nil:
		return ErrAttached
	}
	p.addons[s.name] = s
	p.attached = append(p.attached, s)
	return nil
}

func (s *Scope) attach() (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	return s.addon.Attach(s)
}

// Detach removes an addon and undoes what it did, the last first. It reports
// whether there was one of that name.
func (p *Peer) Detach(name string) bool {
	p.mu.Lock()
	s := p.addons[name]
	p.mu.Unlock()
	if s == nil {
		return false
	}
	s.detach()
	return true
}

// Addons returns the names of the addons in the order of their attaching.
func (p *Peer) Addons() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	names := []string{}
	for _, s := range p.attached {
		names = append(names, s.name)
	}
	return names
}

// detachAll detaches all addons for good, the last first.
func (p *Peer) detachAll() {
	p.mu.Lock()
	p.sealed = true
	all := slices.Clone(p.attached)
	p.mu.Unlock()
	for _, s := range slices.Backward(all) {
		s.detach()
	}
}

// detach undoes everything; the second time it does nothing.
func (s *Scope) detach() {
	p := s.peer
	s.mu.Lock()
	undo := s.undo
	s.undo, s.detached = nil, true
	s.mu.Unlock()
	s.end()
	p.mu.Lock()
	if p.addons[s.name] == s {
		delete(p.addons, s.name)
		p.attached = slices.DeleteFunc(slices.Clone(p.attached), func(x *Scope) bool { return x == s })
	}
	taps := s.taps
	s.taps, s.verify = nil, nil
	p.mu.Unlock()
	for _, t := range taps {
		t.close()
	}
	for _, d := range slices.Backward(undo) {
		s.contain(d.do)
	}
}

func (s *Scope) contain(f func()) {
	defer func() {
		if v := recover(); v != nil {
			s.peer.cfg.Logger.Error("addon panicked", "addon", s.name, "panic", v)
		}
	}()
	f()
}

// Defer has f called when the addon is detached, at once if it is already.
func (s *Scope) Defer(f func()) { s.later(nil, f) }

// later is Defer, in the place of what was to be done for the same thing.
func (s *Scope) later(what any, f func()) {
	s.forget(what)
	s.mu.Lock()
	detached := s.detached
	if !detached {
		s.undo = append(s.undo, deferred{what, f})
	}
	s.mu.Unlock()
	if detached {
		s.contain(f)
	}
}

// forget drops what was to be done for a thing that is undone already.
func (s *Scope) forget(what any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.undo = slices.DeleteFunc(s.undo, func(d deferred) bool { return what != nil && d.what == what })
}

// check returns an error once the addon is detached.
func (s *Scope) check() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.detached {
		return fmt.Errorf("addon %q: %w", s.name, ErrDetached)
	}
	return nil
}

// Peer returns the Peer. What is done through it directly is not undone.
func (s *Scope) Peer() *Peer { return s.peer }

// Context ends when the addon is detached.
func (s *Scope) Context() context.Context { return s.ctx }

// On is Peer.On, until the addon is detached.
func (s *Scope) On(f func(Event), names ...EventName) (off func()) {
	remove := s.peer.On(f, names...)
	s.later(&remove, remove)
	return func() {
		remove()
		s.forget(&remove)
	}
}

// Publish is Peer.Publish; the stream is unpublished when the addon is detached,
// unless another one has taken its label since.
func (s *Scope) Publish(stream publish.Stream) error {
	if err := s.check(); err != nil {
		return err
	}
	pub, err := s.peer.publish(stream, nil)
	if err != nil {
		return err
	}
	s.later(pub.key(), func() { s.peer.withdraw(pub) })
	return nil
}

// Open is Peer.Open; the channel is closed when the addon is detached, unless it
// was there before.
func (s *Scope) Open(o ChannelOptions) error {
	if err := s.check(); err != nil {
		return err
	}
	o, err := normal(o)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	s.peer.mu.Lock()
	_, before := s.peer.channels[keyOf(o)]
	s.peer.mu.Unlock()
	if err := s.peer.Open(o); err != nil {
		return err
	}
	if !before {
		s.later(keyOf(o), func() { s.peer.closeChannel(keyOf(o)) })
	}
	return nil
}

// Verify puts a decision of the addon's around the one that there was before:
// wrap gets that one and returns the new one, which may call it or not. Addons
// attached later stand further out. It is for peers that come from then on.
func (s *Scope) Verify(wrap func(next VerifyFunc) VerifyFunc) error {
	if err := s.check(); err != nil {
		return err
	}
	s.peer.mu.Lock()
	defer s.peer.mu.Unlock()
	s.verify = wrap
	return nil
}

// verifier returns the decision that holds now; nil if there is none. It takes
// the Peer's lock.
func (p *Peer) verifier() VerifyFunc {
	p.mu.Lock()
	f := p.joinVerify
	if f == nil {
		f = p.cfg.Verify
	}
	var wraps []func(VerifyFunc) VerifyFunc
	for _, s := range p.attached {
		if s.verify != nil {
			wraps = append(wraps, s.verify)
		}
	}
	p.mu.Unlock()
	if f == nil && len(wraps) > 0 {
		f = func(string, json.RawMessage) bool { return true }
	}
	for _, wrap := range wraps {
		f = wrap(f)
	}
	return f
}

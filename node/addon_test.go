package node

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/weft-rtc/weft/mesh/driver/memory"
	"github.com/weft-rtc/weft/publish"
)

// TestAttachAfterClose: a closed Peer takes no addon, which nobody would detach.
func TestAttachAfterClose(t *testing.T) {
	p, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	err = p.Attach("a", AddonFunc(func(*Scope) error { t.Error("set up"); return nil }))
	if !errors.Is(err, ErrClosed) || len(p.Addons()) != 0 {
		t.Errorf("error %v, addons %q", err, p.Addons())
	}
}

// TestDetachWhileAttaching: an addon that is detached before it is set up is not
// attached, and what it did is undone.
func TestDetachWhileAttaching(t *testing.T) {
	p, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	undone := 0
	err = p.Attach("a", AddonFunc(func(s *Scope) error {
		s.Defer(func() { undone++ })
		p.Detach("a")
		s.Defer(func() { undone++ })
		if err := s.Open(ChannelOptions{Label: "x"}); !errors.Is(err, ErrDetached) {
			t.Errorf("open: %v", err)
		}
		return nil
	}))
	if !errors.Is(err, ErrDetached) || undone != 2 || len(p.Channels()) != 0 {
		t.Errorf("error %v, %d of 2 undone, channels %v", err, undone, p.Channels())
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// TestScopeForgets: what an addon takes back by itself or replaces is not kept
// until it is detached.
func TestScopeForgets(t *testing.T) {
	p, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	c := newCamera()
	var scope *Scope
	attach(t, p, func(s *Scope) error {
		scope = s
		for range 100 {
			s.On(func(Event) {})()
			if err := s.Publish(publish.Stream{Label: "cam", Tracks: []*publish.Track{c.track}}); err != nil {
				return err
			}
		}
		return nil
	})
	if n := len(scope.undo); n > 1 {
		t.Errorf("%d things to undo, want the stream", n)
	}
	if p.Detach("a"); len(p.Streams()) != 0 {
		t.Error("stream left")
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// TestPublishWhileJoining: a stream whose sources cannot follow its encoding may
// be published while Join is under way.
func TestPublishWhileJoining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := New(Config{Driver: memory.NewBus().Driver()})
		if err != nil {
			t.Fatal(err)
		}
		c := newCamera()
		go func() {
			if err := p.Publish(publish.Stream{Label: "cam", Tracks: []*publish.Track{c.track}, Video: publish.Encoding{Bitrate: 1000}}); err != nil {
				t.Error(err)
			}
		}()
		if err := p.Join(context.Background(), "room"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
}

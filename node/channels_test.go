package node

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-rtc/weft/publish"
)

// TestReopen: a channel that is closed and opened again at once is there again,
// and takes messages.
func TestReopen(t *testing.T) {
	for _, all := range []bool{true, false} {
		for _, back := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				defer w.close()
				a, b := w.peer(Config{}, false), w.peer(Config{}, false)
				if back { // the other may be the polite one
					a, b = b, a
				}
				<-time.After(2 * time.Second)
				to := a.Connection(b.ID())
				o := ChannelOptions{Label: "x"}
				open, shut := a.Open, a.CloseChannel
				if !all {
					open, shut = to.Open, to.CloseChannel
				}
				send := func(text string) {
					t.Helper()
					m := Text(text)
					m.Channel = "x"
					if err := a.Send(context.Background(), m); err != nil {
						t.Errorf("all %v, send %s: %v", all, text, err)
					}
				}
				if err := open(o); err != nil {
					t.Fatal(err)
				}
				send("first")
				shut("x")
				if err := open(o); err != nil {
					t.Fatal(err)
				}
				send("second")
				<-time.After(5 * time.Second)
				send("third")
			})
		}
	}
}

// TestGonePeer: what has no effect any more says so.
func TestGonePeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		a, b := w.peer(Config{}, false), w.peer(Config{}, false)
		<-time.After(2 * time.Second)
		to := a.Connection(b.ID())
		b.Leave()
		<-time.After(2 * time.Second)
		c := newCamera()
		for what, err := range map[string]error{
			"open":    to.Open(ChannelOptions{Label: "x"}),
			"publish": to.Publish(publish.Stream{Label: "cam", Tracks: []*publish.Track{c.track}}),
			"send":    to.Send(context.Background(), Text("x")),
		} {
			if !errors.Is(err, ErrUnknownPeer) {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
}

// TestSendPanic: a source or a progress function that panics fails the Send.
func TestSendPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		a, b := w.peer(Config{}, false), w.peer(Config{}, false)
		if err := a.Open(ChannelOptions{}); err != nil {
			t.Fatal(err)
		}
		<-time.After(2 * time.Second)
		progress := Text("x")
		progress.Progress = func(string, int64, int64) { panic("progress") }
		for _, m := range []Outgoing{Reader(panicking{}, -1), progress} {
			var failed *SendError
			if err := a.Send(context.Background(), m); !errors.As(err, &failed) || failed.Peer != b.ID() {
				t.Errorf("error %v", err)
			}
		}
		if err := a.Send(context.Background(), Text("after")); err != nil {
			t.Error("after the panics:", err)
		}
	})
}

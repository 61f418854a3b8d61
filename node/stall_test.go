package node

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-rtc/weft/mesh/channel"
)

// TestStalledReader: a reader that stops for a minute costs no more than its
// window, ends with a named error at both sides, and other labels go on all the
// time.
func TestStalledReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		a, b := w.peer(Config{}, false), w.peer(Config{}, false)
		var texts, held atomic.Int64
		stalled := make(chan error, 1)
		b.OnMessage(func(e ChannelEvent) {
			if e.Channel.Label() == "chat" {
				if _, err := e.Message.Text(context.Background(), 0); err == nil {
					texts.Add(1)
				}
				return
			}
			_, _ = io.CopyN(io.Discard, e.Message, 1000)
			<-time.After(time.Minute)
			held.Store(e.Message.Received())
			_, err := io.Copy(io.Discard, e.Message)
			stalled <- err
		})
		for _, label := range []string{"chat", "files"} {
			if err := a.Open(ChannelOptions{Label: label}); err != nil {
				t.Fatal(err)
			}
		}
		<-time.After(3 * time.Second)
		sent := make(chan error, 1)
		go func() {
			m := Reader(zeroes{}, -1)
			m.Channel = "files"
			sent <- a.Send(context.Background(), m)
		}()
		for range 60 {
			<-time.After(time.Second)
			m := Text("tick")
			m.Channel = "chat"
			ctx, cancel := context.WithTimeout(context.Background(), 900*time.Millisecond)
			if err := a.Send(ctx, m); err != nil {
				t.Error("beside the stalled one:", err)
			}
			cancel()
		}
		if err := <-stalled; !errors.Is(err, channel.ErrStalled) {
			t.Errorf("reader: %v, want %v", err, channel.ErrStalled)
		}
		if err := <-sent; !errors.Is(err, channel.ErrStalled) && !errors.Is(err, channel.ErrAborted) {
			t.Errorf("sender: %v", err)
		}
		if n, h := texts.Load(), held.Load(); n != 60 || h > 2*channel.DefaultWindow {
			t.Errorf("%d texts of 60, %d bytes held", n, h)
		}
	})
}

package node

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/weft-rtc/weft/mesh/channel"
	"github.com/weft-rtc/weft/mesh/conn"
	"github.com/weft-rtc/weft/mesh/driver/memory"
)

// hall is where peers meet over real sockets on this machine.
type hall struct {
	t   testing.TB
	bus *memory.Bus
	api *conn.API
}

func newHall(t testing.TB) *hall {
	t.Helper()
	api, err := conn.NewAPI(conn.Config{Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := api.Close(); err != nil {
			t.Error(err)
		}
	})
	return &hall{t, memory.NewBus(), api}
}

// peer joins a peer that has the channels of these labels.
func (h *hall) peer(labels ...string) *Peer {
	h.t.Helper()
	p := h.outside()
	for _, label := range labels {
		if err := p.Open(ChannelOptions{Label: label}); err != nil {
			h.t.Fatal(err)
		}
	}
	h.join(p)
	return p
}

// outside makes a peer that is not in the room yet.
func (h *hall) outside() *Peer {
	h.t.Helper()
	p, err := New(Config{Driver: h.bus.Driver(), Conn: h.api})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		if err := p.Close(); err != nil {
			h.t.Error(err)
		}
	})
	return p
}

func (h *hall) join(p *Peer) {
	h.t.Helper()
	if err := p.Join(context.Background(), "hall"); err != nil {
		h.t.Fatal(err)
	}
}

// pair returns two peers with open channels between them, as both see it.
func (h *hall) pair(labels ...string) (a, b *Peer) {
	h.t.Helper()
	open := make(chan struct{}, 2*len(labels))
	opened := func(Event) { open <- struct{}{} }
	a, b = h.peer(labels...), h.outside()
	defer a.On(opened, ChannelOpen)()
	defer b.On(opened, ChannelOpen)()
	h.join(b)
	for range 2 * len(labels) {
		within(h.t, "channel", open)
	}
	return a, b
}

// within waits for something that must come.
func within[E any](t testing.TB, what string, c <-chan E) E {
	t.Helper()
	select {
	case e := <-c:
		return e
	case <-time.After(5 * time.Minute):
		t.Fatalf("%s: nothing for 5 min", what)
		panic("unreachable")
	}
}

// random yields size bytes that depend on the seed, and hashes them.
type random struct {
	rnd  *rand.ChaCha8
	left int64
	hash hash.Hash
}

func newRandom(size int64) *random {
	return &random{rand.NewChaCha8([32]byte{byte(size)}), size, sha256.New()}
}

func (r *random) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), r.left)]
	n, err := r.rnd.Read(p)
	r.left -= int64(n)
	r.hash.Write(p[:n])
	return n, err
}

func sum(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

// received is what became of an incoming message.
type received struct {
	label string
	hash  string
	size  int64
	err   error
}

// hashing reads every message to its end.
func hashing(p *Peer) <-chan received {
	got := make(chan received, 64)
	p.OnMessage(func(e ChannelEvent) {
		h := sha256.New()
		n, err := io.Copy(h, e.Message)
		got <- received{e.Channel.Label(), sum(h), n, err}
	})
	return got
}

const chunk = 16320 // of the wire

// TestTransfer: files of every awkward length arrive as they were, the sender
// knows it, and memory stays flat. Under the race detector the long one is 20 MB.
func TestTransfer(t *testing.T) {
	a, b := newHall(t).pair("files")
	got := hashing(b)
	idle := heap()
	for _, size := range []int64{1, chunk, chunk + 1, 200_000_000 / raceFactor} {
		src := newRandom(size)
		m := Reader(src, size)
		m.Channel = "files"
		highest, next := uint64(0), int64(0)
		m.Progress = func(_ string, sent, _ int64) {
			if sent >= next {
				highest = max(highest, heap())
				next += size / 8
			}
		}
		if err := a.Send(context.Background(), m); err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		r := within(t, "message", got)
		if r.err != nil || r.size != size || r.hash != sum(src.hash) {
			t.Errorf("%d bytes: got %d, error %v, same %v", size, r.size, r.err, r.hash == sum(src.hash))
		}
		if used := int64(highest) - int64(idle); used > 8<<20 {
			t.Errorf("%d bytes: %d of memory above idle, at most 8 MiB", size, used)
		} else {
			t.Logf("%d bytes: %d kB above idle", size, used>>10)
		}
	}
}

// heap returns the bytes that are in use.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestTransfersAtOnce: several labels in both directions at the same time.
func TestTransfersAtOnce(t *testing.T) {
	labels := []string{"one", "two", "three"}
	a, b := newHall(t).pair(labels...)
	sides := map[*Peer]<-chan received{a: hashing(b), b: hashing(a)}
	var all sync.WaitGroup
	for from, got := range sides {
		want := make(chan received, len(labels))
		for i, label := range labels {
			all.Go(func() {
				size := int64(5_000_000*(i+1)/raceFactor + i)
				src := newRandom(size)
				m := Reader(src, size)
				m.Channel = label
				if err := from.Send(context.Background(), m); err != nil {
					t.Errorf("%s: %v", label, err)
				}
				want <- received{label, sum(src.hash), size, nil}
			})
		}
		all.Go(func() {
			sent, came := map[string]received{}, map[string]received{}
			for range labels {
				w, r := within(t, "sent", want), within(t, "received", got)
				sent[w.label], came[r.label] = w, r
			}
			for _, label := range labels {
				if sent[label] != came[label] {
					t.Errorf("%s: sent %+v, got %+v", label, sent[label], came[label])
				}
			}
		})
	}
	all.Wait()
}

// TestTransferEnds: whoever ends a transfer, both sides know it by a named error,
// nothing looks whole that is not, and the channel goes on if it is still there.
func TestTransferEnds(t *testing.T) {
	for _, tt := range []struct {
		name     string
		end      func(a, b *Peer, m *channel.Message, cancel func())
		sender   error
		receiver error
		goesOn   bool
	}{
		{"receiver refuses", func(_, _ *Peer, m *channel.Message, _ func()) { m.Abort() }, channel.ErrAborted, channel.ErrAborted, true},
		{"sender's context ends", func(_, _ *Peer, _ *channel.Message, cancel func()) { cancel() }, context.Canceled, channel.ErrAborted, true},
		{"receiver leaves", func(_, b *Peer, _ *channel.Message, _ func()) { b.Leave() }, channel.ErrClosed, channel.ErrClosed, false},
		{"sender leaves", func(a, _ *Peer, _ *channel.Message, _ func()) { a.Leave() }, channel.ErrClosed, channel.ErrClosed, false},
		{"channel closed", func(_, b *Peer, _ *channel.Message, _ func()) { b.Connections()[0].CloseChannel("files") }, channel.ErrClosed, channel.ErrClosed, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := newHall(t).pair("files")
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			ended, whole := make(chan error, 1), make(chan string, 1)
			b.OnMessage(func(e ChannelEvent) {
				if e.Message.Type == channel.Text {
					text, err := e.Message.Text(context.Background(), 0)
					whole <- fmt.Sprint(text, err)
					return
				}
				_, err := io.CopyN(io.Discard, e.Message, 1_000_000)
				if err == nil {
					go tt.end(a, b, e.Message, cancel) // Leave must not wait for us
					_, err = io.Copy(io.Discard, e.Message)
				}
				ended <- err
			})
			m := Reader(zeroes{}, -1)
			m.Channel = "files"
			err := a.Send(ctx, m)
			if !errors.Is(err, tt.sender) {
				t.Errorf("sender: %v, want %v", err, tt.sender)
			}
			if err := within(t, "receiver", ended); !errors.Is(err, tt.receiver) {
				t.Errorf("receiver: %v, want %v", err, tt.receiver)
			}
			if !tt.goesOn {
				return
			}
			after := Text("after that")
			after.Channel = "files"
			if err := a.Send(context.Background(), after); err != nil {
				t.Error(err)
			}
			if got := within(t, "text", whole); got != "after that<nil>" {
				t.Errorf("then got %q", got)
			}
		})
	}
}

package channel

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// after waits in virtual time.
func after(d time.Duration) { <-time.After(d) }

// collected is what a reader goroutine found.
type collected struct {
	message *Message
	body    []byte
	err     error
}

// collect returns a Receive that reads each message on a goroutine of its own.
func collect() (func(*Message), <-chan collected) {
	out := make(chan collected, 256)
	return func(m *Message) {
		go func() {
			body, err := m.Bytes(context.Background(), 1<<30)
			out <- collected{m, body, err}
		}()
	}, out
}

func TestBodies(t *testing.T) {
	info := json.RawMessage(`{"name":"a.bin"}`)
	first := ChunkSize - len(info)
	for _, size := range []int{0, 1, 2, first - 1, first, first + 1, ChunkSize - 1, ChunkSize, ChunkSize + 1,
		first + ChunkSize, first + ChunkSize + 1, 2 * ChunkSize, 2*ChunkSize + 1, 3 << 20} {
		for _, with := range []json.RawMessage{nil, info} {
			t.Run(fmt.Sprintf("%d bytes, info %s", size, with), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { testBody(t, size, with) })
			})
		}
	}
}

func testBody(t *testing.T, size int, info json.RawMessage) {
	receive, got := collect()
	l, a, _ := framed(t, nil, receive)
	var last, calls int64
	m := Outgoing{Type: Blob, Info: info, Body: &patterned{size: int64(size)}, Size: int64(size)}
	m.Progress = func(sent, total int64) {
		if size > 0 && total != int64(size) || size == 0 && total != -1 || sent < last {
			t.Errorf("progress %d of %d after %d", sent, total, last)
		}
		last = sent
		calls++
	}
	if err := a.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	chunks := max(1, (size+len(info)+ChunkSize-1)/ChunkSize)
	if last != int64(size) || calls != int64(chunks) || l.sides[0][0].packets != chunks {
		t.Errorf("%d bytes in %d calls and %d packets, want %d", last, calls, l.sides[0][0].packets, chunks)
	}
	r := <-got
	if r.err != nil || !bytes.Equal(r.body, patternOf(size)) {
		t.Fatalf("%d bytes, error %v", len(r.body), r.err)
	}
	if r.message.Type != Blob || !bytes.Equal(r.message.Info, info) || r.message.Label != "files" ||
		r.message.Raw || r.message.Received() != int64(size) || r.message.Err() != nil {
		t.Errorf("message %+v", r.message)
	}
	if peak := l.sides[0][0].peak; peak > sendBuffer {
		t.Errorf("%d bytes in the send buffer", peak)
	}
}

// Readers may return any number of bytes, and their last with io.EOF or before.
func TestOddReaders(t *testing.T) {
	for name, body := range map[string]io.Reader{
		"one byte at a time": oneByte{&patterned{size: ChunkSize + 1}},
		"in two":             io.MultiReader(&patterned{size: 100}, &patterned{at: 100, size: ChunkSize + 1}),
		"eof with data":      eager{&patterned{size: ChunkSize + 1}},
		"nothing sometimes":  &hesitant{r: &patterned{size: ChunkSize + 1}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				receive, got := collect()
				_, a, _ := framed(t, nil, receive)
				if err := a.Send(t.Context(), Outgoing{Body: body}); err != nil {
					t.Fatal(err)
				}
				if r := <-got; r.err != nil || !bytes.Equal(r.body, patternOf(ChunkSize+1)) || r.message.Type != Bytes {
					t.Errorf("%d bytes, error %v", len(r.body), r.err)
				}
			})
		})
	}
}

type oneByte struct{ r io.Reader }

func (r oneByte) Read(b []byte) (int, error) { return r.r.Read(b[:1]) }

// eager returns io.EOF with the last bytes.
type eager struct{ p *patterned }

func (r eager) Read(b []byte) (int, error) {
	n, err := r.p.Read(b)
	if r.p.at == r.p.size {
		err = io.EOF
	}
	return n, err
}

// hesitant returns nothing every second time.
type hesitant struct {
	r     io.Reader
	calls int
}

func (r *hesitant) Read(b []byte) (int, error) {
	if r.calls++; r.calls%2 == 1 {
		return 0, nil
	}
	return r.r.Read(b)
}

var errBody = errors.New("disk on fire")

// failing fails after n bytes of the pattern.
func failing(n int64) io.Reader { return io.MultiReader(&patterned{size: n}, broken{errBody}) }

type broken struct{ err error }

func (r broken) Read([]byte) (int, error) { return 0, r.err }

type lying struct{}

func (lying) Read(b []byte) (int, error) { return len(b) + 1, nil }

func TestBrokenReaders(t *testing.T) {
	for name, c := range map[string]struct {
		body  io.Reader
		want  error
		begun bool
	}{
		"at once":          {failing(0), errBody, false},
		"behind one chunk": {failing(ChunkSize), errBody, false},
		"later":            {failing(5 * ChunkSize), errBody, true},
		"never anything":   {broken{nil}, io.ErrNoProgress, false},
		"more than asked":  {lying{}, errRead, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				receive, got := collect()
				_, a, b := framed(t, nil, receive)
				if err := a.Send(t.Context(), Outgoing{Body: c.body}); !errors.Is(err, c.want) {
					t.Errorf("error %v, want %v", err, c.want)
				}
				synctest.Wait()
				if c.begun {
					if r := <-got; !errors.Is(r.err, ErrAborted) {
						t.Errorf("reader: %v", r.err)
					}
				}
				if n := b.unfinished(); n != 0 || len(got) != 0 {
					t.Errorf("%d unfinished messages, %d unexpected", n, len(got))
				}
				expectText(t, a, got) // the channel goes on
			})
		})
	}
}

// unfinished returns how many messages are, and checks the account of them.
func (c *Channel) unfinished() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	cost := 0
	for _, m := range c.incoming {
		cost += m.cost
	}
	if cost != c.unread {
		panic(fmt.Sprintf("account says %d bytes unread, messages hold %d", c.unread, cost))
	}
	return len(c.incoming)
}

// expectText sends a short text and waits for it.
func expectText(t *testing.T, from *Channel, got <-chan collected) {
	t.Helper()
	if err := from.Send(t.Context(), Outgoing{Type: Text, Body: strings.NewReader("ahoy")}); err != nil {
		t.Error(err)
		return
	}
	if r := <-got; r.err != nil || string(r.body) != "ahoy" {
		t.Errorf("%q, error %v", r.body, r.err)
	}
}

// 200 MB cross while the heap stays below 8 MB above idle; the reader hashes.
func TestLargeTransferIsFlat(t *testing.T) {
	const size = 200_000_000
	done := make(chan hash.Hash, 1)
	_, a, _ := framed(t, nil, func(m *Message) {
		go func() {
			sum := sha256.New()
			if n, err := io.Copy(sum, m); err != nil || n != size {
				t.Errorf("read %d bytes: %v", n, err)
			}
			done <- sum
		}()
	})
	sum := sha256.New()
	body := io.TeeReader(&patterned{size: size}, sum)
	idle, peak, calls := heap(), uint64(0), 0
	err := a.Send(t.Context(), Outgoing{Body: body, Size: size, Progress: func(int64, int64) {
		if calls++; calls%512 == 0 {
			peak = max(peak, heap())
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if got := <-done; !bytes.Equal(got.Sum(nil), sum.Sum(nil)) {
		t.Error("hashes differ")
	}
	t.Logf("heap %d kB idle, at most %d kB", idle/1000, peak/1000)
	if peak > idle+8_000_000 {
		t.Errorf("heap grew from %d to %d bytes", idle, peak)
	}
}

// heap returns what is alive, in bytes: how much garbage lies around says more
// about what else the machine does.
func heap() uint64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

// Messages that nobody wants are taken all the same.
func TestNilReceiveDiscards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := framed(t, nil, nil)
		if err := a.Send(t.Context(), Outgoing{Body: &patterned{size: 5 << 20}}); err != nil {
			t.Fatal(err)
		}
		if b.unfinished() != 0 {
			t.Error("messages left")
		}
	})
}

func TestSendRefuses(t *testing.T) {
	c, s := scripted(nil)
	s.acknowledging(c)
	for name, x := range map[string]struct {
		m  Outgoing
		is error
	}{
		"type":          {Outgoing{Type: 5}, nil},
		"info no JSON":  {Outgoing{Info: json.RawMessage(`{`)}, ErrInfo},
		"info empty":    {Outgoing{Info: json.RawMessage{}}, ErrInfo},
		"info too long": {Outgoing{Info: json.RawMessage(`"` + strings.Repeat("x", MaxInfo-1) + `"`)}, ErrInfo},
	} {
		if err := c.Send(t.Context(), x.m); err == nil || x.is != nil && !errors.Is(err, x.is) || !strings.Contains(err.Error(), `channel "script": send: `) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	longest := json.RawMessage(`"` + strings.Repeat("x", MaxInfo-2) + `"`)
	if err := c.Send(t.Context(), Outgoing{Info: longest, Body: strings.NewReader("ab")}); err != nil {
		t.Fatal(err)
	}
	if n := len(s.sent); n != 2 {
		t.Errorf("%d packets", n)
	}
}

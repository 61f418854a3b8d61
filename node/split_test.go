package node

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/synctest"
)

// pieces yields random bytes in reads of every length, and then err.
func pieces(content []byte, err error) io.Reader {
	return io.MultiReader(&dribble{content}, &failing{err})
}

type dribble struct{ rest []byte }

func (d *dribble) Read(p []byte) (int, error) {
	if len(d.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, d.rest[:min(len(d.rest), 1+rand.IntN(5000))])
	d.rest = d.rest[n:]
	return n, nil
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

// TestSplit: every reader gets all, whatever the length, and the source's error
// after it.
func TestSplit(t *testing.T) {
	broken := errors.New("broken")
	for _, size := range []int{0, 1, splitPiece - 1, splitPiece, splitPiece + 1, 3 << 20} {
		for _, end := range []error{io.EOF, broken, io.ErrUnexpectedEOF} {
			synctest.Test(t, func(t *testing.T) {
				content := make([]byte, size)
				for i := range content {
					content[i] = byte(rand.Uint32())
				}
				for _, r := range split(context.Background(), pieces(content, end), 3) {
					go func() {
						defer r.close()
						got, err := io.ReadAll(r)
						if !bytes.Equal(got, content) {
							t.Errorf("size %d: %d bytes, not the same", size, len(got))
						}
						if err != nil && err != end || err == nil && end != io.EOF {
							t.Errorf("size %d: error %v, want %v", size, err, end)
						}
					}()
				}
			})
		}
	}
}

// TestSplitPace: the fastest reader gets no further than the window ahead of the
// slowest, until that one is closed; a context ends the waiting.
func TestSplitPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		rs := split(ctx, &zeroes{}, 2)
		read, failed := 0, error(nil)
		go func() {
			buf := make([]byte, splitPiece)
			for failed == nil {
				var n int
				n, failed = rs[0].Read(buf)
				read += n
			}
		}()
		synctest.Wait()
		if read != splitPieces*splitPiece {
			t.Errorf("%d bytes ahead, want %d", read, splitPieces*splitPiece)
		}
		if _, err := io.CopyN(io.Discard, rs[1], splitPiece); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if read != (splitPieces+1)*splitPiece {
			t.Errorf("%d bytes, want one piece more", read)
		}
		cancel()
		synctest.Wait()
		if !errors.Is(failed, context.Canceled) {
			t.Errorf("error %v", failed)
		}
		rs[0].close()
		rs[1].close()
	})
}

type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// panicking panics when it is read.
type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("source") }

// TestSplitPanic: a source that panics ends like one that fails, for every
// reader.
func TestSplitPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, r := range split(context.Background(), panicking{}, 2) {
			go func() {
				defer r.close()
				if n, err := r.Read(make([]byte, 1)); n != 0 || err == nil {
					t.Errorf("%d bytes, error %v", n, err)
				}
			}()
		}
	})
}

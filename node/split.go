package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

const (
	// splitPiece is what is read from the source at once: a chunk of the wire.
	splitPiece = 16 << 10
	// splitPieces bounds how far the fastest receiver may be ahead of the
	// slowest: 1 MiB in all.
	splitPieces = 64
)

// splitter gives one source to several readers, which go on at the pace of the
// slowest. It reads no faster than they do, and holds 1 MiB at most.
type splitter struct {
	ctx context.Context
	src io.Reader

	mu      sync.Mutex
	pieces  [][]byte // those that some reader has not had
	first   int      // number of pieces[0]
	err     error    // of the source; io.EOF at its end
	reading bool     // a reader is at the source
	changed chan struct{}
	readers []*splitReader
}

// splitReader is one of the readers. It belongs to one goroutine.
type splitReader struct {
	s    *splitter
	next int    // number of the piece to come; guarded by s.mu
	rest []byte // of the piece before
	gone bool   // guarded by s.mu
}

// split returns n readers, each of which yields all of src. Each has to be read
// or closed, or it holds up the others. ctx ends their waiting.
func split(ctx context.Context, src io.Reader, n int) []*splitReader {
	s := &splitter{ctx: ctx, src: src, changed: make(chan struct{})}
	for range n {
		s.readers = append(s.readers, &splitReader{s: s})
	}
	return s.readers
}

// Read implements io.Reader.
func (r *splitReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		piece, err := r.s.piece(r)
		if err != nil {
			return 0, err
		}
		r.rest = piece
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// close lets the others go on without r.
func (r *splitReader) close() {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	r.gone, r.rest = true, nil
	s.forget()
}

// piece returns the next piece for r: one that is there, or a new one from the
// source, which the reader that comes first reads for all.
func (s *splitter) piece(r *splitReader) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case r.next < s.first+len(s.pieces):
			piece := s.pieces[r.next-s.first]
			r.next++
			s.forget()
			return piece, nil
		case s.err != nil:
			return nil, s.err
		case !s.reading && len(s.pieces) < splitPieces:
			s.read()
			continue
		}
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-s.ctx.Done():
		}
		s.mu.Lock()
		if err := s.ctx.Err(); err != nil {
			return nil, err
		}
	}
}

// read takes a piece from the source, outside the lock that callers hold.
func (s *splitter) read() {
	s.reading = true
	s.mu.Unlock()
	piece := make([]byte, splitPiece)
	n, err := s.fill(piece)
	s.mu.Lock()
	s.reading = false
	s.err = err
	if n > 0 {
		s.pieces = append(s.pieces, piece[:n])
	}
	s.tell()
}

// fill reads a piece from the source, shorter only before an error. It is not
// io.ReadFull, which says io.ErrUnexpectedEOF for a short piece as sources do
// that were cut off. A panic of the source is its error: the goroutine is one of
// Send's, where nobody else would catch it.
func (s *splitter) fill(piece []byte) (n int, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	for n < len(piece) && err == nil {
		var more int
		more, err = s.src.Read(piece[n:])
		if more < 0 || more > len(piece)-n {
			return n, errors.New("invalid count of Read")
		}
		n += more
	}
	return n, err
}

// forget drops the pieces that every reader has had; mu is held.
func (s *splitter) forget() {
	slowest := s.first + len(s.pieces)
	for _, r := range s.readers {
		if !r.gone {
			slowest = min(slowest, r.next)
		}
	}
	if n := slowest - s.first; n > 0 {
		clear(s.pieces[:n])
		s.pieces, s.first = s.pieces[n:], slowest
		s.tell()
	}
}

// tell wakes those who wait; mu is held.
func (s *splitter) tell() {
	close(s.changed)
	s.changed = make(chan struct{})
}

package channel

import (
	"errors"
	"io"
	"sync"
)

// maxEmptyReads is how often a reader may return nothing, without an error, one
// time after the other.
const maxEmptyReads = 100

var errRead = errors.New("reader returned an invalid count")

// buffers is what one Send needs, some 48 KiB.
type buffers struct {
	chunks [2][ChunkSize]byte
	packet [ChunkSize + maxHeader]byte
}

var bufferPool = sync.Pool{New: func() any { return new(buffers) }}

// chunker cuts a body into chunks. It is one byte ahead, because a chunk has to
// say whether it is the last and none may be empty, except the only one of an
// empty body.
type chunker struct {
	body io.Reader // nil once it has ended
	bufs *[2][ChunkSize]byte
	turn int // the buffer of the chunk that comes next
	have int // bytes of it that are there
}

// next returns a chunk of size bytes, fewer only in the last. It is good until
// the call after the next.
func (k *chunker) next(size int) (chunk []byte, last bool, err error) {
	buf := k.bufs[k.turn][:size]
	if k.have, err = k.fill(buf, k.have, size); err != nil {
		return nil, false, err
	}
	chunk = buf[:k.have]
	k.turn ^= 1
	if k.have, err = k.fill(k.bufs[k.turn][:], 0, 1); err != nil {
		return nil, false, err
	}
	return chunk, k.body == nil && k.have == 0, nil
}

// fill reads into buf behind have bytes until it has want, or the body ends.
func (k *chunker) fill(buf []byte, have, want int) (int, error) {
	for empty := 0; have < want && k.body != nil; {
		n, err := k.body.Read(buf[have:])
		if n < 0 || n > len(buf)-have {
			return have, errRead
		}
		have += n
		switch {
		case err == io.EOF:
			k.body = nil
		case err != nil:
			return have, err
		case n > 0:
			empty = 0
		default:
			if empty++; empty == maxEmptyReads {
				return have, io.ErrNoProgress
			}
		}
	}
	return have, nil
}

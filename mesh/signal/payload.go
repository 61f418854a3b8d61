package signal

import (
	"bytes"
	"compress/zlib"
	"crypto/cipher"
	"errors"
	"fmt"
	"io"
	"sync"
)

const (
	ivLen  = 12 // AES-GCM nonce in front of the ciphertext
	tagLen = 16 // AES-GCM tag behind it
)

// compressors are kept to be used again: a new one takes 800 kB.
var compressors = sync.Pool{New: func() any { return zlib.NewWriter(nil) }}

// deflate returns plain as zlib (RFC 1950), or false where that is not smaller.
func deflate(plain []byte) ([]byte, bool) {
	var b bytes.Buffer
	w := compressors.Get().(*zlib.Writer)
	defer compressors.Put(w)
	w.Reset(&b)
	if _, err := w.Write(plain); err != nil {
		return nil, false
	}
	if err := w.Close(); err != nil || b.Len() >= len(plain) {
		return nil, false
	}
	return b.Bytes(), true
}

// inflate expands zlib data (RFC 1950) to at most limit bytes; more are
// ErrTooLarge. Data that is not exactly one zlib stream is another error.
func inflate(data []byte, limit int) ([]byte, error) {
	in := bytes.NewReader(data)
	r, err := zlib.NewReader(in)
	if err != nil {
		return nil, err
	}
	out, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	switch {
	case err != nil:
		return nil, err
	case len(out) > limit:
		return nil, fmt.Errorf("%w: payload expands to more than %d bytes", ErrTooLarge, limit)
	case in.Len() > 0:
		return nil, fmt.Errorf("%d bytes behind the zlib stream", in.Len())
	}
	return out, nil
}

// seal encrypts plain: IV, ciphertext, tag. There is no additional data, so
// type, flags and sender of a packet are not authenticated.
func seal(aead cipher.AEAD, random io.Reader, plain []byte) ([]byte, error) {
	out := make([]byte, ivLen, ivLen+len(plain)+tagLen)
	if _, err := io.ReadFull(random, out); err != nil {
		return nil, fmt.Errorf("signal: IV: %w", err)
	}
	return aead.Seal(out, out, plain, nil), nil
}

// open decrypts what seal wrote.
func open(aead cipher.AEAD, sealed []byte) ([]byte, error) {
	if len(sealed) < ivLen+tagLen {
		return nil, fmt.Errorf("encrypted payload has %d bytes, want at least %d", len(sealed), ivLen+tagLen)
	}
	plain, err := aead.Open(nil, sealed[:ivLen], sealed[ivLen:], nil)
	if err != nil {
		return nil, errors.New("payload does not decrypt: wrong key or changed on its way")
	}
	return plain, nil
}

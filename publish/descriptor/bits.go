package descriptor

import "math/bits"

// bitReader takes numbers off a descriptor, high bits first (AV1 RTP
// specification section A.8.2, f(n) and ns(n)). Reading past the end gives zeros
// and sets short, which is looked at once in a while rather than at every field.
type bitReader struct {
	b     []byte
	at    int // in bits
	short bool
}

// f reads n bits, at most 32.
func (r *bitReader) f(n int) uint32 {
	if n > len(r.b)*8-r.at {
		r.short, r.at = true, len(r.b)*8
		return 0
	}
	var v uint32
	for n > 0 {
		left := 8 - r.at&7
		take := min(n, left)
		part := r.b[r.at>>3] >> (left - take) & (1<<take - 1)
		v = v<<take | uint32(part)
		r.at, n = r.at+take, n-take
	}
	return v
}

// flag reads one bit.
func (r *bitReader) flag() bool { return r.f(1) != 0 }

// ns reads a number below n, in one bit less where that is enough.
func (r *bitReader) ns(n int) int {
	w := bits.Len(uint(n))
	m := 1<<w - n
	v := int(r.f(w - 1))
	if v < m {
		return v
	}
	return v<<1 - m + int(r.f(1))
}

// bitWriter is the other direction.
type bitWriter struct {
	b    []byte
	free int // bits of the last byte that are not taken yet
}

// f writes the n lower bits of v.
func (w *bitWriter) f(n int, v uint32) {
	for n > 0 {
		if w.free == 0 {
			w.b, w.free = append(w.b, 0), 8
		}
		take := min(n, w.free)
		part := byte(v>>(n-take)) & (1<<take - 1)
		w.b[len(w.b)-1] |= part << (w.free - take)
		w.free, n = w.free-take, n-take
	}
}

// flag writes one bit.
func (w *bitWriter) flag(v bool) {
	var bit uint32
	if v {
		bit = 1
	}
	w.f(1, bit)
}

// ns writes v, which is below n.
func (w *bitWriter) ns(n, v int) {
	width := bits.Len(uint(n))
	if m := 1<<width - n; v < m {
		w.f(width-1, uint32(v))
	} else {
		w.f(width, uint32(v+m))
	}
}

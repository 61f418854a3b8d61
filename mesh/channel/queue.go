package channel

// queue holds the chunks that wait for their reader.
type queue struct {
	list [][]byte
	head int // of list; those before it are nil
}

func (q *queue) push(b []byte) {
	if q.head > len(q.list)/2 {
		n := copy(q.list, q.list[q.head:])
		clear(q.list[n:])
		q.list, q.head = q.list[:n], 0
	}
	q.list = append(q.list, b)
}

func (q *queue) empty() bool { return q.head == len(q.list) }

// pop returns up to limit bytes of the first chunk, and whether that is used up.
// The queue must not be empty.
func (q *queue) pop(limit int) (b []byte, last bool) {
	b = q.list[q.head]
	if len(b) > limit {
		q.list[q.head] = b[limit:]
		return b[:limit], false
	}
	q.list[q.head] = nil
	if q.head++; q.empty() {
		q.list, q.head = q.list[:0], 0
	}
	return b, true
}

package conn

import (
	"errors"

	"github.com/pion/sctp"
)

// schedule is the order in which an association sends when both sides can
// interleave messages (RFC 8260), as two nodes can. pion's own goes round the
// streams chunk by chunk: five of them with a message of 256 kB each fill the
// receiver's window of 1 MiB with parts, of which none is ever complete, and the
// association stands still for ever. Here messages go out one after another,
// except that the control channel interrupts them: so a window holds parts of
// two messages at most, and signaling does not wait for data. All calls are
// under the association's lock.
type schedule struct {
	control, data fifo
}

var errSchedule = errors.New("conn: SCTP chunk taken out of turn")

func (s *schedule) Reset() { *s = schedule{} }

// Push takes a chunk. Those of one message come without others between them.
func (s *schedule) Push(c sctp.StreamSchedulerChunk) {
	if c.StreamIdentifier() == 0 {
		s.control.push(c)
	} else {
		s.data.push(c)
	}
}

// Peek returns what is to be sent next, nil for nothing.
func (s *schedule) Peek() sctp.StreamSchedulerChunk {
	if c := s.control.front(); c != nil {
		return c
	}
	return s.data.front()
}

// Pop takes what Peek returned, perhaps some Push ago.
func (s *schedule) Pop(c sctp.StreamSchedulerChunk) error {
	q := &s.data
	if c.StreamIdentifier() == 0 {
		q = &s.control
	}
	if q.front() != c {
		return errSchedule
	}
	q.pop()
	return nil
}

// fifo is a queue that does not allocate for each element.
type fifo struct {
	chunks []sctp.StreamSchedulerChunk
	head   int
}

func (q *fifo) push(c sctp.StreamSchedulerChunk) {
	if q.head > len(q.chunks)/2 { // more room in front than in use
		n := copy(q.chunks, q.chunks[q.head:])
		clear(q.chunks[n:])
		q.chunks, q.head = q.chunks[:n], 0
	}
	q.chunks = append(q.chunks, c)
}

func (q *fifo) front() sctp.StreamSchedulerChunk {
	if q.head == len(q.chunks) {
		return nil
	}
	return q.chunks[q.head]
}

func (q *fifo) pop() {
	q.chunks[q.head] = nil
	q.head++
	if q.head < len(q.chunks) {
		return
	}
	q.head, q.chunks = 0, q.chunks[:0]
	if cap(q.chunks) > 1024 { // after a flood
		q.chunks = nil
	}
}

package channel

import (
	"fmt"
	"time"
)

// receive takes a data packet of the message. It may wait, without the lock,
// for the reader to make room. Called on the reading goroutine with the lock
// held, like all here except stalled.
func (m *Message) receive(p packet, replies *replies) {
	if p.has&hasChunk != 0 && !m.accept(p, replies) {
		return
	}
	if p.done {
		m.finish()
		replies.add(acknowledgement(m.id))
		return
	}
	m.grant(replies)
	m.watch(false)
}

// accept takes a chunk and reports whether the message goes on.
func (m *Message) accept(p packet, replies *replies) bool {
	if p.has&hasIndex == 0 || p.index != m.index {
		m.fail(fmt.Errorf("%w: %d came, want %d", ErrGap, p.index, m.index))
		m.c.giveUp(m.id)
		return false
	}
	n := len(p.chunk) + slack
	if !m.awaitRoom(n, replies) {
		return false
	}
	if m.c.makeRoom(n, replies); m.over() {
		return false
	}
	m.index++
	m.store(p.chunk)
	m.cond.Broadcast()
	return true
}

// store keeps a chunk for the reader.
func (m *Message) store(chunk []byte) {
	m.received += int64(len(chunk))
	if m.discard || len(chunk) == 0 {
		m.consumed++
		return
	}
	m.chunks.push(chunk)
	m.cost += len(chunk) + slack
	m.c.unread += len(chunk) + slack
}

// fits reports whether the window has room for n bytes.
func (m *Message) fits(n int) bool { return m.cost == 0 || m.cost+n <= m.c.config.Window }

// awaitRoom waits until n bytes fit, and stalls the message if nothing is read
// for too long. It reports whether the message goes on.
func (m *Message) awaitRoom(n int, replies *replies) bool {
	if m.fits(n) {
		return true
	}
	timer := time.AfterFunc(blockLimit, m.wake)
	defer timer.Stop()
	reads, deadline := m.reads, time.Now().Add(blockLimit)
	for !m.over() && !m.fits(n) {
		switch now := time.Now(); {
		case m.reads != reads:
			reads, deadline = m.reads, now.Add(blockLimit)
			timer.Reset(blockLimit)
		case !now.Before(deadline):
			m.stall(fmt.Errorf("%w: the window is full, and nothing was read for %v", ErrStalled, blockLimit), replies)
			return false
		}
		m.cond.Wait()
	}
	return !m.over()
}

// stall gives the message up because nobody reads it.
func (m *Message) stall(err error, replies *replies) {
	m.refuse(err, replies)
	m.drop()
}

// grant tells the sender how far it may go: at first, and when half a window has
// become free since. A sender that waits for a slow reader also hears of it now
// and then, lest it give up.
func (m *Message) grant(replies *replies) {
	whole := uint32(m.c.config.Window / (ChunkSize + slack))
	limit := m.consumed + whole
	if m.limit > 0 && limit-m.limit < whole/2 &&
		(!m.full() || time.Since(m.granted) < m.c.config.StallTimeout/2) {
		return
	}
	m.limit, m.granted = limit, time.Now()
	replies.add(update(m.id, limit))
}

// full reports whether the sender has to wait for the reader.
func (m *Message) full() bool { return m.index >= m.limit || !m.fits(ChunkSize+slack) }

// watch lets the message stall if it is full and nothing is read for the
// StallTimeout. read says that something was read right now.
func (m *Message) watch(read bool) {
	if m.over() || !m.full() {
		if !m.watched.IsZero() {
			m.watched = time.Time{}
			m.watchdog.Stop()
		}
		return
	}
	if !read && !m.watched.IsZero() {
		return
	}
	timeout := m.c.config.StallTimeout
	m.watched = time.Now().Add(timeout)
	if m.watchdog == nil {
		m.watchdog = time.AfterFunc(timeout, m.stalled)
	} else {
		m.watchdog.Reset(timeout)
	}
}

// stalled is called by the watchdog, on a goroutine of its own. It may come late,
// when something was read after all.
func (m *Message) stalled() {
	var replies replies
	m.c.mu.Lock()
	if !m.watched.IsZero() && !time.Now().Before(m.watched) {
		m.stall(fmt.Errorf("%w: nothing was read for %v", ErrStalled, m.c.config.StallTimeout), &replies)
	}
	m.c.mu.Unlock()
	replies.send(m.c)
}

package channel

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// peerix plays a sender that knows no windows: it sends size bytes in full
// packets, as the send buffer allows.
func peerix(p *pipe, id uint32, size int) error {
	first := packet{
		has: hasID | hasIndex | hasType | hasDone | hasChunk,
		id:  id, kind: uint32(Blob), chunk: patternOf(ChunkSize),
	}
	for b, index := first.append(nil), uint32(0); ; {
		for p.Buffered() > sendBuffer-len(b) {
			after(time.Millisecond)
		}
		if err := p.Send(b); err != nil {
			return err
		}
		at := int(index+1) * ChunkSize
		if at >= size {
			return nil
		}
		index++
		n := min(ChunkSize, size-at)
		content, err := io.ReadAll(&patterned{at: int64(at), size: int64(at + n)})
		if err != nil {
			return err
		}
		b = chunk(id, index, content, at+n == size)
	}
}

func TestPeerixSender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 10<<20 + 1
		messages := make(chan *Message, 1)
		l, _, b := framed(t, nil, func(m *Message) { messages <- m })
		sent := make(chan error, 1)
		go func() { sent <- peerix(l.sides[0][0], 1, size) }()
		m := <-messages
		begin := time.Now()
		var body bytes.Buffer
		for {
			if _, err := io.CopyN(&body, m, 100_000); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			after(100 * time.Millisecond) // 1 MB/s: the window is full all the time
			if held := m.held(); held > DefaultWindow {
				t.Fatalf("%d bytes are held", held)
			}
		}
		if err := <-sent; err != nil || !bytes.Equal(body.Bytes(), patternOf(size)) {
			t.Errorf("%d bytes, %v", body.Len(), err)
		}
		if d := time.Since(begin); d > 11*time.Second {
			t.Errorf("read for %v: something waited for more than the reader", d)
		}
		if m.Type != Blob || b.unfinished() != 0 {
			t.Errorf("message %+v", m)
		}
	})
}

// A reader that stops on a sender without windows holds up the connection for
// 2 s, then it is given up and the rest is dropped.
func TestStoppedReaderOfPeerix(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		messages := make(chan *Message, 1)
		receive, got := collect()
		l := newLink(t, 2, func(side, n int) Config {
			return Config{Framed: true, Receive: []func(*Message){func(m *Message) { messages <- m }, receive}[n]}
		})
		sent := make(chan error, 1)
		go func() { sent <- peerix(l.sides[0][0], 1, 20<<20) }()
		m := <-messages
		after(100 * time.Millisecond) // the window is full
		begin := time.Now()
		expectText(t, l.sides[0][1].sink, got) // behind the blocked packet
		if d := time.Since(begin); d < blockLimit-100*time.Millisecond || d > blockLimit {
			t.Errorf("held up for %v", d)
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
		expectText(t, l.sides[0][1].sink, got)
		if n, err := m.Read(make([]byte, 1)); n != 0 || !errors.Is(err, ErrStalled) || m.held() != 0 {
			t.Errorf("read %d, %v, holds %d", n, err, m.held())
		}
		if n := l.sides[1][0].sink.Dropped(DropUnknown); n < 1000 {
			t.Errorf("%d chunks dropped", n)
		}
	})
}

package channel

import (
	"io"
	"runtime"
	"testing"
)

// allocationsPerChunk is the budget of both sides and the pipe between them: the
// pipe's copy is the one allocation, window updates and the rest are a few in a
// hundred.
const allocationsPerChunk = 1.2

// discarding reads messages as fast as they come.
func discarding(t testing.TB) *Channel {
	_, a, _ := framed(t, nil, func(m *Message) { go io.Copy(io.Discard, m) })
	return a
}

func TestAllocations(t *testing.T) {
	const chunks = 4000
	a := discarding(t)
	send := func(n int64) {
		if err := a.Send(t.Context(), Outgoing{Body: &patterned{size: n * ChunkSize}}); err != nil {
			t.Fatal(err)
		}
	}
	send(100) // buffers are there
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	send(chunks)
	runtime.ReadMemStats(&now)
	if got := float64(now.Mallocs-before.Mallocs) / chunks; got > allocationsPerChunk {
		t.Errorf("%.2f allocations per chunk, at most %v", got, allocationsPerChunk)
	}
}

// BenchmarkThroughput sends one message of b.N chunks.
func BenchmarkThroughput(b *testing.B) {
	a := discarding(b)
	b.SetBytes(ChunkSize)
	b.ReportAllocs()
	if err := a.Send(b.Context(), Outgoing{Body: &patterned{size: int64(b.N) * ChunkSize}}); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkMessages sends short messages, one after the other.
func BenchmarkMessages(b *testing.B) {
	a := discarding(b)
	b.ReportAllocs()
	for b.Loop() {
		if err := a.Send(b.Context(), Outgoing{Body: &patterned{size: 20}}); err != nil {
			b.Fatal(err)
		}
	}
}

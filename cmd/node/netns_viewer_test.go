//go:build netns

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/mesh/conn"
	"github.com/weft-rtc/weft/mesh/driver/dial"
	"github.com/weft-rtc/weft/node"
	"github.com/weft-rtc/weft/publish"
	"github.com/weft-rtc/weft/publish/descriptor/check"
)

const (
	// viewerTask names the variable that makes the test binary a viewer: in
	// another network namespace it has to be another process.
	viewerTask = "WEFT_NETNS_VIEWER"
	// settling is for how long a stream comes before frames count.
	settling = 3 * time.Second
	// late is when a packet is lost to a decoder although it comes: so long after
	// its schedule. Chromium waits for three seconds.
	late = time.Second
	// clock is that of RTP video, in Hz.
	clock = 90000
)

func TestMain(m *testing.M) {
	if task := os.Getenv(viewerTask); task != "" {
		if err := runViewer(task); err != nil {
			fmt.Fprintln(os.Stderr, "viewer:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// viewing is what a viewer is told to do.
type viewing struct {
	Signal, Cert, Room string
	FPS                int           // of the one stream that is in the room
	For                time.Duration // of the stream's own time
}

// view runs a viewer in a namespace until it has its verdict.
func (h *host) view(ctx context.Context, task viewing) (v verdict, err error) {
	text, err := json.Marshal(task)
	if err != nil {
		return v, err
	}
	self, err := os.Executable()
	if err != nil {
		return v, err
	}
	line := h.inside("env", viewerTask+"="+string(text), self)
	out, err := exec.CommandContext(ctx, line[0], line[1:]...).Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return v, fmt.Errorf("viewer in %s: %w: %s", h.ns, err, exit.Stderr)
	} else if err != nil {
		return v, err
	}
	return v, json.Unmarshal(out, &v)
}

// runViewer joins, watches the first video track that comes, and prints a
// verdict.
func runViewer(text string) error {
	var task viewing
	if err := json.Unmarshal([]byte(text), &task); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	d, err := dial.New(task.Signal, dial.Options{TLS: pinned(task.Cert), Logger: log})
	if err != nil {
		return err
	}
	defer d.Close()
	api, err := conn.NewAPI(conn.Config{Logger: log})
	if err != nil {
		return err
	}
	defer api.Close()
	peer, err := node.New(node.Config{Driver: d, Conn: api, Logger: log})
	if err != nil {
		return err
	}
	defer peer.Close()
	tape := &tape{viewing: task, full: make(chan struct{})}
	peer.OnTrack(func(e node.TrackEvent) {
		if e.Added && e.Track.Kind() == codec.Video {
			e.Track.Add(tape)
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), task.For+time.Minute)
	defer cancel()
	if err := peer.Join(ctx, task.Room); err != nil {
		return err
	}
	select {
	case <-tape.full:
	case <-ctx.Done():
		tape.mu.Lock()
		defer tape.mu.Unlock()
		return fmt.Errorf("%d packets and no end after %v", len(tape.packets), task.For+time.Minute)
	}
	tape.mu.Lock()
	defer tape.mu.Unlock()
	return json.NewEncoder(os.Stdout).Encode(task.judge(tape.packets, tape.packets[tape.first]))
}

// tape is a sink that keeps packets until For and what may be late of it are over.
type tape struct {
	viewing
	full chan struct{}

	mu      sync.Mutex
	done    bool
	packets []taped
	first   int // of packets: the key picture from which frames count, 0: it has not come
}

// taped is a packet with what a judge wants to know.
type taped struct {
	check.Packet
	index   int64
	arrival time.Time
}

// WritePacket implements publish.Sink.
func (t *tape) WritePacket(p *publish.Packet) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done {
		return
	}
	t.packets = append(t.packets, taped{
		check.Packet{Seq: p.Seq, Timestamp: p.Timestamp, Marker: p.Marker, Payload: slices.Clone(p.Payload)},
		p.Index, p.Arrival,
	})
	if t.first == 0 {
		if p.Keyframe && p.Arrival.Sub(t.packets[0].arrival) >= settling {
			t.first = len(t.packets) - 1
		}
		return
	}
	first := t.packets[t.first]
	if p.Timestamp-first.Timestamp > ticks(t.For+late) && p.Index > first.index {
		t.done = true
		close(t.full)
	}
}

// verdict is what became of a stream.
type verdict struct {
	Sent     int // frames, by the stream's timestamps
	Decoded  int // that came whole and in time, with all that they refer to
	Packets  int // in time
	Late     int // packets that came, but too late
	Missing  int // that never came
	Repaired int // that came after one with a higher number
	// Behind is by how much the last packet of a frame came after its schedule:
	// the quantiles 50, 90, 99 % and the longest.
	Behind [4]time.Duration
	// Problems are what no loss explains.
	Problems string `json:",omitempty"`
}

// share is how much of what was sent was decoded.
func (v verdict) share() float64 { return float64(v.Decoded) / float64(max(v.Sent, 1)) }

func (v verdict) String() string {
	return fmt.Sprintf("%d of %d frames decoded (%.2f %%); packets: %d in time, %d repaired, %d late, %d missing; frames behind their schedule by %v (50, 90, 99, 100 %%)",
		v.Decoded, v.Sent, 100*v.share(), v.Packets, v.Repaired, v.Late, v.Missing, v.Behind)
}

func ticks(d time.Duration) uint32 { return uint32(d.Seconds() * clock) }

// judge looks at a stream from first on, which is of a key picture. What follows
// it may have come before it, if it was lost and repaired.
func (task viewing) judge(packets []taped, first taped) verdict {
	length := ticks(task.For)
	v := verdict{Sent: int(length) * task.FPS / clock}
	packets = slices.DeleteFunc(packets, func(p taped) bool {
		return p.index < first.index || p.Timestamp-first.Timestamp >= length
	})
	var inTime []check.Packet
	frames := map[uint32]time.Duration{}
	highest := first.index - 1
	behind := task.schedule(packets)
	for _, p := range packets {
		if p.index < highest {
			v.Repaired++
		}
		highest = max(highest, p.index)
		after := behind(p)
		frames[p.Timestamp] = max(frames[p.Timestamp], after)
		if after > late {
			v.Late++
			continue
		}
		inTime = append(inTime, p.Packet)
	}
	v.Missing = int(highest-first.index+1) - len(packets)
	report, err := check.VP8(inTime)
	if err != nil {
		v.Problems = err.Error()
	}
	v.Packets, v.Decoded = len(inTime), report.Frames
	v.Behind = quantiles(frames)
	return v
}

// schedule returns a function that says by how much a packet came after its
// schedule: that of the fastest packet of the frames of a second before and after
// it, since a busy machine holds up all of them.
func (task viewing) schedule(packets []taped) func(taped) time.Duration {
	first := packets[0]
	// after is by how much p came later than its timestamp says.
	after := func(p taped) time.Duration {
		return p.arrival.Sub(first.arrival) - time.Duration(p.Timestamp-first.Timestamp)*time.Second/clock
	}
	fastest := map[uint32]time.Duration{}
	for _, p := range packets {
		if d, ok := fastest[p.Timestamp]; !ok || after(p) < d {
			fastest[p.Timestamp] = after(p)
		}
	}
	step := clock / uint32(task.FPS)
	return func(p taped) time.Duration {
		base := after(p)
		for i := -task.FPS; i <= task.FPS; i++ {
			if d, ok := fastest[p.Timestamp+uint32(i)*step]; ok {
				base = min(base, d)
			}
		}
		return after(p) - base
	}
}

func quantiles(frames map[uint32]time.Duration) (q [4]time.Duration) {
	var all []time.Duration
	for _, d := range frames {
		all = append(all, d.Round(time.Millisecond))
	}
	slices.Sort(all)
	for i, of100 := range []int{50, 90, 99, 100} {
		q[i] = all[(len(all)-1)*of100/100]
	}
	return q
}

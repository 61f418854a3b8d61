package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// readyTimeout is how long a process may take until it says that it is ready, on
// a machine that does other things as well.
const readyTimeout = 30 * time.Second

// buildWeft builds the real binary and returns its path.
func buildWeft(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "weft")
	out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput()
	if err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return bin
}

// process is a running weft command, as a process or within the test.
type process struct {
	t     *testing.T
	name  string
	ready chan json.RawMessage
	logs  *logBook
	stop  func() // ends it and waits; idempotent
	kill  func() // the same without a goodbye
}

// spawn starts the binary.
func spawn(t *testing.T, bin string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: args[0], ready: make(chan json.RawMessage, 1), logs: newLogBook()}
	cmd := exec.Command(bin, args...)
	cmd.Stderr = p.logs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.readOutput(out)
		_ = cmd.Wait()
		p.logs.close()
	}()
	p.kill = func() { _ = cmd.Process.Kill(); <-done }
	p.stop = func() { interrupt(cmd.Process); <-done }
	p.cleanup()
	return p
}

// inside runs the command within the test, where the race detector sees it.
func inside(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: args[0], ready: make(chan json.RawMessage, 1), logs: newLogBook()}
	out, w := io.Pipe()
	ctx, cancel := contextFor(t)
	var wg sync.WaitGroup
	wg.Go(func() { p.readOutput(out) })
	wg.Go(func() {
		a := &app{stdout: w, stderr: p.logs}
		if code := a.run(ctx, args); code != exitOK {
			t.Errorf("weft %q: exit %d\n%s", args, code, p.logs)
		}
		_ = w.Close()
		p.logs.close()
	})
	p.stop = func() { cancel(); wg.Wait() }
	p.kill = p.stop
	p.cleanup()
	return p
}

func (p *process) cleanup() {
	p.t.Cleanup(func() {
		p.stop()
		if p.t.Failed() {
			p.t.Logf("last lines of weft %s:\n%s", p.name, p.logs)
		}
	})
}

// readOutput hands the first line over and takes the rest away.
func (p *process) readOutput(out io.Reader) {
	r := bufio.NewReader(out)
	if line, err := r.ReadBytes('\n'); err == nil {
		p.ready <- line
	}
	_, _ = io.Copy(io.Discard, r)
}

// wait returns once the process is ready, with its ready line read into v.
func (p *process) wait(v any) {
	p.t.Helper()
	timeout := time.NewTimer(readyTimeout)
	defer timeout.Stop()
	select {
	case line := <-p.ready:
		if err := json.Unmarshal(line, v); err != nil {
			p.t.Fatalf("weft %s: ready line %q: %v", p.name, line, err)
		}
	case <-timeout.C:
		p.t.Fatalf("weft %s is not ready after %v:\n%s", p.name, readyTimeout, p.logs)
	case <-p.logs.done:
		p.t.Fatalf("weft %s ended:\n%s", p.name, p.logs)
	}
}

// logBook keeps the log lines of a process and wakes who waits for more.
type logBook struct {
	done chan struct{} // closed at the end of the process

	mu    sync.Mutex
	text  bytes.Buffer
	wake  chan struct{} // closed and replaced with each write
	ended bool
}

func newLogBook() *logBook { return &logBook{done: make(chan struct{}), wake: make(chan struct{})} }

func (l *logBook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.wake)
	l.wake = make(chan struct{})
	return l.text.Write(b)
}

func (l *logBook) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ended {
		l.ended = true
		close(l.done)
	}
}

// String returns the last 4000 bytes.
func (l *logBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.text.Bytes()
	return string(b[max(0, len(b)-4000):])
}

// until waits until the lines so far satisfy done.
func (l *logBook) until(t *testing.T, timeout time.Duration, done func(lines [][]byte) bool) bool {
	t.Helper()
	end := time.NewTimer(timeout)
	defer end.Stop()
	for {
		l.mu.Lock()
		text, wake := bytes.Clone(l.text.Bytes()), l.wake
		l.mu.Unlock()
		if done(bytes.Split(text, []byte("\n"))) {
			return true
		}
		select {
		case <-wake:
		case <-l.done:
			return false
		case <-end.C:
			return false
		}
	}
}

// contextFor is a context that outlives t.Context, which ends before cleanups run.
func contextFor(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithCancel(context.WithoutCancel(t.Context()))
}

// interrupt asks a process to end in order.
func interrupt(p *os.Process) { _ = p.Signal(os.Interrupt) }

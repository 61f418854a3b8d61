//go:build browser || netns

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// browser is testdata/browser.mjs as a process. Its methods may be called from
// any goroutine of the test.
type browser struct {
	t  *testing.T
	in io.WriteCloser

	mu      sync.Mutex
	next    int
	waiting map[int]chan reply
	err     error // why no answer comes any more
}

type reply struct {
	ID    int             `json:"id"`
	Value json.RawMessage `json:"value"`
	Error string          `json:"error"`
}

// startBrowser starts the driver; a browser itself comes with its first page.
// wrap is a command line that runs it somewhere else.
func startBrowser(t *testing.T, wrap ...string) *browser {
	t.Helper()
	tools, err := filepath.Abs("../../.tools")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(tools, "node_modules/playwright-core")); err != nil {
		t.Fatalf("playwright-core is missing, `make tools` installs it: %v", err)
	}
	chromium := program(t, "chromium", "chromium-browser", "google-chrome")
	firefox := program(t, "firefox-esr", "firefox")
	line := append(wrap, "node", "testdata/browser.mjs", tools, chromium, firefox)
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t, in: in, waiting: map[int]chan reply{}}
	var wg sync.WaitGroup
	wg.Go(func() { b.read(out) })
	t.Cleanup(func() {
		_ = in.Close() // the driver closes its browsers and ends
		wg.Wait()
		_ = cmd.Wait()
	})
	return b
}

// program returns the path of the first program that is there.
func program(t *testing.T, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatalf("%s is missing, `make tools` installs it", names[0])
	return ""
}

func (b *browser) read(out io.Reader) {
	sc := bufio.NewScanner(out)
	sc.Buffer(nil, 16<<20)
	for sc.Scan() {
		var r reply
		if err := json.Unmarshal(sc.Bytes(), &r); err != nil {
			continue
		}
		b.mu.Lock()
		ch := b.waiting[r.ID]
		delete(b.waiting, r.ID)
		b.mu.Unlock()
		if ch != nil {
			ch <- r
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = errors.New("the browser driver has ended")
	for _, ch := range b.waiting {
		ch <- reply{Error: b.err.Error()}
	}
}

// args are the fields of a command.
type args map[string]any

// call runs one command of testdata/browser.mjs and fails the test on an error.
func (b *browser) call(op string, a args) json.RawMessage {
	b.t.Helper()
	v, err := b.try(op, a)
	if err != nil {
		b.t.Fatalf("%s %v: %v", op, a["page"], err)
	}
	return v
}

func (b *browser) try(op string, a args) (json.RawMessage, error) {
	ch := make(chan reply, 1)
	b.mu.Lock()
	if b.err != nil {
		b.mu.Unlock()
		return nil, b.err
	}
	b.next++
	id := b.next
	b.waiting[id] = ch
	line := map[string]any{"id": id, "op": op}
	for k, v := range a {
		if d, ok := v.(time.Duration); ok {
			v = d.Milliseconds()
		}
		line[k] = v
	}
	err := json.NewEncoder(b.in).Encode(line)
	b.mu.Unlock()
	if err != nil {
		return nil, err
	}
	r := <-ch
	if r.Error != "" {
		return nil, errors.New(r.Error)
	}
	return r.Value, nil
}

// flowing is what a wait for media found.
type flowing struct {
	Millis int      `json:"ms"`
	Peers  []string `json:"peers"`
}

// flow waits until page got so many new frames of so many peers, with sound.
func (b *browser) flow(page string, peers, frames int, timeout time.Duration) (flowing, error) {
	v, err := b.try("flow", args{"page": page, "peers": peers, "frames": frames, "audio": true, "timeout": timeout})
	var f flowing
	if err == nil {
		err = json.Unmarshal(v, &f)
	}
	return f, err
}

// allFlow does so for several pages at once and reports each one's time.
func (b *browser) allFlow(what string, pages []string, peers, frames int, timeout time.Duration) {
	b.t.Helper()
	var wg sync.WaitGroup
	for _, page := range pages {
		wg.Go(func() {
			f, err := b.flow(page, peers, frames, timeout)
			if err != nil {
				b.t.Errorf("%s: %v", what, err)
				return
			}
			b.t.Logf("%s: page %s has %d frames of %d others after %d ms", what, page, frames, len(f.Peers), f.Millis)
		})
	}
	wg.Wait()
	if b.t.Failed() {
		b.t.FailNow()
	}
}

package serve_test

import (
	"context"
	"encoding/json"
	"log"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/weft-rtc/weft/mesh/driver"
	"github.com/weft-rtc/weft/mesh/driver/dial"
	"github.com/weft-rtc/weft/node"
	"github.com/weft-rtc/weft/node/serve"
	"github.com/weft-rtc/weft/publish"
	"github.com/weft-rtc/weft/publish/source"
)

// What the README shows of Go stands here, so that it compiles; package node's
// examples are the longer forms, which run. TestReadme keeps the two the same.

func publishFile(ctx context.Context) error {
	d, err := dial.New("ws://127.0.0.1:8080/nats", dial.Options{})
	if err != nil {
		return err
	}
	defer d.Close()
	peer, err := node.New(node.Config{Driver: d, Metadata: map[string]any{"name": "film"}})
	if err != nil {
		return err
	}
	defer peer.Close()
	film, err := source.Open(source.Config{Files: []string{"a.ivf", "a.ogg"}, Loop: true})
	if err != nil {
		return err
	}
	if err := peer.Publish(publish.Stream{Label: "film", Tracks: film.Tracks()}); err != nil {
		return err
	}
	if err := peer.Join(ctx, "demo"); err != nil {
		return err
	}
	return film.Run(ctx)
}

func echo(ctx context.Context, peer *node.Peer) error {
	peer.OnMessage(func(e node.ChannelEvent) {
		if text, err := e.Message.Text(ctx, 1000); err == nil {
			answer := node.Text("you said " + text)
			answer.Channel, answer.To = e.Channel.Label(), []string{e.Peer}
			_ = peer.Send(ctx, answer)
		}
	})
	return peer.Open(node.ChannelOptions{Label: "chat"})
}

// recorder writes tracks into files.
type recorder interface {
	open(peer, label string, t *publish.Track) publish.Sink
}

func addon(peer *node.Peer, files recorder) error {
	return peer.Attach("recorder", node.AddonFunc(func(s *node.Scope) error {
		s.On(func(e node.Event) { log.Println(e.Name) }, node.GroupConnection, node.StreamAdd)
		return s.Tap(func(id, label string, t *publish.Track) publish.Sink { return files.open(id, label, t) })
	}))
}

func ownDriver(bus driver.Driver) (*node.Peer, error) {
	return node.New(node.Config{
		Driver: bus, // five methods: Subscribe, Publish, Active, Watch, Close
		Verify: func(id string, metadata json.RawMessage) bool { return len(metadata) > 0 },
	})
}

func server(ctx context.Context) error {
	srv, err := serve.New(serve.Config{Listen: "127.0.0.1:8080"})
	if err != nil {
		return err
	}
	return srv.Run(ctx)
}

var _ = []any{publishFile, echo, addon, ownDriver, server}

func TestReadme(t *testing.T) {
	readme, here := lines(t, "../../README.md"), lines(t, "readme_test.go")
	blocks := 0
	for i, line := range readme {
		if line != "```go" {
			continue
		}
		blocks++
		n := slices.Index(readme[i+1:], "```")
		block := readme[i+1 : i+1+n]
		if !contains(here, block) {
			t.Errorf("line %d: what this block says stands nowhere here:\n%s", i+1, strings.Join(block, "\n"))
		}
	}
	if blocks != 5 {
		t.Errorf("%d blocks of Go, want 5", blocks)
	}
}

func lines(t *testing.T, name string) []string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Split(string(b), "\n")
	for i := range all {
		all[i] = strings.TrimSpace(all[i])
	}
	return all
}

// contains reports whether block stands in text as it is, indentation apart.
func contains(text, block []string) bool {
	for i := range text {
		if len(text)-i >= len(block) && slices.Equal(text[i:i+len(block)], block) {
			return true
		}
	}
	return false
}

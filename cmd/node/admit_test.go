package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-rtc/weft/node/serve"
)

// TestTokensInside: with a token weft publish gets to the hub, by every way of
// signaling; with another one it is told why not.
func TestTokensInside(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "key")
	file := func(name string, args ...string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(newToken(t, key, args...)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := file("good", "--room-prefix", "de", "--publish", "--watch")
	var info serve.Info
	inside(t, "serve", "--json", "--listen", "127.0.0.1:0", "--udp", "127.0.0.1:0", "--mqtt", "--token-key-file", key).wait(&info)
	for name, signal := range map[string]string{
		"nats": info.Signal,
		"mqtt": "mqtt+" + info.MQTT,
		"sse":  "sse+" + info.URL + ".well-known/mercure",
	} {
		room := "demo " + name
		var ready publishReady
		inside(t, "publish", "--room", room, "--test-pattern", "--signal", signal, "--token-file", good).wait(&ready)
		deadline := time.Now().Add(readyTimeout)
		for !strings.Contains(roomOf(t, info, room, good), `"streams":["camera"]`) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: the hub does not have the stream: %s", name, roomOf(t, info, room, good))
			}
			<-time.After(50 * time.Millisecond)
		}
	}
	other := file("other", "--room", "other", "--publish")
	short := file("short", "--room", "demo", "--publish", "--expires", "1ns")
	for path, want := range map[string]string{other: "another room", short: "expired"} {
		code, _, problem := weft(t, nil, "publish", "--room", "demo", "--test-pattern", "--signal", info.Signal, "--token-file", path)
		if code != exitFailed || !strings.Contains(problem, want) {
			t.Errorf("exit %d, %s, want %q", code, problem, want)
		}
		token, err := os.ReadFile(path)
		if err != nil || strings.Contains(problem, strings.TrimSpace(string(token))) {
			t.Errorf("the token is told: %s, %v", problem, err)
		}
	}
	code, _, problem := weft(t, []string{"WEFT_TOKEN=x"}, "publish", "--room", "demo", "--test-pattern", "--signal", "nats://127.0.0.1:1")
	if code != exitUsage || !strings.Contains(problem, "weft serve") {
		t.Errorf("a token for any broker: exit %d, %s", code, problem)
	}
}

// roomOf is what the API says of a room.
func roomOf(t *testing.T, info serve.Info, room, tokenFile string) string {
	t.Helper()
	token, err := os.ReadFile(tokenFile)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, info.URL+"api/v1/rooms/"+strings.ReplaceAll(room, " ", "%20"), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestServeGuards(t *testing.T) {
	key := filepath.Join(t.TempDir(), "key")
	newToken(t, key, "--room", "a", "--watch")
	for _, c := range []struct {
		environ, args []string
		want          string
	}{
		{nil, []string{"--open", "--token-key-file", key}, "--open"},
		{nil, []string{"--auth-webhook", "http://127.0.0.1:1", "--token-key-file", key}, "not both"},
		{nil, []string{"--auth-webhook", "ftp://secret"}, "--auth-webhook"},
		{nil, []string{"--token-key-file", key, "--token-key-file", key}, "kid"},
		{nil, []string{"--token-key-file", key + "x"}, "no such file"},
		{[]string{tokenKeyEnv + "=secret"}, nil, tokenKeyEnv},
	} {
		code, _, problem := weft(t, c.environ, append([]string{"serve", "--listen", "127.0.0.1:0"}, c.args...)...)
		if code != exitUsage || !strings.Contains(problem, c.want) || strings.Contains(problem, "secret") {
			t.Errorf("%q: exit %d, %s; want %q", c.args, code, problem, c.want)
		}
	}
	keys, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	var k struct{ K string }
	if err := json.Unmarshal(keys, &k); err != nil || k.K == "" {
		t.Fatal(string(keys), err)
	}
	if set, err := (&app{environ: []string{tokenKeyEnv + "=" + string(keys)}}).serverKeys(nil); err != nil || set == nil {
		t.Error(set, err)
	}
}

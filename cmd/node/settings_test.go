package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-rtc/weft/node/serve"
	"github.com/weft-rtc/weft/publish/source"
)

// settled runs the command line up to where flags are settled and returns the
// configuration of serve by its flags.
func settled(t *testing.T, file string, env []string, args ...string) (map[string]string, error) {
	t.Helper()
	if file != "" {
		name := filepath.Join(t.TempDir(), "weft.yml")
		if err := os.WriteFile(name, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", name)
	}
	a := &app{stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}, environ: env}
	root := a.rootCommand()
	cmd, rest, err := root.Find(args)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.ParseFlags(rest); err != nil {
		t.Fatal(err)
	}
	if err := a.settle(cmd); err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, name := range []string{"listen", "room", "no-hub", "max-rooms", "mqtt", "json"} {
		out[name] = cmd.Flags().Lookup(name).Value.String()
	}
	return out, nil
}

func TestSettingsPrecedence(t *testing.T) {
	file := "listen: 127.0.0.1:3\nroom: [f, g]\nmax-rooms: 7\nno-hub: true\nmqtt: true\ntest-pattern: slow\n"
	got, err := settled(t, file, []string{"WEFT_LISTEN=127.0.0.1:2", "WEFT_ROOM=e1,e2", "HOME=/"}, "serve", "--listen", "127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"listen": "127.0.0.1:1", "room": "[e1,e2]", "max-rooms": "7", "no-hub": "true", "mqtt": "true", "json": "false",
	} {
		if got[name] != want {
			t.Errorf("%s = %s, want %s", name, got[name], want)
		}
	}
	got, err = settled(t, "", nil, "--no-hub")
	if err != nil || got["listen"] != serve.DefaultListen || got["no-hub"] != "true" {
		t.Errorf("the root command is not serve: %v, %v", got, err)
	}
}

func TestSettingsErrors(t *testing.T) {
	for _, c := range []struct {
		name, file string
		env        []string
		want       string
	}{
		{"unknown", "listen: a\n\nlissten: b\n", nil, `weft.yml:3: unknown key "lissten"`},
		{"config in file", "config: a\n", nil, "unknown key"},
		{"twice", "room: a\nroom: b\n", nil, "weft.yml:2"},
		{"nested", "room:\n  a: b\n", nil, "weft.yml:1"},
		{"list", "listen: [a, b]\n", nil, "one value"},
		{"empty list", "listen: []\n", nil, "one value"},
		{"type", "x: 1\nmax-rooms: many\n", nil, "weft.yml:1"},
		{"bad number", "max-rooms: many\n", nil, `weft.yml:1: "max-rooms"`},
		{"no mapping", "- a\n", nil, "name: value"},
		{"no yaml", "a: [\n", nil, "weft.yml"},
		{"env", "", []string{"WEFT_MAX_ROOMS=many"}, `WEFT_MAX_ROOMS="many"`},
	} {
		_, err := settled(t, c.file, c.env, "serve")
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
	if _, err := settled(t, "# nothing\n", nil, "serve"); err != nil {
		t.Errorf("an empty file: %v", err)
	}
}

// Every flag is in kebab-case and reads from the environment by its name.
func TestFlagNames(t *testing.T) {
	a := &app{}
	for name := range knownFlags(a.rootCommand()) {
		if name != strings.ToLower(name) || strings.ContainsAny(name, "_ ") {
			t.Errorf("flag %q is not kebab-case", name)
		}
	}
	if envName("max-rooms") != "WEFT_MAX_ROOMS" {
		t.Error(envName("max-rooms"))
	}
}

func TestExitCodes(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none.ivf")
	for _, c := range []struct {
		args []string
		code int
		want string // on standard error
	}{
		{[]string{"version"}, exitOK, ""},
		{[]string{"version", "extra"}, exitUsage, "extra"},
		{[]string{"nonsense"}, exitUsage, "nonsense"},
		{[]string{"--nonsense"}, exitUsage, "nonsense"},
		{[]string{"serve", "--listen", "0.0.0.0:0"}, exitUsage, "--open"},
		{[]string{"serve", "--log-level", "loud"}, exitUsage, "--log-level"},
		{[]string{"--config", missing}, exitUsage, missing},
		{[]string{"publish", "--file", missing}, exitUsage, "--room"},
		{[]string{"publish", "--room", "r"}, exitUsage, "--file or --test-pattern"},
		{[]string{"publish", "--room", "a\tb", "--test-pattern"}, exitUsage, "control"},
		{[]string{"publish", "--room", "r", "--test-pattern", "mpeg1"}, exitUsage, "mpeg1"},
		{[]string{"publish", "--room", "r", "--file", "a", "b"}, exitUsage, `"b"`},
		{[]string{"publish", "--room", "r", "--test-pattern", "--signal", "http://x"}, exitUsage, "--signal"},
		{[]string{"publish", "--room", "r", "--test-pattern", "--label", "a/b"}, exitUsage, "--label"},
		{[]string{"publish", "--room", "r", "--test-pattern", "slow", "--simulcast"}, exitUsage, "h264 or vp8"},
		{[]string{"publish", "--room", "r", "--file", missing}, exitFailed, missing},
		{[]string{"publish", "--room", "r", "--file", "../../testdata/vp8.ivf", "--simulcast"}, exitFailed, "one for each quality"},
	} {
		var stdout, stderr bytes.Buffer
		a := &app{stdout: &stdout, stderr: &stderr}
		if code := a.run(t.Context(), c.args); code != c.code || !strings.Contains(stderr.String(), c.want) {
			t.Errorf("weft %q: exit %d, %q; want %d with %q", c.args, code, stderr.String(), c.code, c.want)
		}
	}
}

func TestVersionJSON(t *testing.T) {
	var stdout bytes.Buffer
	a := &app{stdout: &stdout, stderr: &bytes.Buffer{}}
	if code := a.run(t.Context(), []string{"version", "--json"}); code != exitOK {
		t.Fatal(code)
	}
	var v versionInfo
	if err := json.Unmarshal(stdout.Bytes(), &v); err != nil || v.Go == "" || v.Platform == "" {
		t.Errorf("%s: %v", stdout.String(), err)
	}
}

func TestTestPatternArgument(t *testing.T) {
	for _, want := range source.Patterns() {
		o := publishOptions{room: "r", pattern: source.DefaultPattern, signal: "ws://h/nats"}
		if err := o.takePattern([]string{want}); err != nil || o.validate() != nil || o.pattern != want || !o.loop {
			t.Errorf("%s: %+v, %v", want, o, err)
		}
	}
}

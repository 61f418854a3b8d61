package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-rtc/weft/node/serve/access"
)

// weft runs a command and returns what it says.
func weft(t *testing.T, environ []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, problems bytes.Buffer
	a := &app{stdout: &out, stderr: &problems, environ: environ}
	code = a.run(t.Context(), args)
	return code, out.String(), problems.String()
}

// newToken makes a key file, if it is not there, and a token by it.
func newToken(t *testing.T, keyFile string, args ...string) string {
	t.Helper()
	if _, err := os.Stat(keyFile); err != nil {
		if code, _, problem := weft(t, nil, "token", "--new-key", "hs256", "--key-file", keyFile); code != exitOK {
			t.Fatal(problem)
		}
	}
	code, out, problem := weft(t, nil, append([]string{"token", "--key-file", keyFile}, args...)...)
	if code != exitOK {
		t.Fatal(problem)
	}
	return strings.TrimSpace(out)
}

func TestTokenCommand(t *testing.T) {
	for _, alg := range []string{"hs256", "ed25519"} {
		file := filepath.Join(t.TempDir(), "key")
		if code, _, problem := weft(t, nil, "token", "--new-key", alg, "--key-file", file); code != exitOK {
			t.Fatal(problem)
		}
		if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
			t.Fatalf("%v, %v", st.Mode(), err)
		}
		if code, _, _ := weft(t, nil, "token", "--new-key", alg, "--key-file", file); code != exitFailed {
			t.Errorf("a key was written over: exit %d", code)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		list, err := access.ParseKeys(text)
		if err != nil {
			t.Fatal(err)
		}
		keys, err := access.NewKeys(list...)
		if err != nil {
			t.Fatal(err)
		}
		for _, way := range [][]string{{"--key-file", file}, nil} {
			code, out, problem := weft(t, []string{tokenKeyEnv + "=" + string(text)},
				append([]string{"token", "--room", "demo", "--publish", "--name", "ada", "--expires", "1h"}, way...)...)
			if code != exitOK {
				t.Fatal(problem)
			}
			c, err := keys.Verify(access.NewSecret(strings.TrimSpace(out)), time.Now())
			if err != nil || c.Room != "demo" || !c.Publish || c.Watch || c.Hub || c.Name != "ada" {
				t.Errorf("%+v, %v", c, err)
			}
		}
		code, out, _ := weft(t, nil, "token", "--public", "--key-file", file)
		if public := alg == "ed25519"; (code == exitOK) != public || strings.Contains(out, `"d"`) || strings.Contains(out, `"k"`) {
			t.Errorf("%s: public half: exit %d, %s", alg, code, out)
		}
	}
}

func TestTokenMistakes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	newToken(t, file, "--room", "a", "--watch")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--watch", "--key-file", file}, "--room"},
		{[]string{"--room", "a", "--all-rooms", "--watch", "--key-file", file}, "--room"},
		{[]string{"--room", "a\tb", "--watch", "--key-file", file}, "control"},
		{[]string{"--room", "a", "--key-file", file}, "allows nothing"},
		{[]string{"--room", "a", "--watch"}, tokenKeyEnv},
		{[]string{"--room", "a", "--watch", "--key-file", file + "x"}, "no such file"},
		{[]string{"--room", "a", "--watch", "--expires", "9999h0m", "--key-file", file}, "366 days"},
		{[]string{"--room", "a", "--watch", "--expires", "-1h", "--key-file", file}, "end"},
		{[]string{"--new-key", "rsa", "--key-file", file}, "hs256"},
		{[]string{"--new-key", "hs256"}, "--key-file"},
	} {
		if code, _, problem := weft(t, nil, append([]string{"token"}, c.args...)...); code != exitUsage || !strings.Contains(problem, c.want) {
			t.Errorf("%q: exit %d, %q; want %q", c.args, code, problem, c.want)
		}
	}
	code, _, problem := weft(t, []string{tokenKeyEnv + "=very-secret"}, "token", "--room", "a", "--watch")
	if code != exitUsage || strings.Contains(problem, "very-secret") {
		t.Errorf("exit %d, %q", code, problem)
	}
}

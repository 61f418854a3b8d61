package main

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestReadmeCommands: every command line of the README is one that the command,
// or the Makefile, understands.
func TestReadmeCommands(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	comment := regexp.MustCompile(`\s\s+\S.*|\s+#.*`)
	found := 0
	for line := range strings.Lines(string(readme)) {
		words := strings.Fields(comment.ReplaceAllString(strings.TrimRight(line, "\n"), ""))
		if len(words) < 2 {
			continue
		}
		switch words[0] {
		case "make":
			found++
			if !bytes.Contains(makefile, []byte("\n"+words[1]+":")) {
				t.Errorf("the Makefile has no target %q", words[1])
			}
		case "weft":
			found++
			a := &app{stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}}
			cmd, rest, err := a.rootCommand().Find(words[1:])
			if err == nil {
				err = cmd.ParseFlags(rest)
			}
			if err != nil || cmd.Name() != words[1] {
				t.Errorf("%s: command %s, %v", strings.Join(words, " "), cmd.Name(), err)
			}
		}
	}
	if found < 8 {
		t.Errorf("%d command lines found, the README has more", found)
	}
}

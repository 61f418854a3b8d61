package node

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// TestSpeakers plays voices in steps of 250 ms: a letter speaks, a capital shouts.
func TestSpeakers(t *testing.T) {
	for _, c := range []struct{ name, play, want string }{
		{"nobody", "....", ""},
		{"one", "aaaa", "a"},
		{"a pause between words", "aa..aa..aa", "a"},
		{"silence", "aa......", "a "},
		{"a cough takes no lead", "a a aB a a a a a a", "a ab a"},
		{"one who is louder for long takes it", "a aB aB aB aB aB", "a ab ba"},
		{"the next speaker", "aaa.....bbb", "a  b"},
		{"equals do not flap", "ab ab ab ab ab ab ab", "ab"},
		{"one who leaves", "ab ab -a b b", "ab b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			steps := strings.Fields(c.play)
			if len(steps) == 1 {
				steps = strings.Split(c.play, "")
			}
			var s speakers
			var seen []string
			gone := map[string]bool{}
			now := time.Unix(1000, 0)
			for _, step := range steps {
				now = now.Add(speakersInterval)
				var voices []voice
				if strings.HasPrefix(step, "-") {
					gone[step[1:2]] = true
					step = step[2:]
				}
				for _, id := range []string{"a", "b"} {
					level := 20
					if strings.Contains(step, id) {
						level = 100
					}
					if strings.Contains(step, strings.ToUpper(id)) {
						level = 120
					}
					if !gone[id] {
						voices = append(voices, voice{id, level})
					}
				}
				if speaking, news := s.update(voices, now); news {
					seen = append(seen, strings.Join(speaking, ""))
				}
			}
			want := strings.Split(c.want, " ")
			if c.want == "" {
				want = nil
			}
			if !slices.Equal(seen, want) {
				t.Errorf("%q, want %q", seen, want)
			}
		})
	}
}

func TestLoudness(t *testing.T) {
	var l loudness
	now := time.Unix(1000, 0)
	for range 25 { // half a second
		l.observe(30, now)
		now = now.Add(20 * time.Millisecond)
	}
	if got := l.read(now); got < 85 || got > 97 {
		t.Errorf("level %d after half a second of -30 dBov", got)
	}
	if got := l.read(now.Add(2 * time.Second)); got != 0 {
		t.Errorf("level %d of one who sends nothing", got)
	}
	if n := testing.AllocsPerRun(10, func() { l.observe(30, now) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

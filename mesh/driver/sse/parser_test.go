package sse

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// streams are what a service may send, and the events in it.
var streams = []struct {
	name, stream string
	want         []string
}{
	{"one event", "data: YQ==\n\n", []string{"YQ=="}},
	{"no space", "data:YQ==\n\n", []string{"YQ=="}},
	{"one space is taken", "data:  a\n\n", []string{" a"}},
	{"CR", "data: a\r\rdata: b\r\r", []string{"a", "b"}},
	{"CRLF", "data: a\r\n\r\ndata: b\r\n\r\n", []string{"a", "b"}},
	{"mixed", "data: a\r\n\ndata: b\n\r\ndata: c\r\n\r", []string{"a", "b", "c"}},
	{"several lines", "data: a\ndata: b\ndata\n\n", []string{"a\nb\n"}},
	{"empty data", "data:\n\ndata\n\n", []string{"", ""}},
	{"byte order mark", "\ufeffdata: a\n\n", []string{"a"}},
	{"only at the beginning", "data: a\n\n\ufeffdata: b\n\n", []string{"a"}},
	{"byte order mark alone", "\ufeff\n\ndata: a\n\n", []string{"a"}},
	{"comments", ":\n: keepalive\ndata: a\n:x\n\n:", []string{"a"}},
	{"id and unknown fields", "id: 1\nfoo: bar\ndata: a\nData: b\n\n", []string{"a"}},
	{"no data", "id: 1\n\n\n\nevent: x\n\n", nil},
	{"other type", "event: x\ndata: a\n\ndata: b\n\n", []string{"b"}},
	{"type message", "event: message\ndata: a\n\nevent: x\nevent:\ndata: b\n\n", []string{"a", "b"}},
	{"cut off", "data: a\n\ndata: b\n", []string{"a"}},
	{"retry", "retry: 1500\ndata: a\n\n", []string{"a"}},
	{"bad retry", "retry: 1.5\nretry: -1\nretry:\nretry: x\n\n", nil},
}

// parse feeds a stream in pieces of n bytes.
func parse(p *parser, stream []byte, n int) []string {
	var got []string
	for piece := range slices.Chunk(stream, n) {
		p.feed(piece, func(data []byte) { got = append(got, string(data)) })
	}
	return got
}

func TestParser(t *testing.T) {
	for _, c := range streams {
		for _, n := range []int{1, 2, 3, 1000} {
			if got := parse(&parser{limit: 1000}, []byte(c.stream), n); !slices.Equal(got, c.want) {
				t.Errorf("%s, %d at a time: %q, want %q", c.name, n, got, c.want)
			}
		}
	}
}

func TestParserRetry(t *testing.T) {
	for stream, want := range map[string]time.Duration{
		"retry: 1500\n":       1500 * time.Millisecond,
		"retry:7\nretry: x\n": 7 * time.Millisecond,
		"retry: -1\n":         0,
		"retry:\n":            0,
		"retry: " + strings.Repeat("9", 5000) + "\n\n": 999_999_999 * time.Millisecond,
	} {
		p := parser{limit: maxEvent}
		parse(&p, []byte(stream), 7)
		if p.retry != want {
			t.Errorf("%.20q: retry %v, want %v", stream, p.retry, want)
		}
	}
}

// What is too long is dropped by itself, and what comes after it is read.
func TestParserBounds(t *testing.T) {
	long := strings.Repeat("x", 200)
	for name, stream := range map[string]string{
		"line":    "data: " + long + "\ndata: y\n\n",
		"event":   strings.Repeat("data: xxxxxxxxxx\n", 20) + "\n",
		"field":   "data: y\n" + long + "\n\n",
		"by type": "event: " + long + "\ndata: y\n\n",
	} {
		for _, n := range []int{1, 7, 1000} {
			p := parser{limit: 100}
			got := parse(&p, []byte(stream+"data: next\n\n"), n)
			if !slices.Equal(got, []string{"next"}) || p.dropped != 1 {
				t.Errorf("%s, %d at a time: %q, %d dropped", name, n, got, p.dropped)
			}
		}
	}
	for _, n := range []int{1, 7, 1000} { // comments may be of any length
		p := parser{limit: 100}
		got := parse(&p, []byte("data: a\n:"+long+"\n\n"), n)
		if !slices.Equal(got, []string{"a"}) || p.dropped != 0 {
			t.Errorf("comment, %d at a time: %q, %d dropped", n, got, p.dropped)
		}
	}
	p := parser{limit: maxEvent}
	parse(&p, []byte("data: "+strings.Repeat("x", 1<<20)+"\n\n"), 8<<10)
	if cap(p.line) > keepBuffer || cap(p.data) > keepBuffer {
		t.Errorf("%d and %d bytes are kept after a large event", cap(p.line), cap(p.data))
	}
}

func TestDecode(t *testing.T) {
	for text, want := range map[string]string{
		"":             "",
		"YQ==":         "a",
		"YQ":           "a",
		"+/+/":         "\xfb\xff\xbf",
		" Y\tQ\r=\n=":  "a",
		"YWI=":         "ab",
		"YWJj\nZGVm\n": "abcdef",
	} {
		if got, err := decode([]byte(text)); err != nil || string(got) != want {
			t.Errorf("%q: %q, %v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"Y", "=", "YQ=", "YQ==YQ==", "Y-_Q", "YQ===", "é", "{}"} {
		if got, err := decode([]byte(text)); err == nil {
			t.Errorf("%q became %q", text, got)
		}
	}
}

// byLines reads a whole stream the plain way.
func byLines(stream string) (events []string) {
	stream = strings.ReplaceAll(strings.ReplaceAll(stream, "\r\n", "\n"), "\r", "\n")
	lines := strings.Split(strings.TrimPrefix(stream, "\ufeff"), "\n")
	var data []string
	kind := ""
	for _, line := range lines[:len(lines)-1] { // the last has no end
		if line == "" {
			if data != nil && (kind == "" || kind == "message") {
				events = append(events, strings.Join(data, "\n"))
			}
			data, kind = nil, ""
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "data":
			data = append(data, value)
		case "event":
			kind = value
		}
	}
	return events
}

func FuzzParser(f *testing.F) {
	for _, c := range streams {
		f.Add([]byte(c.stream), uint8(3))
	}
	f.Add([]byte("\ufeff: a comment behind a mark\ndata: a\n\n"), uint8(1))
	f.Fuzz(func(t *testing.T, stream []byte, size uint8) {
		n := int(size) + 1
		if got, want := parse(&parser{limit: 1 << 20}, stream, n), byLines(string(stream)); !slices.Equal(got, want) {
			t.Errorf("%d at a time: %q, want %q", n, got, want)
		}
		const limit = 24
		small, whole := parser{limit: limit}, parser{limit: limit}
		a, b := parse(&small, stream, n), parse(&whole, stream, len(stream)+1)
		if fmt.Sprintf("%q %v %d", a, small.retry, small.dropped) != fmt.Sprintf("%q %v %d", b, whole.retry, whole.dropped) {
			t.Errorf("%d at a time: %q and %d dropped, whole: %q and %d", n, a, small.dropped, b, whole.dropped)
		}
		if len(small.line) > limit || len(small.data) > limit {
			t.Errorf("holds a line of %d and data of %d bytes", len(small.line), len(small.data))
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("YQ=="))
	f.Fuzz(func(t *testing.T, data []byte) {
		packet, err := decode(data)
		if err != nil {
			return
		}
		again, err := decode([]byte(strings.TrimPrefix(form("", packet), "topic=&data=")))
		if err == nil && !bytes.Equal(packet, again) {
			t.Errorf("%q became %q", packet, again)
		}
	})
}

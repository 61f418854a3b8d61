package channel

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
)

func TestTypedReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		messages := make(chan *Message, 8)
		_, a, _ := framed(t, nil, func(m *Message) { messages <- m })
		send := func(body string) *Message {
			t.Helper()
			if err := a.Send(t.Context(), Outgoing{Type: JSON, Body: strings.NewReader(body)}); err != nil {
				t.Fatal(err)
			}
			return <-messages
		}
		var v struct{ A int }
		if err := send(`{"a":7}`).JSON(t.Context(), 0, &v); err != nil || v.A != 7 {
			t.Errorf("%+v, %v", v, err)
		}
		if err := send(`{`).JSON(t.Context(), 0, &v); err == nil {
			t.Error("half an object was taken")
		}
		if s, err := send("żółw").Text(t.Context(), 0); err != nil || s != "żółw" {
			t.Errorf("%q, %v", s, err)
		}
		if s, err := send("four").Text(t.Context(), 4); err != nil || s != "four" {
			t.Errorf("%q, %v", s, err)
		}
		m := send("fives")
		if _, err := m.Bytes(t.Context(), 4); !errors.Is(err, ErrTooLarge) {
			t.Errorf("error %v", err)
		}
		if n, err := m.Read(make([]byte, 8)); n != 0 || err == nil {
			t.Errorf("read %d after that, %v", n, err)
		}
		b := make([]byte, 2)
		m = send("abc")
		for _, want := range []string{"ab", "c"} {
			if n, err := m.Read(b); err != nil || string(b[:n]) != want {
				t.Errorf("read %q, %v", b[:n], err)
			}
		}
		if n, err := m.Read(nil); n != 0 || err != nil {
			t.Errorf("read %d, %v", n, err)
		}
		if n, err := m.Read(b); n != 0 || err != io.EOF {
			t.Errorf("read %d, %v", n, err)
		}
		if _, err := send("x").WriteTo(half{}); err != io.ErrShortWrite {
			t.Errorf("error %v", err)
		}
	})
}

type half struct{}

func (half) Write([]byte) (int, error) { return 0, nil }

func TestUnframed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		receive, got := collect()
		l := newLink(t, 1, func(side, _ int) Config { return Config{Label: "raw", Receive: receive} })
		a := l.sides[0][0].sink
		for _, c := range []struct {
			kind, want Type
			size       int
		}{{Text, Text, 5}, {Text, Text, 0}, {JSON, Bytes, 4}, {0, Bytes, 10}, {Bytes, Bytes, MaxRaw}, {Blob, Bytes, MaxRaw}, {Bytes, Bytes, 0}} {
			var progress int64
			m := Outgoing{Type: c.kind, Body: &patterned{size: int64(c.size)}, Progress: func(n, _ int64) { progress = n }}
			if err := a.Send(t.Context(), m); err != nil || progress != int64(c.size) {
				t.Fatalf("progress %d, %v", progress, err)
			}
			r := <-got
			if r.err != nil || !r.message.Raw || r.message.Type != c.want || !bytes.Equal(r.body, patternOf(c.size)) {
				t.Errorf("%v of %d bytes: %+v, %d bytes, %v", c.kind, c.size, r.message, len(r.body), r.err)
			}
		}
		if err := a.Send(t.Context(), Outgoing{Body: &patterned{size: MaxRaw + 1}}); !errors.Is(err, ErrTooLarge) {
			t.Errorf("error %v", err)
		}
		if err := a.Send(t.Context(), Outgoing{Info: json.RawMessage(`1`)}); !errors.Is(err, ErrInfo) {
			t.Errorf("error %v", err)
		}
		if err := a.Send(t.Context(), Outgoing{Body: failing(1)}); !errors.Is(err, errBody) {
			t.Errorf("error %v", err)
		}
		l.close()
		synctest.Wait()
		if err := a.Send(t.Context(), Outgoing{}); !errors.Is(err, ErrClosed) {
			t.Errorf("error %v", err)
		}
	})
}

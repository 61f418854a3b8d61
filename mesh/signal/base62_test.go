package signal

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

func TestBase62Alphabet(t *testing.T) {
	if want := golden(t).Base62.Alphabet; base62Digits != want {
		t.Errorf("alphabet %s, want %s", base62Digits, want)
	}
}

func TestBase62Encode(t *testing.T) {
	for _, v := range golden(t).Base62.Encode {
		t.Run(fmt.Sprintf("%x", []byte(v.Bytes)), func(t *testing.T) {
			if got := base62Encode(v.Bytes); got != v.Text {
				t.Errorf("got %q, want %q", got, v.Text)
			}
		})
	}
}

func TestBase62Decode(t *testing.T) {
	v := golden(t).Base62
	for _, v := range append(v.Decode, v.Truncating...) {
		t.Run(fmt.Sprintf("%q of %d", v.Text, v.Length), func(t *testing.T) {
			got, err := base62Decode(v.Text, v.Length)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, v.Bytes) {
				t.Errorf("got %x, want %x", got, []byte(v.Bytes))
			}
		})
	}
}

func TestBase62Invalid(t *testing.T) {
	for _, v := range golden(t).Base62.Invalid {
		t.Run(v.Text, func(t *testing.T) {
			if got, err := base62Decode(v.Text, 0); err == nil || !strings.Contains(err.Error(), "character") {
				t.Errorf("got %x, error %v", got, err)
			}
		})
	}
}

func FuzzBase62(f *testing.F) {
	v := golden(f).Base62
	for _, c := range append(v.Encode, v.Decode...) {
		f.Add(c.Text, []byte(c.Bytes))
	}
	for _, c := range v.Truncating {
		f.Add(c.Text, []byte(c.Bytes))
	}
	for _, c := range v.Invalid {
		f.Add(c.Text, []byte(nil))
	}
	for _, k := range golden(f).Keys {
		f.Add(string(k.ID), []byte(k.Compressed))
	}
	for _, k := range golden(f).SharedKeys {
		f.Add(k.A, []byte(k.AES256))
	}
	for _, p := range golden(f).Polite {
		f.Add(string(p.Me), []byte(p.Other))
	}
	for _, n := range golden(f).Namespaces.Hashed {
		f.Add(n.Namespace, []byte(n.UTF8))
	}
	for _, n := range golden(f).Namespaces.Plain {
		f.Add(n.Namespace, []byte(n.Name))
	}
	f.Fuzz(func(t *testing.T, text string, b []byte) {
		if len(text) > 256 || len(b) > 256 {
			return // callers are bounded by 45 and 33
		}
		if back, err := base62Decode(base62Encode(b), len(b)); err != nil || !bytes.Equal(back, b) {
			t.Errorf("%x became %x, error %v", b, back, err)
		}
		got, err := base62Decode(text, 0)
		if err != nil || text == "" {
			return
		}
		want := strings.TrimLeft(text, "0")
		if want == "" {
			want = "0"
		}
		if again := base62Encode(got); again != want {
			t.Errorf("%q became %q", text, again)
		}
	})
}

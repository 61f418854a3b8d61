package access

import (
	"fmt"
	"io"
	"log/slog"
)

// hidden is what is shown in place of a secret.
const hidden = "[redacted]"

// Secret is a text that must not be seen in logs, errors and dumps: a token, for
// one. However it is printed it shows as "[redacted]"; only Reveal gives it away.
// The zero value is an empty one.
type Secret struct {
	// A pointer, because fmt prints the fields of an unexported Secret without
	// calling its methods.
	text *string
}

// NewSecret hides a text.
func NewSecret(text string) Secret { return Secret{&text} }

// Reveal returns the text.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// Empty reports whether there is nothing to hide.
func (s Secret) Empty() bool { return s.Reveal() == "" }

// String implements fmt.Stringer.
func (s Secret) String() string { return hidden }

// GoString implements fmt.GoStringer.
func (s Secret) GoString() string { return hidden }

// Format implements fmt.Formatter, for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// MarshalText implements encoding.TextMarshaler.
func (s Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

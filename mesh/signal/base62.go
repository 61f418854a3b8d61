package signal

import (
	"fmt"
	"math/big"
	"strings"
)

// base62Digits is the alphabet in the order of the digits' values. It is also
// the one of math/big for base 62.
const base62Digits = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

// base62Encode writes b as one big-endian number: leading zero bytes are lost,
// all-zero input gives "0" and no input the empty text.
func base62Encode(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	return new(big.Int).SetBytes(b).Text(62)
}

// base62Decode reads a text into the fewest bytes, at least one; or, with a
// length above 0, into exactly that many, zero bytes in front and the low bytes
// kept if the number is too long. The empty text gives no bytes in either case.
func base62Decode(text string, length int) ([]byte, error) {
	for i, r := range text {
		if !strings.ContainsRune(base62Digits, r) {
			return nil, fmt.Errorf("base62: character %q at byte %d", r, i)
		}
	}
	if text == "" {
		return []byte{}, nil
	}
	n, _ := new(big.Int).SetString(text, 62) // cannot fail: only digits
	b := n.Bytes()
	if length <= 0 {
		length = max(1, len(b))
	}
	if len(b) > length {
		return b[len(b)-length:], nil
	}
	return n.FillBytes(make([]byte, length)), nil
}

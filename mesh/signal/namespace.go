package signal

import (
	"crypto/sha256"
	"strings"
)

// RoomNamespace returns the namespace on which a room's announcements travel.
// It depends on Config.NoHashing only, which all peers of a room must share.
func (c *Codec) RoomNamespace(room string) string { return c.namespace(room) }

// PeerNamespace returns the namespace on which a peer is addressed.
func (c *Codec) PeerNamespace(id PeerID) string { return c.namespace(string(id)) }

func (c *Codec) namespace(name string) string {
	if c.hashing {
		sum := sha256.Sum256([]byte(name))
		return base62Encode(sum[:])
	}
	return plainNamespace(name)
}

// plainNamespace replaces each code point that some broker may not take in an
// address by one underscore.
func plainNamespace(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '-':
			return r
		default:
			return '_'
		}
	}, name)
}

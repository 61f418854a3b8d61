package signal

import (
	"container/list"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"sync"
)

const (
	// publicKeyLen is the length of a P-256 point in SEC 1 compressed form:
	// 2 or 3 for an even or odd y, then x.
	publicKeyLen = 33
	// maxIDLen is the length of the longest base62 text of 33 bytes.
	maxIDLen = 45
	// idTries is how many identities are made to keep the one that sorts
	// highest: a stranger's single try is above the best of 256 with a chance
	// of 1 in 257. So many key pairs take some 10 ms.
	idTries = 256
	// maxPeerKeys bounds the derived keys that are remembered; each takes about
	// 1 KB. A key that is gone is derived again, so the bound costs time only.
	maxPeerKeys = 4096
)

// highKey makes tries key pairs and keeps the one whose peer id is the greatest
// text, so that this peer is polite toward nearly every other.
//
// The polite side takes its offer back when two collide. Browsers based on
// Chromium fail in that role: after their rollback they still hold the header
// extension ids of the withdrawn offer and refuse one that maps them otherwise,
// and nothing recovers from it. Whoever rolls back itself avoids that.
func highKey(tries int) (*ecdh.PrivateKey, error) {
	var best *ecdh.PrivateKey
	var bestID PeerID
	for range max(tries, 1) {
		key, err := ecdh.P256().GenerateKey(rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("signal: key pair: %w", err)
		}
		if id := idOf(compress(key.PublicKey())); id > bestID {
			best, bestID = key, id
		}
	}
	return best, nil
}

// highRandom is highKey for peers that do not encrypt, whose id is random.
func highRandom(random io.Reader, tries int) ([]byte, error) {
	var best []byte
	var bestID PeerID
	for range max(tries, 1) {
		b := make([]byte, publicKeyLen)
		if _, err := io.ReadFull(random, b); err != nil {
			return nil, fmt.Errorf("signal: random id: %w", err)
		}
		if id := idOf(b); id > bestID {
			best, bestID = b, id
		}
	}
	return best, nil
}

// idOf returns the peer id of a sender field.
func idOf(sender []byte) PeerID { return PeerID(base62Encode(sender)) }

// compress returns the SEC 1 compressed form of a P-256 key (section 2.3.3).
func compress(key *ecdh.PublicKey) []byte {
	b := key.Bytes() // 4, x, y
	out := make([]byte, publicKeyLen)
	out[0] = 2 | b[len(b)-1]&1
	copy(out[1:], b[1:publicKeyLen])
	return out
}

// parsePublicKey reads a compressed P-256 key and checks that it is a point of
// the curve (SEC 1 section 2.3.4).
func parsePublicKey(b []byte) (*ecdh.PublicKey, error) {
	if len(b) != publicKeyLen {
		return nil, fmt.Errorf("public key has %d bytes, want %d", len(b), publicKeyLen)
	}
	if b[0] != 2 && b[0] != 3 {
		return nil, fmt.Errorf("public key starts with 0x%02x, want 0x02 or 0x03", b[0])
	}
	x, y := elliptic.UnmarshalCompressed(elliptic.P256(), b)
	if x == nil {
		return nil, errors.New("public key is not on the curve P-256")
	}
	point := make([]byte, 65)
	point[0] = 4
	x.FillBytes(point[1:33])
	y.FillBytes(point[33:])
	key, err := ecdh.P256().NewPublicKey(point)
	if err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	return key, nil
}

// sharedKey derives the AES-256 key of two peers: the plain ECDH result, the 32
// bytes of the x coordinate.
func sharedKey(own *ecdh.PrivateKey, other []byte) ([]byte, error) {
	key, err := parsePublicKey(other)
	if err != nil {
		return nil, err
	}
	return own.ECDH(key)
}

// sharedCipher returns AES-256-GCM with the shared key of two peers.
func sharedCipher(own *ecdh.PrivateKey, other []byte) (cipher.AEAD, error) {
	key, err := sharedKey(own, other)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// peerKeys remembers the ciphers of the peers used last. The zero value is
// ready; it is safe for concurrent use.
type peerKeys struct {
	mu    sync.Mutex
	order list.List // of peerKey, the one used last in front
	byID  map[PeerID]*list.Element
}

type peerKey struct {
	id   PeerID
	aead cipher.AEAD
}

// get returns the cipher for a peer, or nil.
func (k *peerKeys) get(id PeerID) cipher.AEAD {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.byID[id]
	if e == nil {
		return nil
	}
	k.order.MoveToFront(e)
	return e.Value.(peerKey).aead
}

// put remembers a cipher and forgets the one that was not used for longest when
// there are too many.
func (k *peerKeys) put(id PeerID, aead cipher.AEAD) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.byID == nil {
		k.byID = make(map[PeerID]*list.Element)
	}
	if e := k.byID[id]; e != nil {
		k.order.MoveToFront(e)
		return
	}
	k.byID[id] = k.order.PushFront(peerKey{id, aead})
	if k.order.Len() > maxPeerKeys {
		oldest := k.order.Remove(k.order.Back()).(peerKey)
		delete(k.byID, oldest.id)
	}
}

// drop forgets a peer.
func (k *peerKeys) drop(id PeerID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e := k.byID[id]; e != nil {
		k.order.Remove(e)
		delete(k.byID, id)
	}
}

// len returns the number of peers remembered.
func (k *peerKeys) len() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.order.Len()
}

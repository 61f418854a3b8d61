package signal

import (
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
)

// Config says how a peer's packets look. Its zero value is what peers use by
// default. All peers of a room must agree on hashing and encryption.
type Config struct {
	NoHashing     bool // namespaces are names with unsafe characters replaced, not hashes
	NoEncryption  bool // payloads are readable by whoever can read the driver
	NoCompression bool // payloads are sent as they are; compressed ones are still read

	// Key is the peer's P-256 key pair. Nil makes a fresh one, chosen among a
	// few hundred so that the id sorts high (about 10 ms): the peer is then
	// polite toward nearly every other, which browsers need. Without encryption
	// it only gives the id, which is random where Key is nil.
	Key *ecdh.PrivateKey

	// MaxPayload bounds a payload, expanded, in bytes in both directions. 0 is
	// DefaultMaxPayload.
	MaxPayload int
}

// Codec encodes and decodes the packets of one local peer. It is safe for
// concurrent use; no method blocks.
type Codec struct {
	// set once
	id          PeerID
	sender      []byte           // the sender field, 33 bytes
	key         *ecdh.PrivateKey // nil without encryption
	hashing     bool
	compression bool
	maxPayload  int
	random      io.Reader // of IVs

	peers peerKeys
}

// The fields of a packet and the bits of its flags.
const (
	numType, numFlags, numSender, numPayload = 1, 2, 3, 4

	flagCompressed = 1
	flagEncrypted  = 2
)

var packetSchema = []field{
	{"type", fieldUint},
	{"flags", fieldUint},
	{"sender", fieldBytes},
	{"payload", fieldBytes},
}

// New returns a codec for a peer with a new identity, or with the one of
// Config.Key. Invalid fields are errors that name them.
func New(config Config) (*Codec, error) { return newCodec(config, rand.Reader, idTries) }

// newCodec is New with the source of random ids and IVs, and the number of
// identities to choose from.
func newCodec(config Config, random io.Reader, tries int) (*Codec, error) {
	if config.MaxPayload < 0 {
		return nil, fmt.Errorf("signal: Config.MaxPayload is %d", config.MaxPayload)
	}
	if config.MaxPayload == 0 {
		config.MaxPayload = DefaultMaxPayload
	}
	key := config.Key
	if key != nil && key.Curve() != ecdh.P256() {
		return nil, fmt.Errorf("signal: Config.Key is on %v, want P-256", key.Curve())
	}
	c := &Codec{
		hashing:     !config.NoHashing,
		compression: !config.NoCompression,
		maxPayload:  config.MaxPayload,
		random:      random,
	}
	var err error
	switch {
	case key == nil && config.NoEncryption:
		c.sender, err = highRandom(random, tries)
	case key == nil:
		key, err = highKey(tries)
	}
	if err != nil {
		return nil, err
	}
	if key != nil {
		c.sender = compress(key.PublicKey())
	}
	if !config.NoEncryption {
		c.key = key
	}
	c.id = idOf(c.sender)
	return c, nil
}

// ID returns the id of the local peer.
func (c *Codec) ID() PeerID { return c.id }

// Forget drops what is remembered of a peer that is gone.
func (c *Codec) Forget(id PeerID) { c.peers.drop(id) }

// Encode returns the packet that carries m to a peer; m.From is ignored, and so
// is to for an announce, which goes to the room. Where encryption is on, to must
// be an id that is a public key, as every id is that Decode returned; others are
// ErrUnknownPeer.
func (c *Codec) Encode(to PeerID, m Message) ([]byte, error) {
	payload, err := m.payload()
	if err != nil {
		return nil, fmt.Errorf("signal: %s: %w", m.Type, err)
	}
	if len(payload) > c.maxPayload {
		return nil, fmt.Errorf("%w: %s with a payload of %d bytes, at most %d", ErrTooLarge, m.Type, len(payload), c.maxPayload)
	}
	var flags uint32
	if len(payload) > 0 {
		if payload, flags, err = c.wrap(to, payload); err != nil {
			return nil, err
		}
	}
	packet := make([]byte, 0, len(payload)+publicKeyLen+16)
	packet = appendUint(packet, numType, uint32(m.Type))
	packet = appendUint(packet, numFlags, flags)
	packet = appendBytes(packet, numSender, c.sender)
	return appendBytes(packet, numPayload, payload), nil
}

// wrap compresses and encrypts a payload that is not empty, in this order.
func (c *Codec) wrap(to PeerID, payload []byte) ([]byte, uint32, error) {
	var flags uint32
	if c.compression {
		if small, ok := deflate(payload); ok {
			payload, flags = small, flagCompressed
		}
	}
	if c.key == nil {
		return payload, flags, nil
	}
	aead, err := c.cipherTo(to)
	if err != nil {
		return nil, 0, err
	}
	payload, err = seal(aead, c.random, payload)
	return payload, flags | flagEncrypted, err
}

// cipherTo returns the cipher for an id. An id is the public key in other
// letters, so that it can be had again for a peer whose cipher was forgotten.
func (c *Codec) cipherTo(id PeerID) (cipher.AEAD, error) {
	if aead := c.peers.get(id); aead != nil {
		return aead, nil
	}
	if len(id) > maxIDLen {
		return nil, fmt.Errorf("%w: id has %d characters, at most %d", ErrUnknownPeer, len(id), maxIDLen)
	}
	sender, err := base62Decode(string(id), publicKeyLen)
	if err == nil && idOf(sender) != id {
		err = errors.New("id is too long or has leading zeros")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %q: %w", ErrUnknownPeer, id, err)
	}
	aead, err := c.cipherOf(id, sender)
	if err != nil {
		return nil, fmt.Errorf("%w: %q: %w", ErrUnknownPeer, id, err)
	}
	return aead, nil
}

// cipherOf returns the cipher for the peer with this id and public key, and
// remembers it.
func (c *Codec) cipherOf(id PeerID, sender []byte) (cipher.AEAD, error) {
	if aead := c.peers.get(id); aead != nil {
		return aead, nil
	}
	aead, err := sharedCipher(c.key, sender)
	if err != nil {
		return nil, err
	}
	c.peers.put(id, aead)
	return aead, nil
}

// Decode reads a packet and remembers its sender's key. The packet may be used
// again afterwards. On an error m.From and m.Type say as much as could be read.
// ErrOwnPacket is returned for packets of the local peer.
func (c *Codec) Decode(packet []byte) (m Message, err error) {
	var v [4]value
	if err := unpack(packet, packetSchema, v[:]); err != nil {
		return m, fmt.Errorf("signal: packet: %w", err)
	}
	m.Type = Type(v[numType-1].num)
	sender := v[numSender-1].bytes
	aead, err := c.senderOf(&m, sender)
	if err != nil {
		return m, err
	}
	if m.Type < Announce || m.Type > Candidates {
		return m, fmt.Errorf("signal: packet: unknown type %d", uint32(m.Type))
	}
	if !v[numPayload-1].set {
		return m, errors.New("signal: packet: no payload field")
	}
	payload, err := c.unwrap(aead, v[numFlags-1].num, v[numPayload-1].bytes)
	if err == nil {
		err = m.read(payload)
	}
	if err != nil {
		return m, fmt.Errorf("signal: %s: %w", m.Type, err)
	}
	return m, nil
}

// senderOf checks the sender field, sets m.From, and returns the cipher for it,
// nil without encryption.
func (c *Codec) senderOf(m *Message, sender []byte) (cipher.AEAD, error) {
	// Shorter ones come from old peers that do not pad random ids.
	if len(sender) == 0 || len(sender) > publicKeyLen {
		return nil, fmt.Errorf("signal: packet: sender has %d bytes, want %d", len(sender), publicKeyLen)
	}
	id := idOf(sender)
	if id == c.id {
		m.From = id
		return nil, ErrOwnPacket
	}
	if c.key == nil {
		m.From = id
		return nil, nil
	}
	if len(sender) != publicKeyLen {
		return nil, fmt.Errorf("signal: packet: sender: public key has %d bytes, want %d", len(sender), publicKeyLen)
	}
	aead, err := c.cipherOf(id, sender)
	if err != nil {
		return nil, fmt.Errorf("signal: packet: sender: %w", err)
	}
	m.From = id
	return aead, nil
}

// unwrap decrypts and expands a payload, in this order; an empty one is "no
// message" and neither.
func (c *Codec) unwrap(aead cipher.AEAD, flags uint32, payload []byte) ([]byte, error) {
	if len(payload) == 0 {
		return nil, nil
	}
	if len(payload) > c.maxPayload+ivLen+tagLen {
		return nil, fmt.Errorf("%w: payload of %d bytes, at most %d", ErrTooLarge, len(payload), c.maxPayload)
	}
	if aead != nil {
		if flags&flagEncrypted == 0 {
			return nil, errors.New("payload is not encrypted")
		}
		var err error
		if payload, err = open(aead, payload); err != nil {
			return nil, err
		}
	}
	if flags&flagCompressed == 0 {
		return payload, nil
	}
	plain, err := inflate(payload, c.maxPayload)
	switch {
	case errors.Is(err, ErrTooLarge):
		return nil, err
	case err != nil:
		// Other peers go on with the bytes as they are, and so must this one
		// to agree with them on what a packet says.
		return payload, nil
	}
	return plain, nil
}

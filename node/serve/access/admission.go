package access

import (
	"encoding/json"
	"errors"
	"time"
)

// AdmissionLife is how long an admission lasts. It is needed while a connection
// begins; who is in a room for longer fetches another now and then, because the
// hub may come anew.
const AdmissionLife = 10 * time.Minute

// MetadataKey is where a peer's metadata have its admission.
const MetadataKey = "admission"

// Grant is what somebody may do in one room.
type Grant struct {
	Publish bool
	Watch   bool
	Hub     bool
	Name    string // of whom, may be empty
	ID      string // of the token, may be empty
}

// Admissions makes and checks admissions: what a grant allows in one room,
// bound to one peer id.
type Admissions struct {
	key  Key
	keys *Keys
}

// NewAdmissions derives its key from a key for tokens, so that servers with the
// same one honour one another's admissions; from one that cannot sign, or nil,
// they are good for this server while it runs.
func NewAdmissions(tokens *Keys) (*Admissions, error) {
	key, err := NewKey(EdDSA)
	if err != nil {
		return nil, err
	}
	if tokens != nil {
		if signer, ok := tokens.Signer(); ok {
			if key, err = signer.admissionKey(); err != nil {
				return nil, err
			}
		}
	}
	keys, err := NewKeys(key)
	if err != nil {
		return nil, err
	}
	return &Admissions{key, keys}, nil
}

// Admit makes an admission of a peer to a room. It ends after AdmissionLife.
func (a *Admissions) Admit(g Grant, room, peer string, now time.Time) (admission string, expires time.Time, err error) {
	if room == "" || peer == "" || !a.key.CanSign() {
		return "", time.Time{}, errors.New("access: an admission needs a room, a peer and a key")
	}
	expires = now.Add(AdmissionLife)
	c := Claims{Room: room, Publish: g.Publish, Watch: g.Watch, Hub: g.Hub, Name: g.Name, ID: g.ID, Expires: expires}
	s, err := seal(a.key, typeAdmission, wire(c, peer))
	return s.Reveal(), expires, err
}

// Key is the public key that admissions are checked by.
func (a *Admissions) Key() ([]byte, error) {
	public, err := a.key.Public()
	if err != nil {
		return nil, err
	}
	return public.MarshalFile()
}

// ReadAdmissions makes Admissions that only check, by what Key returned.
func ReadAdmissions(key []byte) (*Admissions, error) {
	list, err := ParseKeys(key)
	if err != nil {
		return nil, err
	}
	keys, err := NewKeys(list...)
	if err != nil {
		return nil, err
	}
	return &Admissions{keys: keys}, nil
}

// Check reads the admission in a peer's metadata. It must be for this room and
// this peer, and allow a hub if the metadata claim to be one.
func (a *Admissions) Check(room, peer string, metadata []byte, now time.Time) (Grant, error) {
	var m struct {
		Admission string `json:"admission"`
		Hub       any    `json:"hub"`
	}
	if len(metadata) > 0 && json.Unmarshal(metadata, &m) != nil {
		return Grant{}, refuse(ReasonMalformed, "the metadata hold no admission that can be read")
	}
	g, err := a.Read(room, peer, m.Admission, now)
	if err == nil && m.Hub == true && !g.Hub {
		return Grant{}, refuse(ReasonRole, "the admission is not that of a hub")
	}
	return g, err
}

// Read reads an admission, which must be for this room and this peer.
func (a *Admissions) Read(room, peer, admission string, now time.Time) (Grant, error) {
	w, err := a.keys.unseal(admission, typeAdmission)
	if err != nil {
		return Grant{}, err
	}
	c, err := w.claims(now)
	switch {
	case err != nil:
		return Grant{}, err
	case w.Peer != peer:
		return Grant{}, refuse(ReasonPeer, "the admission was given to another peer")
	case c.Room != room:
		return Grant{}, refuse(ReasonRoom, "the admission is for another room")
	}
	return Grant{Publish: c.Publish, Watch: c.Watch, Hub: c.Hub, Name: c.Name, ID: c.ID}, nil
}

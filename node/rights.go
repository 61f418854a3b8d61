package node

import (
	"bytes"
	"encoding/json"
)

// admissionKey is where metadata have what lets a peer in. It is for whoever
// decides about that, and is not passed on.
const admissionKey = "admission"

// rights asks for what a peer may not do. If that panics it may do nothing.
func (p *Peer) rights(id string, metadata json.RawMessage) (r Rights) {
	if p.cfg.Rights == nil {
		return Rights{}
	}
	defer func() {
		if v := recover(); v != nil {
			p.cfg.Logger.Error("Config.Rights panicked", "peer", id, "panic", v)
			r = Rights{NoPublish: true, NoWatch: true, NoHub: true}
		}
	}()
	return p.cfg.Rights(id, metadata)
}

// saysHub reports whether the peer is a hub by its metadata and may be one.
func (r *remote) saysHub() bool { return isHub(r.link.Metadata()) && !r.rights.NoHub }

// shown is what others are told of a peer's metadata.
type shown struct{ from, as json.RawMessage }

// metadata returns the peer's metadata without its admission. Peer.mu is held.
func (r *remote) metadata() json.RawMessage {
	now := r.link.Metadata()
	if !bytes.Equal(now, r.shown.from) || r.shown.from == nil {
		r.shown = shown{now, PublicMetadata(now)}
	}
	return r.shown.as
}

// PublicMetadata is what of a peer's metadata is for everybody: all but its
// admission, which is for whoever decides who is let in.
func PublicMetadata(metadata json.RawMessage) json.RawMessage {
	if !bytes.Contains(metadata, []byte(admissionKey)) {
		return metadata
	}
	var m map[string]json.RawMessage
	if json.Unmarshal(metadata, &m) != nil || m[admissionKey] == nil {
		return metadata
	}
	delete(m, admissionKey)
	b, err := json.Marshal(m)
	if err != nil {
		return nil
	}
	return b
}

// Announce makes the Peer known to its room again. Whoever is not connected
// answers; others do nothing. It is for those whose SetMetadata or Verify has
// changed what others, or the Peer itself, would say to a connection.
func (p *Peer) Announce() {
	if r := p.current(); r != nil {
		r.Announce()
	}
}

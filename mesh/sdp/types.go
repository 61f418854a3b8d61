package sdp

import (
	"github.com/weft-rtc/weft/interceptors/codec"
)

// Header extensions that Weft negotiates (RFC 8285). Everything else that a
// remote side offers is left out of the answer.
const (
	ExtMID         = "urn:ietf:params:rtp-hdrext:sdes:mid"                                       // RFC 9143 section 15
	ExtRID         = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"                             // RFC 8852
	ExtRepairedRID = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"                    // RFC 8852
	ExtTransportCC = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01" // transport-wide sequence numbers
	ExtAudioLevel  = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"                               // RFC 6464
	// ExtDependencyDescriptor is the AV1 RTP specification's, appendix A: which
	// frames and layers of a video a packet belongs to and needs, for any codec.
	ExtDependencyDescriptor = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
)

// Send is a wish: a local track that the remote side should get.
type Send struct {
	ID       string // unique within the session; a new track needs a new ID
	Kind     codec.Kind
	StreamID string // first word of a=msid; "" becomes the ID, since Peerix needs a stream
	TrackID  string // second word of a=msid; "" becomes the ID
	SSRC     uint32 // of the media
	RTXSSRC  uint32 // of retransmissions (RFC 4588); 0 for audio or none
	// Layers are qualities of a video that are sent at once (simulcast, RFC 8853),
	// from low to high, at most 16. To a receiver that does not take them the track
	// goes under SSRC, as without them. Those whose RID is unfit are left out.
	Layers []Layer
}

// Layer is one of the qualities of a Send: an RTP stream of its own, which is
// known by its RID, not by a=ssrc.
type Layer struct {
	RID     string // RFC 8851: up to 16 letters, digits, - and _
	SSRC    uint32 // of the media
	RTXSSRC uint32 // of retransmissions; 0 for none
}

// Local is what our transport tells the remote side about itself.
type Local struct {
	Ufrag       string // ICE user name fragment; another one than before means an ICE restart
	Pwd         string // ICE password
	Fingerprint string // as in a=fingerprint: "sha-256 AA:BB:..."
	Setup       string // DTLS role in force, "active" or "passive"; "" while it is not known
	// Candidates go into the first section of the next descriptions, each as
	// "candidate:..."; only for answers of WHIP and WHEP, which do not trickle.
	Candidates []string
	// Complete says that there will be no others (RFC 8840 section 8.2), and that
	// those of the other side may still come.
	Complete bool
}

// Remote is what the remote side told about its transport.
type Remote struct {
	Ufrag       string
	Pwd         string
	Fingerprint string   // as in a=fingerprint
	Setup       string   // "actpass", "active" or "passive"
	Candidates  []string // those inside the description, each as "candidate:..."
	Lite        bool     // it is ICE-lite (RFC 8445 section 2.5): the other side checks
}

// Config sets up a Session. Its zero value is an impolite session with Weft's
// own codecs and without data channels.
type Config struct {
	// Polite sessions give way when two offers cross: they forget their own.
	Polite bool
	// Codecs lists what we send and receive of a kind, best first; nil is
	// codec.Default.
	Codecs func(codec.Kind) []codec.Codec
	// MaxSections bounds the m-lines of a description, dead ones included;
	// 0 is 256.
	MaxSections int
	// Application accepts an application section in an offer that came without
	// Bootstrap. Bootstrap sets it.
	Application bool
	// SendOnly takes nothing that the remote side would send: a player of WHEP may
	// say sendrecv where it only means to receive.
	SendOnly bool
	// SessionID is the number of the o= line, constant for the session; 0 draws
	// one. Bootstrap replaces it by that of our first description.
	SessionID uint64
}

// State is where a session stands between two descriptions.
//
//	Stable --Offer--> HaveLocalOffer --HandleAnswer, Rollback--> Stable
//	                  HaveLocalOffer --HandleOffer (polite)----> Stable
type State uint8

// The states. A remote offer is answered within one call, so it has no state.
const (
	Stable State = iota
	HaveLocalOffer
)

// String returns the state's name as browsers write it.
func (s State) String() string {
	if s == HaveLocalOffer {
		return "have-local-offer"
	}
	return "stable"
}

// Outcome is what became of a remote offer.
type Outcome struct {
	Ignored  bool   // the offer crossed ours and we are impolite: no answer, nothing changed
	Collided bool   // the offer crossed ours; unless Ignored, ours is forgotten: see Needed
	Answer   string // our answer, "" if Ignored
	Changes
}

// Changes is what an exchange of descriptions changed. Apply Closed before
// Opened, and Stopped before Sends: a mid or a wish may be in both.
type Changes struct {
	Remote    Remote    // the remote transport as it is now
	Restarted bool      // the remote ufrag is another than before: ICE restarts
	Closed    []string  // mids of receives that ended
	Opened    []Receive // new receives, or the same mid with another identity
	Updated   []Receive // same track as before, other payload types, extensions or layers
	Stopped   []string  // Send.IDs that are no longer sent
	Sends     []Sending // sends that are new or differ from before
}

// Payload is a codec under its payload type on this connection.
type Payload struct {
	Codec    codec.Codec // canonical name, parameters as the description has them
	Type     uint8       // RTP payload type, 0..127
	RTX      uint8       // payload type of its retransmissions (RFC 4588), 0 for none
	Feedback []string    // values of a=rtcp-fb: "nack", "nack pli", "ccm fir", "transport-cc", "goog-remb"
}

// Receive is a remote track that is agreed upon.
type Receive struct {
	Mid        string
	Kind       codec.Kind
	StreamID   string // "" if the remote side named no stream
	TrackID    string
	Payloads   []Payload      // in the remote side's order of preference
	Extensions map[string]int // header extension ids by URI; do not change
	SSRC       uint32         // 0 if not declared: then packets are known by mid or RID
	RTXSSRC    uint32
	RIDs       []string // simulcast layers (RFC 8853) in the order of a=simulcast, nil for none
}

// Sending is a wish that is agreed upon.
type Sending struct {
	ID         string // of the Send
	Mid        string
	Payloads   []Payload      // what the receiver accepts, in its order of preference
	Extensions map[string]int // header extension ids by URI; do not change
	// Mixed says that the receiver takes header extensions in the two-byte form
	// beside those in the one-byte form (RFC 8285 section 6): values beyond 16 bytes.
	Mixed   bool
	SSRC    uint32
	RTXSSRC uint32
	// Layers are those of the Send that the receiver takes, in the Send's order; nil
	// means one stream, under SSRC.
	Layers []Layer
}

package signal

import (
	"encoding/json"
	"errors"
	"fmt"
)

// ErrControlIncomplete reports a control message without an event or without a
// payload. Such messages are to be dropped in silence, like unknown events.
var ErrControlIncomplete = errors.New("signal: control message is incomplete")

// Event says what a message of the control channel is about.
type Event uint32

// The events of the control channel, with their numbers on the wire.
const (
	EventSignal    Event = iota + 1 // description, candidate and labels
	EventChannel                    // a polite peer asks for a data channel
	EventRoster                     // who is behind a hub; known to Weft only
	EventSubscribe                  // what a viewer wants of streams; known to Weft only
	EventMessage                    // a short text to all, which a hub passes on; known to Weft only
	EventSpeakers                   // who speaks, from a hub; known to Weft only
)

// String returns the lower-case name of the event, or its number.
func (e Event) String() string {
	switch e {
	case EventSignal:
		return "signal"
	case EventChannel:
		return "channel"
	case EventRoster:
		return "roster"
	case EventSubscribe:
		return "subscribe"
	case EventMessage:
		return "message"
	case EventSpeakers:
		return "speakers"
	default:
		return fmt.Sprintf("event %d", uint32(e))
	}
}

const numEvent, numControlPayload = 1, 2

var controlSchema = []field{
	{"event", fieldUint},
	{"payload", fieldBytes},
}

// EncodeControl returns a control message with payload as JSON, at most
// MaxControl bytes of it.
func EncodeControl(event Event, payload any) ([]byte, error) {
	b, err := marshal(payload)
	if err != nil {
		return nil, fmt.Errorf("signal: control %s: %w", event, err)
	}
	packet := make([]byte, 0, len(b)+16)
	packet = appendUint(packet, numEvent, uint32(event))
	packet = appendBytes(packet, numControlPayload, b)
	if len(packet) > MaxControl {
		return nil, fmt.Errorf("%w: control %s of %d bytes, at most %d", ErrTooLarge, event, len(packet), MaxControl)
	}
	return packet, nil
}

// DecodeControl reads a control message. The event may be one that is not known
// here; the payload is valid JSON and a part of packet, not a copy.
func DecodeControl(packet []byte) (Event, json.RawMessage, error) {
	var v [2]value
	if err := unpack(packet, controlSchema, v[:]); err != nil {
		return 0, nil, fmt.Errorf("signal: control: %w", err)
	}
	event := Event(v[numEvent-1].num)
	if !v[numEvent-1].set || !v[numControlPayload-1].set {
		return event, nil, ErrControlIncomplete
	}
	payload := v[numControlPayload-1].bytes
	if !json.Valid(payload) {
		return event, nil, fmt.Errorf("signal: control %s: payload is not JSON", event)
	}
	return event, payload, nil
}

// Signal is what an EventSignal says: either a description or a candidate.
type Signal struct {
	Description *Description
	Candidate   *Candidate
	// Labels go with an offer: every stream that the sender shares now, by
	// stream id. Nil for none given, which leaves those known before in place;
	// empty for no stream shared.
	Labels map[string]string
}

// EncodeSignal returns the whole control message of a signal.
func EncodeSignal(s Signal) ([]byte, error) {
	elements, err := s.elements()
	if err != nil {
		return nil, fmt.Errorf("signal: control signal: %w", err)
	}
	return EncodeControl(EventSignal, elements)
}

func (s Signal) elements() ([]any, error) {
	if (s.Description == nil) == (s.Candidate == nil) {
		return nil, errors.New("want either a description or a candidate")
	}
	if s.Candidate != nil {
		if s.Labels != nil {
			return nil, errors.New("labels with a candidate")
		}
		return []any{s.Candidate}, s.Candidate.check()
	}
	if err := s.Description.checkAny(); err != nil {
		return nil, err
	}
	if s.Labels == nil {
		return []any{s.Description}, nil
	}
	if s.Description.Type != "offer" {
		return nil, fmt.Errorf("labels with an %s", s.Description.Type)
	}
	return []any{s.Description, s.Labels}, nil
}

// DecodeSignal reads the payload of an EventSignal.
func DecodeSignal(payload json.RawMessage) (Signal, error) {
	s, err := decodeSignal(payload)
	if err != nil {
		return Signal{}, fmt.Errorf("signal: control signal: %w", err)
	}
	return s, nil
}

func decodeSignal(payload json.RawMessage) (s Signal, err error) {
	elements, err := array(payload)
	if err != nil {
		return s, err
	}
	if len(elements) == 0 || firstByte(elements[0]) != '{' {
		return s, errors.New("no description or candidate")
	}
	var is struct {
		Type      *string `json:"type"`
		Candidate *string `json:"candidate"`
	}
	if err := json.Unmarshal(elements[0], &is); err != nil {
		return s, fmt.Errorf("description or candidate: %w", err)
	}
	switch {
	case is.Type != nil:
		if err := json.Unmarshal(elements[0], &s.Description); err != nil {
			return s, fmt.Errorf("description: %w", err)
		}
		err = s.Description.checkAny()
	case is.Candidate != nil:
		var c Candidate
		c, err = readCandidate(elements[0])
		s.Candidate = &c
	default:
		err = errors.New("neither a description nor a candidate")
	}
	if err != nil {
		return s, err
	}
	if len(elements) > 1 && !isNull(elements[1]) {
		if err := json.Unmarshal(elements[1], &s.Labels); err != nil {
			return s, fmt.Errorf("labels: %w", err)
		}
	}
	return s, nil
}

// ChannelRequest is what an EventChannel asks for: a data channel with these
// options (WIRE 11). The impolite side then creates it.
type ChannelRequest struct {
	Protocol          string  `json:"protocol,omitempty"`
	Ordered           *bool   `json:"ordered,omitempty"`           // nil means true
	MaxPacketLifeTime *uint16 `json:"maxPacketLifeTime,omitempty"` // milliseconds
	MaxRetransmits    *uint16 `json:"maxRetransmits,omitempty"`
	Label             string  `json:"label"`
}

// EncodeChannelRequest returns the whole control message of a request.
func EncodeChannelRequest(r ChannelRequest) ([]byte, error) {
	return EncodeControl(EventChannel, r)
}

// DecodeChannelRequest reads the payload of an EventChannel. It checks the form
// alone, not whether the options go together.
func DecodeChannelRequest(payload json.RawMessage) (ChannelRequest, error) {
	var r struct {
		ChannelRequest
		Label *string `json:"label"`
	}
	err := json.Unmarshal(payload, &r)
	if err == nil && r.Label == nil {
		err = errors.New("no label")
	}
	if err != nil {
		return ChannelRequest{}, fmt.Errorf("signal: control channel: %w", err)
	}
	r.ChannelRequest.Label = *r.Label
	return r.ChannelRequest, nil
}

// checkAny returns an error unless d is an offer or an answer.
func (d *Description) checkAny() error {
	if d != nil && d.Type == "answer" {
		return d.check("answer")
	}
	return d.check("offer")
}

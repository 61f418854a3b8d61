package signal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// Message is what a signaling packet says. Which parts are present follows
// from its type.
type Message struct {
	Type        Type
	From        PeerID          // set by Decode
	Metadata    json.RawMessage // Invoke and Offer: a JSON object, nil for none
	Description *Description    // Offer and Answer
	Candidates  []Candidate     // Candidates: at least one
}

// payload returns the JSON array of a message, nil for an empty payload. An
// invoke without metadata is empty; metadata of a literal null makes it [null],
// which is what some peers send after a failure.
func (m Message) payload() ([]byte, error) {
	switch m.Type {
	case Announce:
		return nil, nil
	case Invoke:
		if len(m.Metadata) == 0 {
			return nil, nil
		}
		if err := CheckMetadata(m.Metadata); err != nil {
			return nil, err
		}
		return marshal([]json.RawMessage{m.Metadata})
	case Offer:
		if err := CheckMetadata(m.Metadata); err != nil {
			return nil, err
		}
		if err := m.Description.check("offer"); err != nil {
			return nil, err
		}
		return marshal([]any{m.Description, m.Metadata})
	case Answer:
		if err := m.Description.check("answer"); err != nil {
			return nil, err
		}
		return marshal([]any{m.Description})
	case Candidates:
		if len(m.Candidates) == 0 {
			return nil, errors.New("no candidate")
		}
		if len(m.Candidates) > maxElements {
			return nil, fmt.Errorf("%w: %d candidates, at most %d", ErrTooLarge, len(m.Candidates), maxElements)
		}
		return marshal(m.Candidates)
	default:
		return nil, errors.New("unknown type")
	}
}

// read fills in the parts of a message of type m.Type from its payload.
func (m *Message) read(payload []byte) error {
	elements, err := array(payload)
	if err != nil {
		return err
	}
	switch m.Type {
	case Invoke:
		return m.readMetadata(elements, 0)
	case Offer:
		if err := m.readDescription(elements, "offer"); err != nil {
			return err
		}
		return m.readMetadata(elements, 1)
	case Answer:
		return m.readDescription(elements, "answer")
	case Candidates:
		return m.readCandidates(elements)
	}
	return nil
}

func (m *Message) readMetadata(elements []json.RawMessage, at int) error {
	if len(elements) <= at || isNull(elements[at]) {
		return nil
	}
	if err := CheckMetadata(elements[at]); err != nil {
		return err
	}
	m.Metadata = elements[at]
	return nil
}

func (m *Message) readDescription(elements []json.RawMessage, kind string) error {
	if len(elements) == 0 {
		return errors.New("no description")
	}
	var d *Description
	if err := json.Unmarshal(elements[0], &d); err != nil {
		return fmt.Errorf("description: %w", err)
	}
	if err := d.check(kind); err != nil {
		return err
	}
	m.Description = d
	return nil
}

func (m *Message) readCandidates(elements []json.RawMessage) error {
	if len(elements) == 0 {
		return errors.New("no candidate")
	}
	candidates := make([]Candidate, 0, len(elements))
	for i, e := range elements {
		c, err := readCandidate(e)
		if err != nil {
			return fmt.Errorf("candidate %d: %w", i, err)
		}
		candidates = append(candidates, c)
	}
	m.Candidates = candidates
	return nil
}

func readCandidate(element json.RawMessage) (Candidate, error) {
	var c Candidate
	if firstByte(element) != '{' {
		return c, errors.New("not a JSON object")
	}
	if err := json.Unmarshal(element, &c); err != nil {
		return c, err
	}
	return c, c.check()
}

// check returns an error unless d is a description of the given kind.
func (d *Description) check(kind string) error {
	switch {
	case d == nil:
		return errors.New("no description")
	case d.Type != kind:
		return fmt.Errorf("description of type %q, want %q", d.Type, kind)
	case d.SDP == "":
		return errors.New("description without sdp")
	}
	return nil
}

// maxElements bounds the elements of a payload, so that a small packet which
// expands to a long array of little cannot take many times its size in memory.
// Only batches of candidates have more than two.
const maxElements = 256

// array reads a payload into its elements, none where it is empty.
func array(payload []byte) ([]json.RawMessage, error) {
	if len(payload) == 0 {
		return nil, nil
	}
	if !json.Valid(payload) {
		return nil, errors.New("payload is not JSON")
	}
	if firstByte(payload) != '[' {
		return nil, errors.New("payload is not a JSON array")
	}
	d := json.NewDecoder(bytes.NewReader(payload))
	if _, err := d.Token(); err != nil { // the opening bracket
		return nil, err
	}
	var elements []json.RawMessage
	for d.More() {
		if len(elements) == maxElements {
			return nil, fmt.Errorf("%w: payload has more than %d elements", ErrTooLarge, maxElements)
		}
		var e json.RawMessage
		if err := d.Decode(&e); err != nil {
			return nil, err
		}
		elements = append(elements, e)
	}
	return elements, nil
}

// marshal writes JSON as a browser does: no white space, and no escapes for
// characters that are special in HTML.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// firstByte returns the first byte of JSON that is not white space, or 0.
func firstByte(b []byte) byte {
	if b = bytes.TrimLeft(b, " \t\r\n"); len(b) > 0 {
		return b[0]
	}
	return 0
}

// isNull reports whether a JSON value is absent or the literal null.
func isNull(b json.RawMessage) bool {
	b = bytes.TrimSpace(b)
	return len(b) == 0 || string(b) == "null"
}

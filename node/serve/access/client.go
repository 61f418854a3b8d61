package access

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// clientAnswer bounds an answer of the server, in bytes.
const clientAnswer = 64 << 10

// Client asks a server for admissions, for peers that are no pages.
type Client struct {
	URL   string // of the server, such as http://127.0.0.1:8080
	Token Secret
	// HTTP makes the requests; nil is one with a timeout of 10 s.
	HTTP *http.Client
}

// Pass is what a server gives for a token.
type Pass struct {
	Admission string // for the metadata, under MetadataKey
	Expires   time.Time
	Grant     Grant
	// Check reads the admissions of others; nil where everybody is let in.
	Check *Admissions
	// Hub is the peer id of the server's hub in the room, "" if it has none.
	Hub string
}

// RefusedError is a server's answer other than 200.
type RefusedError struct {
	Status int
	Detail string
}

// Error implements error.
func (e *RefusedError) Error() string { return fmt.Sprintf("%s (status %d)", e.Detail, e.Status) }

// Final reports whether asking again is of no use.
func (e *RefusedError) Final() bool {
	return e.Status >= 400 && e.Status < 500 && e.Status != http.StatusTooManyRequests
}

// Admit has the server's hub enter the room and gets an admission for a peer.
// Whoever is turned away gets a *RefusedError.
func (c *Client) Admit(ctx context.Context, room, peer string) (Pass, error) {
	var entered struct {
		Hub bool   `json:"hub"`
		ID  string `json:"id"`
	}
	path := "/api/v1/rooms/" + url.PathEscape(room)
	if err := c.post(ctx, path, nil, &entered); err != nil {
		return Pass{}, err
	}
	var a struct {
		Admission string          `json:"admission"`
		Expires   time.Time       `json:"expires"`
		Publish   bool            `json:"publish"`
		Watch     bool            `json:"watch"`
		Hub       bool            `json:"hub"`
		Key       json.RawMessage `json:"key"`
	}
	if err := c.post(ctx, path+"/admission", map[string]string{"peer": peer}, &a); err != nil {
		return Pass{}, err
	}
	p := Pass{Admission: a.Admission, Expires: a.Expires, Grant: Grant{Publish: a.Publish, Watch: a.Watch, Hub: a.Hub}}
	if entered.Hub {
		p.Hub = entered.ID
	}
	if a.Admission == "" {
		return p, nil
	}
	var err error
	p.Check, err = ReadAdmissions(a.Key)
	return p, err
}

func (c *Client) post(ctx context.Context, path string, question, answer any) error {
	body, err := json.Marshal(question)
	if err != nil {
		return fmt.Errorf("access: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(c.URL, "/")+path, bytes.NewReader(body))
	if err != nil {
		return errors.New("access: the server's address is no URL")
	}
	req.Header.Set("Content-Type", "application/json")
	if !c.Token.Empty() {
		req.Header.Set("Authorization", "Bearer "+c.Token.Reveal())
	}
	client := c.HTTP
	if client == nil {
		client = &http.Client{Timeout: 10 * time.Second, CheckRedirect: noRedirect}
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("access: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, clientAnswer))
	if err != nil {
		return fmt.Errorf("access: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		refused := &RefusedError{Status: resp.StatusCode, Detail: http.StatusText(resp.StatusCode)}
		var problem struct{ Detail string }
		if json.Unmarshal(text, &problem) == nil && problem.Detail != "" {
			refused.Detail = problem.Detail
		}
		return refused
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("access: the server's answer: %w", err)
	}
	return nil
}

// noRedirect keeps a token where it was meant to go.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Verify decides about another peer of the room by its metadata, in the way that
// a page does: where the server has a hub only hubs will do, for they stand
// between those who may watch and those who may publish; where it has none, only
// those who may do both.
func (p Pass) Verify(room, peer string, metadata []byte, now time.Time) bool {
	if p.Check == nil {
		return true
	}
	g, err := p.Check.Check(room, peer, metadata, now)
	return err == nil && (g.Hub || p.Hub == "" && g.Publish && g.Watch)
}

package access

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"
)

const (
	hookTimeout  = 5 * time.Second  // for an answer, connecting included
	hookAllowed  = 10 * time.Second // that a yes is remembered
	hookDenied   = 2 * time.Second  // that a no is
	hookAnswer   = 16 << 10         // bytes of an answer
	hookCache    = 4096             // answers that are remembered
	hookAtOnce   = 64               // questions under way
	hookMaxField = 8 << 10          // bytes of any field of a question
)

// Webhook asks an application who may do what, by HTTP:
//
//	POST {"action":"join","room":"demo","stream":"","peer":"…","token":"…","address":"192.0.2.1:4711"}
//	200  {"allow":true,"publish":true,"watch":true,"hub":false,"name":"Ada"}
//
// Where an answer that allows says neither publish nor watch it allows both. Any
// other status than 200, a redirect included, is no answer, and nobody is let in
// without one. Answers are remembered for some seconds.
type Webhook struct {
	url    Secret
	client *http.Client
	now    func() time.Time
	slots  chan struct{}

	mu      sync.Mutex
	answers map[[sha256.Size]byte]answer
}

// answer is what is remembered.
type answer struct {
	grant Grant
	err   error
	until time.Time
}

// NewWebhook checks the address, which may hold a user and a password. It starts
// nothing.
func NewWebhook(address string) (*Webhook, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("access: the webhook's address is no http:// or https:// URL")
	}
	return &Webhook{
		url: NewSecret(address),
		client: &http.Client{
			Timeout:       hookTimeout,
			Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: hookAtOnce, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: hookAnswer},
			CheckRedirect: noRedirect,
		},
		now:     time.Now,
		slots:   make(chan struct{}, hookAtOnce),
		answers: map[[sha256.Size]byte]answer{},
	}, nil
}

// Close ends the connections that are idle.
func (h *Webhook) Close() { h.client.CloseIdleConnections() }

// question is the body of a POST.
type question struct {
	Action  Action `json:"action"`
	Room    string `json:"room"`
	Stream  string `json:"stream,omitempty"`
	Peer    string `json:"peer,omitempty"`
	Token   string `json:"token,omitempty"`
	Address string `json:"address"`
}

func (h *Webhook) ask(ctx context.Context, q Query) (Grant, error) {
	token := q.Token.Reveal()
	for _, field := range []string{q.Room, q.Stream, q.Peer, token} {
		if len(field) > hookMaxField {
			return Grant{}, errNoToken
		}
	}
	body, err := json.Marshal(question{q.Action, q.Room, q.Stream, q.Peer, token, q.Address})
	if err != nil {
		return Grant{}, refuse(ReasonMalformed, "the question cannot be put into words")
	}
	key := sha256.Sum256(body)
	if a, ok := h.remembered(key); ok {
		return a.grant, a.err
	}
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	default:
		return Grant{}, refuse(ReasonHookDown, "too many are asking to be let in at once")
	}
	a := h.post(ctx, body)
	var refusal *Error
	if errors.As(a.err, &refusal) && refusal.Reason == ReasonHookDown {
		return Grant{}, a.err // the next one asks again
	}
	h.remember(key, a)
	return a.grant, a.err
}

func (h *Webhook) remembered(key [sha256.Size]byte) (answer, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a, ok := h.answers[key]
	return a, ok && h.now().Before(a.until)
}

// remember makes room where there is none: first by what is over, then by
// forgetting any.
func (h *Webhook) remember(key [sha256.Size]byte, a answer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	a.until = now.Add(hookAllowed)
	if a.err != nil {
		a.until = now.Add(hookDenied)
	}
	if len(h.answers) >= hookCache {
		for k, old := range h.answers {
			if !now.Before(old.until) {
				delete(h.answers, k)
			}
		}
	}
	for k := range h.answers {
		if len(h.answers) < hookCache {
			break
		}
		delete(h.answers, k)
	}
	h.answers[key] = a
}

// post asks. Its errors say nothing of the address, which may hold a password.
func (h *Webhook) post(ctx context.Context, body []byte) answer {
	down := func(why string) answer {
		return answer{err: refuse(ReasonHookDown, "whoever decides who is let in does not answer: %s", why)}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url.Reveal(), bytes.NewReader(body))
	if err != nil {
		return down("the address is bad")
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := h.client.Do(req)
	if err != nil {
		return down("no connection, or no answer in time")
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return down(fmt.Sprintf("status %d", resp.StatusCode))
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, hookAnswer+1))
	var out struct {
		Allow   bool   `json:"allow"`
		Publish *bool  `json:"publish"`
		Watch   *bool  `json:"watch"`
		Hub     bool   `json:"hub"`
		Name    string `json:"name"`
	}
	if err != nil || len(text) > hookAnswer || json.Unmarshal(text, &out) != nil {
		return down("the answer cannot be read")
	}
	if !out.Allow {
		return answer{err: refuse(ReasonHook, "you are not let in")}
	}
	both := out.Publish == nil && out.Watch == nil || out.Hub
	said := func(b *bool) bool { return both || b != nil && *b }
	return answer{grant: Grant{Publish: said(out.Publish), Watch: said(out.Watch), Hub: out.Hub, Name: out.Name}}
}

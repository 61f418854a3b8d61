package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/weft-rtc/weft/node"
	"github.com/weft-rtc/weft/node/serve/access"
)

const (
	admitTimeout = 10 * time.Second // for one request
	admitRetry   = 2 * time.Second  // between two to a server that does not answer
)

// guest keeps a peer admitted to a room: it exchanges the token for an admission
// before anything else, again before that ends, and when somebody comes whom it
// cannot judge by what it knows. It connects only to whom the server vouches for.
type guest struct {
	client   access.Client
	room     string
	metadata map[string]any
	log      *slog.Logger
	peer     *node.Peer
	pass     atomic.Pointer[access.Pass] // nil: not admitted yet
	unsure   chan struct{}               // capacity 1
}

// newGuest makes one for the server that signaling goes to; nil without a token.
func newGuest(signal, room string, token access.Secret, tls *tls.Config, metadata map[string]any, log *slog.Logger) (*guest, error) {
	if token.Empty() {
		return nil, nil
	}
	server, ok := serverOf(signal)
	if !ok {
		return nil, usagef("a token is for a weft serve: with it --signal is ws://, wss://, mqtt+ws://, mqtt+wss://, sse+http:// or sse+https://")
	}
	return &guest{
		client: access.Client{URL: server, Token: token, HTTP: &http.Client{
			Timeout:       admitTimeout,
			Transport:     &http.Transport{TLSClientConfig: tls, ForceAttemptHTTP2: true, IdleConnTimeout: time.Minute},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}},
		room: room, metadata: metadata, log: log, unsure: make(chan struct{}, 1),
	}, nil
}

// serverOf is the HTTP address of the server behind a signaling address.
func serverOf(signal string) (string, bool) {
	u, err := url.Parse(signal)
	if err != nil {
		return "", false
	}
	schemes := map[string]string{
		"ws": "http", "wss": "https", "mqtt+ws": "http", "mqtt+wss": "https", "sse+http": "http", "sse+https": "https",
	}
	scheme, ok := schemes[u.Scheme]
	return scheme + "://" + u.Host, ok
}

// signalFor is a signaling address with what takes a token there. NATS and SSE
// get theirs by other ways.
func signalFor(signal, room string, token access.Secret) string {
	u, err := url.Parse(signal)
	if err != nil || token.Empty() {
		return signal
	}
	q := u.Query()
	q.Set("room", room)
	u.RawQuery = q.Encode()
	if strings.HasPrefix(u.Scheme, "mqtt") {
		u.User = url.UserPassword("token", token.Reveal())
	}
	return u.String()
}

// verify implements node.VerifyFunc.
func (g *guest) verify(id string, metadata json.RawMessage) bool {
	pass := g.pass.Load()
	if pass == nil {
		return false
	}
	if pass.Verify(g.room, id, metadata, time.Now()) {
		return true
	}
	select { // the server may have begun anew, with another key or hub
	case g.unsure <- struct{}{}:
	default:
	}
	return false
}

// enter gets the first admission. It waits for a server that is not up yet, and
// fails if the server says no.
func (g *guest) enter(ctx context.Context, peer *node.Peer) error {
	g.peer = peer
	for told := false; ; told = true {
		err := g.renew(ctx)
		var refused *access.RefusedError
		if err == nil || errors.As(err, &refused) && refused.Final() {
			if err != nil {
				err = fmt.Errorf("the server does not let us into room %q: %w", g.room, err)
			}
			return err
		}
		if !told {
			g.log.Info("waiting to be admitted", "server", g.client.URL, "reason", err)
		}
		select {
		case <-time.After(admitRetry):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// renew gets an admission and announces the peer by it.
func (g *guest) renew(ctx context.Context) error {
	pass, err := g.client.Admit(ctx, g.room, g.peer.ID())
	if err != nil {
		return err
	}
	metadata := maps.Clone(g.metadata)
	if pass.Admission != "" {
		metadata[access.MetadataKey] = pass.Admission
	}
	if err := g.peer.SetMetadata(metadata); err != nil {
		return err
	}
	g.pass.Store(&pass)
	g.peer.Announce()
	return nil
}

// run renews the admission until ctx ends.
func (g *guest) run(ctx context.Context) {
	defer g.client.HTTP.CloseIdleConnections()
	for {
		select {
		case <-time.After(access.AdmissionLife / 3):
		case <-g.unsure:
		case <-ctx.Done():
			return
		}
		if err := g.renew(ctx); err != nil && ctx.Err() == nil {
			g.log.Warn("the admission was not renewed", "error", err)
		}
		select { // whoever comes with nonsense does not make us ask all the time
		case <-time.After(admitRetry):
		case <-ctx.Done():
			return
		}
	}
}

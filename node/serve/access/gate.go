package access

import (
	"context"
	"net/http"
	"strings"
	"time"
)

// Action is what somebody wants to do.
type Action string

// The actions.
const (
	Join    Action = "join"    // be a member of the room's signaling: publish or watch will do
	Publish Action = "publish" // bring media in
	Watch   Action = "watch"   // get media out
	List    Action = "list"    // see which rooms there are
)

// Query is a question to a Gate.
type Query struct {
	Action  Action
	Room    string // empty for List
	Stream  string // the one that is wanted, may be empty
	Peer    string // who asks, where that is known
	Token   Secret
	Address string // host:port of who asks
}

// Gate decides. Make it with one of NewTokenGate, NewHookGate and NewOpenGate.
type Gate struct {
	keys *Keys
	hook *Webhook
	now  func() time.Time
	// Refused counts whom Check and others turned away.
	Refused Counters
}

// NewTokenGate lets in who has a token that one of the keys has signed.
func NewTokenGate(keys *Keys) *Gate { return &Gate{keys: keys, now: time.Now} }

// NewHookGate lets in whom an application lets in. The caller closes the hook.
func NewHookGate(hook *Webhook) *Gate { return &Gate{hook: hook, now: time.Now} }

// NewOpenGate lets everybody in.
func NewOpenGate() *Gate { return &Gate{now: time.Now} }

// Open reports whether everybody is let in.
func (g *Gate) Open() bool { return g.keys == nil && g.hook == nil }

// Check answers a query with what who asks may do in the room. A refusal is an
// *Error and is counted.
func (g *Gate) Check(ctx context.Context, q Query) (Grant, error) {
	grant, err := g.check(ctx, q)
	if err != nil {
		return Grant{}, g.Refused.Count(err)
	}
	return grant, nil
}

func (g *Gate) check(ctx context.Context, q Query) (Grant, error) {
	switch {
	case g.keys != nil:
		c, err := g.keys.Verify(q.Token, g.now())
		if err != nil {
			return Grant{}, err
		}
		grant := Grant{Publish: c.Publish || c.Hub, Watch: c.Watch || c.Hub, Hub: c.Hub, Name: c.Name, ID: c.ID}
		if q.Action != List && !c.In(q.Room) {
			return Grant{}, refuse(ReasonRoom, "the token is for another room")
		}
		return grant, grant.allows(q.Action)
	case g.hook != nil:
		grant, err := g.hook.ask(ctx, q)
		if err != nil {
			return Grant{}, err
		}
		return grant, grant.allows(q.Action)
	}
	return Grant{Publish: true, Watch: true, Hub: true}, nil
}

// allows returns the refusal of an action that is not granted.
func (g Grant) allows(a Action) error {
	switch {
	case a == Publish && !g.Publish, a == Watch && !g.Watch:
		return refuse(ReasonAction, "the token does not allow to %s", string(a))
	case !g.Publish && !g.Watch:
		return refuse(ReasonAction, "the token allows neither to publish nor to watch")
	}
	return nil
}

// Rooms returns which rooms a token may see listed.
func (g *Gate) Rooms(ctx context.Context, q Query) (func(room string) bool, error) {
	q.Action, q.Room = List, ""
	if _, err := g.Check(ctx, q); err != nil {
		return nil, err
	}
	if g.keys == nil {
		return func(string) bool { return true }, nil
	}
	c, err := g.keys.Verify(q.Token, g.now())
	return c.In, err
}

// RoomOf is the one room that a token is for, "" where it is for several or is
// no good. It decides nothing: Check does.
func (g *Gate) RoomOf(token Secret) string {
	if g.keys == nil {
		return ""
	}
	c, err := g.keys.Verify(token, g.now())
	if err != nil {
		return ""
	}
	return c.Room
}

// TokenOf takes the token out of a request: a bearer (RFC 6750 section 2.1), or
// else the query's token, or authorization as Mercure has it, for clients that
// cannot set headers. Queries end up in logs of proxies; headers are better.
func TokenOf(r *http.Request) Secret {
	if scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		return NewSecret(strings.TrimSpace(token))
	}
	q := r.URL.Query()
	for _, name := range []string{"token", "authorization"} {
		if token := q.Get(name); token != "" {
			return NewSecret(token)
		}
	}
	return Secret{}
}

// Request is Check for an HTTP request, in the form that handlers of other
// packages take: action is publish or watch.
func (g *Gate) Request(r *http.Request, action, room, stream string) error {
	_, err := g.Check(r.Context(), Query{
		Action: Action(action), Room: room, Stream: stream, Token: TokenOf(r), Address: r.RemoteAddr,
	})
	return err
}

package serve

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"

	"github.com/nats-io/nats-server/v2/server"
)

// tenants are the accounts of the bus: one for each room that is kept apart from
// the others. What is published in one account cannot be heard in another, even
// by a client that subscribes to everything.
//
// An account belongs to a room as long as somebody is there. nats-server cannot
// take an account away again, so one that is free waits for the next room; there
// are never more than max at a time.
type tenants struct {
	srv *server.Server
	max int
	// closed refuses who belongs to no room; otherwise they share the one account
	// that the bus begins with.
	closed bool
	// prepare is called for a new account.
	prepare func(*server.Account) error

	mu       sync.Mutex
	byRoom   map[string]*tenant
	bySecret map[string]*server.Account
	free     []*server.Account // the one that has been free for longest first
	made     int
}

// tenant is a room's account while it is in use. Its zero value, and nil, are the
// account that those without a room share.
type tenant struct {
	all     *tenants
	room    string
	secret  string // what the bus knows the account by; never leaves the server
	account *server.Account
	users   int // guarded by tenants.mu
}

// tenantMark begins every secret of an account.
const tenantMark = "room."

// errTenantsFull says that there are as many rooms apart as there may be.
var errTenantsFull = errors.New("serve: the embedded signaling has as many rooms as it takes")

func newTenants(limit int, closed bool) *tenants {
	return &tenants{
		max: limit, closed: closed, prepare: func(*server.Account) error { return nil },
		byRoom: map[string]*tenant{}, bySecret: map[string]*server.Account{},
	}
}

// enter takes the account of a room, made or found; the caller leaves it.
func (ts *tenants) enter(room string) (*tenant, error) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if t := ts.byRoom[room]; t != nil {
		t.users++
		return t, nil
	}
	if len(ts.byRoom) >= ts.max {
		return nil, errTenantsFull
	}
	account, err := ts.take()
	if err != nil {
		return nil, err
	}
	t := &tenant{all: ts, room: room, secret: tenantMark + rand.Text(), account: account, users: 1}
	ts.byRoom[room], ts.bySecret[t.secret] = t, account
	return t, nil
}

// take returns an account in which nobody is. ts.mu is held.
func (ts *tenants) take() (*server.Account, error) {
	// A connection that was closed a moment ago may still be in it.
	empty := func(a *server.Account) bool { return a.NumLocalConnections() == 0 }
	if i := slices.IndexFunc(ts.free, empty); i >= 0 {
		account := ts.free[i]
		ts.free = slices.Delete(ts.free, i, i+1)
		return account, nil
	}
	if ts.made >= 2*ts.max {
		return nil, errTenantsFull
	}
	account, err := ts.srv.RegisterAccount(fmt.Sprintf("ROOM%d", ts.made+1))
	if err == nil {
		ts.made++
		err = ts.prepare(account)
	}
	if err != nil {
		return nil, fmt.Errorf("serve: embedded signaling: %w", err)
	}
	return account, nil
}

// leave gives the account back. With the last of its users it is free; all their
// connections must be closed before.
func (t *tenant) leave() {
	if t == nil || t.all == nil {
		return
	}
	ts := t.all
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if t.users--; t.users > 0 {
		return
	}
	delete(ts.byRoom, t.room)
	delete(ts.bySecret, t.secret)
	ts.free = append(ts.free, t.account)
}

// token is what a connection introduces itself with.
func (t *tenant) token() string {
	if t == nil {
		return ""
	}
	return t.secret
}

// count returns how many rooms are apart.
func (ts *tenants) count() int {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return len(ts.byRoom)
}

// register puts a client into the account of its token. ts.mu is held meanwhile,
// so that a client is either refused or seen by take.
func (ts *tenants) register(c server.ClientAuthentication, token string, permissions *server.Permissions) bool {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	account := ts.bySecret[token]
	if account == nil && (ts.closed || strings.HasPrefix(token, tenantMark)) {
		return false // of a room that is gone
	}
	c.RegisterUser(&server.User{Account: account, Permissions: permissions})
	return true
}

// Check implements server.Authentication for a bus without MQTT: nobody reaches
// it but through this server.
func (ts *tenants) Check(c server.ClientAuthentication) bool {
	return ts.register(c, c.GetOpts().Token, nil)
}

// Check implements server.Authentication for a bus with MQTT, on a goroutine of
// the client. Those who come by TCP speak MQTT, for the bus has no other
// listener.
func (g *mqttGate) Check(c server.ClientAuthentication) bool {
	opts := c.GetOpts()
	token := opts.Token
	if _, tcp := c.RemoteAddress().(*net.TCPAddr); tcp {
		user := subtle.ConstantTimeCompare([]byte(opts.Username), []byte(g.user))
		password := subtle.ConstantTimeCompare([]byte(opts.Password), []byte(g.password))
		if user != 1 {
			return false
		}
		if token = opts.Password; password == 1 {
			token = ""
		} else if !strings.HasPrefix(token, tenantMark) {
			return false
		}
	}
	deny := &server.SubjectPermission{Deny: busReserved}
	return g.rooms.register(c, token, &server.Permissions{Publish: deny, Subscribe: deny})
}

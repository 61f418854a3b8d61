package serve

import (
	"net/http"
	"sync"

	natsdriver "github.com/weft-rtc/weft/mesh/driver/nats"
	"github.com/weft-rtc/weft/node/serve/access"
)

// mercureRooms are the topics of rooms that are kept apart, while requests use
// them.
type mercureRooms struct {
	bus natsdriver.InProcessConnProvider

	mu     sync.Mutex
	byRoom map[string]*mercureRoom // by the account's token
}

type mercureRoom struct {
	topics *topics
	users  int
}

// admit finds the topics of the room that a request is for. The request's token
// is in its header or query: there are no first words as with the others.
func (m *mercure) admit(r *http.Request) (t *topics, done func(), err error) {
	e, err := m.door.enter(r)
	if err != nil {
		return nil, nil, err
	}
	known, err := e.introduce(access.Secret{}) // where one is needed it is missing
	if err != nil {
		return nil, nil, err
	}
	if known == "" {
		return m.topics, func() {}, nil
	}
	return m.rooms.take(known), func() { m.rooms.give(known); e.leave() }, nil
}

func (rs *mercureRooms) take(token string) *topics {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	r := rs.byRoom[token]
	if r == nil {
		r = &mercureRoom{topics: newTopics(rs.bus, token)}
		rs.byRoom[token] = r
	}
	r.users++
	return r.topics
}

// give closes a room's connections with its last request.
func (rs *mercureRooms) give(token string) {
	rs.mu.Lock()
	r := rs.byRoom[token]
	if r.users--; r.users > 0 {
		rs.mu.Unlock()
		return
	}
	delete(rs.byRoom, token)
	rs.mu.Unlock()
	r.topics.close()
}

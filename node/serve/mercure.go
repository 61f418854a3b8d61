package serve

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/weft-rtc/weft/mesh/driver"
	natsdriver "github.com/weft-rtc/weft/mesh/driver/nats"
)

// mercurePath is where Mercure hubs are, and Peerix looks for one.
const mercurePath = "/.well-known/mercure"

const (
	mercureKeepAlive    = 15 * time.Second // a silent stream gets a comment, below the 30 to 60 s after which proxies cut it
	mercureWriteTimeout = 10 * time.Second // a reader that takes nothing for so long is gone
	mercureReadTimeout  = 10 * time.Second // for the body of a POST
	mercureHello        = "retry: 1000\n:\n\n"

	mercureMaxTopic = 256 // bytes; a namespace is some 43
	// mercureMaxBody is a payload in base64, each character of it escaped,
	// and the names of the form.
	mercureMaxBody = 3*(busMaxPayload+2)/3*4 + 4*mercureMaxTopic

	// Bounds for the server and for each client address. Loopback is not
	// counted as an address, because a proxy may be there.
	mercureStreams       = 4096
	mercureStreamsEach   = 256
	mercureBodies        = 64 << 20 // bytes of POSTs that are being read
	mercureBodiesEach    = 16 << 20
	mercureWaiting       = 256 << 20 // bytes of events that wait for slow readers
	mercureWaitingEach   = 64 << 20
	mercureQueueEvents   = 4096    // that wait for one slow reader before it is dropped:
	mercureQueueBytes    = 4 << 20 // a newcomer gets an invoke from everybody at once
	mercureBusTimeout    = 5 * time.Second
	mercurePreflightTime = "600" // seconds for which a browser need not ask again
)

// mercure is the signaling for those who have HTTP and nothing else, in the form
// of Mercure that Peerix uses: GET with a topic is an event stream of what is
// published to that namespace, POST publishes. Data is base64. It is a client
// of the embedded bus, so all who signal meet in the same rooms.
//
// It is no Mercure hub: one topic a stream, no ids and no Last-Event-ID
// (signaling that was missed is stale), no private updates. A peer hears its own
// packets.
type mercure struct {
	origins origins
	log     *slog.Logger
	door    *doorway
	topics  *topics // of those without a room
	rooms   mercureRooms
	streams quota
	bodies  quota
	waiting quota

	ctx    context.Context // ends with the server
	cancel context.CancelFunc
	mu     sync.Mutex // guards closed against wg.Add after Close
	closed bool
	wg     sync.WaitGroup // requests
}

func newMercure(bus natsdriver.InProcessConnProvider, door *doorway, allowed []string, log *slog.Logger) *mercure {
	m := &mercure{
		origins: newOrigins(allowed),
		log:     log.With("part", "mercure"),
		door:    door,
		topics:  newTopics(bus, ""),
		rooms:   mercureRooms{bus: bus, byRoom: map[string]*mercureRoom{}},
		streams: quota{total: mercureStreams, each: mercureStreamsEach},
		bodies:  quota{total: mercureBodies, each: mercureBodiesEach},
		waiting: quota{total: mercureWaiting, each: mercureWaitingEach},
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	return m
}

// Close ends every stream and waits for the requests. It is idempotent.
func (m *mercure) Close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.cancel()
	m.wg.Wait()
	m.topics.close()
}

func (m *mercure) enter() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.wg.Add(1)
	return true
}

// ServeHTTP answers GET, HEAD, POST and OPTIONS.
func (m *mercure) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !m.enter() {
		writeProblem(w, http.StatusServiceUnavailable, "this server is stopping")
		return
	}
	defer m.wg.Done()
	if !m.origins.tell(w, r) {
		writeProblem(w, http.StatusForbidden, "this request comes from another site's page; name its origin with --allow-origin")
		return
	}
	switch r.Method {
	case http.MethodOptions:
		h := w.Header()
		h.Set("Access-Control-Allow-Methods", "GET, POST")
		h.Set("Access-Control-Allow-Headers", "Authorization, Cache-Control, Content-Type, Last-Event-ID")
		h.Set("Access-Control-Max-Age", mercurePreflightTime)
		w.WriteHeader(http.StatusNoContent)
	case http.MethodPost:
		m.publish(w, r)
	default:
		m.subscribe(w, r)
	}
}

// topicOf checks that there is one topic, a namespace of the signaling.
func topicOf(values []string) (string, error) {
	if len(values) != 1 {
		return "", errors.New("want one topic")
	}
	if len(values[0]) > mercureMaxTopic {
		return "", errors.New("the topic is too long")
	}
	if err := driver.CheckNamespace(values[0]); err != nil {
		return "", errors.New("the topic is no namespace: want letters, digits, _ and -")
	}
	return values[0], nil
}

// subscribe answers with an event stream, until the reader goes, is too slow, or
// the server stops.
func (m *mercure) subscribe(w http.ResponseWriter, r *http.Request) {
	topic, err := topicOf(r.URL.Query()["topic"])
	if err != nil {
		writeProblem(w, http.StatusBadRequest, err.Error())
		return
	}
	topics, done, err := m.admit(r)
	if err != nil {
		refuse(w, err)
		return
	}
	defer done()
	who := clientOf(r.RemoteAddr)
	if !m.streams.take(who, 1) {
		w.Header().Set("Retry-After", "10")
		writeProblem(w, http.StatusServiceUnavailable, "there are as many streams as this server takes")
		return
	}
	defer m.streams.give(who, 1)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
	if r.Method == http.MethodHead {
		return
	}
	s := newEventStream(&m.waiting, who)
	leave, err := topics.enter(topic, s)
	if err != nil {
		s.end(err) // with what has come already
		h.Del("X-Accel-Buffering")
		writeProblem(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	defer leave()
	if err := s.carry(m.ctx, w, r); err != nil {
		m.log.Debug("stream dropped", "remote", r.RemoteAddr, "error", err)
	}
}

// publish puts the packet of a form on the bus.
func (m *mercure) publish(w http.ResponseWriter, r *http.Request) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		writeProblem(w, http.StatusUnsupportedMediaType, "want application/x-www-form-urlencoded")
		return
	}
	topics, done, err := m.admit(r)
	if err != nil {
		refuse(w, err)
		return
	}
	defer done()
	form, status, err := m.readForm(w, r)
	if err != nil {
		if status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", "1")
		}
		writeProblem(w, status, err.Error())
		return
	}
	topic, packet, status, err := update(r.URL.Query()["topic"], form)
	if err != nil {
		writeProblem(w, status, err.Error())
		return
	}
	if err := topics.publish(topic, packet); err != nil {
		m.log.Debug("packet dropped", "remote", r.RemoteAddr, "error", err)
		writeProblem(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
}

// readForm reads a body of bounded length in bounded time; status is for the
// error.
func (m *mercure) readForm(w http.ResponseWriter, r *http.Request) (form url.Values, status int, err error) {
	size := r.ContentLength
	if size > mercureMaxBody {
		return nil, http.StatusRequestEntityTooLarge, errors.New("the body is too long")
	}
	if size < 0 { // not told
		size = mercureMaxBody
	}
	who := clientOf(r.RemoteAddr)
	if !m.bodies.take(who, size) {
		return nil, http.StatusServiceUnavailable, errors.New("too much is being published at once")
	}
	defer m.bodies.give(who, size)
	defer m.boundReading(w)()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, mercureMaxBody))
	if err != nil {
		if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
			return nil, http.StatusRequestEntityTooLarge, errors.New("the body is too long")
		}
		return nil, http.StatusBadRequest, errors.New("the body is cut off")
	}
	if form, err = url.ParseQuery(string(body)); err != nil {
		return nil, http.StatusBadRequest, errors.New("the body is no form")
	}
	return form, 0, nil
}

// boundReading ends the reading of a body in time, and when the server stops,
// until done is called. net/http sets the deadline for the next request.
func (m *mercure) boundReading(w http.ResponseWriter) (done func()) {
	in := http.NewResponseController(w)
	_ = in.SetReadDeadline(time.Now().Add(mercureReadTimeout))
	cut := make(chan struct{})
	stop := context.AfterFunc(m.ctx, func() {
		defer close(cut)
		_ = in.SetReadDeadline(time.Now())
	})
	return func() {
		if !stop() {
			<-cut // w must not be used when the request is over
		}
	}
}

// update takes topic and packet from a form. Peerix gives the topic in the query
// too, Mercure's clients do not.
func update(query []string, form url.Values) (topic string, packet []byte, status int, err error) {
	topics := form["topic"]
	if len(topics) == 0 {
		topics = query
	}
	if topic, err = topicOf(topics); err != nil {
		return "", nil, http.StatusBadRequest, err
	}
	if len(query) > 0 && (len(query) > 1 || query[0] != topic) {
		return "", nil, http.StatusBadRequest, errors.New("the topics of query and form differ")
	}
	data := strings.TrimRight(form.Get("data"), "=")
	if base64.RawStdEncoding.DecodedLen(len(data)) > busMaxPayload {
		return "", nil, http.StatusRequestEntityTooLarge, errors.New("the packet is too long")
	}
	if packet, err = base64.RawStdEncoding.DecodeString(data); err != nil {
		return "", nil, http.StatusBadRequest, errors.New("data is not standard base64, with + escaped as %2B")
	}
	return topic, packet, 0, nil
}

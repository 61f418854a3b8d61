package serve

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/weft-rtc/weft/node/serve/access"
)

const (
	bridgeReadLimit    = busMaxPayload + 64<<10 // bytes of one websocket message: a payload and its protocol lines
	bridgeBuffer       = 32 << 10               // bytes copied at a time towards the browser
	bridgeWriteTimeout = 10 * time.Second       // a browser that takes nothing for so long is gone
	bridgePingEvery    = 25 * time.Second       // below the 30 to 60 s after which proxies cut idle connections
	bridgePingTimeout  = 15 * time.Second

	// Bounds for the server, over all bridges, and for each client address.
	// Loopback is not counted as an address, because a proxy may be there.
	bridgeClients     = 4096
	bridgeClientsEach = 256
)

// bridge carries the NATS protocol between a browser's websocket and the
// embedded bus, byte for byte: a websocket message is any piece of the stream,
// as nats.ws and nats.go's ws:// send it. So one HTTP port is enough, and the
// bus needs no websocket listener of its own.
type bridge struct {
	dial    func() (net.Conn, error)
	origins []string // host patterns allowed beside the request's own host
	// protocols are the websocket subprotocols to agree on, none for NATS.
	protocols []string
	// inward copies what the browser says into the bus and returns why it ended.
	inward  func(ctx context.Context, e *entry, ws *websocket.Conn, nc net.Conn) error
	door    *doorway
	clients *quota // shared by the bridges of a server
	log     *slog.Logger

	ctx    context.Context // ends with the server: hijacked connections are unknown to http.Server
	cancel context.CancelFunc

	mu     sync.Mutex // guards closed against wg.Add after Close
	closed bool
	wg     sync.WaitGroup
}

func newBridge(dial func() (net.Conn, error), door *doorway, origins []string, clients *quota, log *slog.Logger) *bridge {
	ctx, cancel := context.WithCancel(context.Background())
	return &bridge{dial: dial, door: door, origins: origins, inward: natsToBus, clients: clients, log: log, ctx: ctx, cancel: cancel}
}

// newBridgeQuota counts websockets.
func newBridgeQuota() *quota { return &quota{total: bridgeClients, each: bridgeClientsEach} }

// ServeHTTP turns the request into a bridged connection and returns when that
// ends. Each has two goroutines beside this one: towards the browser, and pings.
func (b *bridge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !b.enter() {
		writeProblem(w, http.StatusServiceUnavailable, "this server is stopping")
		return
	}
	defer b.wg.Done()
	who := clientOf(r.RemoteAddr)
	if !b.clients.take(who, 1) {
		writeProblem(w, http.StatusServiceUnavailable, errBusFull.Error())
		return
	}
	defer b.clients.give(who, 1)
	e, err := b.door.enter(r)
	if err != nil {
		refuse(w, err)
		return
	}
	defer e.leave()
	nc, err := b.dial()
	if err != nil {
		writeProblem(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	defer nc.Close()
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{OriginPatterns: b.origins, Subprotocols: b.protocols})
	if err != nil { // Accept has answered
		b.log.Debug("websocket refused", "remote", r.RemoteAddr, "error", err)
		return
	}
	ws.SetReadLimit(bridgeReadLimit)
	b.carry(e, ws, nc)
}

func (b *bridge) enter() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.wg.Add(1)
	return true
}

// Close ends every bridged connection with a close frame and waits for them.
// It is idempotent.
func (b *bridge) Close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.cancel()
	b.wg.Wait()
}

// carry copies both ways until either side ends or the server stops. Its three
// goroutines are joined before it returns.
func (b *bridge) carry(e *entry, ws *websocket.Conn, nc net.Conn) {
	// Not a child of b.ctx: a websocket whose context ends is cut off without
	// the close frame that tells the browser why.
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	ended := make(chan error, 3)
	wg.Go(func() { ended <- b.inward(ctx, e, ws, nc) })
	wg.Go(func() { toBrowser(ctx, ws, nc); ended <- nil })
	wg.Go(func() { keepAlive(ctx, ws); ended <- nil })
	code, reason := websocket.StatusGoingAway, "the signaling server closed the connection"
	select {
	case err := <-ended:
		if err != nil {
			code, reason = closeCode(err)
		}
	case <-b.ctx.Done():
	}
	_ = ws.Close(code, reason)
	cancel()
	_ = nc.Close() // unblocks toBrowser's Read
	wg.Wait()
}

// toBus copies the browser's messages into the bus, without holding a whole one.
func toBus(ctx context.Context, ws *websocket.Conn, nc net.Conn) error {
	buf := make([]byte, bridgeBuffer)
	for {
		kind, r, err := ws.Reader(ctx)
		if err != nil {
			return err
		}
		if kind != websocket.MessageBinary {
			return errNotBinary
		}
		if _, err := io.CopyBuffer(writerOnly{nc}, r, buf); err != nil {
			return err
		}
	}
}

// writerOnly and readerOnly hide every other method, so that io.CopyBuffer uses
// our buffer.
type (
	writerOnly struct{ io.Writer }
	readerOnly struct{ io.Reader }
)

var errNotBinary = errors.New("this protocol comes in binary messages")

// toBrowser copies what the bus writes; one read becomes one binary message.
func toBrowser(ctx context.Context, ws *websocket.Conn, nc net.Conn) {
	buf := make([]byte, bridgeBuffer)
	for {
		n, err := nc.Read(buf)
		if n > 0 {
			wctx, cancel := context.WithTimeout(ctx, bridgeWriteTimeout)
			werr := ws.Write(wctx, websocket.MessageBinary, buf[:n])
			cancel()
			if werr != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// keepAlive pings, so that a browser that vanished without a FIN is noticed and
// proxies keep the connection.
func keepAlive(ctx context.Context, ws *websocket.Conn) {
	tick := time.NewTicker(bridgePingEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			pctx, cancel := context.WithTimeout(ctx, bridgePingTimeout)
			err := ws.Ping(pctx)
			cancel()
			if err != nil {
				return
			}
		}
	}
}

// closeCode is what the browser is told (RFC 6455 section 7.4.1).
func closeCode(err error) (websocket.StatusCode, string) {
	if errors.Is(err, errNotBinary) {
		return websocket.StatusUnsupportedData, errNotBinary.Error()
	}
	if errors.Is(err, websocket.ErrMessageTooBig) {
		return websocket.StatusMessageTooBig, "message too big"
	}
	if refusal := new(access.Error); errors.As(err, &refusal) {
		return websocket.StatusPolicyViolation, refusal.Detail
	}
	if errors.Is(err, errNotConnect) {
		return websocket.StatusPolicyViolation, "a NATS client says CONNECT first"
	}
	if reason, ok := asErrMQTT(err); ok {
		return websocket.StatusPolicyViolation, reason
	}
	return websocket.StatusNormalClosure, ""
}

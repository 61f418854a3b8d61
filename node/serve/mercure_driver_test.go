package serve

import (
	"context"
	"strings"
	"testing"

	"github.com/weft-rtc/weft/mesh/driver"
	"github.com/weft-rtc/weft/mesh/driver/drivertest"
	"github.com/weft-rtc/weft/mesh/driver/sse"
)

func TestMercureDriver(t *testing.T) {
	info := start(t, Config{NoHub: true})
	drivertest.Run(t, func() (a, b driver.Driver) {
		seen := make(chan struct{}, 1)
		cfg := sse.Config{URL: info.URL}
		return slowPublisher{overSSE(t, cfg), seen}, slowListener{overSSE(t, cfg), seen}
	})
}

// slowPublisher waits after each packet to "slow" until the slowListener's
// driver has taken it. The test of a slow receiver wants all to have come when
// one has that was published after them on another namespace, which is another
// stream here.
type slowPublisher struct {
	driver.Driver
	seen <-chan struct{}
}

func (p slowPublisher) Publish(ctx context.Context, namespace string, packet []byte) error {
	err := p.Driver.Publish(ctx, namespace, packet)
	if err == nil && namespace == "slow" {
		<-p.seen
	}
	return err
}

type slowListener struct {
	driver.Driver
	seen chan<- struct{}
}

func (l slowListener) Subscribe(ctx context.Context, namespace string, receive func([]byte)) (func() error, error) {
	if namespace == "slow" {
		if _, err := l.Driver.Subscribe(ctx, namespace, func([]byte) { l.seen <- struct{}{} }); err != nil {
			return nil, err
		}
	}
	return l.Driver.Subscribe(ctx, namespace, receive)
}

// restartable is a server that comes back on its port.
type restartable struct {
	t    *testing.T
	cfg  Config
	info Info
	stop context.CancelFunc
	done chan error
}

func (s *restartable) up() {
	ready := make(chan Info, 1)
	s.cfg.UDP, s.cfg.Ready = "127.0.0.1:0", func(i Info) { ready <- i }
	srv, err := New(s.cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	var ctx context.Context
	ctx, s.stop = context.WithCancel(context.Background())
	s.done = make(chan error, 1)
	go func() { s.done <- srv.Run(ctx) }()
	select {
	case s.info = <-ready:
	case err := <-s.done:
		s.t.Fatal(err)
	}
	s.cfg.Listen = strings.TrimSuffix(strings.TrimPrefix(s.info.URL, "http://"), "/")
}

func (s *restartable) down() {
	s.stop()
	if err := <-s.done; err != nil {
		s.t.Errorf("Run: %v", err)
	}
}

func TestMercureOutage(t *testing.T) {
	drivertest.RunOutage(t, func() (a, b driver.Driver, down, up func()) {
		s := &restartable{t: t, cfg: Config{NoHub: true, Listen: "127.0.0.1:0"}}
		s.up()
		t.Cleanup(s.down)
		cfg := sse.Config{URL: s.info.URL}
		return overSSE(t, cfg), overSSE(t, cfg), s.down, s.up
	})
}

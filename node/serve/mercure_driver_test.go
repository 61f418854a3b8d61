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
		cfg := sse.Config{URL: info.URL}
		return overSSE(t, cfg), overSSE(t, cfg)
	})
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

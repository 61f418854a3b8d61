package serve_test

import (
	"context"
	"fmt"
	"log"

	"github.com/weft-rtc/weft/node/serve"
)

// A program with a hub of its own: page, signaling and forwarding on free ports of
// this machine. The hub is in one room from the start.
func ExampleServer() {
	ctx, stop := context.WithCancel(context.Background())
	ready := make(chan serve.Info, 1)
	srv, err := serve.New(serve.Config{
		Listen: "127.0.0.1:0",
		UDP:    "127.0.0.1:0",
		Rooms:  []string{"demo"},
		Ready:  func(i serve.Info) { ready <- i },
	})
	if err != nil {
		log.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	info := <-ready
	fmt.Println(info.Hub, info.Rooms)
	stop()
	fmt.Println(<-done)
	// Output:
	// true [demo]
	// <nil>
}

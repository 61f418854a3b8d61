package node_test

import (
	"context"
	"fmt"
	"log"
	"sync"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/mesh/conn"
	"github.com/weft-rtc/weft/mesh/driver/memory"
	"github.com/weft-rtc/weft/node"
	"github.com/weft-rtc/weft/publish"
	"github.com/weft-rtc/weft/publish/source"
)

// counter is a sink that counts packets up to a number.
type counter struct {
	left int
	done func()
}

func (c *counter) WritePacket(*publish.Packet) {
	if c.left--; c.left == 0 {
		c.done()
	}
}

// Two peers meet in a room over memory signaling. One publishes the test pattern,
// the other counts the packets of its video.
func Example() {
	api, err := conn.NewAPI(conn.Config{Loopback: true})
	if err != nil {
		log.Fatal(err)
	}
	defer api.Close()
	bus := memory.NewBus()
	ctx, cancel := context.WithCancel(context.Background())
	join := func() *node.Peer {
		p, err := node.New(node.Config{Driver: bus.Driver(), Conn: api})
		if err != nil {
			log.Fatal(err)
		}
		if err := p.Join(ctx, "lobby"); err != nil {
			log.Fatal(err)
		}
		return p
	}

	viewer := join()
	defer viewer.Close()
	var once sync.Once
	seen := make(chan string)
	viewer.OnTrack(func(e node.TrackEvent) {
		if e.Added && e.Track.Kind() == codec.Video {
			e.Track.Add(&counter{100, func() {
				once.Do(func() { seen <- fmt.Sprint("100 packets of ", e.Label, " in ", e.Track.Codec().Name) })
			}})
		}
	})

	publisher := join()
	defer publisher.Close()
	pattern, err := source.Open(source.Config{})
	if err != nil {
		log.Fatal(err)
	}
	var playing sync.WaitGroup
	playing.Go(func() { _ = pattern.Run(ctx) }) // until ctx ends
	defer playing.Wait()
	defer cancel()
	if err := publisher.Publish(publish.Stream{Label: "pattern", Tracks: pattern.Tracks()}); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-seen)
	// Output: 100 packets of pattern in VP8
}

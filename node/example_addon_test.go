package node_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"strings"

	"github.com/weft-rtc/weft/mesh/driver"
	"github.com/weft-rtc/weft/node"
)

// doorkeeper is an addon: it lets in only peers that say a word, and tells who
// came. Detach takes all of it back.
type doorkeeper struct {
	word string
	came func(id string)
}

func (d *doorkeeper) Attach(s *node.Scope) error {
	if d.word == "" {
		return fmt.Errorf("doorkeeper without a word")
	}
	s.On(func(e node.Event) {
		d.came(e.Data.(node.ConnectionEvent).ID)
	}, node.ConnectionConnected)
	return s.Verify(func(next node.VerifyFunc) node.VerifyFunc {
		return func(id string, metadata json.RawMessage) bool {
			return strings.Contains(string(metadata), d.word) && next(id, metadata)
		}
	})
}

// An addon has a say in who is let in, hears events, may publish streams, open
// channels and look at media.
func Example_addon() {
	ctx, lobby := context.Background(), newRoom()
	defer lobby.api.Close()

	host := lobby.peer("host")
	defer host.Close()
	came := make(chan string)
	if err := host.Attach("doorkeeper", &doorkeeper{word: "sesame", came: func(id string) { came <- id }}); err != nil {
		log.Fatal(err)
	}
	if err := host.Join(ctx, "lobby"); err != nil {
		log.Fatal(err)
	}
	for _, name := range []string{"stranger", "sesame"} {
		guest := lobby.peer(name)
		defer guest.Close()
		if err := guest.Join(ctx, "lobby"); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(string(host.Connection(<-came).Metadata()))
	fmt.Println(host.Detach("doorkeeper"), host.Addons())
	// Output:
	// {"name":"sesame"}
	// true []
}

// logged is a driver of one's own. This one carries packets over another driver
// and counts them; one for another messaging service implements the same five
// methods. Package mesh/driver says what is expected of them, and drivertest
// tests it.
type logged struct {
	driver.Driver
	announced chan string
}

func (l logged) Publish(ctx context.Context, namespace string, packet []byte) error {
	select {
	case l.announced <- fmt.Sprintf("a packet of %d bytes", len(packet)):
	default:
	}
	return l.Driver.Publish(ctx, namespace, packet)
}

// A driver of one's own carries the signaling.
func Example_driver() {
	lobby := newRoom()
	defer lobby.api.Close()
	own := logged{lobby.bus.Driver(), make(chan string, 1)}
	defer own.Close()
	peer, err := node.New(node.Config{Driver: own, Conn: lobby.api})
	if err != nil {
		log.Fatal(err)
	}
	defer peer.Close()
	if err := peer.Join(context.Background(), "lobby"); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-own.announced)
	// Output: a packet of 41 bytes
}

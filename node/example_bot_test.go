package node_test

import (
	"context"
	"fmt"
	"log"

	"github.com/weft-rtc/weft/mesh/channel"
	"github.com/weft-rtc/weft/mesh/conn"
	"github.com/weft-rtc/weft/mesh/driver/memory"
	"github.com/weft-rtc/weft/node"
)

// room is what the examples share: a bus of their own, and connections that stay
// on this machine.
type room struct {
	bus *memory.Bus
	api *conn.API
}

func newRoom() room {
	api, err := conn.NewAPI(conn.Config{Loopback: true})
	if err != nil {
		log.Fatal(err)
	}
	return room{memory.NewBus(), api}
}

func (r room) peer(name string) *node.Peer {
	p, err := node.New(node.Config{Driver: r.bus.Driver(), Conn: r.api, Metadata: map[string]any{"name": name}})
	if err != nil {
		log.Fatal(err)
	}
	return p
}

// A bot that answers every text with the same text. A message belongs to the
// handler until it returns; messages of different channels come at the same time.
func Example_bot() {
	ctx, lobby := context.Background(), newRoom()
	defer lobby.api.Close()

	bot := lobby.peer("bot")
	defer bot.Close()
	answered := make(chan error)
	bot.OnMessage(func(e node.ChannelEvent) {
		if e.Message.Type != channel.Text {
			return // what is not read is refused
		}
		text, err := e.Message.Text(ctx, 1000)
		if err != nil {
			log.Print(err)
			return
		}
		answer := node.Text("you said " + text)
		answer.Channel, answer.To = e.Channel.Label(), []string{e.Peer}
		answered <- bot.Send(ctx, answer) // returns when the guest has it
	})
	if err := bot.Join(ctx, "lobby"); err != nil {
		log.Fatal(err)
	}

	guest := lobby.peer("guest")
	defer guest.Close()
	answers := make(chan string)
	guest.OnMessage(func(e node.ChannelEvent) {
		text, _ := e.Message.Text(ctx, 0)
		answers <- text
	})
	opened := make(chan struct{})
	guest.Once(func(node.Event) { close(opened) }, node.ChannelOpen)
	if err := guest.Open(node.ChannelOptions{Label: "chat"}); err != nil {
		log.Fatal(err)
	}
	if err := guest.Join(ctx, "lobby"); err != nil {
		log.Fatal(err)
	}
	<-opened
	hello := node.Text("hello")
	hello.Channel = "chat"
	if err := guest.Send(ctx, hello); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-answers, <-answered)
	// Output: you said hello <nil>
}

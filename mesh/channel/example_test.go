package channel_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/weft-rtc/weft/mesh/channel"
)

// wire is a pipe without a network: what is sent arrives at once, in order.
type wire struct{ to chan []byte }

func (w wire) Send(b []byte) error     { w.to <- append([]byte(nil), b...); return nil }
func (w wire) SendText(s string) error { return w.Send([]byte(s)) }
func (w wire) Buffered() int           { return 0 }
func (w wire) OnLow(int, func())       {}
func (w wire) Close() error            { return nil }

// read is a side's reading goroutine, which feeds the channel.
func read(c *channel.Channel, from chan []byte) {
	c.ChannelOpen()
	for b := range from {
		c.ChannelMessage(b, false)
	}
	c.ChannelClosed(nil)
}

func Example() {
	toAnna, toBert := make(chan []byte, 64), make(chan []byte, 64)
	printed := make(chan struct{})
	anna := channel.New(channel.Config{Label: "files", Framed: true, Pipe: wire{toBert}})
	bert := channel.New(channel.Config{Label: "files", Framed: true, Pipe: wire{toAnna},
		Receive: func(m *channel.Message) {
			go func() { // Receive must not block
				defer close(printed)
				body, err := io.ReadAll(m)
				fmt.Printf("%s on %q, info %s: %q, %v\n", m.Type, m.Label, m.Info, body, err)
			}()
		}})
	go read(anna, toAnna)
	go read(bert, toBert)

	err := anna.Send(context.Background(), channel.Outgoing{
		Type: channel.Text,
		Info: json.RawMessage(`{"name":"hello.txt"}`),
		Body: strings.NewReader("Hello, Bert"),
	})
	<-printed
	fmt.Println("confirmed:", err == nil)
	close(toAnna)
	close(toBert)
	// Output:
	// text on "files", info {"name":"hello.txt"}: "Hello, Bert", <nil>
	// confirmed: true
}

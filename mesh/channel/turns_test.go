package channel

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

func TestManyChannelsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const channels, messages, size = 24, 2, 200_000
		var total sync.WaitGroup
		receive := func(m *Message) {
			total.Go(func() {
				b, err := m.Bytes(t.Context(), 0)
				if err != nil || !bytes.Equal(b, patternOf(size)) {
					t.Errorf("%s: %d bytes, %v", m.Label, len(b), err)
				}
			})
		}
		l := newLink(t, channels, func(side, n int) Config {
			return Config{Label: fmt.Sprint(n), Framed: true, Receive: receive}
		})
		var senders sync.WaitGroup
		for _, side := range l.sides {
			for _, p := range side {
				senders.Go(func() {
					for range messages {
						if err := p.sink.Send(t.Context(), Outgoing{Body: &patterned{size: size}}); err != nil {
							t.Error(err)
						}
					}
				})
			}
		}
		senders.Wait()
		total.Wait()
	})
}

// Concurrent Sends go out one after another, in the order of the calls.
func TestSendsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var order []string
		_, a, b := framed(t, nil, func(m *Message) { order = append(order, string(m.Info)) })
		var senders sync.WaitGroup
		for i := range 20 {
			senders.Go(func() {
				m := Outgoing{Info: json.RawMessage(fmt.Sprint(i)), Body: &patterned{size: 3 * ChunkSize}}
				if err := a.Send(t.Context(), m); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		senders.Wait()
		if got := strings.Join(order, " "); got != "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19" {
			t.Errorf("order %s", got)
		}
		if b.unfinished() != 0 {
			t.Error("messages left")
		}
	})
}

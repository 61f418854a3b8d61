package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-rtc/weft/publish"
)

// TestStorm: twelve peers join, leave, publish, unpublish, open, close and send
// at random for a minute, some of them through a hub now and then. Events keep
// their order all the time, and nothing is left at the end: no connection, no
// sink on a track, and no goroutine, which synctest itself sees to.
func TestStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		const n = 12
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		var all sync.WaitGroup
		var ledgers []*ledger
		var peers []*Peer
		var cams []*camera
		var tracks []*publish.Track // that came in anywhere
		var mu sync.Mutex
		sent := map[string]int{}
		for i := range n {
			p := w.peer(Config{}, false, func(p *Peer) { ledgers = append(ledgers, newLedger(t, fmt.Sprint("peer ", i), p)) })
			peers = append(peers, p)
			s := &stormer{t: t, p: p, rnd: rand.New(rand.NewPCG(uint64(i), 7)), cam: newCamera(), sent: func(err error) {
				mu.Lock()
				defer mu.Unlock()
				sent[outcome(err)]++
			}}
			cams = append(cams, s.cam)
			p.OnMessage(s.receive)
			p.OnTrack(func(e TrackEvent) {
				mu.Lock()
				defer mu.Unlock()
				tracks = append(tracks, e.Track)
			})
			all.Go(func() { s.run(ctx) })
		}
		all.Wait()
		for i, p := range peers {
			p.Leave()
			p.Unpublish("cam")
			if c := p.Connections(); len(c) > 0 {
				t.Errorf("peer %d has %d connections after it left", i, len(c))
			}
		}
		<-time.After(time.Second)
		synctest.Wait()
		for _, l := range ledgers {
			l.empty()
		}
		for i, c := range cams {
			if n := c.track.Stats().Sinks; n != 0 {
				t.Errorf("camera %d has %d sinks left", i, n)
			}
		}
		for _, track := range tracks { // one that has ended has given its packets back
			if !track.Ended() || track.Sinks() != 0 {
				t.Errorf("track %s ended %v, %d sinks", track.ID(), track.Ended(), track.Sinks())
			}
		}
		t.Log("messages:", sent, "tracks:", len(tracks))
		if len(tracks) == 0 {
			t.Error("no track came in")
		}
		if sent["confirmed"] == 0 {
			t.Error("no message was confirmed")
		}
	})
}

// stormer acts for one peer.
type stormer struct {
	t    *testing.T
	p    *Peer
	rnd  *rand.Rand
	cam  *camera
	sent func(error)
}

func (s *stormer) run(ctx context.Context) {
	tick := time.NewTicker(time.Second / 10)
	defer tick.Stop()
	var sending sync.WaitGroup
	defer sending.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.cam.frame(2)
			if s.rnd.IntN(8) == 0 {
				s.act(ctx, &sending)
			}
		}
	}
}

func (s *stormer) act(ctx context.Context, sending *sync.WaitGroup) {
	label := fmt.Sprint("c", s.rnd.IntN(3))
	switch s.rnd.IntN(12) {
	case 0:
		s.p.Leave()
	case 1, 2, 3:
		if err := s.p.Join(ctx, "room"); err != nil && ctx.Err() == nil {
			s.t.Error("join:", err)
		}
	case 4, 5:
		if err := s.p.Publish(publish.Stream{Label: "cam", Tracks: []*publish.Track{s.cam.track}}); err != nil {
			s.t.Error("publish:", err)
		}
	case 6:
		s.p.Unpublish("cam")
	case 7, 8:
		if err := s.p.Open(ChannelOptions{Label: label}); err != nil {
			s.t.Error("open:", err)
		}
	case 9:
		s.p.CloseChannel(label)
	case 10:
		if err := s.p.SetHub(s.rnd.IntN(6) == 0); err != nil {
			s.t.Error("hub:", err)
		}
	default:
		body := make([]byte, s.rnd.IntN(200_000))
		sending.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			m := Reader(bytes.NewReader(body), int64(len(body)))
			m.Channel = label
			s.sent(s.p.Send(ctx, m))
		})
	}
}

// receive reads a message, or some of it.
func (s *stormer) receive(e ChannelEvent) {
	_, _ = e.Message.Read(make([]byte, 100))
	if e.Message.Received()%2 == 0 {
		_, _ = e.Message.Bytes(context.Background(), 0)
	}
}

func outcome(err error) string {
	switch {
	case err == nil:
		return "confirmed"
	case errors.Is(err, ErrNobody):
		return "nobody"
	}
	return "failed"
}

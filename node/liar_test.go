package node

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"

	"github.com/weft-rtc/weft/mesh/conn"
	"github.com/weft-rtc/weft/publish"
)

// TestLiar: a publisher sends 50,000 packets in a second that make no sense: jumps
// of numbers and time, descriptors of layers that are not there, padding, tiny
// packets. Nobody else loses anything by it, the hub keeps nothing of it, and when
// it comes to its senses it is seen again.
func TestLiar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		hub := w.peer(Config{Hub: true}, false)
		a, b, liar := w.peer(Config{}, false), w.peer(Config{}, false), w.peer(Config{}, false)
		seen := watch(b)
		honest, evil := newCamera(), newCamera()
		for p, c := range map[*Peer]*camera{a: honest, liar: evil} {
			if err := p.Publish(publish.Stream{Label: "cam", Tracks: []*publish.Track{c.track}}); err != nil {
				t.Fatal(err)
			}
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			evil.run(5*time.Second, 1)
		}()
		honest.run(5*time.Second, 1)
		<-done

		first, before := honest.sent+1, heap()
		sender := senderOf(t, liar)
		done = make(chan struct{})
		go func() {
			defer close(done)
			flood(sender)
		}()
		honest.run(3*time.Second, 1)
		<-done
		last := honest.sent - 3
		synctest.Wait()
		if got, _ := seen(a.ID()).delivered(first, last); got != int(last-first+1) {
			t.Errorf("%d of %d packets of the honest one while the other lied", got, last-first+1)
		}
		if grown := int64(heap()) - int64(before); grown > 32<<20 {
			t.Errorf("the heap has grown by %d MB", grown>>20)
		}
		if n := len(hub.Connections()); n != 3 {
			t.Errorf("%d connections", n)
		}

		// On its old SSRC it has lied about numbers to SRTP too; it begins anew.
		liar.Unpublish("cam")
		evil.run(time.Second, 1)
		if err := liar.Publish(publish.Stream{Label: "cam", Tracks: []*publish.Track{evil.track}}); err != nil {
			t.Fatal(err)
		}
		first = evil.sent + 1
		evil.run(5*time.Second, 1)
		synctest.Wait()
		if got, _ := seen(liar.ID()).delivered(first, evil.sent); got < 60 {
			t.Errorf("%d of %d packets of the liar when it was none any more", got, evil.sent-first)
		}
	})
}

// senderOf is what the only stream of a peer goes to its hub by.
func senderOf(t *testing.T, p *Peer) *conn.Sender {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.remotes {
		for _, s := range r.subs {
			if s.sender != nil {
				return s.sender
			}
		}
	}
	t.Fatal("nothing is sent")
	return nil
}

// flood sends 50,000 packets within a second, 50 at a time.
func flood(s *conn.Sender) {
	rng := rand.New(rand.NewPCG(3, 4))
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	h := rtp.Header{Version: 2, SSRC: s.SSRC(), PayloadType: s.Payloads()[0].Type}
	for n := range 50_000 {
		if n%50 == 0 {
			<-tick.C
		}
		switch rng.IntN(20) {
		case 0:
			h.SequenceNumber += uint16(rng.IntN(5000)) // backwards, SRTP would take it for a replay
		case 1:
			h.Timestamp = rng.Uint32()
		default:
			h.SequenceNumber++
			h.Timestamp += uint32(rng.IntN(2)) * 3000
		}
		h.Marker = rng.IntN(3) == 0
		payload := make([]byte, rng.IntN(40))
		dependency := make([]byte, rng.IntN(30))
		for _, b := range [][]byte{payload, dependency} {
			for i := range b {
				b[i] = byte(rng.Uint32())
			}
		}
		if len(dependency) > 3 { // one structure after the other
			dependency[3] |= 0x80
		}
		_ = s.WriteRTP(&h, payload, dependency)
	}
}

package conn

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
)

// BenchmarkChannel sends 16 kB messages over loopback, with flow control by the
// amount that is not acknowledged, on one of our channels and on a bare one of
// pion's.
func BenchmarkChannel(b *testing.B) {
	b.Run("weft", benchmarkWeft)
	b.Run("pion", benchmarkPion)
}

const benchSize = 16384

// pipe is what both channels have.
type pipe interface {
	Send([]byte) error
	Buffered() int
	OnLow(int, func())
}

func pump(b *testing.B, p pipe, arrived *atomic.Int64) {
	low := make(chan struct{}, 1)
	p.OnLow(32768, func() {
		select {
		case low <- struct{}{}:
		default:
		}
	})
	message := make([]byte, benchSize)
	b.SetBytes(benchSize)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		for p.Buffered() > 262144 {
			<-low
		}
		if err := p.Send(message); err != nil {
			b.Fatal(err)
		}
	}
	tick := time.NewTicker(100 * time.Microsecond)
	defer tick.Stop()
	for arrived.Load() < int64(b.N) {
		<-tick.C
	}
	b.StopTimer()
}

type counter struct{ n *atomic.Int64 }

func (c counter) ChannelOpen()                { /* nothing to do */ }
func (c counter) ChannelMessage([]byte, bool) { c.n.Add(1) }
func (c counter) ChannelClosed(error)         { /* nothing to do */ }

func benchmarkWeft(b *testing.B) {
	x, y := newPeer(b, "x", false, Config{Loopback: true}), newPeer(b, "y", true, Config{Loopback: true})
	x.other, y.other = y, x
	var arrived atomic.Int64
	y.accept = func(d *DataChannel) { d.SetSink(counter{&arrived}) }
	x.do(x.negotiate)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !x.up() || !y.up() {
		<-tick.C
	}
	d, err := x.conn.OpenChannel(ChannelOptions{Label: "x"})
	if err != nil {
		b.Fatal(err)
	}
	d.SetSink(counter{new(atomic.Int64)})
	pump(b, d, &arrived)
	for _, p := range []*peer{x, y} {
		p.close()
		p.stop()
	}
}

// bare is a pion channel as a pipe.
type bare struct{ *webrtc.DataChannel }

func (p bare) Buffered() int { return int(p.BufferedAmount()) }

func (p bare) OnLow(threshold int, f func()) {
	p.SetBufferedAmountLowThreshold(uint64(threshold))
	p.OnBufferedAmountLow(f)
}

func benchmarkPion(b *testing.B) {
	api, err := NewAPI(Config{Loopback: true})
	if err != nil {
		b.Fatal(err)
	}
	settings, err := api.settings(webrtc.DTLSRoleServer)
	if err != nil {
		b.Fatal(err)
	}
	var pcs [2]*webrtc.PeerConnection
	for i := range pcs {
		if pcs[i], err = newPionAPI(settings).NewPeerConnection(webrtc.Configuration{}); err != nil {
			b.Fatal(err)
		}
	}
	var arrived atomic.Int64
	open := make(chan struct{})
	pcs[1].OnDataChannel(func(d *webrtc.DataChannel) {
		d.OnMessage(func(webrtc.DataChannelMessage) { arrived.Add(1) })
	})
	d, err := pcs[0].CreateDataChannel("x", nil)
	if err != nil {
		b.Fatal(err)
	}
	d.OnOpen(func() { close(open) })
	offer, err := pcs[0].CreateOffer(nil)
	if err != nil {
		b.Fatal(err)
	}
	exchangePion(b, pcs, offer)
	<-open
	pump(b, bare{d}, &arrived)
	for _, pc := range pcs {
		if err := pc.GracefulClose(); err != nil {
			b.Log(err)
		}
	}
	if err := api.Close(); err != nil {
		b.Error(err)
	}
}

// exchangePion exchanges descriptions with all candidates in them.
func exchangePion(b *testing.B, pcs [2]*webrtc.PeerConnection, offer webrtc.SessionDescription) {
	gathered := webrtc.GatheringCompletePromise(pcs[0])
	if err := pcs[0].SetLocalDescription(offer); err != nil {
		b.Fatal(err)
	}
	<-gathered
	if err := pcs[1].SetRemoteDescription(*pcs[0].LocalDescription()); err != nil {
		b.Fatal(err)
	}
	answer, err := pcs[1].CreateAnswer(nil)
	if err != nil {
		b.Fatal(err)
	}
	gathered = webrtc.GatheringCompletePromise(pcs[1])
	if err := pcs[1].SetLocalDescription(answer); err != nil {
		b.Fatal(err)
	}
	<-gathered
	if err := pcs[0].SetRemoteDescription(*pcs[1].LocalDescription()); err != nil {
		b.Fatal(err)
	}
}

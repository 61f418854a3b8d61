package node

import (
	"context"
	"io"
	"testing"

	"github.com/pion/webrtc/v4"
)

// BenchmarkTransfer compares a message of 50 MB between two peers with the same
// bytes on a data channel of pion alone, in packets of the same size with the
// same limits of what is unsent. The target is 0.7 of the bare one.
func BenchmarkTransfer(b *testing.B) {
	const size = 50_000_000
	b.Run("bare", func(b *testing.B) {
		send := bareChannel(b)
		b.SetBytes(size)
		for b.Loop() {
			send(size)
		}
	})
	b.Run("weft", func(b *testing.B) {
		from, to := newHall(b).pair("files")
		to.OnMessage(func(e ChannelEvent) { _, _ = io.Copy(io.Discard, e.Message) })
		b.SetBytes(size)
		for b.Loop() {
			m := Reader(io.LimitReader(zeroes{}, size), size)
			m.Channel = "files"
			if err := from.Send(context.Background(), m); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// bareChannel connects two PeerConnections over loopback and returns a function
// that sends so many bytes over a channel of theirs, and waits for all of them.
func bareChannel(b *testing.B) (send func(size int)) {
	var s webrtc.SettingEngine
	s.SetIncludeLoopbackCandidate(true)
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	api := webrtc.NewAPI(webrtc.WithSettingEngine(s))
	var pcs [2]*webrtc.PeerConnection
	for i := range pcs {
		pc, err := api.NewPeerConnection(webrtc.Configuration{})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = pc.GracefulClose() })
		pcs[i] = pc
	}
	open, arrived := make(chan struct{}), make(chan int, 1024)
	pcs[1].OnDataChannel(func(d *webrtc.DataChannel) {
		d.OnMessage(func(m webrtc.DataChannelMessage) { arrived <- len(m.Data) })
	})
	d, err := pcs[0].CreateDataChannel("bare", nil)
	if err != nil {
		b.Fatal(err)
	}
	d.OnOpen(func() { close(open) })
	signalBare(b, pcs[0], pcs[1])
	<-open
	low := make(chan struct{}, 1)
	d.SetBufferedAmountLowThreshold(32 << 10)
	d.OnBufferedAmountLow(func() {
		select {
		case low <- struct{}{}:
		default:
		}
	})
	packet := make([]byte, 16384)
	return func(size int) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			for left := size; left > 0; {
				left -= <-arrived
			}
		}()
		for left := size; left > 0; left -= len(packet) {
			if err := d.Send(packet[:min(left, len(packet))]); err != nil {
				b.Fatal(err)
			}
			for d.BufferedAmount() > 256<<10 {
				<-low
			}
		}
		<-done
	}
}

// signalBare exchanges descriptions with all candidates in them.
func signalBare(b *testing.B, from, to *webrtc.PeerConnection) {
	b.Helper()
	offer, err := from.CreateOffer(nil)
	if err == nil {
		gathered := webrtc.GatheringCompletePromise(from)
		err = from.SetLocalDescription(offer)
		<-gathered
	}
	if err == nil {
		err = to.SetRemoteDescription(*from.LocalDescription())
	}
	if err != nil {
		b.Fatal(err)
	}
	answer, err := to.CreateAnswer(nil)
	if err == nil {
		gathered := webrtc.GatheringCompletePromise(to)
		err = to.SetLocalDescription(answer)
		<-gathered
	}
	if err == nil {
		err = from.SetRemoteDescription(*to.LocalDescription())
	}
	if err != nil {
		b.Fatal(err)
	}
}

package node_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4/pkg/media/ivfwriter"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/node"
	"github.com/weft-rtc/weft/publish"
	"github.com/weft-rtc/weft/publish/source"
)

// A peer that publishes a file in real time, again and again.
func ExamplePeer_Publish() {
	ctx, cancel := context.WithCancel(context.Background())
	lobby := newRoom()
	defer lobby.api.Close()
	file, err := source.Open(source.Config{Files: []string{"../testdata/vp8.ivf", "../testdata/a.ogg"}, Loop: true})
	if err != nil {
		log.Fatal(err)
	}
	var playing sync.WaitGroup
	playing.Go(func() { _ = file.Run(ctx) }) // until ctx ends
	defer playing.Wait()
	defer cancel()

	peer := lobby.peer("player")
	defer peer.Close()
	if err := peer.Publish(publish.Stream{Label: "film", Tracks: file.Tracks()}); err != nil {
		log.Fatal(err)
	}
	if err := peer.Join(ctx, "lobby"); err != nil {
		log.Fatal(err)
	}

	viewer := lobby.peer("viewer")
	defer viewer.Close()
	seen := make(chan string)
	viewer.OnTrack(func(e node.TrackEvent) {
		if e.Added {
			seen <- fmt.Sprint(e.Label, " has ", e.Track.Kind())
		}
	})
	if err := viewer.Join(ctx, "lobby"); err != nil {
		log.Fatal(err)
	}
	a, b := <-seen, <-seen
	fmt.Println(min(a, b))
	fmt.Println(max(a, b))
	// Output:
	// film has audio
	// film has video
}

// recording is the sink of a track that writes an IVF file.
type recording struct {
	file *ivfwriter.IVFWriter
	left int
	done chan struct{}
}

// WritePacket runs on the track's goroutine; the packet is only lent.
func (r *recording) WritePacket(p *publish.Packet) {
	if r.left == 0 {
		return
	}
	err := r.file.WriteRTP(&rtp.Packet{
		Header:  rtp.Header{Version: 2, SequenceNumber: uint16(p.Index), Timestamp: p.Timestamp, Marker: p.Marker},
		Payload: p.Payload,
	})
	if err != nil {
		log.Print(err)
	}
	if r.left--; r.left == 0 {
		close(r.done)
	}
}

// A recorder: an addon that looks at media and writes what it sees.
func Example_recorder() {
	ctx, cancel := context.WithCancel(context.Background())
	lobby := newRoom()
	defer lobby.api.Close()
	folder, err := os.MkdirTemp("", "weft")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)
	name := filepath.Join(folder, "first.ivf")

	out, err := ivfwriter.New(name, ivfwriter.WithCodec("video/VP8"))
	if err != nil {
		log.Fatal(err)
	}
	rec := &recording{file: out, left: 120, done: make(chan struct{})}
	recorder := lobby.peer("recorder")
	defer recorder.Close()
	if err := recorder.Attach("record", node.AddonFunc(func(s *node.Scope) error {
		return s.Tap(func(peer, label string, t *publish.Track) publish.Sink {
			if t.Codec().Name != codec.VP8 {
				return nil
			}
			t.RequestKeyframe(time.Now()) // to begin with
			return rec
		})
	})); err != nil {
		log.Fatal(err)
	}
	if err := recorder.Join(ctx, "lobby"); err != nil {
		log.Fatal(err)
	}

	camera := lobby.peer("camera")
	defer camera.Close()
	pattern, err := source.Open(source.Config{})
	if err != nil {
		log.Fatal(err)
	}
	var playing sync.WaitGroup
	playing.Go(func() { _ = pattern.Run(ctx) })
	defer playing.Wait()
	defer cancel()
	if err := camera.Publish(publish.Stream{Label: "pattern", Tracks: pattern.Tracks()}); err != nil {
		log.Fatal(err)
	}
	if err := camera.Join(ctx, "lobby"); err != nil {
		log.Fatal(err)
	}

	<-rec.done
	recorder.Detach("record")
	if err := out.Close(); err != nil {
		log.Fatal(err)
	}
	info, err := os.Stat(name)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("recorded more than 3 kB:", info.Size() > 3_000)
	// Output: recorded more than 3 kB: true
}

//go:build netns

package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/weft-rtc/weft/node/serve"
)

const firstPicture = time.Minute // how long a page may take to have one

// pageStats is what Chromium says of the one picture of a page.
const pageStats = `(async () => {
  for (const link of window.weft.peer.links.values())
    for (const s of (await link.pc.getStats()).values())
      if (s.type === "inbound-rtp" && s.kind === "video" && s.framesDecoded > 0)
        return { at: s.timestamp, clock: link.pc.getReceivers().flatMap((r) => r.track.kind === "video" ? r.getSynchronizationSources() : [])[0]?.rtpTimestamp ?? 0,
          decoded: s.framesDecoded, dropped: s.framesDropped, packets: s.packetsReceived, lost: s.packetsLost, resent: s.retransmittedPacketsReceived ?? 0,
          nacks: s.nackCount, plis: s.pliCount, freezes: s.freezeCount, frozen: s.totalFreezesDuration };
  return { at: 0 };
})()`

// counts are the same in Go. At is in milliseconds, Frozen in seconds; Clock is the
// RTP timestamp of the last picture shown, 0 if it was shown long ago.
type counts struct {
	At                                                            float64
	Clock                                                         uint32
	Decoded, Dropped, Packets, Lost, Resent, Nacks, Plis, Freezes int
	Frozen                                                        float64
}

// sub returns what has happened since.
func (c counts) sub(b counts) counts {
	return counts{
		c.At - b.At, c.Clock - b.Clock, c.Decoded - b.Decoded, c.Dropped - b.Dropped, c.Packets - b.Packets,
		c.Lost - b.Lost, c.Resent - b.Resent, c.Nacks - b.Nacks, c.Plis - b.Plis, c.Freezes - b.Freezes, c.Frozen - b.Frozen,
	}
}

func (c counts) String() string {
	return fmt.Sprintf("%d dropped; packets: %d, %d lost, %d repeats; asked by %d NACKs and %d PLIs; frozen %d times for %.1f s",
		c.Dropped, c.Packets, c.Lost, c.Resent, c.Nacks, c.Plis, c.Freezes, c.Frozen)
}

// withoutNACK makes a page's browser one that does not ask for packets again:
// NACK is taken out of every description that it reads or writes.
const withoutNACK = `{
  const strip = (sdp) => sdp.replace(/^a=rtcp-fb:\S+ nack\r\n/gm, '');
  const proto = RTCPeerConnection.prototype;
  const { setLocalDescription, setRemoteDescription } = proto;
  proto.setRemoteDescription = function (d) {
    return setRemoteDescription.call(this, d?.sdp ? { type: d.type, sdp: strip(d.sdp) } : d);
  };
  proto.setLocalDescription = async function (d) {
    if (!d?.sdp) d = this.signalingState === 'have-remote-offer' ? await this.createAnswer() : await this.createOffer();
    return setLocalDescription.call(this, { type: d.type, sdp: strip(d.sdp) });
  };
}`

// watchPage has a page of Chromium watch the room, and judges as watch does.
func (r lossRoom) watchPage(t *testing.T, b *browser, info serve.Info) {
	began := time.Now()
	script := ""
	if r.links.noNACK {
		script = withoutNACK
	}
	where := info.URL + "r/" + r.name + "?" + url.Values{"name": {r.name}, "join": {"watch"}}.Encode()
	if _, err := b.try("open", args{"browser": "media", "page": r.name, "script": script, "url": where}); err != nil {
		t.Errorf("page %s: %v", r.name, err)
		return
	}
	// A small picture: what the machine does to show it is not what is measured.
	if _, err := b.try("view", args{"page": r.name, "width": 400, "height": 300}); err != nil {
		t.Errorf("page %s: %v", r.name, err)
		return
	}
	started := pageStats + ".then((s) => s.decoded > 0)"
	if _, err := b.try("wait", args{"page": r.name, "expression": started, "timeout": firstPicture}); err != nil {
		t.Errorf("page %s: %v", r.name, err)
		return
	}
	t.Logf("Chromium in room %s: first picture after %v", r.name, time.Since(began).Round(time.Millisecond))
	pause := fmt.Sprintf("new Promise((done) => setTimeout(done, %d))", lossTime.Milliseconds())
	var looks [2]counts
	for i, expression := range []string{pageStats, pause + ".then(() => " + pageStats + ")"} {
		v, err := b.try("eval", args{"page": r.name, "expression": expression})
		if err == nil {
			err = json.Unmarshal(v, &looks[i])
		}
		if err != nil {
			t.Errorf("page %s: %v", r.name, err)
			return
		}
	}
	c := looks[1].sub(looks[0])
	sent := int(c.At*float64(r.fps)/1000 + 0.5)
	if looks[0].Clock > 0 && int32(c.Clock) > 0 { // a busy machine may have held the publisher up
		sent = int(c.Clock) * r.fps / clock
	}
	share := float64(c.Decoded) / float64(max(sent, 1))
	t.Logf("Chromium in room %s: %d of %d frames decoded (%.2f %%); %v", r.name, c.Decoded, sent, 100*share, c)
	if share < r.least || share > r.most+0.01 { // what it keeps for later makes a difference of some frames
		t.Errorf("Chromium in room %s: %.2f %% of frames decoded, want %g to %g", r.name, 100*share, 100*r.least, 100*r.most)
	}
}

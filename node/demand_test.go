package node

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/publish"
)

// TestDemand: a publisher is told which layers somebody wants, when that changes,
// and not before a layer was unwanted for a while.
func TestDemand(t *testing.T) {
	track := publish.NewTrack(publish.TrackConfig{Codec: codec.Default(codec.Video)[0], RID: "q"})
	track.AddLayer(publish.TrackConfig{RID: "h"})
	var d demand
	announced := []string{"q", "h", "f"}
	for _, c := range []struct {
		at   int    // s
		want string // layers that viewers want
		news string // what the publisher is told; "-": nothing
	}{
		{0, "qh", "f,h,q"}, // so that nothing holds that was said of a stream before
		{1, "q", "-"},
		{4, "q", "-"},
		{6, "q", "f,q"}, // f has yet to come
		{7, "", "-"},
		{8, "h", "f,h,q"},
		{9, "", "-"},
		{12, "h", "-"},
		{16, "", "-"},
		{18, "", "f,q"},
	} {
		rids, news := d.update(announced, track.Layers(), time.Unix(int64(c.at), 0), func(l *publish.Layer) bool {
			return strings.Contains(c.want, l.RID())
		})
		got := "-"
		if news {
			got = strings.Join(rids, ",")
		}
		if got != c.news {
			t.Errorf("%d s: told %s, want %s", c.at, got, c.news)
		}
	}
	var none demand
	if rids, news := none.update(nil, track.Layers()[:1], time.Unix(0, 0), func(*publish.Layer) bool { return false }); news {
		t.Error("told of a track with one layer: ", fmt.Sprint(rids))
	}
}

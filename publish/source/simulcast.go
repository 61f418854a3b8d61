package source

import (
	"fmt"
	"strconv"

	"github.com/weft-rtc/weft/interceptors/codec"
	"github.com/weft-rtc/weft/publish"
)

// simulcast makes one track of all lanes with pictures, each a layer of it. The
// track has the codec of the highest, whose level (H264, AV1) is enough for all.
func (p *player) simulcast(id string) error {
	var layers []*lane
	for _, l := range p.lanes {
		if l.format.Kind() == codec.Video {
			layers = append(layers, l)
		}
	}
	if len(layers) < 2 || len(layers) > publish.MaxLayers {
		return fmt.Errorf("source: simulcast of %d video files: it takes 2 to %d, one for each quality", len(layers), publish.MaxLayers)
	}
	top := layers[len(layers)-1]
	for _, l := range layers {
		if !l.format.Matches(top.format) {
			return &FileError{l.in.name, -1, fmt.Sprintf("holds %s, while %s holds %s: layers have one codec", l.format.Name, top.in.name, top.format.Name), nil}
		}
	}
	top.begin(trackID(id, codec.Video, 1), layerName(len(layers)-1, len(layers)), p.keyframeHook(top.format))
	for i, l := range layers[:len(layers)-1] {
		l.join(top, layerName(i, len(layers)), p.keyframeHook(l.format))
	}
	return nil
}

// layerName returns the RID of the i-th of n layers from below: the letters that
// browsers' pages use, quarter, half and full; numbers, as OBS has them, for more.
func layerName(i, n int) string {
	const letters = "qhf"
	if n > len(letters) {
		return strconv.Itoa(i)
	}
	return letters[len(letters)-n+i:][:1]
}

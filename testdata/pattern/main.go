// Command pattern draws the picture of Weft's embedded test clips: raw RGB
// frames on standard output, for ffmpeg to write the text on and to encode.
// make.sh calls it; nothing else needs it.
//
// The picture is calm where a codec is weak and moves where a viewer looks for
// trouble: ribbons that flow once through the clip, so that its end meets its
// beginning, a hand that turns once a second, a lamp that lights with the bell
// of the tone, and sixteen bars at the top that are the frame's number in
// binary, lowest bit on the left, white for one.
package main

import (
	"bufio"
	"flag"
	"log"
	"math"
	"os"
)

const (
	width, height = 640, 360
	fps           = 30
	barHeight     = 20
)

type rgb struct{ r, g, b float64 }

func hex(v uint32) rgb {
	return rgb{float64(v >> 16 & 255), float64(v >> 8 & 255), float64(v & 255)}
}

func (c rgb) mix(o rgb, a float64) rgb {
	a = math.Max(0, math.Min(1, a))
	return rgb{c.r + (o.r-c.r)*a, c.g + (o.g-c.g)*a, c.b + (o.b-c.b)*a}
}

var (
	dusk, deep, glow = hex(0x1b2250), hex(0x123f55), hex(0x5a3d8c)
	white            = hex(0xf4f6fb)
	ribbons          = []struct {
		colour            rgb
		y, swing, waves   float64
		turns, phase, fat float64
	}{
		{hex(0x8367ff), 236, 30, 1.1, 1, 0.00, 13},
		{hex(0x2ec4b6), 250, 26, 1.4, -1, 0.30, 10},
		{hex(0xffc857), 262, 22, 1.7, 1, 0.62, 7},
		{hex(0xff7a59), 246, 34, 0.9, -1, 0.85, 8},
	}
	swatches = []rgb{
		hex(0xebebeb), hex(0xebd934), hex(0x3fd6d6), hex(0x46c846),
		hex(0xd25ad2), hex(0xdc4646), hex(0x4664dc), hex(0x101010),
	}
)

func main() {
	frames := flag.Int("frames", 300, "number of frames")
	flag.Parse()
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	back := background()
	picture := make([]byte, width*height*3)
	for n := range *frames {
		for i, c := range back {
			x, y := i%width, i/width
			c = lamp(dial(ribbon(c, x, y, float64(n)/float64(*frames)), x, y, n), x, y, n)
			if y < barHeight {
				c = bar(x, n)
			}
			picture[3*i], picture[3*i+1], picture[3*i+2] = byte(c.r+.5), byte(c.g+.5), byte(c.b+.5)
		}
		if _, err := out.Write(picture); err != nil {
			log.Fatal(err)
		}
	}
	if err := out.Flush(); err != nil {
		log.Fatal(err)
	}
}

// background is what stands still: a gradient and the swatches at the foot.
func background() []rgb {
	back := make([]rgb, width*height)
	for i := range back {
		x, y := float64(i%width), float64(i/width)
		c := dusk.mix(deep, (x/width+y/height)/2)
		c = c.mix(glow, .75*math.Exp(-(sq((x-470)/300)+sq((y-110)/170))))
		if y >= height-22 {
			c = swatches[int(x)*len(swatches)/width]
		} else if y >= height-24 {
			c = hex(0x0b1024)
		}
		back[i] = c
	}
	return back
}

func bar(x, n int) rgb {
	if n>>(x*16/width)&1 == 1 {
		return rgb{255, 255, 255}
	}
	return rgb{}
}

func ribbon(c rgb, x, y int, at float64) rgb {
	if y < 170 || y >= height-24 {
		return c
	}
	for _, r := range ribbons {
		middle := r.y + r.swing*math.Sin(2*math.Pi*(float64(x)/width*r.waves+r.turns*at+r.phase))
		fat := r.fat * (.65 + .35*math.Sin(2*math.Pi*(float64(x)/width*.7-r.turns*at+r.phase)))
		d := math.Abs(float64(y) - middle)
		c = c.mix(r.colour, .18*math.Exp(-sq(d/26)))
		c = c.mix(r.colour, .88*(fat-d+.5)/1.5)
	}
	return c
}

// dial is a ring whose bright part grows through each second.
func dial(c rgb, x, y, n int) rgb {
	dx, dy := float64(x)-552, float64(y)-98
	d := math.Hypot(dx, dy)
	if d > 48 {
		return c
	}
	ring := math.Min(1, math.Max(0, 4.5-math.Abs(d-40)))
	angle := math.Atan2(dx, -dy)
	if angle < 0 {
		angle += 2 * math.Pi
	}
	done := 2 * math.Pi * float64(n%fps+1) / fps
	if angle <= done {
		return c.mix(white, ring*.95)
	}
	return c.mix(white, ring*.18)
}

// lamp lights for the first 100 ms of each second and fades.
func lamp(c rgb, x, y, n int) rgb {
	d := math.Hypot(float64(x)-552, float64(y)-98)
	bright := math.Max(.12, 1-math.Max(0, float64(n%fps)-2)/6)
	return c.mix(hex(0xffc857), bright*math.Min(1, math.Max(0, 15-d)))
}

func sq(v float64) float64 { return v * v }

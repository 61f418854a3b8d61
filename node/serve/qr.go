package serve

import (
	"fmt"
	"io"
	"strings"

	"rsc.io/qr"
)

// qrMaxText bounds what is made into a QR code, in bytes: a link to a room is
// far below, and beyond it phones no longer read the code from a screen.
const qrMaxText = 512

// qrQuiet is the border, in modules, that ISO/IEC 18004 asks for.
const qrQuiet = 4

func encodeQR(text string) (*qr.Code, error) {
	if text == "" || len(text) > qrMaxText {
		return nil, fmt.Errorf("text has %d bytes, 1 to %d are allowed", len(text), qrMaxText)
	}
	code, err := qr.Encode(text, qr.M)
	if err != nil {
		return nil, fmt.Errorf("text does not fit a QR code: %w", err)
	}
	return code, nil
}

// qrSVG draws the code as one path, a rectangle for each run of dark modules.
func qrSVG(text string) ([]byte, error) {
	code, err := encodeQR(text)
	if err != nil {
		return nil, err
	}
	side := code.Size + 2*qrQuiet
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" shape-rendering="crispEdges">`, side, side)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/><path fill="#000" d="`, side, side)
	for y := range code.Size {
		for x := 0; x < code.Size; x++ {
			run := 0
			for x+run < code.Size && code.Black(x+run, y) {
				run++
			}
			if run > 0 {
				fmt.Fprintf(&b, "M%d %dh%dv1h-%dz", x+qrQuiet, y+qrQuiet, run, run)
				x += run
			}
		}
	}
	b.WriteString(`"/></svg>`)
	return []byte(b.String()), nil
}

// WriteQR draws text as a QR code for a terminal, two modules in one character
// cell by half blocks. It paints both colours itself, so that it can be scanned
// from light and dark terminals alike.
func WriteQR(w io.Writer, text string) error {
	code, err := encodeQR(text)
	if err != nil {
		return err
	}
	const quiet = 2 // a terminal has little room; scanners cope
	var b strings.Builder
	for y := -quiet; y < code.Size+quiet; y += 2 {
		b.WriteString("\x1b[30;107m") // black on bright white
		for x := -quiet; x < code.Size+quiet; x++ {
			b.WriteString(halfBlock(code.Black(x, y), code.Black(x, y+1)))
		}
		b.WriteString("\x1b[0m\n")
	}
	_, err = io.WriteString(w, b.String())
	return err
}

func halfBlock(top, bottom bool) string {
	switch {
	case top && bottom:
		return "█"
	case top:
		return "▀"
	case bottom:
		return "▄"
	default:
		return " "
	}
}

package sdp

import (
	"fmt"
	"strings"
)

// Fragment is what of a description may come later, over WHIP and WHEP: new
// candidates, or new credentials with their candidates, which is an ICE restart
// (RFC 8840 section 9, application/trickle-ice-sdpfrag).
type Fragment struct {
	Ufrag      string
	Pwd        string
	Candidates []Candidate
	End        bool // a=end-of-candidates
}

// Candidate is one candidate of a Fragment with the section that it stands in.
type Candidate struct {
	Text string // "candidate:..."
	Mid  string // "" before the first section
}

// ReadFragment reads a fragment: attribute lines, and m= lines that say which
// section they belong to. It has no v=, o=, s= and t= lines.
func ReadFragment(text string) (Fragment, error) {
	d := &description{head: media{index: -1}}
	p := &parser{d: d, m: &d.head, most: defaultMaxSections, version: true}
	if len(text) > maxDescription {
		return Fragment{}, p.large(fmt.Sprintf("fragment of %d bytes", len(text)))
	}
	var f Fragment
	for line := range strings.SplitSeq(text, "\n") {
		p.line++
		line = strings.TrimSuffix(line, "\r")
		if line == "" {
			continue
		}
		if err := p.read(line); err != nil {
			return Fragment{}, err
		}
		f.End = f.End || line == "a=end-of-candidates"
	}
	for _, m := range append([]*media{&d.head}, d.media...) {
		if m.ufrag != "" && f.Ufrag == "" {
			f.Ufrag = m.ufrag
		}
		if m.pwd != "" && f.Pwd == "" {
			f.Pwd = m.pwd
		}
		for _, c := range m.candidates {
			f.Candidates = append(f.Candidates, Candidate{strings.TrimSpace(c), m.mid})
		}
	}
	if f.Ufrag == "" && len(f.Candidates) == 0 && !f.End {
		return Fragment{}, &Error{Section: -1, What: "fragment that says nothing"}
	}
	if (f.Ufrag == "") != (f.Pwd == "") {
		return Fragment{}, &Error{Section: -1, What: "fragment with one of a=ice-ufrag and a=ice-pwd"}
	}
	return f, nil
}

// String writes the fragment.
func (f Fragment) String() string {
	var b strings.Builder
	if f.Ufrag != "" {
		b.WriteString("a=ice-ufrag:" + f.Ufrag + "\r\na=ice-pwd:" + f.Pwd + "\r\n")
	}
	mid := ""
	for _, c := range f.Candidates {
		if c.Mid != mid {
			mid = c.Mid
			b.WriteString("m=audio 9 " + rtpProto + " 0\r\na=mid:" + mid + "\r\n")
		}
		b.WriteString("a=" + strings.TrimPrefix(c.Text, "a=") + "\r\n")
	}
	if f.End {
		b.WriteString("a=end-of-candidates\r\n")
	}
	return b.String()
}

// Restarted returns a description with the credentials and candidates of a
// fragment in the place of its own.
func Restarted(description string, f Fragment) string {
	var b strings.Builder
	first := true
	for line := range strings.Lines(description) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case strings.HasPrefix(line, "a=candidate:"), line == "a=end-of-candidates":
			continue
		case strings.HasPrefix(line, "a=ice-ufrag:"):
			line = "a=ice-ufrag:" + f.Ufrag
		case strings.HasPrefix(line, "a=ice-pwd:"):
			line = "a=ice-pwd:" + f.Pwd
		}
		b.WriteString(line + "\r\n")
		if first && strings.HasPrefix(line, "a=mid:") {
			first = false
			for _, c := range f.Candidates {
				b.WriteString("a=" + strings.TrimPrefix(c.Text, "a=") + "\r\n")
			}
		}
	}
	return b.String()
}

// Section is one section of a description, in short.
type Section struct {
	Kind     string // the first word of its m= line
	Mid      string
	Live     bool // it is neither rejected nor removed
	Sends    bool // who wrote the description sends
	Receives bool
}

// ReadSections lists the sections of a description.
func ReadSections(text string) ([]Section, error) {
	d, err := parse(text, defaultMaxSections)
	if err != nil {
		return nil, err
	}
	var all []Section
	for _, m := range d.media {
		x := Section{Kind: m.kind, Mid: m.mid, Live: !m.dead()}
		x.Sends, x.Receives = d.direction(m)
		all = append(all, x)
	}
	return all, nil
}

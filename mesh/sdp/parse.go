package sdp

import (
	"strconv"
	"strings"
)

// A description is one parsed session description.
type description struct {
	id, version uint64 // of the o= line
	head        media  // attributes before the first section
	bundle      []string
	hasBundle   bool
	media       []*media
	candidates  int
	mozilla     bool // the o= line is Firefox's
	lite        bool // a=ice-lite
}

// A media is one section, or the part before the first one.
type media struct {
	index int // -1 for the head
	line  int

	kind, proto string
	port        int
	fmts        []string

	mid, dir                       string
	ufrag, pwd, fingerprint, setup string
	bundleOnly, rtcpMux, rtcpRsize bool
	mixed                          bool // a=extmap-allow-mixed
	sctpPort                       int
	rtpmaps                        []rtpmap
	fmtp                           map[uint8]string
	feedback                       []feedback
	extmaps                        []extmap
	msid                           bool
	streamID, trackID              string
	ssrcs                          []uint32
	repairs                        map[uint32]bool // SSRCs that a group names after its first
	fid                            [][2]uint32
	rids                           []rid
	simulcastSend, simulcastRecv   string
	candidates                     []string
}

type rtpmap struct {
	pt       uint8
	name     string
	clock    uint32
	channels uint16
}

type feedback struct {
	pt    uint8
	all   bool // a=rtcp-fb:*
	value string
}

type extmap struct {
	id       int
	dir, uri string
}

type rid struct{ id, dir string }

// dead reports whether the section is rejected or removed (RFC 8866 section 5.14:
// port 0), which a=bundle-only excepts (RFC 9143 section 6).
func (m *media) dead() bool { return m.port == 0 && !m.bundleOnly }

// parser holds where parse stands, for errors.
type parser struct {
	d       *description
	m       *media
	line    int
	most    int // sections
	version bool
}

func (p *parser) fail(what string) error {
	return &Error{Line: p.line, Section: p.m.index, What: what}
}

func (p *parser) large(what string) error {
	return &Error{Line: p.line, Section: p.m.index, What: what, Err: ErrTooLarge}
}

// parse reads a description of at most maxSections sections. What it keeps are
// pieces of text, so memory is bounded by the input's.
func parse(text string, maxSections int) (*description, error) {
	d := &description{head: media{index: -1}}
	p := &parser{d: d, m: &d.head, most: maxSections}
	if len(text) > maxDescription {
		return nil, p.large(strconv.Itoa(len(text)) + " bytes, at most " + strconv.Itoa(maxDescription))
	}
	for line := range strings.SplitSeq(text, "\n") {
		p.line++
		line = strings.TrimSuffix(line, "\r")
		if line == "" {
			continue // the end, or the blank lines that some texts have there
		}
		if err := p.read(line); err != nil {
			return nil, err
		}
	}
	if !p.version {
		return nil, &Error{Section: -1, What: "no v=0 line"}
	}
	return d, p.finish()
}

func (p *parser) read(line string) error {
	switch {
	case len(line) > maxLine:
		return p.large("line of " + strconv.Itoa(len(line)) + " bytes")
	case len(line) < 2 || line[1] != '=':
		return p.fail("no letter and equals sign: " + quote(line))
	case strings.ContainsAny(line, "\r\x00"):
		return p.fail("control character in line: " + quote(line))
	case !p.version && line != "v=0":
		return p.fail("begins with " + quote(line) + ", not v=0")
	}
	switch value := line[2:]; line[0] {
	case 'v':
		p.version = true
	case 'o':
		return p.origin(value)
	case 'm':
		return p.section(value)
	case 'a':
		return p.attribute(value)
	}
	return nil // s=, c=, t=, b= and the rest say nothing to us
}

// origin reads "o=<user> <id> <version> IN IP4 <address>" (RFC 8866 section 5.2).
func (p *parser) origin(v string) error {
	user, v := next(v)
	p.d.mozilla = strings.HasPrefix(user, "mozilla")
	id, v := next(v)
	version, _ := next(v)
	var err, err2 error
	p.d.id, err = strconv.ParseUint(id, 10, 64)
	p.d.version, err2 = strconv.ParseUint(version, 10, 64)
	if err != nil || err2 != nil {
		return p.fail("o= with id " + quote(id) + " and version " + quote(version))
	}
	return nil
}

// section reads "m=<kind> <port> <proto> <formats>" (RFC 8866 section 5.14).
func (p *parser) section(v string) error {
	m := &media{index: len(p.d.media), line: p.line}
	p.m = m
	if m.index >= p.most {
		return p.large("more than " + strconv.Itoa(p.most) + " sections")
	}
	var port string
	m.kind, v = next(v)
	port, v = next(v)
	m.proto, v = next(v)
	port, _, _ = strings.Cut(port, "/")
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return p.fail("port " + quote(port))
	}
	m.port = int(n)
	if !isToken(m.kind) || !isToken(m.proto) {
		return p.fail("m= without kind or protocol")
	}
	for f := range strings.FieldsSeq(v) {
		if len(m.fmts) >= 128 {
			return p.large("more than 128 formats")
		}
		m.fmts = append(m.fmts, f)
	}
	if len(m.fmts) == 0 {
		return p.fail("m= without a format")
	}
	p.d.media = append(p.d.media, m)
	return nil
}

// finish checks what needs the whole description: every live section has a mid
// of its own (RFC 9143 section 7.2 makes it the name within the bundle).
func (p *parser) finish() error {
	seen := make(map[string]int, len(p.d.media))
	for _, m := range p.d.media {
		if m.dead() {
			continue
		}
		if m.mid == "" {
			return &Error{Line: m.line, Section: m.index, What: m.kind + " without a=mid"}
		}
		if other, ok := seen[m.mid]; ok {
			return &Error{Line: m.line, Section: m.index, What: "mid " + quote(m.mid) + " is also that of section " + strconv.Itoa(other)}
		}
		seen[m.mid] = m.index
	}
	return nil
}

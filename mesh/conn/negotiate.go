package conn

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/weft-rtc/weft/mesh/sdp"
)

// The first exchange is pion's own, data-only, as it is in the wire protocol
// (WIRE 7.4). All later ones are mesh/sdp's; pion hears of them only when ICE
// restarts, by data-only descriptions made up here.

// announced and pionMax are the lines that say how long a message we take.
// pion's setting has to be one more (see API.settings).
var (
	announced = "a=max-message-size:" + strconv.Itoa(MaxControlMessage)
	pionMax   = "a=max-message-size:" + strconv.Itoa(MaxControlMessage+1)
)

func (c *Conn) firstOffer() (string, error) {
	offer, err := c.transport.Load().offer()
	if err != nil {
		return "", fmt.Errorf("conn: make first offer: %w", err)
	}
	c.offer = strings.Replace(offer, pionMax, announced, 1)
	c.mid = attribute(offer, "a=mid:")
	c.phase = phaseOffered
	return c.offer, nil
}

// firstAnswered takes the answer to our first offer.
func (c *Conn) firstAnswered(answer string) error {
	if err := c.transport.Load().answered(answer); err != nil {
		return fmt.Errorf("conn: handle first answer: %w", err)
	}
	if err := c.session.Bootstrap(c.offer, answer, true); err != nil {
		return fmt.Errorf("conn: handle first answer: %w", err)
	}
	c.setup = "passive"
	if attribute(answer, "a=setup:") == "passive" {
		c.setup = "active"
	}
	c.readLocal(c.offer)
	c.offer = ""
	c.phase = phaseUp
	return nil
}

// firstAnswer takes the other side's first offer. A data-only one is pion's to
// answer. One with media (WHIP, WHEP) is the session's, and pion gets one made
// up with the same transport: port 0 for the application section if the offer
// has none starts ICE and DTLS but not SCTP.
func (c *Conn) firstAnswer(ctx context.Context, offer string) (string, error) {
	c.setup = "passive"
	if attribute(offer, "a=setup:") == "passive" { // insists, against RFC 8842 section 5.2
		c.setup = "active"
		if err := c.replace(webrtc.DTLSRoleClient); err != nil {
			return "", err
		}
	}
	t := c.transport.Load()
	if !c.complete && dataOnly(offer) {
		answer, err := t.answer(offer)
		if err != nil {
			return "", fmt.Errorf("conn: answer first offer: %w", err)
		}
		c.mid = attribute(offer, "a=mid:")
		answer = strings.Replace(answer, pionMax, announced, 1)
		if err := c.session.Bootstrap(offer, answer, false); err != nil {
			return "", fmt.Errorf("conn: answer first offer: %w", err)
		}
		c.readLocal(answer)
		c.phase = phaseUp
		return answer, nil
	}
	remote, err := sdp.ReadRemote(offer)
	if err != nil {
		return "", fmt.Errorf("conn: answer first offer: %w", err)
	}
	mid, live := noMid, false
	if !c.complete {
		mid, live = applicationMid(offer)
	}
	answer, err := t.answer(syntheticSDP(mid, remote, !live))
	if err != nil {
		return "", fmt.Errorf("conn: answer first offer: %w", err)
	}
	c.mid, c.dead = mid, !live
	c.readLocal(answer)
	if c.complete {
		c.theirs = offer
		if err := c.awaitCandidates(ctx); err != nil {
			return "", fmt.Errorf("conn: answer first offer: %w", err)
		}
	}
	out, err := c.session.HandleOffer(offer)
	if err != nil {
		return "", fmt.Errorf("conn: answer first offer: %w", err)
	}
	c.phase = phaseUp
	c.apply(out.Changes)
	return out.Answer, nil
}

// replace throws away a PeerConnection that nothing was done with but perhaps an
// offer: pion has no rollback, and its DTLS role as answerer is a setting.
func (c *Conn) replace(role webrtc.DTLSRole) error {
	next, err := newTransport(c, role)
	if err != nil {
		return err
	}
	old := c.transport.Swap(next)
	c.offer, c.phase = "", phaseNew
	if c.isClosing() { // Close or fail may have taken the old one
		next.close()
	}
	old.close()
	return nil
}

func (c *Conn) isClosing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing || c.err != nil
}

// readLocal reads our transport from a description of pion's. The DTLS role is
// what the first exchange made it.
func (c *Conn) readLocal(description string) {
	c.local = sdp.Local{
		Ufrag:       attribute(description, "a=ice-ufrag:"),
		Pwd:         attribute(description, "a=ice-pwd:"),
		Fingerprint: attribute(description, "a=fingerprint:"),
		Setup:       c.setup,
	}
	c.session.SetLocal(c.local)
	c.transport.Load().channels.setRole(c.setup == "active")
}

// apply turns what an exchange changed into receivers and senders.
func (c *Conn) apply(ch sdp.Changes) {
	in := c.transport.Load().in
	in.release(time.Now())
	for _, mid := range ch.Closed {
		if r := c.receivers[mid]; r != nil {
			delete(c.receivers, mid)
			in.closeReceiver(r)
			c.post(0, func(h Handler) { h.TrackClosed(r) })
		}
	}
	for _, id := range ch.Stopped {
		if s := c.senders[id]; s != nil {
			delete(c.senders, id)
			in.closeSender(s)
			c.post(0, func(h Handler) { h.SendClosed(s) })
		}
	}
	for _, o := range ch.Opened {
		r := newReceiver(c, o)
		c.receivers[o.Mid] = r
		in.openReceiver(r)
		c.post(0, func(h Handler) { h.TrackOpened(r) })
	}
	for _, u := range ch.Updated {
		if r := c.receivers[u.Mid]; r != nil {
			in.updateReceiver(r, u)
		}
	}
	for _, n := range ch.Sends {
		s := c.senders[n.ID]
		if s == nil || s.ssrc != n.SSRC || s.rtxSSRC != n.RTXSSRC {
			if old := s; old != nil {
				in.closeSender(old)
				c.post(0, func(h Handler) { h.SendClosed(old) })
			}
			s = newSender(c, n, "")
			c.senders[n.ID] = s
			in.openSender(s)
		} else {
			s.renegotiate(n)
		}
		in.setLayers(s, n)
		c.post(0, func(h Handler) { h.SendReady(s) })
	}
}

// syntheticSDP is the data-only description that pion gets in place of one with
// media: the other side's transport and nothing else.
func syntheticSDP(mid string, r sdp.Remote, dead bool) string {
	port := "9"
	if dead {
		port = "0"
	}
	setup := r.Setup
	if setup == "" {
		setup = "actpass"
	}
	lite := ""
	if r.Lite {
		lite = "a=ice-lite\r\n"
	}
	var b strings.Builder
	b.WriteString("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n" + lite + "a=group:BUNDLE " + mid +
		"\r\nm=application " + port + " UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0" +
		"\r\na=ice-ufrag:" + r.Ufrag + "\r\na=ice-pwd:" + r.Pwd + "\r\na=fingerprint:" + r.Fingerprint +
		"\r\na=setup:" + setup + "\r\na=mid:" + mid + "\r\na=sctp-port:5000\r\n" + announced + "\r\n")
	for _, candidate := range r.Candidates {
		b.WriteString("a=" + strings.TrimPrefix(candidate, "a=") + "\r\n")
	}
	return b.String()
}

// attribute returns the value of the first line that begins with prefix.
func attribute(description, prefix string) string {
	for line := range strings.Lines(description) {
		if v, ok := strings.CutPrefix(line, prefix); ok {
			return strings.TrimRight(v, "\r\n")
		}
	}
	return ""
}

// dataOnly reports whether a description has one section, the application one.
func dataOnly(description string) bool {
	n := 0
	for line := range strings.Lines(description) {
		if strings.HasPrefix(line, "m=") {
			n++
			if !strings.HasPrefix(line, "m=application ") {
				return false
			}
		}
	}
	return n == 1
}

// applicationMid returns the mid of a description's live application section;
// without one a mid that no section has.
func applicationMid(description string) (mid string, live bool) {
	in := false
	for line := range strings.Lines(description) {
		if strings.HasPrefix(line, "m=") {
			in = strings.HasPrefix(line, "m=application ") && !strings.HasPrefix(line, "m=application 0 ")
		}
		if v, ok := strings.CutPrefix(line, "a=mid:"); ok && in {
			return strings.TrimRight(v, "\r\n"), true
		}
	}
	return noMid, false
}

// noMid is the mid that pion hears of where there is no application section.
const noMid = "weft-transport"

package conn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/weft-rtc/weft/mesh/sdp"
	"github.com/weft-rtc/weft/mesh/signal"
)

// This file is for parties whose signaling is one exchange over HTTP: our
// description holds all candidates, theirs has no data channels, and whatever
// comes later is a fragment of theirs.

// gatherWait bounds the waiting for candidates: sockets of our own are known at
// once, a STUN or TURN server may be out of reach.
const gatherWait = 2 * time.Second

// collect keeps a candidate of ours; nil is the end of gathering.
func (t *transport) collect(candidate *webrtc.ICECandidate) {
	t.hostMu.Lock()
	defer t.hostMu.Unlock()
	if candidate != nil {
		if text := candidate.ToJSON().Candidate; len(t.all) < maxHeld && !slices.Contains(t.all, text) {
			t.all = append(t.all, text)
		}
		return
	}
	select {
	case <-t.whole:
	default:
		close(t.whole)
	}
}

// regather readies the transport for another gathering.
func (t *transport) regather() {
	t.hostMu.Lock()
	defer t.hostMu.Unlock()
	t.all, t.whole = nil, make(chan struct{})
}

// awaitCandidates puts all our candidates into the next description.
func (c *Conn) awaitCandidates(ctx context.Context) error {
	t := c.transport.Load()
	t.hostMu.Lock()
	whole := t.whole
	t.hostMu.Unlock()
	timer := time.NewTimer(gatherWait)
	defer timer.Stop()
	select {
	case <-whole:
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	case <-c.stop:
		return ErrClosed
	}
	t.hostMu.Lock()
	all := slices.Clone(t.all)
	t.hostMu.Unlock()
	if len(all) == 0 {
		return ErrNoAddress
	}
	sortCandidates(all, c.near)
	c.local.Candidates, c.local.Complete = all, true
	c.session.SetLocal(c.local)
	return nil
}

// sortCandidates puts those first that most likely work: some clients try the
// first one only (ffmpeg 8, and IPv4 alone).
func sortCandidates(all []string, near netip.Addr) {
	slices.SortStableFunc(all, func(a, b string) int { return cmp.Compare(rank(a, near), rank(b, near)) })
}

// rank is the place of a candidate, "candidate:<foundation> <component>
// <transport> <priority> <address> <port> typ <type>" (RFC 8839 section 5.1).
func rank(candidate string, near netip.Addr) int {
	f := strings.Fields(candidate)
	if len(f) < 8 {
		return 9
	}
	addr, err := netip.ParseAddr(f[4])
	addr = addr.Unmap()
	switch {
	case err != nil || !strings.EqualFold(f[2], "udp"):
		return 8
	case f[7] != "host":
		return 6
	case addr == near.Unmap():
		return 0
	case addr.IsLoopback():
		return 5
	case addr.Is4():
		return 1
	case addr.IsLinkLocalUnicast():
		return 4
	default:
		return 2
	}
}

// Counter makes an offer of ours with all that SetSends asks for, in the place of
// an answer to one of theirs. It is a connection's first description, of one with
// Options.Complete. HandleAnswer takes what comes back.
func (c *Conn) Counter(ctx context.Context) (string, error) {
	if err := c.usable(ctx); err != nil {
		return "", err
	}
	if !c.complete || c.phase != phaseNew {
		return "", ErrNotStable
	}
	offer, err := c.transport.Load().offer()
	if err != nil {
		return "", fmt.Errorf("conn: make offer: %w", err)
	}
	c.mid, c.dead = attribute(offer, "a=mid:"), true
	c.readLocal(offer)
	if err := c.awaitCandidates(ctx); err != nil {
		return "", fmt.Errorf("conn: make offer: %w", err)
	}
	if offer, err = c.session.Offer(); err != nil {
		return "", fmt.Errorf("conn: make offer: %w", err)
	}
	c.phase = phaseCounter
	return c.count(offer), nil
}

// counterAnswered takes the answer to Counter. Text that cannot be read changes
// nothing.
func (c *Conn) counterAnswered(answer string) error {
	remote, err := sdp.ReadRemote(answer)
	if err != nil {
		return fmt.Errorf("conn: handle answer: %w", err)
	}
	changes, err := c.session.HandleAnswer(answer)
	if err != nil {
		return fmt.Errorf("conn: handle answer: %w", err)
	}
	if err := c.transport.Load().answered(syntheticSDP(c.mid, remote, true)); err != nil {
		return fmt.Errorf("conn: handle answer: %w", err)
	}
	c.setup = "passive"
	if remote.Setup == "passive" {
		c.setup = "active"
	}
	c.local.Setup = c.setup
	c.session.SetLocal(c.local)
	c.theirs = answer
	c.phase = phaseUp
	c.apply(changes)
	return nil
}

// HandleFragment takes candidates of the other side, or new credentials: then ICE
// restarts and the fragment returned says ours; it has none otherwise. Nothing has
// changed after an error of the latter.
func (c *Conn) HandleFragment(ctx context.Context, f sdp.Fragment) (sdp.Fragment, error) {
	if err := c.usable(ctx); err != nil {
		return sdp.Fragment{}, err
	}
	if c.phase != phaseUp {
		return sdp.Fragment{}, ErrNoDescription
	}
	if f.Ufrag == "" || f.Ufrag == c.RemoteUfrag() {
		return sdp.Fragment{}, c.addFragment(f)
	}
	next := sdp.Restarted(c.theirs, f)
	c.transport.Load().regather()
	if _, ignored, err := c.HandleOffer(ctx, next); err != nil || ignored {
		return sdp.Fragment{}, err
	}
	c.theirs = next
	if err := c.awaitCandidates(ctx); err != nil {
		return sdp.Fragment{}, err
	}
	ours := sdp.Fragment{Ufrag: c.local.Ufrag, Pwd: c.local.Pwd, End: true}
	for _, text := range c.local.Candidates {
		ours.Candidates = append(ours.Candidates, sdp.Candidate{Text: text})
	}
	return ours, nil
}

func (c *Conn) addFragment(f sdp.Fragment) error {
	for _, candidate := range f.Candidates {
		mid := candidate.Mid
		err := c.AddCandidate(signal.Candidate{Candidate: candidate.Text, SDPMid: &mid})
		if errors.Is(err, ErrTooManyCandidates) {
			return err
		}
		if err != nil { // one that we cannot use, such as of a transport yet to be invented
			c.log.Debug("candidate not used", "error", err)
		}
	}
	return nil
}

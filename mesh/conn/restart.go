package conn

import (
	"crypto/rand"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"
	"unsafe"

	"github.com/pion/webrtc/v4"

	"github.com/weft-rtc/weft/mesh/sdp"
	"github.com/weft-rtc/weft/mesh/signal"
)

// ICE restarts (RFC 8445 section 9) are signaled over the control channel,
// which runs over the very path that they replace, and pion gives that path up
// the moment it restarts. So a restart here is a matter of data until the whole
// exchange of descriptions has arrived: credentials are drawn here, and only
// when both sides know each other's does pion hear of it, in one step and with
// all candidates that came meanwhile. It also makes a restart that collides
// nothing special: it is forgotten like any other offer.

// restart is an exchange of new credentials that pion does not know of yet.
type restart struct {
	local      sdp.Local
	remote     sdp.Remote
	candidates []signal.Candidate // of remote, that came meanwhile
	answering  bool               // our answer has to arrive before pion may restart
	sends      uint64             // SendControl calls before the answer
	cancel     chan struct{}      // closed when the restart happened otherwise
}

const (
	// restartAck is how long the side that offered keeps the old path after the
	// answer: SCTP acknowledges within 200 ms (RFC 9260 section 6.2), and the
	// other side waits for that.
	restartAck = 250 * time.Millisecond
	// restartWait bounds how long the side that answered keeps the old path
	// until its answer is acknowledged: a retransmission or two (RTO 1 s).
	restartWait = 3 * time.Second
	// restartPoll is how often it looks.
	restartPoll = 20 * time.Millisecond
)

// newCredentials draws an ICE user name fragment and password: 48 and 144 bits
// (RFC 8445 section 5.3 asks for 24 and 128).
func newCredentials() (ufrag, pwd string) { return rand.Text()[:10], rand.Text() }

// pionSettings returns the settings inside an API, which pion reads again at
// each ICE restart but gives no way to reach once the API is made.
func pionSettings(api *webrtc.API) (*webrtc.SettingEngine, error) {
	f := reflect.ValueOf(api).Elem().FieldByName("settingEngine")
	if !f.IsValid() || f.Type() != reflect.TypeFor[*webrtc.SettingEngine]() || f.IsNil() {
		return nil, errors.New("conn: this pion keeps its settings elsewhere")
	}
	return (*webrtc.SettingEngine)(unsafe.Pointer(f.Pointer())), nil
}

// offerRestart draws credentials for our next offer.
func (c *Conn) offerRestart() {
	next := c.local
	next.Ufrag, next.Pwd = newCredentials()
	next.Candidates = c.transport.Load().lasting()
	c.offered = &next
	c.session.SetLocal(next)
}

// forgetRestart takes an offered restart back, when its offer collided. It is
// still wanted.
func (c *Conn) forgetRestart() {
	if c.offered != nil {
		c.offered, c.restart = nil, true
		c.session.SetLocal(c.local)
	}
}

// answerRestart draws credentials for our answer if an offer has new ones, and
// reports whether it did.
func (c *Conn) answerRestart(offer string) (*restart, error) {
	remote, err := sdp.ReadRemote(offer)
	if err != nil {
		return nil, fmt.Errorf("conn: handle offer: %w", err)
	}
	known := c.session.Remote()
	if !strings.EqualFold(remote.Fingerprint, known.Fingerprint) {
		return nil, ErrCertificate
	}
	if remote.Ufrag == known.Ufrag {
		return nil, nil
	}
	r := &restart{local: c.local, remote: remote, answering: true, sends: c.sends.Load()}
	r.local.Ufrag, r.local.Pwd = newCredentials()
	r.local.Candidates = c.transport.Load().lasting()
	c.session.SetLocal(r.local)
	return r, nil
}

// begin takes a restart that both sides know of; pion follows a little later.
func (c *Conn) begin(r *restart) {
	c.local = r.local
	c.local.Candidates = nil
	c.session.SetLocal(c.local)
	c.restart, c.offered = false, nil
	r.cancel = make(chan struct{})
	c.finishRestart() // an earlier one that pion has not done yet
	c.pion.Lock()
	c.pending = r
	c.pion.Unlock()
	if c.complete { // nothing of the exchange goes over the path that ends
		c.doRestart(r)
		return
	}
	c.spawn(func() {
		defer c.guard("ICE restart")
		c.waitRestart(r)
	})
}

// waitRestart waits until the old path has done its work. Joined by Close.
func (c *Conn) waitRestart(r *restart) {
	wait := restartAck
	if r.answering {
		wait = restartWait
	}
	end := time.NewTimer(wait)
	defer end.Stop()
	poll := time.NewTicker(restartPoll)
	defer poll.Stop()
	for {
		select {
		case <-r.cancel:
			return
		case <-c.stop:
			return
		case <-end.C:
			c.doRestart(r)
			return
		case <-poll.C:
			if r.answering && c.sends.Load() != r.sends && c.transport.Load().unsent() == 0 {
				c.doRestart(r)
				return
			}
		}
	}
}

// finishRestart makes pion do a pending restart now.
func (c *Conn) finishRestart() {
	c.pion.Lock()
	r := c.pending
	c.pion.Unlock()
	if r != nil {
		c.doRestart(r)
	}
}

// settled reports whether no restart is under way.
func (c *Conn) settled() bool {
	c.pion.Lock()
	defer c.pion.Unlock()
	return c.pending == nil && !c.transport.Load().pathless.Load()
}

// doRestart makes pion restart, once for each restart.
func (c *Conn) doRestart(r *restart) {
	c.pion.Lock()
	defer c.pion.Unlock()
	if c.pending != r {
		return
	}
	c.pending = nil
	close(r.cancel)
	t := c.transport.Load()
	t.pathless.Store(true)
	t.ufrag.Store(r.local.Ufrag)
	t.settings.SetICECredentials(r.local.Ufrag, r.local.Pwd)
	if _, err := t.answer(syntheticSDP(c.mid, r.remote, c.dead)); err != nil {
		c.fail(fmt.Errorf("conn: ICE restart: %w", err))
		return
	}
	for _, candidate := range r.candidates {
		if err := t.addCandidate(candidate); err != nil {
			c.log.Debug("candidate after ICE restart", "error", err)
		}
	}
}

// maxHeld bounds the candidates that wait for pion to restart, as WIRE 7 does.
const maxHeld = 100

// hold keeps a candidate for a restart that pion has not done yet.
func (c *Conn) hold(candidate signal.Candidate) bool {
	c.pion.Lock()
	defer c.pion.Unlock()
	if c.pending == nil {
		return false
	}
	if len(c.pending.candidates) < maxHeld {
		c.pending.candidates = append(c.pending.candidates, candidate)
	}
	return true
}

package serve

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-rtc/weft/node"
	"github.com/weft-rtc/weft/node/serve/access"
)

// admissionBody bounds the body of a request about admissions, in bytes.
const admissionBody = 8 << 10

// admissionRequest is the body of both requests.
type admissionRequest struct {
	Peer      string `json:"peer"`
	Admission string `json:"admission,omitempty"` // to verify
}

// admission is what a peer gets for its token. It puts Admission into its
// metadata, and before it connects to another it asks /verify, or checks by Key,
// what the other's metadata have.
type admission struct {
	Admission string          `json:"admission,omitempty"` // none where everybody is let in
	Expires   *time.Time      `json:"expires,omitempty"`
	Publish   bool            `json:"publish"`
	Watch     bool            `json:"watch"`
	Hub       bool            `json:"hub"`
	Key       json.RawMessage `json:"key,omitempty"` // a JSON Web Key, public
}

// allow checks what a request may do in the room of its path; false means that
// the answer is written.
func (s *Server) allow(w http.ResponseWriter, r *http.Request, action access.Action, peer string) (room string, g access.Grant, ok bool) {
	if room, ok = roomName(w, r); !ok {
		return "", g, false
	}
	g, err := s.gate.Check(r.Context(), access.Query{
		Action: action, Room: room, Peer: peer, Token: access.TokenOf(r), Address: r.RemoteAddr,
	})
	if err != nil {
		refuse(w, err)
		return "", g, false
	}
	return room, g, true
}

// readAdmission reads the body of a request; false means that the answer is
// written.
func readAdmission(w http.ResponseWriter, r *http.Request) (q admissionRequest, ok bool) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, admissionBody))
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		writeProblem(w, http.StatusRequestEntityTooLarge, "the body is too long")
		return q, false
	}
	if err != nil || json.Unmarshal(body, &q) != nil {
		writeProblem(w, http.StatusBadRequest, `the body is not JSON like {"peer":"…"}`)
		return q, false
	}
	if !validPeer(q.Peer) {
		writeProblem(w, http.StatusBadRequest, "peer is no peer id")
		return q, false
	}
	return q, true
}

// validPeer reports whether a text may be the id of a peer that encrypts. The
// ids of others prove nothing, so they are not admitted.
func validPeer(id string) bool {
	other := func(r rune) bool { return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') }
	return len(id) == 44 && id[0] >= '1' && id[0] <= '3' && strings.IndexFunc(id, other) < 0
}

// admit exchanges a token for an admission: POST
// /api/v1/rooms/{room}/admission.
func (s *Server) admit(w http.ResponseWriter, r *http.Request) {
	q, ok := readAdmission(w, r)
	if !ok {
		return
	}
	room, g, ok := s.allow(w, r, access.Join, q.Peer)
	if !ok {
		return
	}
	answer := admission{Publish: g.Publish, Watch: g.Watch, Hub: g.Hub}
	if s.gate.Open() {
		writeJSON(w, answer)
		return
	}
	if s.rooms == nil && !(g.Publish && g.Watch) {
		// In a mesh everybody sends to everybody, and nobody stands between.
		refuse(w, s.gate.Refused.Count(&access.Error{Reason: access.ReasonAction, Detail: "a room without a hub is for tokens that allow both to publish and to watch"}))
		return
	}
	if s.full(room) {
		refuse(w, s.gate.Refused.Count(errRoomFull))
		return
	}
	text, expires, err := s.admits.Admit(g, room, q.Peer, time.Now())
	if err == nil {
		answer.Key, err = s.admits.Key()
	}
	if err != nil {
		writeProblem(w, http.StatusInternalServerError, err.Error())
		return
	}
	answer.Admission, answer.Expires = text, &expires
	writeJSON(w, answer)
}

// full reports whether the hub's room has as many peers as it takes.
func (s *Server) full(room string) bool {
	if s.rooms == nil {
		return false
	}
	entry := s.rooms.get(room)
	return entry != nil && len(entry.hub.Remotes()) >= s.cfg.MaxPeers
}

// verify says what another peer's admission is worth: POST
// /api/v1/rooms/{room}/verify.
func (s *Server) verify(w http.ResponseWriter, r *http.Request) {
	q, ok := readAdmission(w, r)
	if !ok {
		return
	}
	room, _, ok := s.allow(w, r, access.Join, "")
	if !ok {
		return
	}
	if s.gate.Open() {
		writeJSON(w, admission{Publish: true, Watch: true, Hub: true})
		return
	}
	g, err := s.admits.Read(room, q.Peer, q.Admission, time.Now())
	if err != nil {
		// Not 401: it is not the asker's token that is no good.
		writeProblem(w, http.StatusForbidden, s.gate.Refused.Count(err).Error())
		return
	}
	writeJSON(w, admission{Publish: g.Publish, Watch: g.Watch, Hub: g.Hub})
}

// doorkeeper lets peers into a hub's room, as many as there may be. Where tokens
// are needed it lets them in by their admissions, and gives the hub one, by which
// others know it; the hub connects to nobody before it has it.
type doorkeeper struct {
	admits  *access.Admissions // nil where everybody is let in
	refused *access.Counters
	room    string
	peer    *node.Peer
	ready   atomic.Bool

	maxPeers, maxTracks int
	maxBitrate          int64
	log                 *slog.Logger
	end                 context.CancelFunc // of the renewals, nil before
	run                 sync.WaitGroup
}

// verify implements node.VerifyFunc.
func (d *doorkeeper) verify(id string, metadata json.RawMessage) bool {
	err := d.check(id, metadata)
	if d.refused.Count(err) != nil {
		d.log.Debug("peer refused", "peer", id, "error", err)
	}
	return err == nil
}

func (d *doorkeeper) check(id string, metadata json.RawMessage) error {
	if d.admits != nil {
		if !d.ready.Load() {
			return errNotReady
		}
		if _, err := d.admits.Check(d.room, id, metadata, time.Now()); err != nil {
			return err
		}
	}
	if d.full() {
		return errRoomFull
	}
	return nil
}

// full reports whether the hub has as many peers as it takes.
func (d *doorkeeper) full() bool { return d.peer != nil && len(d.peer.Connections()) >= d.maxPeers }

var (
	errNotReady = errors.New("serve: the hub has no admission yet")
	errRoomFull = &access.Error{Reason: access.ReasonFull, Detail: "there are as many in this room as it takes (--max-peers)"}
)

// rights implements node.RightsFunc.
func (d *doorkeeper) rights(id string, metadata json.RawMessage) node.Rights {
	g, err := d.admits.Check(d.room, id, metadata, time.Now())
	if err != nil {
		g = access.Grant{}
	}
	return node.Rights{NoPublish: !g.Publish, NoWatch: !g.Watch, NoHub: !g.Hub}
}

// open begins to let peers in: the hub has joined and has an id.
func (d *doorkeeper) open() error {
	if err := d.renew(); err != nil {
		return err
	}
	d.ready.Store(true)
	d.peer.Announce() // who has answered the first time was not let in
	ctx, cancel := context.WithCancel(context.Background())
	d.end = cancel
	d.run.Go(func() { d.renewals(ctx) }) // joined by close
	return nil
}

func (d *doorkeeper) renewals(ctx context.Context) {
	tick := time.NewTicker(access.AdmissionLife / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := d.renew(); err != nil {
				d.log.Error("the hub's admission was not renewed", "error", err)
			}
		}
	}
}

func (d *doorkeeper) renew() error {
	grant := access.Grant{Publish: true, Watch: true, Hub: true}
	text, _, err := d.admits.Admit(grant, d.room, d.peer.ID(), time.Now())
	if err != nil {
		return err
	}
	return d.peer.SetMetadata(map[string]any{access.MetadataKey: text})
}

// close ends the renewals.
func (d *doorkeeper) close() {
	if d.end != nil {
		d.end()
		d.run.Wait()
	}
}

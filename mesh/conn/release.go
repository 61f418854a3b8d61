package conn

import (
	"errors"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/pion/srtp/v3"
)

// pion never forgets an SSRC: each leaves two streams with their buffers, and two
// states of the cipher, in a connection in which cameras come and go for days.
// What an ended track leaves is taken from pion here, some time after the last
// packet of it or about it. With it goes what protects from packets that somebody
// else replays (RFC 3711 section 3.3.2), so that the SSRCs of the other side are
// remembered as dead: their packets go nowhere.

// releaseAfter is how long an SSRC without a track is kept: reports about it and
// packets of it may still be on their way, and cost more as strangers'.
const releaseAfter = 10 * time.Second

// keptEnded is how many SSRCs of the other side are kept beyond that, those that
// ended last: a browser whose section pauses and goes on sends on the same SSRC
// again, and counts its rollovers on, which a new state would not know of.
const keptEnded = 8

// ended is an SSRC whose track is closed.
type ended struct {
	ssrc uint32
	ours bool
	at   time.Time
}

// held returns of how many SSRCs pion holds streams, those of RTP and of RTCP.
func (in *ingest) held() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return len(in.taps) + len(in.reports)
}

// finish notes that a track has left an SSRC. Called with mu held.
func (in *ingest) finish(ssrc uint32, ours bool, now time.Time) {
	if b := in.reports[ssrc]; b != nil {
		b.late.Store(false)
	}
	in.ended = append(in.ended, ended{ssrc, ours, now})
}

// bury takes the tap of an SSRC that is dead: for pion it is new. Called with mu
// held.
func (in *ingest) bury(b *tap, now time.Time) {
	b.stream.Store(retired)
	in.ended = append(in.ended, ended{b.ssrc, false, now})
}

// release makes pion forget what ended long enough ago. It is called whenever
// tracks change, so that what is kept is what changed last.
func (in *ingest) release(now time.Time) {
	gone, theirs := in.outdated(now)
	if len(gone) > 0 {
		in.t.forget(gone)
	}
	if len(theirs) > 0 {
		in.stale[0].add(theirs)
		in.stale[1].add(theirs)
	}
}

// outbox hands SSRCs to a goroutine of pion.
type outbox struct{ ssrcs atomic.Pointer[[]uint32] }

// add is called by one goroutine at a time.
func (o *outbox) add(more []uint32) {
	if old := o.ssrcs.Swap(nil); old != nil {
		more = append(*old, more...)
	}
	o.ssrcs.Store(&more)
}

// decipher lets go of the cipher's states for what comes in. They belong to the
// goroutine that reads: it calls this for each packet, from tap.Write.
func (in *ingest) decipher(rtp bool) {
	o := &in.stale[0]
	if !rtp {
		o = &in.stale[1]
	}
	if o.ssrcs.Load() == nil {
		return
	}
	ssrcs := o.ssrcs.Swap(nil)
	if ssrcs == nil {
		return
	}
	v, err := in.t.session(rtp)
	if err == nil && v.IsValid() {
		err = forgetStates(v, "remoteContext", *ssrcs)
	}
	if err != nil {
		in.conn.log.Error("SSRCs are not released", "error", err)
	}
}

// outdated takes the SSRCs that nobody uses any more from the ingest.
func (in *ingest) outdated(now time.Time) (gone, theirs []uint32) {
	in.mu.Lock()
	defer in.mu.Unlock()
	n := 0
	for n < len(in.ended) && now.Sub(in.ended[n].at) >= releaseAfter {
		n++
	}
	spare := -in.keep // of the other side's
	for _, e := range in.ended {
		if !e.ours {
			spare++
		}
	}
	old := slices.Clone(in.ended[:n])
	in.ended = in.ended[n:]
	for _, e := range old {
		_, declared := in.declared[e.ssrc]
		switch {
		case declared || in.senders[e.ssrc] != nil || in.streams[e.ssrc] != nil: // has a track again
		case e.ours && in.conn.wishes(e.ssrc), // sent on again with the same keys, its count must go on
			in.taps[e.ssrc].wasLate() || in.reports[e.ssrc].wasLate():
			in.ended = append(in.ended, ended{e.ssrc, e.ours, now})
		case !e.ours && spare <= 0:
			in.ended = append(in.ended, ended{e.ssrc, e.ours, now})
		default:
			if !e.ours {
				spare--
			}
			delete(in.taps, e.ssrc)
			delete(in.reports, e.ssrc)
			gone = append(gone, e.ssrc)
			if !e.ours {
				in.dead[e.ssrc] = struct{}{}
				theirs = append(theirs, e.ssrc)
			}
		}
	}
	return gone, theirs
}

// wasLate reports whether packets came since the last call, or the end.
func (b *tap) wasLate() bool { return b != nil && b.late.Swap(false) }

// expect makes the streams of RTCP about SSRCs now. Those that pion makes itself
// when a packet comes it keeps where nobody can take them from it.
func (t *transport) expect(ssrcs ...uint32) {
	v, err := field[atomic.Value](reflect.ValueOf(t.dtls).Elem(), "srtcpSession")
	if err != nil {
		return
	}
	s, ok := v.Load().(*srtp.SessionSRTCP)
	for _, ssrc := range ssrcs {
		if ok && ssrc != 0 {
			_, _ = s.OpenReadStream(ssrc) // fails when the session is closed
		}
	}
}

// forget takes SSRCs from pion. An SSRC that we sent on must never be sent on
// again with the same keys (RFC 3711 section 9.1).
func (t *transport) forget(ssrcs []uint32) {
	slices.Sort(ssrcs)
	err := t.forgetPairs(ssrcs)
	for _, rtp := range []bool{true, false} {
		v, e := t.session(rtp)
		if e == nil && v.IsValid() {
			e = forgetStreams(v, ssrcs)
		}
		err = errors.Join(err, e)
	}
	if err != nil {
		t.conn.log.Error("SSRCs are not released", "error", err)
	}
}

// session returns what is common to pion's SRTP and SRTCP sessions of one of
// them, invalid before DTLS is up.
func (t *transport) session(rtp bool) (reflect.Value, error) {
	name := "srtcpSession"
	if rtp {
		name = "srtpSession"
	}
	v, err := field[atomic.Value](reflect.ValueOf(t.dtls).Elem(), name)
	if err != nil {
		return reflect.Value{}, err
	}
	s := reflect.ValueOf(v.Load())
	if !s.IsValid() {
		return s, nil
	}
	if s.Kind() != reflect.Pointer || s.Elem().Kind() != reflect.Struct || !s.Elem().FieldByName("session").IsValid() {
		return reflect.Value{}, errElsewhere
	}
	return s.Elem().FieldByName("session"), nil
}

// streamPair is what pion keeps of an SSRC that no description told it of.
type streamPair struct {
	srtp  *srtp.ReadStreamSRTP
	srtcp *srtp.ReadStreamSRTCP
}

// forgetPairs takes SSRCs, which are sorted, from pion's list of pairs.
func (t *transport) forgetPairs(ssrcs []uint32) error {
	v := reflect.ValueOf(t.dtls).Elem()
	lock, err := field[sync.RWMutex](v, "lock")
	if err != nil {
		return err
	}
	f := v.FieldByName("simulcastStreams")
	if !f.IsValid() || f.Kind() != reflect.Slice || !sameFields(f.Type().Elem(), reflect.TypeFor[streamPair]()) {
		return errElsewhere
	}
	pairs := (*[]streamPair)(unsafe.Pointer(f.UnsafeAddr()))
	lock.Lock()
	defer lock.Unlock()
	*pairs = slices.DeleteFunc(*pairs, func(p streamPair) bool {
		_, gone := slices.BinarySearch(ssrcs, p.srtp.GetSSRC())
		return gone
	})
	return nil
}

// sameFields reports whether two structs have fields of the same names and types.
func sameFields(a, b reflect.Type) bool {
	if a.Kind() != reflect.Struct || a.NumField() != b.NumField() {
		return false
	}
	for i := range a.NumField() {
		if a.Field(i).Name != b.Field(i).Name || a.Field(i).Type != b.Field(i).Type {
			return false
		}
	}
	return true
}

// forgetStreams takes SSRCs from one session: the streams that it reads, and the
// states of what was encrypted.
func forgetStreams(session reflect.Value, ssrcs []uint32) error {
	lock, err := field[sync.Mutex](session, "readStreamsLock")
	if err != nil {
		return err
	}
	lock.Lock()
	err = forgetKeys(session, "readStreams", ssrcs)
	lock.Unlock()
	if err != nil {
		return err
	}
	if lock, err = field[sync.Mutex](session, "localContextMutex"); err != nil {
		return err
	}
	lock.Lock()
	defer lock.Unlock()
	return forgetStates(session, "localContext", ssrcs)
}

// forgetStates takes SSRCs from one of the two ciphers of a session.
func forgetStates(session reflect.Value, name string, ssrcs []uint32) error {
	context, err := field[*srtp.Context](session, name)
	if err != nil || *context == nil {
		return err
	}
	v := reflect.ValueOf(*context).Elem()
	return errors.Join(forgetKeys(v, "srtpSSRCStates", ssrcs), forgetKeys(v, "srtcpSSRCStates", ssrcs))
}

// forgetKeys deletes from a map by SSRC, a field that is not exported.
func forgetKeys(of reflect.Value, name string, ssrcs []uint32) error {
	f := of.FieldByName(name)
	if !f.IsValid() || f.Kind() != reflect.Map || f.Type().Key() != reflect.TypeFor[uint32]() {
		return errElsewhere
	}
	m := reflect.NewAt(f.Type(), unsafe.Pointer(f.UnsafeAddr())).Elem()
	for _, ssrc := range ssrcs {
		m.SetMapIndex(reflect.ValueOf(ssrc), reflect.Value{})
	}
	return nil
}

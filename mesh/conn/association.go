package conn

import (
	"errors"
	"reflect"
	"sync"
	"unsafe"

	"github.com/pion/logging"
	"github.com/pion/sctp"
	"github.com/pion/webrtc/v4"
)

// The SCTP association is taken from pion as soon as the control channel has its
// stream, and data channels are made on it here. pion's own ones do not do: its
// loop that accepts channels ends for good when a stream begins with anything
// but a short open message, as a pre-negotiated one does, or one with a label
// of 8 kB; a channel that was closed stays in its tables for ever; each costs
// 64 kB of buffer, which doubles for a long message and never shrinks; and what
// is read is copied twice.

// adoptingLogs calls adopt when pion has opened its first data channel, which is
// the control channel: on the goroutine that opens it, before the one that would
// accept others begins. There is no other moment to step in.
type adoptingLogs struct {
	pionLogs
	adopt func()
}

func (l adoptingLogs) NewLogger(scope string) logging.LeveledLogger {
	if scope == "datachannel" {
		l.adopt()
	}
	return l.pionLogs.NewLogger(scope)
}

// adopt takes the association. pion's accepting loop then ends before its first
// round, and there is nothing left for pion to abort: channels.end does it.
func (t *transport) adopt() {
	defer t.conn.guard("SCTP association")
	if err := t.channels.adopt(t.pc.SCTP()); err != nil {
		t.conn.fail(err)
	}
}

var errElsewhere = errors.New("conn: this pion keeps its SCTP association in another form")

// takeAssociation returns the association of a transport and makes the transport
// forget it. nil if it has none.
func takeAssociation(s *webrtc.SCTPTransport) (*sctp.Association, error) {
	v := reflect.ValueOf(s).Elem()
	lock, err := field[sync.RWMutex](v, "lock")
	if err != nil {
		return nil, err
	}
	held, err := field[*sctp.Association](v, "sctpAssociation")
	if err != nil {
		return nil, err
	}
	lock.Lock()
	defer lock.Unlock()
	a := *held
	*held = nil
	return a, nil
}

// tuneAssociation changes what pion gives no way to choose: the order of sending,
// and how many new streams may wait to be accepted. pion has room for 16, and
// drops the rest of those that come in one packet, each of which takes a
// retransmission then. Nothing was sent yet, and nobody accepts.
func tuneAssociation(a *sctp.Association) error {
	v := reflect.ValueOf(a).Elem()
	lock, err := field[sync.RWMutex](v, "lock")
	if err != nil {
		return err
	}
	accept, err := field[chan *sctp.Stream](v, "acceptCh")
	if err != nil {
		return err
	}
	lock.Lock()
	defer lock.Unlock()
	*accept = widen(*accept)
	return setSchedule(v)
}

// widen returns a channel with more room and what is in the other.
func widen(old chan *sctp.Stream) chan *sctp.Stream {
	wide := make(chan *sctp.Stream, maxStreams)
	for {
		select {
		case s, ok := <-old:
			if !ok { // the association has ended already
				close(wide)
				return wide
			}
			wide <- s
		default:
			return wide
		}
	}
}

// setSchedule puts our schedule in the place of pion's. An association without
// interleaving sends messages one after another anyway, and has none.
func setSchedule(association reflect.Value) error {
	queue := association.FieldByName("pendingQueue")
	if !queue.IsValid() || queue.Kind() != reflect.Pointer {
		return errElsewhere
	}
	policy := queue.Elem().FieldByName("policy")
	if !policy.IsValid() || policy.Kind() != reflect.Interface || policy.Elem().Kind() != reflect.Pointer {
		return errElsewhere
	}
	if !policy.Elem().Elem().FieldByName("scheduler").IsValid() {
		return nil
	}
	scheduler, err := field[sctp.InterleavingStreamScheduler](policy.Elem().Elem(), "scheduler")
	if err == nil {
		*scheduler = &schedule{}
	}
	return err
}

// field returns the address of a field that is not exported.
func field[T any](v reflect.Value, name string) (*T, error) {
	f := v.FieldByName(name)
	if !f.IsValid() || f.Type() != reflect.TypeFor[T]() {
		return nil, errElsewhere
	}
	return (*T)(unsafe.Pointer(f.UnsafeAddr())), nil
}

package mesh

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/weft-rtc/weft/mesh/conn"
	"github.com/weft-rtc/weft/mesh/signal"
)

// channels are the data channels of a link, one for each label and one for each
// pre-negotiated stream id.
type channels struct {
	mu    sync.Mutex
	table map[channelKey]*conn.DataChannel

	// Owned by the link's goroutine.
	wishes  []conn.ChannelOptions // made before the control channel was open
	waiting map[channelKey]bool   // wishes that wait for the end of an older channel
}

// releaseWait is how long the end of an older channel is waited for.
const releaseWait = 2 * time.Second

// channelKey is the label, or the id of a pre-negotiated channel, whose label
// means nothing to the other side.
type channelKey struct {
	label string
	id    uint16
}

func keyOf(o conn.ChannelOptions) channelKey {
	if o.Negotiated {
		return channelKey{id: o.ID}
	}
	return channelKey{label: o.Label}
}

// OpenChannel wishes for a data channel to the remote peer; Handler.LinkChannel
// has it when it is there. It does nothing if the link has a channel with that
// label already, or that stream id if it is pre-negotiated. The impolite side
// creates the channel, the polite one asks for it (WIRE 11). Before the control
// channel is open the wish waits, and is done before media is negotiated. It
// does not block; what goes wrong is logged.
func (l *Link) OpenChannel(o conn.ChannelOptions) {
	if err := o.Validate(); err != nil {
		l.log.Warn("data channel not opened", "err", err)
		return
	}
	l.do(func() {
		if l.ready {
			l.openChannel(o)
		} else {
			l.wish(o)
		}
	})
}

// wish keeps what cannot be done now.
func (l *Link) wish(o conn.ChannelOptions) {
	if len(l.channels.wishes) >= conn.MaxChannels {
		l.log.Warn("data channel not opened", "label", o.Label, "err", conn.ErrTooManyChannels)
		return
	}
	l.channels.wishes = append(l.channels.wishes, o)
}

// ForgetChannel takes back a wish that has not been done yet. It does not block.
func (l *Link) ForgetChannel(o conn.ChannelOptions) {
	l.do(func() {
		l.channels.wishes = slices.DeleteFunc(l.channels.wishes, func(w conn.ChannelOptions) bool { return keyOf(w) == keyOf(o) })
		if l.channels.waiting[keyOf(o)] {
			l.channels.waiting[keyOf(o)] = false
		}
	})
}

// CloseChannel closes a data channel of the link. The remote peer learns of it;
// a new one with the label may be opened at once.
func (l *Link) CloseChannel(d *conn.DataChannel) { _ = d.Close() }

// openWishes opens what was wished for before the control channel was open.
func (l *Link) openWishes() {
	wishes := l.channels.wishes
	l.channels.wishes = nil
	for _, o := range wishes {
		l.openChannel(o)
	}
}

// openChannel creates a channel, or asks for it.
func (l *Link) openChannel(o conn.ChannelOptions) {
	if !o.Negotiated && !l.polite {
		l.createChannel(o)
		return
	}
	old := l.channel(keyOf(o))
	if open(old) {
		return
	}
	if old != nil && !released(old) {
		l.openAfter(old, o)
		return
	}
	if o.Negotiated {
		l.createChannel(o)
	} else {
		l.askForChannel(o)
	}
}

// openAfter opens a channel when the other side has closed its end of an older
// one: before that it would take the request for one that needs nothing done,
// and a pre-negotiated id is not free.
func (l *Link) openAfter(old *conn.DataChannel, o conn.ChannelOptions) {
	key := keyOf(o)
	if _, waits := l.channels.waiting[key]; waits {
		l.channels.waiting[key] = true // it may have been forgotten
		return
	}
	if l.channels.waiting == nil {
		l.channels.waiting = map[channelKey]bool{}
	}
	l.channels.waiting[key] = true
	l.room.tasks.Go(func() { // joined by Leave; ends with the link
		timer := time.NewTimer(releaseWait)
		defer timer.Stop()
		select {
		case <-old.Released():
		case <-timer.C:
		case <-l.done:
			return
		}
		l.do(func() {
			wanted := l.channels.waiting[key]
			delete(l.channels.waiting, key)
			l.forgetChannel(old)
			if wanted {
				l.openChannel(o)
			}
		})
	})
}

// askForChannel makes the impolite side create a channel.
func (l *Link) askForChannel(o conn.ChannelOptions) {
	r := signal.ChannelRequest{
		Label: o.Label, Protocol: o.Protocol,
		MaxPacketLifeTime: o.MaxPacketLifeTime, MaxRetransmits: o.MaxRetransmits,
	}
	if o.Unordered {
		r.Ordered = new(bool)
	}
	err := l.SendEvent(signal.EventChannel, r)
	switch {
	case err == nil:
	case errors.Is(err, conn.ErrRestarting), errors.Is(err, conn.ErrControlFull):
		l.wish(o) // until the connection is up again
	default:
		l.log.Warn("data channel not asked for", "label", o.Label, "err", err)
	}
}

// channelRequested creates what the polite side asks for. From an impolite one,
// which creates its channels itself, the request has no meaning.
func (l *Link) channelRequested(r signal.ChannelRequest) {
	o := conn.ChannelOptions{
		Label: r.Label, Protocol: r.Protocol,
		Unordered:         r.Ordered != nil && !*r.Ordered,
		MaxPacketLifeTime: r.MaxPacketLifeTime, MaxRetransmits: r.MaxRetransmits,
	}
	err := o.Validate()
	if err == nil && l.polite {
		err = errors.New("request of the impolite side")
	}
	if err != nil {
		l.log.Debug("data channel request dropped", "err", err)
		return
	}
	l.createChannel(o)
}

// createChannel creates a channel unless there is one.
func (l *Link) createChannel(o conn.ChannelOptions) {
	l.channels.mu.Lock()
	defer l.channels.mu.Unlock()
	if open(l.channels.table[keyOf(o)]) {
		return
	}
	d, err := l.conn.OpenChannel(o)
	if err != nil {
		l.log.Warn("data channel not opened", "label", o.Label, "err", err)
		return
	}
	l.tellChannel(d)
}

// ChannelOpened takes a channel that the remote peer created, at once, so that
// it does not wait for the link. One with a label in use replaces the older.
func (c *linkConn) ChannelOpened(d *conn.DataChannel) {
	l := c.link()
	l.channels.mu.Lock()
	defer l.channels.mu.Unlock()
	if old := l.channels.table[keyOf(d.Options())]; open(old) {
		_ = old.Close()
	}
	l.tellChannel(d)
}

// tellChannel puts a channel into the table, without those that are gone, and
// hands it up; l.channels.mu is held, so that the handler hears of a label's
// channels in their order.
func (l *Link) tellChannel(d *conn.DataChannel) {
	for k, old := range l.channels.table {
		if released(old) {
			delete(l.channels.table, k)
		}
	}
	if l.channels.table == nil {
		l.channels.table = map[channelKey]*conn.DataChannel{}
	}
	l.channels.table[keyOf(d.Options())] = d
	l.room.cfg.Handler.LinkChannel(l, d)
}

// channel returns the last channel of that key, which may be closed; nil if it
// is gone.
func (l *Link) channel(k channelKey) *conn.DataChannel {
	l.channels.mu.Lock()
	defer l.channels.mu.Unlock()
	return l.channels.table[k]
}

// forgetChannel takes a closed channel out of the table.
func (l *Link) forgetChannel(d *conn.DataChannel) {
	l.channels.mu.Lock()
	defer l.channels.mu.Unlock()
	if k := keyOf(d.Options()); l.channels.table[k] == d {
		delete(l.channels.table, k)
	}
}

func open(d *conn.DataChannel) bool { return d != nil && !closed(d.Done()) }

func released(d *conn.DataChannel) bool { return closed(d.Released()) }

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

package node

import (
	"encoding/json"
	"sync"
	"sync/atomic"

	"github.com/weft-rtc/weft/mesh/channel"
	"github.com/weft-rtc/weft/mesh/conn"
	"github.com/weft-rtc/weft/publish"
)

// EventName says what an event is about: a group such as "stream", or one kind
// of it such as "stream:add". Applications and addons may emit names of their
// own; what stands before the first colon is the group.
type EventName string

// The events of a Peer. A handler of a group gets all kinds of it.
const (
	GroupConnection        EventName = "connection" // data: ConnectionEvent
	ConnectionNew          EventName = "connection:new"
	ConnectionConnecting   EventName = "connection:connecting"
	ConnectionConnected    EventName = "connection:connected"
	ConnectionDisconnected EventName = "connection:disconnected"
	ConnectionFailed       EventName = "connection:failed"
	ConnectionClosed       EventName = "connection:closed"

	GroupChannel   EventName = "channel" // data: ChannelEvent
	ChannelNew     EventName = "channel:new"
	ChannelOpen    EventName = "channel:open"
	ChannelMessage EventName = "channel:message"
	ChannelClose   EventName = "channel:close"

	GroupStream  EventName = "stream" // data: StreamEvent
	StreamAdd    EventName = "stream:add"
	StreamRemove EventName = "stream:remove"

	GroupTrack  EventName = "track" // data: TrackEvent
	TrackAdd    EventName = "track:add"
	TrackRemove EventName = "track:remove"

	// EventSpeakers says who speaks; data: SpeakersEvent.
	EventSpeakers EventName = "speakers"

	// EventError says of errors that have no effect on the room, such as a
	// signaling packet that cannot be read; data: error.
	EventError EventName = "error"
)

// Event is what a handler gets.
type Event struct {
	Name EventName // the full one, also where a group was asked for
	Data any       // as the group's comment says, or what Emit was given
}

// ConnectionEvent says that a remote peer came, changed its state, or went. A
// peer that is reached in two ways, such as directly for a moment before it goes
// behind a hub, has events for each, told apart by Via. For each way the first
// is ConnectionNew (ConnectionConnected behind a hub), and the last, which comes
// once, ConnectionClosed.
type ConnectionEvent struct {
	ID       string
	Metadata json.RawMessage
	Via      string     // id of the hub behind which the peer is; empty if reached directly
	State    conn.State // of its connection; for a peer behind a hub Connected or Closed
	Err      error      // with StateClosed: why
}

// ChannelEvent says of one data channel to one remote peer.
type ChannelEvent struct {
	Peer    string
	Channel *Channel
	// Message, with ChannelMessage, is one that begins to come in. It belongs to
	// the handlers until all have returned; what is unread then is refused.
	Message *channel.Message
	Err     error // with ChannelClose: why, if neither side closed it

	held *holds // of Message
}

// holds counts those who may still read a message.
type holds struct {
	n    atomic.Int32
	once sync.Once // an event may be emitted again when all is over
	last func()    // called when there is none left
}

// hold and release count a delivery of the event, if it has a message.
func (e Event) hold() {
	if c, ok := e.Data.(ChannelEvent); ok && c.held != nil {
		c.held.n.Add(1)
	}
}

func (e Event) release() {
	if c, ok := e.Data.(ChannelEvent); ok && c.held != nil && c.held.n.Add(-1) == 0 {
		go c.held.once.Do(c.held.last) // not under the locks of the caller; it ends with the message
	}
}

// StreamEvent says that a remote stream was added or removed. It comes before
// the first TrackEvent of an added stream, and after the last of a removed one.
type StreamEvent struct {
	Peer   string // whose stream it is, also when it came through a hub
	Label  string
	Added  bool
	Tracks []*publish.Track // at the time of the event, at least one
}

// TrackEvent says that a track was added to a remote stream or removed. A track
// that its sender goes on with in another codec is removed and added as another.
type TrackEvent struct {
	Peer, Label string
	Added       bool
	Track       *publish.Track
}

// SpeakersEvent says who speaks now, by peer id, the one in the lead first. The
// lead does not change for a cough.
type SpeakersEvent struct {
	Speaking []string
}

// named returns the event's name with its data; events of the Peer's own carry
// their kind.
func named(data any) Event {
	switch d := data.(type) {
	case ConnectionEvent:
		return Event{GroupConnection + EventName(":"+d.State.String()), d}
	case StreamEvent:
		return Event{pick(d.Added, StreamAdd, StreamRemove), d}
	case TrackEvent:
		return Event{pick(d.Added, TrackAdd, TrackRemove), d}
	}
	if d, ok := data.(SpeakersEvent); ok {
		return Event{EventSpeakers, d}
	}
	return Event{EventError, data}
}

func pick(add bool, yes, no EventName) EventName {
	if add {
		return yes
	}
	return no
}

package node

// On calls f for the events of these names or groups, all events if none is
// given, until off is called. f is called for one event after the other, in
// order, on a goroutine of its own that only f can hold up. Messages of data
// channels, whose reading may take long, are an exception: each channel has its
// own order and goroutine. A panic in f is logged and ends that call.
//
// Up to 4096 events wait for a slow handler; beyond, the newest are dropped.
func (p *Peer) On(f func(Event), names ...EventName) (off func()) {
	return p.events.add(f, false, names)
}

// Once is On for the first such event only.
func (p *Peer) Once(f func(Event), names ...EventName) (off func()) {
	return p.events.add(f, true, names)
}

// Off removes all handlers of these names, as they were given to On; a handler
// of several names keeps the others. What waits for a handler under a name that is
// removed is not delivered. Without names it removes all handlers.
func (p *Peer) Off(names ...EventName) { p.events.off(names) }

// Emit hands an event to the handlers, of a name of the application's own or of
// the Peer's. It never blocks. After Close it does nothing.
func (p *Peer) Emit(name EventName, data any) {
	e := Event{name, data}
	e.hold() // it may be that of a message, emitted again
	p.events.emit(e)
}

// OnConnection is On for peers that come, change and go.
func (p *Peer) OnConnection(f func(ConnectionEvent)) (off func()) {
	return on(p.events, f, GroupConnection)
}

// OnChannel is On for data channels but for their messages.
func (p *Peer) OnChannel(f func(ChannelEvent)) (off func()) {
	return on(p.events, f, ChannelNew, ChannelOpen, ChannelClose)
}

// OnMessage is On for messages that begin to come in. f reads what it wants of
// e.Message, which may take as long as the sender takes, and returns. Messages of
// one channel come one after the other, those of different channels at the same
// time. What f leaves unread is refused. Of several handlers one should read: each
// gets what the others have not.
func (p *Peer) OnMessage(f func(ChannelEvent)) (off func()) {
	return on(p.events, f, ChannelMessage)
}

// OnStream is On for remote streams that are added and removed.
func (p *Peer) OnStream(f func(StreamEvent)) (off func()) { return on(p.events, f, GroupStream) }

// OnTrack is On for tracks of remote streams.
func (p *Peer) OnTrack(f func(TrackEvent)) (off func()) { return on(p.events, f, GroupTrack) }

// OnSpeakers is On for who speaks.
func (p *Peer) OnSpeakers(f func(SpeakersEvent)) (off func()) {
	return on(p.events, f, EventSpeakers)
}

// OnError is On for errors that have no effect on the room, such as a signaling
// packet that cannot be read.
func (p *Peer) OnError(f func(error)) (off func()) { return on(p.events, f, EventError) }

// on registers a handler that gets the data of the events, if it is an E.
func on[E any](d *dispatch, f func(E), names ...EventName) (off func()) {
	return d.add(func(e Event) {
		if data, ok := e.Data.(E); ok {
			f(data)
		}
	}, false, names)
}

// emit hands an event of the Peer's own to the handlers.
func (p *Peer) emit(data any) { p.events.emit(named(data)) }

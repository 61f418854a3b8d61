package socketio

import (
	"testing"
	"time"
)

func TestOutboxOrder(t *testing.T) {
	o := newOutbox()
	o.add(subscribe, "a")
	if o.tryPublish("b", []byte("x")) != nil {
		t.Fatal("no room")
	}
	o.add(unsubscribe, "c")
	o.finish()
	o.ping()
	o.ping() // one pong is due, not two
	for i, want := range []struct {
		task      task
		namespace string
		id        int64
	}{{sendPong, "", 0}, {sendEvent, "a", 1}, {sendEvent, "b", 2}, {sendEvent, "c", 3}, {endConnection, "", 0}} {
		if what, e := o.next(); what != want.task || e.namespace != want.namespace || e.id != want.id {
			t.Errorf("%d: %v of %q with id %d", i, what, e.namespace, e.id)
		}
	}
}

func TestOutboxAcknowledgements(t *testing.T) {
	o := newOutbox()
	now := time.Now()
	done := o.add(subscribe, "a")
	o.tryPublish("b", nil)
	if dead, again := o.overdue(now.Add(time.Hour)); dead || again != ackTimeout {
		t.Errorf("overdue before it was sent: %v, %v", dead, again)
	}
	o.sent(1, now)
	o.sent(2, now.Add(3*time.Second))
	if dead, again := o.overdue(now.Add(9 * time.Second)); dead || again != time.Second {
		t.Errorf("after 9 s: %v, %v", dead, again)
	}
	if dead, _ := o.overdue(now.Add(ackTimeout)); !dead {
		t.Error("not overdue after 10 s")
	}
	if !o.acknowledged(1) || o.acknowledged(1) || o.acknowledged(7) || o.acknowledged(-1) {
		t.Error("acknowledged another than the first")
	}
	<-done
	if dead, again := o.overdue(now.Add(ackTimeout)); dead || again != 3*time.Second {
		t.Errorf("after 10 s, with the first acknowledged: %v, %v", dead, again)
	}
	if !o.acknowledged(2) || len(o.waiting) != 0 || o.published != 0 {
		t.Errorf("%d wait, %d of them packets", len(o.waiting), o.published)
	}
}

func TestOutboxBounds(t *testing.T) {
	o := newOutbox()
	for range maxPublished {
		if o.tryPublish("a", nil) != nil {
			t.Fatal("no room")
		}
	}
	room := o.tryPublish("a", nil)
	if room == nil || o.add(subscribe, "b") == nil {
		t.Fatal("room for one more, or none to subscribe")
	}
	o.acknowledged(5)
	<-room
	if o.tryPublish("a", nil) != nil || o.tryPublish("a", nil) == nil {
		t.Error("not room for one")
	}
}

func TestOutboxBytes(t *testing.T) {
	o := newOutbox()
	if o.tryPublish("a", make([]byte, maxQueued+1)) != nil {
		t.Fatal("no room for one that is alone")
	}
	room := o.tryPublish("a", make([]byte, 1))
	if room == nil {
		t.Fatal("room for one more")
	}
	o.next()
	<-room
	if o.tryPublish("a", make([]byte, 1)) != nil {
		t.Error("no room when it was sent")
	}
}

// One acknowledgement that does not come keeps no account of all others.
func TestOutboxForgets(t *testing.T) {
	o := newOutbox()
	now := time.Now()
	for id := int64(1); id <= 10000; id++ {
		o.tryPublish("a", nil)
		o.next()
		o.sent(id, now)
		if id > 1 {
			o.acknowledged(id)
		}
	}
	if len(o.written) > 100 {
		t.Errorf("%d entries for one event", len(o.written))
	}
	if dead, _ := o.overdue(now.Add(ackTimeout)); !dead {
		t.Error("the first was forgotten")
	}
}

package memory_test

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/weft-rtc/weft/mesh/driver"
	"github.com/weft-rtc/weft/mesh/driver/drivertest"
	"github.com/weft-rtc/weft/mesh/driver/memory"
)

func TestDriver(t *testing.T) {
	drivertest.Run(t, func() (a, b driver.Driver) {
		bus := memory.NewBus()
		return bus.Driver(), bus.Driver()
	})
}

func TestOutage(t *testing.T) {
	drivertest.RunOutage(t, func() (a, b driver.Driver, down, up func()) {
		bus := memory.NewBus()
		return bus.Driver(), bus.Driver(), func() { bus.SetActive(false) }, func() { bus.SetActive(true) }
	})
}

func TestDriverMadeInAnOutageIsInactive(t *testing.T) {
	bus := memory.NewBus()
	bus.SetActive(false)
	d := bus.Driver()
	defer d.Close()
	if d.Active() {
		t.Error("active")
	}
	bus.SetActive(true)
	if !d.Active() {
		t.Error("not active")
	}
}

// In a bubble every goroutine must end, and waiting for packets must not keep
// virtual time from passing.
func TestVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := memory.NewBus()
		a, b := bus.Driver(), bus.Driver()
		var got, own []string
		if _, err := b.Subscribe(t.Context(), "ns", func(p []byte) { got = append(got, string(p)) }); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Subscribe(t.Context(), "ns", func(p []byte) { own = append(own, string(p)) }); err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			if err := a.Publish(t.Context(), "ns", fmt.Append(nil, i)); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if fmt.Sprint(got) != "[0 1 2]" || len(own) != 0 {
			t.Errorf("got %v, own packets %v", got, own)
		}
		a.Close()
		b.Close()
	})
}

func TestFullQueuesAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := memory.NewBus()
		a, b := bus.Driver(), bus.Driver()
		proceed := make(chan struct{})
		count := 0
		if _, err := b.Subscribe(t.Context(), "ns", func([]byte) { <-proceed; count++ }); err != nil {
			t.Fatal(err)
		}
		packet := make([]byte, driver.MaxPacket)
		for range driver.QueueBytes/driver.MaxPacket + 5 {
			if err := a.Publish(t.Context(), "ns", packet); err != nil {
				t.Fatal(err)
			}
			synctest.Wait() // the first one is taken before the next comes
		}
		close(proceed)
		synctest.Wait()
		if want := driver.QueueBytes/driver.MaxPacket + 1; count != want || bus.Dropped() != 4 {
			t.Errorf("%d received, want %d; %d dropped, want 4", count, want, bus.Dropped())
		}
		a.Close()
		b.Close()
	})
}

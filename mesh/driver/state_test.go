package driver_test

import (
	"fmt"
	"testing"

	"github.com/weft-rtc/weft/mesh/driver"
)

func TestState(t *testing.T) {
	var s driver.State
	var got []string
	s.Watch(func(a bool) { got = append(got, fmt.Sprint("1:", a)) })
	var cancel func()
	cancel = s.Watch(func(a bool) {
		got = append(got, fmt.Sprint("2:", a))
		cancel() // from within a call
	})
	s.Set(false) // no change
	s.Set(true)
	s.Set(true)
	s.Set(false)
	if want := "[1:true 2:true 1:false]"; fmt.Sprint(got) != want {
		t.Errorf("calls %v, want %s", got, want)
	}
	s.Set(true)
	if !s.Active() || s.Closed() {
		t.Error("not active or closed")
	}
	if !s.Close() || s.Close() {
		t.Error("Close does not know the first call")
	}
	calls := len(got)
	s.Set(true)
	if s.Active() || !s.Closed() || len(got) != calls {
		t.Error("a closed state changed")
	}
}

func TestCheckNamespace(t *testing.T) {
	for namespace, ok := range map[string]bool{
		"dcjHO465qAJI1IZONIXMIkFG0xWJrBMJqIdGY94W88L": true,
		"under_score-9": true,
		"":              false,
		"a.b":           false,
		">":             false,
		"*":             false,
		"a b":           false,
		"zażółć":        false,
		"a\x00":         false,
	} {
		if err := driver.CheckNamespace(namespace); (err == nil) != ok {
			t.Errorf("%q: error %v", namespace, err)
		}
	}
}

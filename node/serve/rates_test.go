package serve

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"
)

func TestRates(t *testing.T) {
	r := newRates(2)
	now := time.Unix(1000, 0)
	a, b := clientOf("192.0.2.1:1"), clientOf("[2001:db8::1]:1")
	for i, c := range []struct {
		who   netip.Prefix
		after time.Duration
		want  bool
	}{
		{a, 0, true}, {a, 0, true}, {a, 0, false}, {b, 0, true},
		{clientOf("192.0.2.1:99"), 0, false}, {clientOf("127.0.0.1:1"), 0, true},
		{a, 500 * time.Millisecond, true}, {a, 500 * time.Millisecond, false},
		{a, time.Hour, true}, {a, time.Hour, true}, {a, time.Hour, false},
	} {
		if got := r.allow(c.who, now.Add(c.after)); got != c.want {
			t.Errorf("request %d: %v", i, got)
		}
	}
	for i := range ratesMost + 10 {
		r.allow(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32), now)
	}
	if len(r.by) > ratesMost {
		t.Errorf("%d addresses are remembered", len(r.by))
	}
}

// Who asks too often is told so, and when to come again.
func TestRequestsAreBounded(t *testing.T) {
	s, err := New(Config{MaxRequests: 3})
	if err != nil {
		t.Fatal(err)
	}
	h := s.handler()
	var status []int
	for range 5 {
		r := httptest.NewRequest("GET", "http://127.0.0.1/healthz", nil)
		r.RemoteAddr = "192.0.2.1:5"
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		status = append(status, w.Code)
		if w.Code == http.StatusTooManyRequests && w.Header().Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
	if status[0] != 200 || status[4] != 429 || s.gate.Refused.Snapshot()["rate"] == 0 {
		t.Errorf("%v, %v", status, s.gate.Refused.Snapshot())
	}
}

// A full room says so to who asks, and connects to nobody more.
func TestRoomIsFull(t *testing.T) {
	k := newTokens(t)
	g := &gated{tokens: k, info: start(t, Config{Tokens: k.keys, Rooms: []string{"demo"}, MaxPeers: 1})}
	hub := g.hub()
	ada := g.call(claimsBoth).admit()
	g.until("ada is connected", func() bool { return connected(ada, hub) })
	eve := g.call(claimsBoth)
	status, h, body := post(t, g.info.URL+"api/v1/rooms/demo/admission", eve.token, map[string]string{"peer": eve.ID()})
	if status != http.StatusServiceUnavailable || h.Get("Retry-After") == "" || g.refused()["full"] == 0 {
		t.Errorf("%d %s", status, body)
	}
	before := g.refused()["full"]
	forger := newForger(t, k)
	eve.trusting(map[string]any{"admission": (&gated{tokens: k, forger: forger}).forge("demo", eve.ID(), 0)})
	g.until("eve is refused", func() bool { return g.refused()["full"] > before })
	if ids := g.present(); len(ids) != 1 || ids[0] != ada.ID() {
		t.Errorf("with the hub are %v", ids)
	}
}

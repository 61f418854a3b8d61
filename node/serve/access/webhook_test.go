package access

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hookServer answers a question by what its token says.
type hookServer struct {
	*httptest.Server
	mu    sync.Mutex
	asked []question
}

func newHook(t *testing.T) (*hookServer, *Webhook) {
	s := &hookServer{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q question
		b, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(b, &q); err != nil || r.Method != http.MethodPost {
			t.Errorf("%s %s: %v", r.Method, b, err)
		}
		s.mu.Lock()
		s.asked = append(s.asked, q)
		s.mu.Unlock()
		switch q.Token {
		case "moved":
			http.Redirect(w, r, "/yes", http.StatusTemporaryRedirect)
		case "broken":
			w.WriteHeader(http.StatusInternalServerError)
		case "long":
			_, _ = io.WriteString(w, `{"allow":true,"name":"`+strings.Repeat("x", hookAnswer)+`"}`)
		default:
			_, _ = io.WriteString(w, q.Token)
		}
	}))
	t.Cleanup(s.Close)
	h, err := NewWebhook(s.URL + "/ask?key=hidden-secret")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return s, h
}

func (s *hookServer) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

func TestWebhook(t *testing.T) {
	s, h := newHook(t)
	g := NewHookGate(h)
	for _, c := range []struct {
		action Action
		token  string
		want   Grant
		reason Reason
	}{
		{Join, `{"allow":true}`, Grant{Publish: true, Watch: true}, ReasonNone},
		{Join, `{"allow":true,"watch":true,"name":"ada"}`, Grant{Watch: true, Name: "ada"}, ReasonNone},
		{Publish, `{"allow":true,"watch":true}`, Grant{}, ReasonAction},
		{Watch, `{"allow":true,"publish":true}`, Grant{}, ReasonAction},
		{Watch, `{"allow":true,"hub":true}`, Grant{Publish: true, Watch: true, Hub: true}, ReasonNone},
		{Join, `{"allow":true,"watch":false,"publish":false}`, Grant{}, ReasonAction},
		{Join, `{"allow":false}`, Grant{}, ReasonHook},
		{Join, `{}`, Grant{}, ReasonHook},
		{Join, ``, Grant{}, ReasonHookDown},
		{Join, `null`, Grant{}, ReasonHook},
		{Join, `x`, Grant{}, ReasonHookDown},
		{Join, "moved", Grant{}, ReasonHookDown},
		{Join, "broken", Grant{}, ReasonHookDown},
		{Join, "long", Grant{}, ReasonHookDown},
		{Join, strings.Repeat("x", hookMaxField+1), Grant{}, ReasonMalformed},
	} {
		got, err := g.Check(t.Context(), Query{Action: c.action, Room: "demo", Token: NewSecret(c.token), Address: "192.0.2.1:5"})
		if got != c.want || reasonOf(err) != c.reason {
			t.Errorf("%s with %.50s: %+v, %v, want %+v, %v", c.action, c.token, got, err, c.want, c.reason)
		}
		if err != nil && strings.Contains(err.Error(), "hidden") {
			t.Errorf("the error tells the address: %v", err)
		}
	}
	if q := s.asked[0]; q.Action != Join || q.Room != "demo" || q.Address != "192.0.2.1:5" {
		t.Errorf("asked %+v", q)
	}
	if n := g.Refused.Snapshot(); n["webhook"] != 3 || n["webhook_down"] != 5 || n["action"] != 3 {
		t.Errorf("counted %v", n)
	}
}

func TestWebhookRemembers(t *testing.T) {
	s, h := newHook(t)
	at := now
	h.now = func() time.Time { return at }
	ask := func(token string) { _, _ = h.ask(t.Context(), Query{Action: Join, Token: NewSecret(token)}) }
	yes, no := `{"allow":true}`, `{"allow":false}`
	steps := []struct {
		token string
		after time.Duration
		want  int
	}{
		{yes, 0, 1}, {yes, hookAllowed - 1, 1}, {yes, hookAllowed, 2},
		{no, 0, 3}, {no, hookDenied - 1, 3}, {no, hookDenied, 4},
		{"broken", 0, 5}, {"broken", 0, 6},
	}
	for i, st := range steps {
		at = now
		if st.after > 0 {
			at = now.Add(st.after)
		}
		ask(st.token)
		if got := s.count(); got != st.want {
			t.Fatalf("step %d: asked %d times, want %d", i, got, st.want)
		}
	}
	for i := range hookCache + 10 {
		h.remember([32]byte{1, byte(i), byte(i >> 8)}, answer{})
	}
	if len(h.answers) > hookCache {
		t.Errorf("%d answers are remembered", len(h.answers))
	}
}

func TestWebhookDown(t *testing.T) {
	s, h := newHook(t)
	s.Close()
	if _, err := h.ask(t.Context(), Query{Action: Join}); reasonOf(err) != ReasonHookDown {
		t.Errorf("nobody there: %v", err)
	}
	for range hookAtOnce {
		h.slots <- struct{}{}
	}
	if _, err := h.ask(context.Background(), Query{Action: Join}); reasonOf(err) != ReasonHookDown {
		t.Errorf("too many at once: %v", err)
	}
	for _, bad := range []string{"", "x", "ftp://x", "http://", "http://user:hidden@\x7f"} {
		if _, err := NewWebhook(bad); err == nil || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

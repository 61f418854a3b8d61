package sse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-rtc/weft/mesh/driver"
)

// script answers each GET with the next function; the last goes on.
type script struct {
	mu    sync.Mutex
	begun []time.Time // of each GET
	steps []http.HandlerFunc
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodHead {
		return
	}
	s.mu.Lock()
	s.begun = append(s.begun, time.Now())
	step := s.steps[min(len(s.begun), len(s.steps))-1]
	s.mu.Unlock()
	step(w, r)
}

func (s *script) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.begun)
}

// gaps are the times between the GETs.
func (s *script) gaps() (gaps []time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := 1; i < len(s.begun); i++ {
		gaps = append(gaps, s.begun[i].Sub(s.begun[i-1]))
	}
	return gaps
}

// silent opens a stream and sends nothing more.
func silent(w http.ResponseWriter, r *http.Request) {
	begin(w)
	<-r.Context().Done()
}

// keptAlive sends a comment every 15 s.
func keptAlive(w http.ResponseWriter, r *http.Request) {
	begin(w)
	tick := time.NewTicker(15 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
			write(w, ":\n")
		}
	}
}

// says opens a stream, sends a text, and ends.
func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { begin(w); write(w, text) }
}

// listening runs a driver with one stream against a script for some virtual
// time, and then test.
func listening(t *testing.T, config Config, s *script, d time.Duration, test func(*Driver)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		inBubble(s, func(dial dialFunc) {
			config.URL = "http://service.test"
			drv, err := newDriver(config, dial)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := drv.Subscribe(t.Context(), "a", func([]byte) {}); err != nil {
				t.Fatal(err)
			}
			<-time.After(d)
			synctest.Wait()
			test(drv)
			drv.Close()
		})
	})
}

func TestDeadStream(t *testing.T) {
	for _, c := range []struct {
		name   string
		config Config
		step   http.HandlerFunc
		after  time.Duration
		want   int // streams opened
	}{
		{"not yet dead", Config{}, silent, 44 * time.Second, 1},
		{"dead", Config{}, silent, 46 * time.Second, 2},
		{"kept alive", Config{}, keptAlive, time.Hour, 1},
		{"never given up", Config{IdleTimeout: -1}, silent, 24 * time.Hour, 1},
		{"other time", Config{IdleTimeout: 10 * time.Second}, keptAlive, 11 * time.Second, 2},
	} {
		s := &script{steps: []http.HandlerFunc{c.step}}
		listening(t, c.config, s, c.after, func(d *Driver) {
			if got := s.count(); got != c.want || !d.Active() {
				t.Errorf("%s: %d streams opened, want %d; active %v", c.name, got, c.want, d.Active())
			}
		})
	}
}

// The service may ask for time between attempts, within bounds.
func TestRetry(t *testing.T) {
	unavailable := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "20")
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	for _, c := range []struct {
		name     string
		first    http.HandlerFunc
		min, max time.Duration
	}{
		{"field", says("retry: 10000\n\n"), 10 * time.Second, 12500 * time.Millisecond},
		{"too long", says("retry: 999999999\n\n"), 30 * time.Second, 37500 * time.Millisecond},
		{"too short", says("retry: 0\n\n"), 100 * time.Millisecond, 200 * time.Millisecond},
		{"none", says(""), 100 * time.Millisecond, 200 * time.Millisecond},
		{"header", unavailable, 20 * time.Second, 25 * time.Second},
	} {
		s := &script{steps: []http.HandlerFunc{c.first, silent}}
		listening(t, Config{IdleTimeout: -1}, s, time.Minute, func(d *Driver) {
			gaps := s.gaps()
			if len(gaps) != 1 || gaps[0] < c.min || gaps[0] > c.max || !d.Active() {
				t.Errorf("%s: attempts after %v, want one after %v to %v", c.name, gaps, c.min, c.max)
			}
		})
	}
}

// A service that ends every stream at once is asked less and less often.
func TestBackoff(t *testing.T) {
	s := &script{steps: []http.HandlerFunc{says("data: YQ==\n\n")}}
	listening(t, Config{}, s, time.Minute, func(*Driver) {
		gaps := s.gaps()
		for i, gap := range gaps {
			if least := min(driver.MinDelay<<i, driver.MaxDelay) / 2; gap < least || gap > 2*least {
				t.Errorf("attempt %d after %v, want %v to %v", i+1, gap, least, 2*least)
			}
		}
		if len(gaps) < 10 {
			t.Errorf("%d attempts in a minute", len(gaps))
		}
	})
}

// A loss is told even to those who are busy while it lasts.
func TestLossIsTold(t *testing.T) {
	s := &script{steps: []http.HandlerFunc{func(w http.ResponseWriter, r *http.Request) {
		begin(w)
		select {
		case <-r.Context().Done():
		case <-time.After(10 * time.Second):
		}
	}}}
	synctest.Test(t, func(t *testing.T) {
		inBubble(s, func(dial dialFunc) {
			d, err := newDriver(Config{URL: "http://service.test"}, dial)
			if err != nil {
				t.Fatal(err)
			}
			var seen []bool
			d.Watch(func(active bool) {
				seen = append(seen, active)
				<-time.After(5 * time.Second) // the stream is open again before
			})
			if _, err := d.Subscribe(t.Context(), "a", func([]byte) {}); err != nil {
				t.Fatal(err)
			}
			<-time.After(40 * time.Second)
			d.Close()
			if got := fmt.Sprint(seen); len(seen) < 6 || got[:len("[false true false true")] != "[false true false true" {
				t.Errorf("changes %v", got)
			}
		})
	})
}

// A service that does not answer holds nobody up for long, and makes the driver
// inactive if it is a stream that waits.
func TestNoAnswer(t *testing.T) {
	hang := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // net/http sees the end of the connection only then
		<-r.Context().Done()
	}
	synctest.Test(t, func(t *testing.T) {
		inBubble(&script{steps: []http.HandlerFunc{hang}}, func(dial dialFunc) {
			d, err := newDriver(Config{URL: "http://service.test"}, dial)
			if err != nil {
				t.Fatal(err)
			}
			begun := time.Now()
			if err := d.Publish(t.Context(), "a", nil); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != publishTimeout {
				t.Errorf("publish: %v after %v", err, time.Since(begun))
			}
			begun = time.Now()
			if _, err := d.Subscribe(t.Context(), "a", func([]byte) {}); err != nil || time.Since(begun) != headerTimeout {
				t.Errorf("subscribe: %v after %v", err, time.Since(begun))
			}
			synctest.Wait()
			if d.Active() {
				t.Error("active")
			}
			d.Close()
		})
	})
}

// A burst waits for its turns: the time for an answer begins with the request.
func TestBurst(t *testing.T) {
	slow := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-time.After(publishTimeout * 3 / 5)
	}
	synctest.Test(t, func(t *testing.T) {
		inBubble(&script{steps: []http.HandlerFunc{slow}}, func(dial dialFunc) {
			d, err := newDriver(Config{URL: "http://service.test"}, dial)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			var wg sync.WaitGroup
			for range 2 * maxPosts {
				wg.Go(func() {
					if err := d.Publish(t.Context(), "a", nil); err != nil {
						t.Errorf("publish: %v", err)
					}
				})
			}
			wg.Wait()
		})
	})
}

// Without streams the driver asks from time to time, and sooner when its
// connection ends.
func TestProbe(t *testing.T) {
	var mu sync.Mutex
	asked, status := 0, http.StatusBadRequest
	set := func(to int) {
		mu.Lock()
		defer mu.Unlock()
		asked, status = 0, to
	}
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return asked
	}
	synctest.Test(t, func(t *testing.T) {
		inBubble(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			asked++
			w.WriteHeader(status)
		}), func(dial dialFunc) {
			d, err := newDriver(Config{URL: "http://service.test"}, dial)
			if err != nil {
				t.Fatal(err)
			}
			set(http.StatusBadRequest)
			<-time.After(10*probeInterval + time.Second)
			if n := count(); n != 10 || !d.Active() {
				t.Errorf("asked %d times in 10 intervals, active %v", n, d.Active())
			}
			set(http.StatusBadGateway)
			<-time.After(probeInterval)
			if d.Active() {
				t.Error("active behind a gateway that has nothing behind it")
			}
			if err := d.Publish(t.Context(), "a", nil); !errors.Is(err, driver.ErrInactive) {
				t.Errorf("publish: %v", err)
			}
			set(http.StatusOK)
			<-time.After(driver.MaxDelay)
			if !d.Active() {
				t.Error("not active again")
			}
			d.Close()
		})
	})
}

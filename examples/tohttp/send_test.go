package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/retry"
)

// answering is a server that counts its requests.
func answering(t *testing.T, h http.HandlerFunc) (url string, requests *atomic.Int64) {
	t.Helper()
	requests = new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		h(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL, requests
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func newTestSender(t *testing.T, args ...string) *sender {
	t.Helper()
	cfg, err := parse(append([]string{"-topic", "orders"}, args...), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSender(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.client.CloseIdleConnections)
	return s
}

// TestStatus: what becomes of a message, by the answer of the server.
func TestStatus(t *testing.T) {
	for code, want := range map[int][2]retry.Action{ // without and with -dead-letter
		200: {retry.Finish, retry.Finish},
		204: {retry.Finish, retry.Finish},
		302: {retry.Backoff, retry.Backoff},
		307: {retry.Backoff, retry.Backoff},
		400: {retry.Backoff, retry.GiveUp},
		401: {retry.Backoff, retry.Backoff},
		404: {retry.Backoff, retry.Backoff},
		413: {retry.Backoff, retry.GiveUp},
		422: {retry.Backoff, retry.GiveUp},
		429: {retry.Backoff, retry.Backoff},
		500: {retry.Backoff, retry.Backoff},
	} {
		url, _ := answering(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			if r.URL.Path != "/elsewhere" {
				w.WriteHeader(code)
			}
		})
		for i, args := range [][]string{{}, {"-dead-letter", "orders.dead"}} {
			err := newTestSender(t, append(args, "-post", url)...).handle(t.Context(), []byte("m"))
			if got := retry.Of(err).Action; got != want[i] {
				t.Errorf("status %d, %q: %v, want %v: %v", code, args, got, want[i], err)
			}
			if quiet := retry.Of(err).Quiet; quiet != (want[1] == retry.GiveUp && i == 0) {
				t.Errorf("status %d, %q: quiet is %v", code, args, quiet)
			}
			if err != nil && !strings.Contains(err.Error(), fmt.Sprint(code)) {
				t.Errorf("error of status %d is %v", code, err)
			}
		}
	}
}

// TestRetryAfter: the delay that a server asks for, and up to a quarter more.
func TestRetryAfter(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"10": 10 * time.Second, "": 0, "0": 0, "-1": 0, "soon": 0, "99999999999": 24 * time.Hour, "99999999999999999999": 0,
		time.Now().Add(time.Hour).UTC().Format(http.TimeFormat):      time.Hour,
		time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat):     0,
		time.Now().AddDate(9999, 0, 0).UTC().Format(http.TimeFormat): 0, // five digits of a year
	} {
		url, _ := answering(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", value)
			w.WriteHeader(http.StatusServiceUnavailable)
		})
		v := retry.Of(newTestSender(t, "-post", url).handle(t.Context(), []byte("m")))
		if want == 0 {
			if v.Action != retry.Backoff {
				t.Errorf("%q: %+v, want the policy's delay", value, v)
			}
		} else if v.Action != retry.Delay || v.Delay < want-time.Minute || v.Delay > want+want/4+time.Second {
			t.Errorf("%q: %+v, want %v", value, v, want)
		}
	}
}

// TestGet: the message stands in the URL, and not in an error.
func TestGet(t *testing.T) {
	var got atomic.Value
	url, _ := answering(t, func(_ http.ResponseWriter, r *http.Request) { got.Store(r.Method + " " + r.URL.Query().Get("m")) })
	s := newTestSender(t, "-get", url+"/?x=%20&m=%s")
	if err := s.handle(t.Context(), []byte("a b&c%s\n")); err != nil || got.Load() != "GET a b&c%s\n" {
		t.Errorf("got %q, error %v", got.Load(), err)
	}
	s = newTestSender(t, "-get", "http://127.0.0.1:1/%s")
	if err := s.handle(t.Context(), []byte("secret")); err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("got error %v", err)
	}
}

// TestModes: who gets how many of 12 messages, if the second of three servers always fails.
func TestModes(t *testing.T) {
	for mode, want := range map[string]struct {
		requests [3]int64
		failed   int
	}{
		pool: {[3]int64{6, 1, 5}, 1}, roundRobin: {[3]int64{4, 4, 4}, 4}, all: {[3]int64{12, 12, 12}, 12},
	} {
		a, as := answering(t, status(200))
		b, bs := answering(t, status(500))
		c, cs := answering(t, status(201))
		s := newTestSender(t, "-mode", mode, "-post", a, "-post", b, "-post", c)
		for _, target := range s.targets.all {
			target.rest = longestRest // so that a second ends nothing here
		}
		failed := 0
		for range 12 {
			if err := s.handle(t.Context(), []byte("m")); err != nil {
				failed++
			}
		}
		got := [3]int64{as.Load(), bs.Load(), cs.Load()}
		if got != want.requests || failed != want.failed {
			t.Errorf("%s: requests %v, %d failed, want %v, %d", mode, got, failed, want.requests, want.failed)
		}
	}
}

// TestAllRefused: in mode all a message is a dead letter only if no server may take it later.
func TestAllRefused(t *testing.T) {
	for others, want := range map[int]retry.Action{200: retry.GiveUp, 422: retry.GiveUp, 500: retry.Backoff} {
		a, _ := answering(t, status(400))
		b, _ := answering(t, status(others))
		err := newTestSender(t, "-mode", all, "-dead-letter", "dead", "-post", a, "-post", b).handle(t.Context(), []byte("m"))
		if got := retry.Of(err).Action; got != want {
			t.Errorf("400 and %d: %v, want %v: %v", others, got, want, err)
		}
	}
}

// TestTimeouts: a server that hangs is left alone; one whose request ended with the message is not.
func TestTimeouts(t *testing.T) {
	release := make(chan struct{})
	url, _ := answering(t, func(http.ResponseWriter, *http.Request) { <-release })
	t.Cleanup(func() { close(release) })
	s := newTestSender(t, "-timeout", "50ms", "-post", url)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if err := s.handle(ctx, []byte("m")); !errors.Is(err, context.Canceled) || s.targets.all[0].rest != 0 {
		t.Errorf("got error %v, rest %v", err, s.targets.all[0].rest)
	}
	if err := s.handle(t.Context(), []byte("m")); !errors.Is(err, context.DeadlineExceeded) || s.targets.all[0].rest != firstRest {
		t.Errorf("got error %v, rest %v", err, s.targets.all[0].rest)
	}
}

// TestSample: about the part of the messages passes, and the same ones each time.
func TestSample(t *testing.T) {
	for _, part := range []float64{0.01, 0.5, 0.9} {
		passed := 0
		h := sample(part)(func(context.Context, *handler.Message) error { passed++; return nil })
		const n = 10_000
		for i := range n {
			id, err := handler.ParseID(fmt.Sprintf("0d%014x", 0xc0ffee000+i))
			if err != nil {
				t.Fatal(err)
			}
			m := nsqxtest.Message([]byte("m"))
			m.ID = id
			before := passed
			for range 2 {
				if err := h(t.Context(), m); err != nil {
					t.Error(err)
				}
			}
			if passed-before == 1 {
				t.Fatalf("message %v passed once of twice", id)
			}
		}
		got, sigma := float64(passed)/2/n, math.Sqrt(part*(1-part)/n)
		if math.Abs(got-part) > 5*sigma {
			t.Errorf("%v of the messages passed, want %v", got, part)
		}
	}
}

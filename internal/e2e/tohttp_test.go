package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
)

// tohttp starts examples/tohttp.
func tohttp(t *testing.T, addr string, args ...string) *app {
	t.Helper()
	return startApp(t, executable(t, examples, "tohttp"), "", append([]string{"-topic", topic, "-channel", channel,
		"-nsq", "nsq://" + addr + "?max_in_flight=20", "-concurrency", "4"}, args...)...)
}

// nsqToHTTP starts the original. Its flags are those of the example, with two dashes or one.
func nsqToHTTP(t *testing.T, addr string, args ...string) *app {
	t.Helper()
	return startApp(t, executable(t, originalApps, "nsq_to_http"), "", append([]string{"-topic", topic, "-channel", channel,
		"-nsqd-tcp-address", addr, "-max-in-flight", "20", "-n", "4", "-consumer-opt", "lookupd_poll_interval,100ms",
		"-consumer-opt", "default_requeue_delay,50ms", "-consumer-opt", "max_backoff_duration,100ms"}, args...)...)
}

// receiver is an HTTP server that collects what it takes. A picky one refuses each request with a 7 at
// the end once.
type receiver struct {
	*httptest.Server
	mu      sync.Mutex
	refused map[string]bool
	taken   []string
}

func newReceiver(t *testing.T, picky bool) *receiver {
	r := &receiver{refused: make(map[string]bool)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		request := fmt.Sprintf("%s %s %s %s %s", q.Method, q.URL, q.Header.Get("Content-Type"), q.Header.Get("X-Team"), body)
		r.mu.Lock()
		defer r.mu.Unlock()
		if picky && strings.HasSuffix(strings.TrimSpace(request), "7") && !r.refused[request] {
			r.refused[request] = true
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		r.taken = append(r.taken, request)
	}))
	t.Cleanup(r.Close)
	return r
}

// requests are those that were taken.
func (r *receiver) requests() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.taken)
}

// TestToHTTPBesideOriginal: the example makes the requests of nsq_to_http, with Ctrl-C in the middle,
// and with an nsqd that goes away and comes back.
func TestToHTTPBesideOriginal(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		servers int
		url     string // behind that of a server
		method  string // flag
		request string // format of what arrives, with the body
		each    bool   // server gets each message
		args    []string
	}{
		"post":        {1, "/in?x=%20", "-post", "POST /in?x=%%20 application/octet-stream  %s", false, nil},
		"type":        {1, "/", "-post", "POST / text/plain billing %s", false, []string{"-content-type", "text/plain", "-header", "X-Team: billing"}},
		"get":         {1, "/?m=%s", "-get", "GET /?m=%s   ", false, nil},
		"round robin": {2, "/", "-post", "POST / application/octet-stream  %s", false, []string{"-mode", "round-robin"}},
		"all":         {2, "/", "-post", "POST / application/octet-stream  %s", true, []string{"-mode", "all"}},
	} {
		for program, start := range map[string]func(*testing.T, string, ...string) *app{"original": nsqToHTTP, "ours": tohttp} {
			t.Run(name+"/"+program, func(t *testing.T) {
				t.Parallel()
				s := testnsqd.Start(t)
				s.EnsureChannel(topic, channel)
				p := testnsqd.StartProxy(t, s.Addr())
				args := slices.Clone(tt.args)
				var receivers []*receiver
				for range tt.servers {
					r := newReceiver(t, true)
					receivers, args = append(receivers, r), append(args, tt.method, r.URL+tt.url)
				}
				var want []string
				publish := func(prefix string, n int) {
					for _, body := range burst(t, s, prefix, n) {
						want = append(want, fmt.Sprintf(tt.request, body))
					}
				}
				midway := func() {
					before := len(receivers[0].requests())
					eventually(t, func() bool { return len(receivers[0].requests()) > before+20 }, "requests")
				}
				publish("first", 500)
				a := start(t, p.Addr(), args...)
				midway()
				a.stop()
				t.Logf("%d requests, %d messages are left", len(receivers[0].requests()), s.Unfinished())
				a = start(t, p.Addr(), args...)
				midway()
				s.QuiescedRestart(p)
				publish("second", 100)
				drained(t, s)
				a.stop()
				var got []string
				for i, r := range receivers {
					taken := r.requests()
					if got = append(got, taken...); tt.each {
						wantLines(t, slices.Compact(slices.Sorted(slices.Values(taken))), want, 0)
					} else if len(taken) < len(want)/tt.servers/2 {
						t.Errorf("server %d got %d of %d messages", i, len(taken), len(want))
					}
				}
				if !tt.each {
					wantLines(t, got, want, 40) // what was in flight twice
				}
			})
		}
	}
}

// TestToHTTPPool: with one of two servers away all messages arrive at the other one, and no request
// is lost when the first comes back.
func TestToHTTPPool(t *testing.T) {
	t.Parallel()
	s := testnsqd.Start(t)
	s.EnsureChannel(topic, channel)
	up, comes := newReceiver(t, false), newReceiver(t, false)
	p := testnsqd.StartProxy(t, strings.TrimPrefix(comes.URL, "http://"))
	p.Refuse()
	want := burst(t, s, "first", 300)
	a := tohttp(t, s.Addr(), "-post", up.URL, "-post", "http://"+p.Addr())
	drained(t, s)
	p.Allow()
	for i := 0; len(comes.requests()) == 0; i++ {
		want = append(want, burst(t, s, fmt.Sprint("round", i), 10)...)
		drained(t, s)
		if i == 1000 {
			t.Fatal("the server that came back gets no requests")
		}
	}
	a.stop()
	var got []string
	for _, request := range slices.Concat(up.requests(), comes.requests()) {
		got = append(got, request[strings.LastIndex(request, " ")+1:])
	}
	wantLines(t, got, want, 0)
}

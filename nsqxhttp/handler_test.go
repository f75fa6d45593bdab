package nsqxhttp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxhttp"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/observe"
)

var errBill = errors.New("no credit")

// rig is a consumer and a producer behind a Handler.
type rig struct {
	t       *testing.T
	servers []*nsqxtest.Server
	c       *nsqx.Consumer[string]
	h       http.Handler
	fn      handler.Func[string] // of the consumer
	stop    func()
}

// get returns the status and the body of an answer.
func (r *rig) get(path string) (int, string) {
	w := httptest.NewRecorder()
	r.h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	return w.Code, w.Body.String()
}

// wantProbes checks the answers of the probes; part is in those that fail.
func (r *rig) wantProbes(live, ready int, part string) {
	r.t.Helper()
	synctest.Wait()
	for path, want := range map[string]int{"/livez": live, "/readyz": ready} {
		code, body := r.get(path)
		if code != want || code == 200 && body != "ok\n" || code != 200 && !strings.Contains(body, part) {
			r.t.Errorf("%s: got %d %q, want %d with %q", path, code, body, want, part)
		}
	}
}

func (r *rig) publish(n int) {
	for range n {
		r.servers[0].Publish("orders", []byte("x"))
	}
}

// situations are those of the table in docs/guide/shutdown-and-kubernetes.md.
var situations = map[string]struct {
	live, ready int
	part        string // of the reason
	prepare     func(*rig)
}{
	"works":       {200, 200, "", func(*rig) {}},
	"not started": {200, 503, "consumer orders/billing: nsqx: the consumer does not run", nil},
	"all nsqds down": {200, 503, "consumer orders/billing: nsqx: no nsqd can be reached", func(r *rig) {
		for _, s := range r.servers {
			s.Refuse(true)
			s.Disconnect()
		}
	}},
	"one of five down": {200, 200, "", func(r *rig) {
		r.servers[3].Refuse(true)
		r.servers[3].Disconnect()
	}},
	"handlers hung": {503, 503, "nsqx: no handler returns", func(r *rig) {
		release := make(chan struct{})
		r.fn = func(context.Context, string) error { <-release; return nil }
		r.publish(2)
		time.Sleep(2 * time.Minute)
		time.AfterFunc(5*time.Second, func() { close(release) })
	}},
	"draining": {200, 503, "consumer orders/billing", func(r *rig) {
		r.fn = func(context.Context, string) error { time.Sleep(10 * time.Second); return nil }
		r.publish(1)
		for r.c.Stats().Running == 0 {
			time.Sleep(10 * time.Millisecond)
		}
		go r.stop()
		time.Sleep(time.Second)
	}},
	"stopped": {503, 503, "consumer orders/billing", func(r *rig) { r.stop() }},
	"breaker open": {200, 200, "", func(r *rig) {
		r.fn = func(context.Context, string) error { return errBill }
		r.publish(50)
		time.Sleep(5 * time.Second)
		if !r.c.Stats().Backoff {
			r.t.Error("the breaker is closed")
		}
	}},
	"paused": {200, 200, "", func(r *rig) { r.c.Pause() }},
}

func TestProbes(t *testing.T) {
	for name, tt := range situations {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &rig{t: t, servers: nsqxtest.NewServers(t, 5, nsqxtest.WithoutLog()), fn: func(context.Context, string) error { return nil }}
				discard := nsqx.WithLogger(slog.New(slog.DiscardHandler))
				c, err := nsqx.NewConsumer("orders", "billing", codec.String(), func(ctx context.Context, v string) error { return r.fn(ctx, v) },
					nsqxtest.Option(r.servers...), discard, nsqx.WithConcurrency(2))
				if err != nil {
					t.Fatal(err)
				}
				p, err := nsqx.NewProducer("invoices", codec.String(), nsqxtest.Option(r.servers...), discard)
				if err != nil {
					t.Fatal(err)
				}
				defer p.Close()
				r.c, r.h = c, nsqxhttp.Handler([]observe.Source{c, p})
				if tt.prepare != nil {
					r.stop = nsqxtest.Run(t, c)
					<-c.Ready()
					tt.prepare(r)
				}
				r.wantProbes(tt.live, tt.ready, tt.part)
			})
		})
	}
	synctest.Test(t, func(t *testing.T) { // the topic does not exist yet
		l := nsqxtest.NewLookupd(t)
		c, err := nsqx.NewConsumer("orders", "billing", codec.String(), func(context.Context, string) error { return nil }, l.Option())
		if err != nil {
			t.Fatal(err)
		}
		nsqxtest.Run(t, c)
		r := &rig{t: t, h: nsqxhttp.Handler([]observe.Source{c})}
		r.wantProbes(200, 200, "")
	})
}

func TestStatsAndLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		p, err := nsqx.NewProducer("invoices", codec.String(), s.Option())
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		c, err := nsqx.NewConsumer("orders", "billing", codec.String(), func(context.Context, string) error { time.Sleep(time.Second); return nil },
			s.Option(), nsqx.WithConcurrency(4))
		if err != nil {
			t.Fatal(err)
		}
		nsqxtest.Run(t, c)
		r := &rig{t: t, servers: []*nsqxtest.Server{s}, h: nsqxhttp.Handler([]observe.Source{c, p})}
		var l struct{ Load float64 }
		if _, body := r.get("/loadz"); json.Unmarshal([]byte(body), &l) != nil || l.Load != 0 {
			t.Errorf("load is %s", body)
		}
		r.publish(3)
		time.Sleep(500 * time.Millisecond)
		if _, body := r.get("/loadz"); json.Unmarshal([]byte(body), &l) != nil || l.Load != 0.75 {
			t.Errorf("load is %s", body)
		}
		code, body := r.get("/statsz")
		var stats struct {
			Sources []struct {
				Name, Healthy, Live string
				Ready               bool
				Stats               map[string]any
			}
		}
		if err := json.Unmarshal([]byte(body), &stats); err != nil || code != 200 || len(stats.Sources) != 2 {
			t.Fatalf("%d %v:\n%s", code, err, body)
		}
		first := stats.Sources[0]
		if first.Name != "consumer orders/billing" || !first.Ready || first.Healthy != "ok" || first.Live != "ok" || first.Stats["running"] != 3.0 {
			t.Errorf("the consumer is %+v", first)
		}
		running, _ := first.Stats["in_progress"].([]any)
		if m, ok := append(running, nil)[0].(map[string]any); len(running) != 3 || !ok || m["id"] == "" || m["attempt"] != 1.0 || m["age_seconds"] != 0.5 {
			t.Errorf("the running messages are %v", running)
		}
		if second := stats.Sources[1]; second.Stats["confirmed"] != 0.0 || second.Healthy != "ok" {
			t.Errorf("the producer is %+v", second)
		}
		for _, m := range []struct {
			method, path string
			code         int
		}{{"HEAD", "/livez", 200}, {"POST", "/livez", 405}, {"GET", "/", 404}} {
			w := httptest.NewRecorder()
			r.h.ServeHTTP(w, httptest.NewRequest(m.method, m.path, nil))
			if w.Code != m.code {
				t.Errorf("%s %s: %d, want %d", m.method, m.path, w.Code, m.code)
			}
		}
	})
}

// foreign is a source of somebody else.
type foreign struct{ panics bool }

func (f foreign) Healthy() error {
	if f.panics {
		panic("boom")
	}
	return nil
}

// TestForeignCode: sources that are nil or panic, and checks that fail, panic, exit and hang.
func TestForeignCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, h: nsqxhttp.Handler([]observe.Source{foreign{}}, nil)}
		r.wantProbes(200, 200, "")
		r.h = nsqxhttp.Handler([]observe.Source{nil})
		r.wantProbes(200, 503, "source 1 (<nil>): nsqx: the source is nil")
		r.h = nsqxhttp.Handler([]observe.Source{foreign{true}})
		r.wantProbes(200, 503, "boom")
		if code, body := r.get("/statsz"); code != 200 || !strings.Contains(body, "boom") {
			t.Errorf("statsz: %d %s", code, body)
		}
		calls := 0
		release := make(chan struct{})
		for name, tt := range map[string]struct {
			check func(context.Context) error
			part  string
		}{
			"fails":  {func(context.Context) error { return errBill }, "db: no credit"},
			"panics": {func(context.Context) error { panic("boom") }, "db: nsqx: panic"},
			"exits":  {func(context.Context) error { runtime.Goexit(); return nil }, "db: nsqx: panic"},
			"nil":    {nil, "db: nsqx: panic"},
			"ends":   {func(ctx context.Context) error { <-ctx.Done(); return fmt.Errorf("slow: %w", ctx.Err()) }, "db: "},
			"hangs":  {func(context.Context) error { calls++; <-release; return nil }, "db: nsqx: the check has not returned"},
		} {
			r.h = nsqxhttp.Handler(nil, nsqxhttp.WithCheck("db", tt.check), nsqxhttp.WithCheck("other", func(context.Context) error { return nil }))
			began := time.Now()
			for range 3 {
				r.wantProbes(200, 503, tt.part)
			}
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("%s: it took %v", name, took)
			}
		}
		if calls != 1 {
			t.Errorf("a check that hangs was called %d times", calls)
		}
		close(release)
	})
}

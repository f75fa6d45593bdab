package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nsqio/nsq/nsqd"
	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
	"github.com/nsqx/nsqx/nsqxhttp"
	"github.com/nsqx/nsqx/observe"
)

// service runs a consumer of the cluster with probes, and names them to doctor.
func (p *patient) service(fn handler.Func[string], opts ...nsqx.ConsumerOption) *nsqx.Consumer[string] {
	addrs := p.gone
	for _, s := range p.nsqds {
		addrs = append(addrs, s.Addr())
	}
	c := newConsumer(p.t, fn, append(opts, nsqx.WithNSQD(addrs...))...)
	start(p.t, c)
	eventually(p.t, func() bool {
		up := 0
		for _, conn := range c.Stats().Connections {
			if conn.Connected {
				up++
			}
		}
		return up == len(p.nsqds)
	}, "the service to connect")
	p.answers(nsqxhttp.Handler([]observe.Source{c}))
	return c
}

func (p *patient) answers(h http.Handler) {
	s := httptest.NewServer(h)
	p.t.Cleanup(s.Close)
	p.doctor = append(p.doctor, "--service", s.URL)
}

// TestDoctorServices puts one fault at a time into a service of a cluster.
func TestDoctorServices(t *testing.T) {
	t.Parallel()
	each := func(f func(*nsqd.Options)) map[int][]func(*nsqd.Options) {
		return map[int][]func(*nsqd.Options){0: {f}, 1: {f}, 2: {f}}
	}
	nobody := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	for name, tt := range map[string]struct {
		options map[int][]func(*nsqd.Options)
		fault   func(p *patient)
		checks  string
		text    string
	}{
		"healthy": {fault: func(p *patient) { p.service(nothing) }},
		"at work": {fault: func(p *patient) {
			p.service(func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }, nsqx.WithShutdownTimeout(0))
			p.nsqds[0].Publish(topic, numbered("m", 5)...)
			eventually(p.t, func() bool { return p.nsqds[0].Channel(topic, channel).InFlight == 5 }, "messages in flight")
		}},
		"nobody answers": {fault: func(p *patient) { p.doctor = []string{"--service", nobody} }, checks: "service-unreachable", text: "--service"},
		"no statistics":  {fault: func(p *patient) { p.answers(http.NotFoundHandler()) }, checks: "service-unreachable", text: "status 404"},
		"garbage": {fault: func(p *patient) {
			p.answers(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "\x1b[2J") }))
		}, checks: "service-unreachable", text: "invalid character"},
		"ended": {fault: func(p *patient) {
			p.answers(nsqxhttp.Handler([]observe.Source{newConsumer(p.t, nothing, nsqx.WithNSQD(p.nsqds[0].Addr()))}))
		}, checks: "service-unhealthy", text: "does not run"},
		"paused": {fault: func(p *patient) { p.service(nothing).Pause() }, checks: "consumer-paused", text: "Consumer.Resume"},
		"the breaker is open": {fault: func(p *patient) {
			c := p.service(func(context.Context, string) error { return errFailed }, at(time.Hour))
			p.nsqds[0].Publish(topic, numbered("m", 20)...)
			eventually(p.t, func() bool { return c.Stats().Backoff }, "the breaker to open")
		}, checks: "breaker-open", text: "handler failed"},
		"an nsqd is gone": {fault: func(p *patient) {
			p.gone = []string{nobody}
			c := p.service(nothing)
			eventually(p.t, func() bool { return strings.Contains(fmt.Sprint(c.Stats().Connections), "refused") }, "a dial to fail")
		}, checks: "service-disconnected", text: "refused"},
		"an nsqlookupd is gone": {fault: func(p *patient) {
			c := p.service(nothing, nsqx.WithLookupd(nobody))
			eventually(p.t, func() bool { return c.Stats().Lookups[0].LastErr != nil }, "a poll to fail")
		}, checks: "service-lookup", text: "cannot ask " + nobody},
		"max-rdy-count": {options: each(func(o *nsqd.Options) { o.MaxRdyCount = 10 }), fault: func(p *patient) {
			p.service(nothing, nsqx.WithMaxInFlight(100), nsqx.WithConcurrency(100))
		}, checks: "max-in-flight", text: "100 messages in flight, and its nsqds give it 30"},
		"automatic": {options: each(func(o *nsqd.Options) { o.MaxRdyCount = 10 }), fault: func(p *patient) { p.service(nothing) }},
		"handlers hang": {options: each(messageTimeout(time.Second)), fault: func(p *patient) {
			release := make(chan struct{})
			c := p.service(func(context.Context, string) error { <-release; return nil })
			p.t.Cleanup(func() { close(release) })
			p.nsqds[0].Publish(topic, []byte("m"))
			eventually(p.t, func() bool { return c.Stats().Overdue > 0 }, "an overdue handler")
		}, checks: "handlers-overdue", text: "nsqd waits 1s unless"},
		"drift": {fault: func(p *patient) {
			s := p.nsqds[0]
			p.subscribeSilently(s, 3)
			p.answers(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				fmt.Fprintf(w, `{"sources":[{"healthy":"ok","live":"ok","stats":{"topic":%q,"channel":%q,"connections":[{"addr":%q,"connected":true,"in_flight":1,"max_rdy":2500}]}}]}`, topic, channel, s.Addr())
			}))
		}, checks: "services-drift", text: "nsqd counts 2 messages in flight that the services do not hold"},
		"an allowance": {fault: func(p *patient) {
			s := p.nsqds[0]
			p.subscribeSilently(s, 0)
			p.answers(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				fmt.Fprintf(w, `{"sources":[{"healthy":"ok","live":"ok","stats":{"topic":%q,"channel":%q,"connections":[{"addr":%q,"connected":true,"allowance":7,"max_rdy":2500}]}}]}`, topic, channel, s.Addr())
			}))
		}, checks: "services-drift", text: "counts 7 messages"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPatient(t, tt.options)
			p.want("")
			tt.fault(p)
			all := p.want(tt.checks)
			if !strings.Contains(fmt.Sprint(all), tt.text) {
				t.Errorf("no finding has %q: %+v", tt.text, all)
			}
		})
	}
}

// subscribeSilently subscribes a client that takes n messages, and answers none.
func (p *patient) subscribeSilently(s *testnsqd.Server, n int) {
	c := p.raw(s, nil)
	c.SetQuota(100)
	s.Publish(topic, numbered("m", n)...)
	eventually(p.t, func() bool { return s.Channel(topic, channel).InFlight == n }, "messages in flight")
}

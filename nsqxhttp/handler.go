// Package nsqxhttp answers probes, and shows statistics, over HTTP.
//
// # When to use what
//
//   - /livez is for liveness: it fails only if a restart would help, such as when every handler hangs.
//   - /readyz is for readiness and alerts: it fails until each service works as well as it can, while
//     none of its nsqds can be reached, and from the start of the shutdown.
//   - /statsz shows all statistics as JSON, for people and scripts.
//   - /loadz is for an autoscaler: the part of the handlers that are busy.
//
// # Five things to know
//
//  1. A probe answers 200 and ok, or 503 and a line for each reason.
//  2. An nsqd that is down beside others fails neither probe, nor does an open breaker, or a topic
//     that does not exist yet. The table in docs/guide/shutdown-and-kubernetes.md has all cases.
//  3. The load is busy handlers over all of them, 0 to 1. It says nothing of a backlog: scale on the
//     depth of the channel where that counts, as KEDA's nsq scaler does.
//  4. Answers have addresses, topics and error texts, but no secrets and no bodies of messages. Serve
//     them on a port of their own.
//  5. The handler has no state and waits for nothing but the functions of [WithCheck].
//
// # A server
//
//	sources := []observe.Source{consumer, producer}
//	probes := &http.Server{Addr: ":8081", Handler: nsqxhttp.Handler(sources, nsqxhttp.WithCheck("db", db.PingContext))}
package nsqxhttp

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/nsqx/nsqx/internal/guard"
	"github.com/nsqx/nsqx/observe"
)

// Option is an option of [Handler]. A nil option is ignored.
type Option interface{ apply(*server) }

type option func(*server)

func (o option) apply(s *server) { o(s) }

// WithCheck lets /readyz fail while check returns an error, panics, or has not returned after 800 ms,
// before Kubernetes gives a probe up. A check that hangs is not called again until it has returned.
// Otherwise it is called for each request, concurrently. Several checks add up.
func WithCheck(name string, check func(ctx context.Context) error) Option {
	return option(func(s *server) { s.checks = append(s.checks, &probe{name: name, check: check}) })
}

// checkTime is how long a check may take.
const checkTime = 800 * time.Millisecond

// server is a Handler.
type server struct {
	sources []source
	checks  []*probe
}

// Handler returns a handler for /livez, /readyz, /statsz and /loadz. The services may start and end
// at any time. A nil source is never ready.
func Handler(sources []observe.Source, opts ...Option) http.Handler {
	s := &server{}
	for i, src := range sources {
		s.sources = append(s.sources, source{src, nameOf(i, src)})
	}
	for _, o := range opts {
		if o != nil {
			o.apply(s)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.live()) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { answer(w, s.ready(r.Context())) })
	mux.HandleFunc("GET /statsz", func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, s.stats()) })
	mux.HandleFunc("GET /loadz", func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, s.load()) })
	return mux
}

// nameOf names a source: by its topic and channel, or else by its type and place.
func nameOf(i int, s observe.Source) (name string) {
	name = fmt.Sprintf("source %d (%T)", i+1, s)
	_ = guard.Call(func() {
		if c, ok := s.(interface{ Stats() observe.Stats }); ok {
			stats := c.Stats()
			name = "consumer " + stats.Topic + "/" + stats.Channel
		}
	})
	return name
}

// answer answers a probe.
func answer(w http.ResponseWriter, reasons []string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if len(reasons) == 0 {
		fmt.Fprintln(w, "ok")
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	fmt.Fprintln(w, strings.Join(reasons, "\n"))
}

func answerJSON(w http.ResponseWriter, v any) {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil { // a method of a foreign source
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(append(text, '\n'))
}

// live returns why a restart would help.
func (s *server) live() (reasons []string) {
	for _, src := range s.sources {
		if err := src.live(); err != nil {
			reasons = append(reasons, src.name+": "+err.Error())
		}
	}
	return reasons
}

// ready returns why the program is not ready.
func (s *server) ready(ctx context.Context) (reasons []string) {
	for _, src := range s.sources {
		err := src.healthy()
		if err == nil && !src.isReady() {
			err = errNotReady
		}
		if err != nil {
			reasons = append(reasons, src.name+": "+err.Error())
		}
	}
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	for _, c := range s.checks {
		if err := c.run(ctx); err != nil {
			reasons = append(reasons, c.name+": "+err.Error())
		}
	}
	return reasons
}

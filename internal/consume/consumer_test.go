// Tests of consumer.go, ready.go and stats.go.

package consume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/internal/discover"
	"github.com/nsqx/nsqx/internal/fake"
	"github.com/nsqx/nsqx/internal/flow"
	"github.com/nsqx/nsqx/observe"
)

// sourceFunc is a discover.Source made of a function.
type sourceFunc func() ([]string, error)

func (f sourceFunc) Discover(context.Context, string) ([]string, error) { return f() }

// isClosed reports whether a channel is closed.
func isClosed(c <-chan struct{}) bool {
	synctest.Wait()
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestNew(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		c := newConsumer(t, &records{}, nil, nil)
		check.Want(t, "GiveUp by default", c.cfg.GiveUp, GiveUp(Unset{}))
		check.Want(t, "Ready", isClosed(c.Ready()), false)
		check.WantErr(t, "Healthy", c.Healthy(), observe.ErrNotRunning)
	})
}

// TestRunTwice: only the first Run runs, however it ends.
func TestRunTwice(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		r := run(t, newConsumer(t, &records{}, nil, nil))
		synctest.Wait()
		check.WantErr(t, "second Run", r.Run(t.Context()), ErrAlreadyRun)
		check.WantErr(t, "first Run", r.stop(), nil)
		check.WantErr(t, "third Run", r.Run(t.Context()), ErrAlreadyRun)
	})
}

// observing is a Telemetry that counts observed consumers.
type observing struct {
	observe.NoTelemetry
	running int
	stats   func() observe.Stats
}

func (o *observing) Observe(stats func() observe.Stats) func() {
	o.running, o.stats = o.running+1, stats
	return func() { o.running-- }
}

// TestReadyAndHealthy over the life of a consumer.
func TestReadyAndHealthy(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		net := fake.NewNetwork(t, serve(false))
		net.Refuse(io.ErrClosedPipe)
		polls := 0
		failsOnce := sourceFunc(func() ([]string, error) {
			if polls++; polls == 1 {
				return nil, io.EOF
			}
			return []string{addrA}, nil
		})
		tel := &observing{}
		r := run(t, newConsumer(t, &records{}, func(cfg *Config) {
			cfg.Conn.DialContext, cfg.Telemetry = net.DialContext, tel
			cfg.Discover.Sources = []discover.Source{failsOnce}
		}, nil))
		synctest.Wait()
		check.Want(t, "observed", tel.running, 1)
		check.WantErr(t, "Healthy, discovery fails", r.Healthy(), observe.ErrNoNSQD)
		check.WantErr(t, "Healthy, discovery fails", r.Healthy(), io.EOF)
		check.Want(t, "Ready, discovery fails", isClosed(r.Ready()), false)

		time.Sleep(2 * time.Minute)
		synctest.Wait()
		check.WantErr(t, "Healthy, refused", r.Healthy(), observe.ErrNoNSQD)
		check.WantErr(t, "Healthy, refused", r.Healthy(), io.ErrClosedPipe)
		check.Want(t, "Healthy, the poll that has failed", errors.Is(r.Healthy(), io.EOF), false)
		check.Want(t, "Ready, refused", isClosed(r.Ready()), false)

		net.Refuse(nil)
		time.Sleep(11 * time.Second)
		check.WantErr(t, "Healthy, connected", r.Healthy(), nil)
		check.Want(t, "Ready, connected", isClosed(r.Ready()), true)

		check.WantErr(t, "Run", r.stop(), nil)
		check.WantErr(t, "Healthy, ended", r.Healthy(), observe.ErrNotRunning)
		check.Want(t, "observed", tel.running, 0)
	})
}

// TestHealthyWithoutTopic: a topic that does not exist yet is no fault.
func TestHealthyWithoutTopic(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		r := run(t, newConsumer(t, &records{}, func(cfg *Config) {
			cfg.Discover.Sources = []discover.Source{sourceFunc(func() ([]string, error) { return nil, nil })}
		}, nil))
		check.Want(t, "Ready", isClosed(r.Ready()), true)
		check.WantErr(t, "Healthy", r.Healthy(), nil)
	})
}

// TestOwner: discovery connects consumer and dead letters, and forgets both.
func TestOwner(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		c := newConsumer(t, &records{}, func(cfg *Config) { cfg.NSQDs = []string{addrA} }, nil)
		check.Want(t, "addresses", c.links.Len(), 1)
		check.Want(t, "addresses of dead letters", c.dead.Len(), 1)
		o := owner{c}
		o.Connect("b:4150")
		check.Want(t, "addresses", c.links.Len(), 2)
		check.Want(t, "addresses of dead letters", c.dead.Len(), 2)
		o.Forget(addrA)
		check.Want(t, "addresses", c.links.Len(), 1)
		check.Want(t, "addresses of dead letters", c.dead.Len(), 1)
		o.Redial("b:4150") // does not run: nothing happens
	})
}

// TestDeliverAndSettings: two messages are handled, a late answer is reported, and Stats follow the
// settings.
func TestDeliverAndSettings(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		finished := make(chan string, 2)
		net := fake.NewNetwork(t, func(p *fake.Peer) {
			p.Subscribe(nil)
			p.Expect("RDY")
			p.Message(fake.ID(1), 1, []byte("x"))
			p.Message(fake.ID(2), 1, []byte("x"))
			p.Error("E_TOUCH_FAILED")
			for {
				cmd, err := p.Next()
				switch {
				case err != nil:
					return
				case cmd.Name == "FIN":
					finished <- cmd.Params[0]
				case cmd.Name == "CLS":
					p.Response("CLOSE_WAIT")
				}
			}
		})
		release := make(chan struct{})
		var refused check.Synced[observe.ConnEvent]
		r := run(t, newConsumer(t, &records{}, func(cfg *Config) {
			cfg.NSQDs, cfg.Conn.DialContext = []string{addrA}, net.DialContext
			cfg.Backoff = &flow.Backoff{}
			cfg.Hooks = []observe.Hooks{{OnRefused: func(e observe.ConnEvent) { refused.Add(e) }}}
		}, func(context.Context, *handler.Message) error { <-release; return nil }))
		synctest.Wait()
		check.Want(t, "running", r.Stats().Running, 2)
		check.Want(t, "refused", refused.Len(), 1)
		r.SetConcurrency(7)
		r.SetMaxInFlight(9)
		synctest.Wait()
		s := r.Stats()
		check.Want(t, "Concurrency", s.Concurrency, 7)
		check.Want(t, "MaxInFlight, of which a handler can start", s.MaxInFlight, 7)
		r.Pause()
		synctest.Wait()
		s = r.Stats()
		check.Want(t, "MaxInFlight, paused", s.MaxInFlight, 0)
		check.Want(t, "Paused", s.Paused, true)
		check.Want(t, "Connections", len(s.Connections), 1)
		check.Want(t, "Connected", s.Connections[0].Connected, true)
		r.Resume()
		close(release)
		<-finished
		<-finished
		synctest.Wait() // a FIN is counted once it is sent
		s = r.Stats()
		check.Want(t, "Finished", s.Finished, 2)
		check.Want(t, "Paused", s.Paused, false)
		check.WantErr(t, "Run", r.stop(), nil)
	})
}

// TestStatsDispositions: each disposition but Pending has a counter, beside the others.
func TestStatsDispositions(t *testing.T) {
	others := []string{"EnvelopesSkipped", "EventsDropped", "GivenBack", "Early", "Stale"}
	var counters []string
	typ := reflect.TypeFor[observe.Stats]()
	for i := range typ.NumField() {
		if f := typ.Field(i); f.Type.Kind() == reflect.Uint64 && !slices.Contains(others, f.Name) {
			counters = append(counters, f.Name)
		}
	}
	dispositions := 0
	for d := handler.Finish; d.String() != "unknown"; d++ {
		dispositions++
	}
	check.Want(t, fmt.Sprint("counters ", counters), len(counters), dispositions)
}

// wantShutdown returns the ShutdownError of a Run.
func wantShutdown(t *testing.T, err error) *observe.ShutdownError {
	t.Helper()
	e, ok := errors.AsType[*observe.ShutdownError](err)
	if !ok {
		t.Fatalf("Run returned %v, want a ShutdownError", err)
	}
	return e
}

var _ conn.Sink = (*Consumer)(nil)

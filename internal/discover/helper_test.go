package discover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/internal/notify"
	"github.com/nsqx/nsqx/observe"
)

var (
	errDown  = errors.New("down")
	errPanic = errors.New("the value of a panic")
)

// recorder is an Owner that records its calls.
type recorder struct {
	calls  check.Synced[string]
	seen   int // calls that wantCalls has checked
	events check.Synced[notify.Event]
	polled atomic.Int64
}

func (r *recorder) Connect(addr string)  { r.calls.Add("connect " + addr) }
func (r *recorder) Remove(addr string)   { r.calls.Add("remove " + addr) }
func (r *recorder) Redial(addr string)   { r.calls.Add("redial " + addr) }
func (r *recorder) Forget(addr string)   { r.calls.Add("forget " + addr) }
func (r *recorder) Post(ev notify.Event) { r.events.Add(ev) }
func (r *recorder) Purge(time.Time)      { r.calls.Add("purge") }
func (r *recorder) Polled()              { r.polled.Add(1) }

// sourceFunc is a Source made of a function.
type sourceFunc func(ctx context.Context, topic string) ([]string, error)

func (f sourceFunc) Discover(ctx context.Context, topic string) ([]string, error) {
	return f(ctx, topic)
}

// answer is one result of a Source.
type answer struct {
	found string // addresses, separated by spaces
	err   error
}

// answers returns a Source that returns each answer once, and then the last again and again.
func answers(all ...answer) Source {
	return sourceFunc(func(context.Context, string) ([]string, error) {
		a := all[0]
		if len(all) > 1 {
			all = all[1:]
		}
		return strings.Fields(a.found), a.err
	})
}

// fixture is a Discovery in a bubble.
type fixture struct {
	*Discovery
	recorder
	t *testing.T
}

// newFixture returns a Discovery of topic orders, by default with an interval of 80 s to 120 s. run
// starts it.
func newFixture(t *testing.T, cfg Config, static ...string) *fixture {
	f := &fixture{t: t}
	if cfg.Topic == "" {
		cfg.Topic = "orders"
	}
	if cfg.Interval == 0 {
		cfg.Interval = 100 * time.Second
	}
	if cfg.Max == 0 {
		cfg.Max = 100
	}
	f.Discovery = New(cfg, &f.recorder, static)
	return f
}

// run polls for the first time, and then until the end of the test.
func (f *fixture) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.Run(ctx)
	}()
	f.t.Cleanup(func() {
		cancel()
		<-done
	})
	synctest.Wait()
}

// next waits for the next poll of a single source.
func (f *fixture) next() {
	f.t.Helper()
	polls, start := f.events.Len(), time.Now()
	for f.events.Len() == polls {
		time.Sleep(time.Second)
		synctest.Wait()
		if time.Since(start) > 5*time.Minute {
			f.t.Fatal("no poll in five minutes")
		}
	}
}

// round waits until each source was polled so many times. Some may have been polled more often.
func (f *fixture) round(polls int) {
	f.t.Helper()
	start := time.Now()
	behind := func(s observe.LookupStats) bool { return s.Polls < uint64(polls) }
	for slices.ContainsFunc(f.Stats(), behind) {
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		if time.Since(start) > time.Hour {
			f.t.Fatal("a source is not polled")
		}
	}
}

// wantCalls checks the calls of the owner since the last time, in any order.
func (f *fixture) wantCalls(want ...string) {
	f.t.Helper()
	got := f.calls.All()[f.seen:]
	f.seen += len(got)
	slices.Sort(got)
	slices.Sort(want)
	check.Want(f.t, "calls", strings.Join(got, ", "), strings.Join(want, ", "))
}

// wantPoll checks the last event and the statistics of the only source.
func (f *fixture) wantPoll(found int, good bool, err error) {
	f.t.Helper()
	events := f.events.All()
	if len(events) == 0 {
		f.t.Fatal("no event")
	}
	ev, stats := events[len(events)-1], f.Stats()[0]
	check.Want(f.t, "kind", ev.Kind, notify.Lookup)
	check.Want(f.t, "source", ev.Source, stats.Name)
	check.Want(f.t, "found", ev.Found, found)
	check.Want(f.t, "good", ev.Good, good)
	check.WantErr(f.t, "error of the event", ev.Err, err)
	check.WantErr(f.t, "LastErr", stats.LastErr, err)
	check.Want(f.t, "polls", stats.Polls, uint64(len(events)))
	check.Want(f.t, "Polled", f.polled.Load(), int64(len(events)))
	check.Want(f.t, "LastPoll", stats.LastPoll.IsZero(), false)
	if good {
		check.Want(f.t, "Found", stats.Found, found)
	}
}

// wantText checks the text of the error of the last event.
func (f *fixture) wantText(want string) {
	f.t.Helper()
	events := f.events.All()
	check.Want(f.t, "error", fmt.Sprint(events[len(events)-1].Err), want)
}

// Package lifecycle runs services together, and ends them in order within a time.
package lifecycle

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/guard"
	"github.com/nsqx/nsqx/observe"
)

const (
	// reserve is what services of a later phase have left of the grace, at most a quarter of it.
	reserve = 3 * time.Second

	// patience is how long an end takes before the log says what it waits for; it is said again each
	// reminder.
	patience = time.Second
	reminder = 5 * time.Second
)

// ErrEnded is why the others stop when a service returns nil before it was told to end.
var ErrEnded = errors.New("nsqx: a service ended before it was told to")

// Draining is the cause of the end of a service's ctx.
type Draining struct {
	By  time.Time // when the service must have returned
	Err error     // why it is to end
}

func (d *Draining) Error() string { return "nsqx: the service is to end: " + d.Err.Error() }

// Unwrap returns Err.
func (d *Draining) Unwrap() error { return d.Err }

// Within returns how much of timeout a service may take whose ctx has ended: as much as leaves rest
// of the time that ctx grants. It is at least 0.
func Within(ctx context.Context, timeout, rest time.Duration) time.Duration {
	if d, ok := errors.AsType[*Draining](context.Cause(ctx)); ok {
		return max(min(timeout, time.Until(d.By)-rest), 0)
	}
	return timeout
}

// Service is what a Group runs.
type Service struct {
	Name  string
	Phase int // services of a higher phase end when those of lower ones have
	Run   func(ctx context.Context) error
}

// Group runs services together.
type Group struct {
	Services []Service
	Grace    time.Duration // from the first reason to end
	Log      *slog.Logger  // does not panic
}

// result is the end of a service.
type result struct {
	service int
	err     error
}

// run is one run of a Group. Its goroutine owns all of it but ended.
type run struct {
	Group
	ended  chan result
	cancel []context.CancelCauseFunc
	errs   []error // by service
	over   []bool  // by service
}

// Run runs the services until ctx ends or one of them returns, and then ends the others, phase by
// phase. It returns their errors, joined, and a *observe.GraceError if some have not returned within
// the grace; those are left behind.
func (g Group) Run(ctx context.Context) error {
	n := len(g.Services)
	r := &run{Group: g, ended: make(chan result, n), errs: make([]error, n), over: make([]bool, n)}
	for i := range g.Services {
		own, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
		defer cancel(nil)
		r.cancel = append(r.cancel, cancel)
		if ctx.Err() != nil {
			r.end(i, context.Cause(ctx), time.Now().Add(g.Grace))
		}
		go r.serve(own, i)
	}
	for running := n; running > 0; running-- {
		select {
		case <-ctx.Done():
			return r.drain(context.Cause(ctx))
		case e := <-r.ended:
			if e.err == nil && ctx.Err() == nil {
				e.err = fmt.Errorf("%w: %s", ErrEnded, g.Services[e.service].Name)
			}
			if r.record(e); e.err != nil {
				return r.drain(e.err)
			}
		}
	}
	return nil
}

// serve runs one service, which is user code.
func (r *run) serve(ctx context.Context, i int) {
	s := r.Services[i]
	var err error
	guard.Finally(func() { err = s.Run(ctx) }, func(broken error) { r.ended <- result{i, cmp.Or(broken, err)} })
}

// end tells a service to end.
func (r *run) end(i int, why error, by time.Time) { r.cancel[i](&Draining{By: by, Err: why}) }

func (r *run) record(e result) {
	if _, broken := e.err.(*handler.PanicError); broken {
		e.err = fmt.Errorf("nsqx: Run: %s: %w", r.Services[e.service].Name, e.err)
	}
	r.errs[e.service], r.over[e.service] = e.err, true
}

// drain ends what still runs, and returns all errors.
func (r *run) drain(why error) error {
	deadline, last := time.Now().Add(r.Grace), 0
	for _, s := range r.Services {
		last = max(last, s.Phase)
	}
	for phase := range last + 1 {
		by := deadline
		if phase < last {
			by = by.Add(-min(reserve, r.Grace/4))
		}
		for i, s := range r.Services {
			if s.Phase == phase {
				r.end(i, why, by)
			}
		}
		r.wait(phase, by)
	}
	if left := r.left(last); len(left) > 0 {
		r.errs = append(r.errs, &observe.GraceError{Services: left, Grace: r.Grace})
	}
	return errors.Join(r.errs...)
}

// wait waits until the services up to a phase have returned, at most until a time.
func (r *run) wait(phase int, until time.Time) {
	expired := time.NewTimer(time.Until(until))
	defer expired.Stop()
	say := time.NewTimer(patience)
	defer say.Stop()
	for len(r.left(phase)) > 0 {
		select {
		case e := <-r.ended:
			r.record(e)
		case <-say.C:
			r.Log.Info("nsqx: the shutdown waits for services",
				"services", strings.Join(r.left(phase), ", "), "remaining_seconds", time.Until(until).Seconds())
			say.Reset(reminder)
		case <-expired.C:
			return
		}
	}
}

// left returns the names of the services up to a phase that have not returned.
func (r *run) left(phase int) (names []string) {
	for i, s := range r.Services {
		if s.Phase <= phase && !r.over[i] {
			names = append(names, s.Name)
		}
	}
	return names
}

// Package publish gets messages to one of several nsqds, over connections of its own: the answer to
// a publish must not be mistaken for one to a consumer's command.
package publish

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/notify"
	"github.com/nsqx/nsqx/internal/redial"
	"github.com/nsqx/nsqx/observe"
)

// ErrClosed is why a closed router publishes nothing.
var ErrClosed = errors.New("nsqx: the publisher is closed")

// Config says how a Router publishes.
type Config struct {
	Conn conn.Config

	// Lazy connects to an nsqd when there is something to publish, and disconnects when idle: for
	// dead letters.
	Lazy bool

	// Again publishes again what an nsqd may or may not have, instead of returning ErrUnconfirmed.
	Again bool

	// WaitTimeout is how long a publish waits for an nsqd when none is connected. 0: until every
	// nsqd has failed.
	WaitTimeout time.Duration

	MaxNSQDs int // see redial.Config.Max

	Post func(kind notify.Kind, addr string, err error, retry time.Duration) // may be nil
}

// Router publishes to the nsqds that it is told to connect to, in turns. Its methods are safe for
// concurrent use. A publish that finds a connection takes no lock of the router.
type Router struct {
	*redial.Set

	cfg    Config
	limits conn.Limits
	stop   context.CancelFunc // ends dialling
	turn   atomic.Uint32

	// maxDelay is what an nsqd has said when it refused a longer one, in ms, plus 1; 0: none has, or an
	// nsqd has come back since.
	maxDelay atomic.Int64

	buffers sync.Pool // of *[][]byte: bodies on their way to a connection
	counters
}

// New returns a router without nsqds: see its Connect.
func New(cfg Config) *Router {
	r := &Router{cfg: cfg, limits: cfg.Conn.Limits()}
	r.Set = redial.New(redial.Config{
		Conn: cfg.Conn, Lazy: cfg.Lazy, Post: cfg.Post, Max: cfg.MaxNSQDs, Overdue: r.overdue, Back: func() { r.maxDelay.Store(0) },
	})
	var ctx context.Context
	ctx, r.stop = context.WithCancel(context.Background())
	r.Start(ctx)
	return r
}

// publishTo publishes one command, to the preferred nsqd if that works and to another one otherwise.
// It sets asked to the address of the nsqd that was asked last. pub is the caller's to change. Its
// delay counts from the call.
func (r *Router) publishTo(ctx context.Context, pub *conn.Pub, prefer string, asked *string) error {
	var bad *conn.Conn  // the last that has failed
	var failure error   // how; an ErrUnconfirmed is kept
	var until time.Time // end of the wait for an nsqd
	due := time.Time{}
	if pub.Delay > 0 {
		due = time.Now().Add(pub.Delay)
	}
	for failures := 0; ; {
		c, changed, down := r.choose(prefer, bad)
		if c == nil && r.pointless(down) {
			return notSent(pub, failure, down)
		}
		var err error
		if c != nil {
			*asked = c.Addr()
			if pub.Delay > 0 {
				pub.Delay = max(time.Until(due), 1) // a DPUB, even if it is due
			}
			if err = c.PublishValid(ctx, pub); err == nil {
				return nil
			}
			failures++
		}
		if until.IsZero() {
			until = time.Now().Add(r.cfg.WaitTimeout)
		}
		if c == nil {
			if err := r.wait(ctx, changed, until, down); err != nil {
				return notSent(pub, failure, err)
			}
			continue
		}
		if !errors.Is(failure, conn.ErrUnconfirmed) {
			failure = err
		}
		if !r.shouldRetry(ctx, err) || r.retriesExhausted(failures, until) {
			if e, ok := errors.AsType[*conn.PublishError](err); ok && err != failure {
				return notSent(pub, failure, e.Err)
			}
			return failure
		}
		pub.Alone, bad = true, c
	}
}

// wait waits for a change and returns nil. If ctx or the wait for an nsqd ends before, it returns why
// there is no connection.
func (r *Router) wait(ctx context.Context, changed <-chan struct{}, until time.Time, down error) error {
	var expired <-chan time.Time
	if r.cfg.WaitTimeout > 0 {
		timer := time.NewTimer(time.Until(until))
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case <-changed:
		return nil
	case <-expired:
		return cmp.Or(down, observe.ErrNoNSQD) // dialling has not failed yet
	case <-ctx.Done():
		return errors.Join(Ended(ctx), down)
	}
}

// shouldRetry reports whether to ask another nsqd, or the same one again.
func (r *Router) shouldRetry(ctx context.Context, err error) bool {
	if deadline, ok := ctx.Deadline(); ctx.Err() != nil || ok && !time.Now().Before(deadline) {
		return false
	}
	return errors.Is(err, conn.ErrNotSent) || r.cfg.Again && errors.Is(err, conn.ErrUnconfirmed)
}

// retriesExhausted stops a publish that every nsqd has accepted a connection for and then failed.
func (r *Router) retriesExhausted(failures int, until time.Time) bool {
	return failures > r.Len() && !time.Now().Before(until)
}

// notSent is the error of a publish that is given up. An earlier failure may have left it
// unconfirmed.
func notSent(pub *conn.Pub, failure, why error) error {
	e := &conn.PublishError{Kind: conn.ErrNotSent, Topic: pub.Topic, Err: why}
	if f, ok := errors.AsType[*conn.PublishError](failure); ok {
		e.Kind, e.NSQD, e.Err = f.Kind, f.NSQD, errors.Join(f.Err, why)
		if onlyFor(f.Err, why) {
			e.Err = f.Err
		}
	}
	return e
}

// onlyFor reports whether no nsqd is connected for the reason that a publish has failed: then nothing
// else is to be said.
func onlyFor(failure, why error) bool {
	reasons, ok := why.(interface{ Unwrap() []error })
	return ok && !slices.ContainsFunc(reasons.Unwrap(), func(err error) bool {
		return err != observe.ErrNoNSQD && !errors.Is(err, failure)
	})
}

// Ended returns why a context has ended: its Err, and its cause if that is another error.
func Ended(ctx context.Context) error {
	if cause := context.Cause(ctx); !errors.Is(cause, ctx.Err()) {
		return errors.Join(ctx.Err(), cause)
	}
	return ctx.Err()
}

// Await waits until an nsqd is connected.
func (r *Router) Await(ctx context.Context) error {
	until := time.Now().Add(r.cfg.WaitTimeout)
	for {
		c, changed, down := r.choose("", nil)
		if c != nil {
			return nil
		}
		if r.pointless(down) {
			return down
		}
		if err := r.wait(ctx, changed, until, down); err != nil {
			return err
		}
	}
}

// Healthy returns nil if an nsqd is connected.
func (r *Router) Healthy() error {
	_, _, down := r.choose("", nil)
	switch {
	case len(r.Conns()) > 0:
		return nil
	case down == nil:
		return observe.ErrNoNSQD
	case down == ErrClosed:
		return observe.ErrNotRunning
	}
	return down
}

// Unanswered counts messages that nsqds have not answered yet.
func (r *Router) Unanswered() (n int) {
	for _, c := range r.Conns() {
		n += c.Unanswered()
	}
	return n
}

// Close publishes nothing more, ends all connections, in good order or at once, and waits for their
// end.
func (r *Router) Close(atOnce bool) {
	conns := r.Set.Close()
	r.stop()
	for _, c := range conns {
		if atOnce {
			c.Abort(nil)
		} else {
			c.CloseWrite()
		}
	}
	r.Wait()
}

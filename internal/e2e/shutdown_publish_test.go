package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
)

type serviceFunc func(ctx context.Context) error

func (f serviceFunc) Run(ctx context.Context) error { return f(ctx) }

// relay is a service that publishes each message it consumes to another topic.
type relay struct {
	results
	c *nsqx.Consumer[string]
	p *nsqx.Producer[string]
	w watch

	began chan struct{}
	held  func(i int) bool // reports whether the i-th message waits for gate
	gate  chan struct{}

	closes time.Duration // timeout of the producer's Shutdown
}

const relayWorkers = 8

// newRelay makes a relay that publishes to the nsqd at via.
func newRelay(tb testing.TB, s *testnsqd.Server, from, to, via string, drain, closes time.Duration) *relay {
	x := &relay{began: make(chan struct{}, 10000), gate: make(chan struct{}), closes: closes}
	x.held = func(int) bool { return false }
	x.p = newProducer(tb, to, nsqx.WithNSQD(via))
	var begun atomic.Int64
	x.c = newConsumerOf(tb, from, channel, func(ctx context.Context, body string) error {
		i := begun.Add(1)
		x.began <- struct{}{}
		if x.held(int(i)) {
			await(tb, x.gate)
		}
		return x.publish(ctx, x.p, body)
	}, nsqx.WithNSQD(s.Addr()), nsqx.WithConcurrency(relayWorkers), nsqx.WithShutdownTimeout(drain), nsqx.WithHooks(x.w.hooks()), at(policyDelay))
	return x
}

func (x *relay) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), x.closes)
	defer cancel()
	return x.p.Shutdown(ctx)
}

// inOrder closes the producer after the handlers have ended.
func (x *relay) inOrder(ctx context.Context) error {
	err := nsqx.Run(ctx, x.c)
	return errors.Join(err, x.close())
}

// together ends both at once.
func (x *relay) together(ctx context.Context) error {
	return nsqx.Run(ctx, x.c, serviceFunc(func(ctx context.Context) error {
		<-ctx.Done()
		return x.close()
	}))
}

// TestShutdownPublishersS13: a shutdown finds handlers that are about to publish or await an
// answer. Their producer is closed after they end, or at the same time, and nsqd may be silent. In
// each case the shutdown keeps its time, each publish has one result, and a message is finished if
// and only if its publish is confirmed. The next instance handles the others, and only unconfirmed
// messages are published twice. Not parallel: it checks what this process leaves behind.
func TestShutdownPublishersS13(t *testing.T) {
	for name, tt := range map[string]struct{ together, silent bool }{
		"in order":                     {false, false},
		"together":                     {true, false},
		"in order, nsqd is silent":     {false, true},
		"together, and nsqd is silent": {true, true},
	} {
		t.Run(name, func(t *testing.T) {
			steady(t, func(t testing.TB) {
				s := testnsqd.Start(t, messageTimeout(5*time.Second))
				for round := range 2 {
					shutdownPublishers(t, s, fmt.Sprint("from", round), fmt.Sprint("to", round), tt.together, tt.silent)
				}
			})
		})
	}
}

func shutdownPublishers(t testing.TB, s *testnsqd.Server, from, to string, together, silent bool) {
	const n, brief = 200, 100 * time.Millisecond
	bodies := numbered("m", n)
	publish(t, s, from, bodies...)
	s.EnsureChannel(to, channel)
	p := testnsqd.StartProxy(t, s.Addr())
	drain, closes := 5*time.Second, 5*time.Second
	if silent && together {
		closes = brief // closing the producer ends the handlers
	} else if silent {
		drain = brief
	}
	x := newRelay(t, s, from, to, p.Addr(), drain, closes)
	some := relayWorkers + rand.IntN(n/2)
	x.held = func(i int) bool { return i > some-relayWorkers/2 && i%2 == 0 }
	connectTo(t, x.p)
	service := serviceFunc(x.inOrder)
	if together {
		service = x.together
	}
	r := start(t, service)
	for range some {
		receive(t, x.began, "handlers")
	}
	if silent {
		p.Freeze(testnsqd.ToClient)
		close(x.gate)
		eventually(t, func() bool { return x.p.Stats().InFlight == relayWorkers }, "all handlers to wait for an answer")
	}
	r.cancel()
	cancelled := time.Now()
	if !silent {
		// Waiting handlers publish during the drain, or after the producer is closed.
		ends := x.c.Healthy
		if together {
			ends = x.p.Healthy
		}
		eventually(t, func() bool { return ends() == nsqx.ErrNotRunning }, "the shutdown")
		close(x.gate)
	}
	err := r.stop()
	if took := time.Since(cancelled); took > drain+2*time.Second+closes+time.Second+slack {
		t.Errorf("the shutdown took %v", took)
	}
	if cut, ok := errors.AsType[*nsqx.CloseError](err); ok && silent && together {
		if cut.Unconfirmed == 0 || cut.Unconfirmed > relayWorkers || isA[*nsqx.ShutdownError](err) {
			t.Errorf("shutdown: %v", err)
		}
	} else if err != nil || silent && together {
		t.Errorf("shutdown: %v", err)
	}
	p.Thaw(testnsqd.ToClient)
	if !settles(func() bool { return len(ours()) == 0 && s.Clients() == 0 }) {
		t.Errorf("nsqd still has %d clients; left behind: %s", s.Clients(), ours())
	}
	x.check(t, together, silent)
	left := n - len(x.confirmed)
	eventually(t, func() bool { return s.Channel(from, channel).Unfinished() == left }, "%d messages of %s to be left", left, from)

	next := newRelay(t, s, from, to, s.Addr(), waitTimeout, waitTimeout)
	r = start(t, serviceFunc(next.inOrder))
	eventually(t, func() bool {
		return next.c.Stats().Finished >= uint64(left) && s.Channel(from, channel).Unfinished() == 0
	}, "%d messages to be finished", left)
	r.mustStop()
	next.check(t, false, false)
	accounted(t, onTopic(t, s, to), bodies, x, next)
	t.Logf("%s: %d confirmed, %d not sent, %d unconfirmed, %d left", from, len(x.confirmed), len(x.others), len(x.unconfirmed), left)
}

// check compares the results of publishes with the outcomes of messages.
func (x *relay) check(t testing.TB, together, silent bool) {
	t.Helper()
	finished := 0
	for _, o := range x.w.settled() {
		switch d := o.outcome.Disposition; {
		case d == handler.Finish && o.outcome.Err == nil:
			finished++
		case o.outcome.Err == nil || d != handler.Requeue && d != handler.Interrupted:
			t.Errorf("outcome of %s: %s with %v", o.body, d, o.outcome.Err)
		}
	}
	if finished != len(x.confirmed) {
		t.Errorf("%d messages are finished, %d publishes are confirmed", finished, len(x.confirmed))
	}
	for _, err := range x.others {
		wantKind(t, "publish", err, nsqx.ErrNotSent)
	}
	if together != (len(x.others) > 0) && !(together && silent) || silent != (len(x.unconfirmed) > 0) {
		t.Errorf("%d publishes were not sent, %d are unconfirmed", len(x.others), len(x.unconfirmed))
	}
}

// accounted compares the messages on a topic with the results of several relays.
func accounted(t testing.TB, there map[string]int, bodies [][]byte, relays ...*relay) {
	t = outright(t) // no stall explains a wrong count
	t.Helper()
	least, most := make(map[string]int), make(map[string]int)
	for _, x := range relays {
		for _, body := range x.confirmed {
			least[body]++
			most[body]++
		}
		for _, body := range x.unconfirmed {
			most[body]++
		}
	}
	for _, b := range bodies {
		body := string(b)
		if got := there[body]; got == 0 || got < least[body] || got > most[body] {
			t.Errorf("%s was published %d times, want %d to %d", body, got, max(least[body], 1), most[body])
		}
	}
	if len(there) != len(bodies) {
		t.Errorf("%d messages became %d", len(bodies), len(there))
	}
}

package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nsqio/nsq/nsqlookupd"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
)

// TestNewTopicG6: two channels of a new topic get all of its messages, though the second consumer
// finds the nsqd late: its channel was registered, so nsqd has made it before the first message.
func TestNewTopicG6(t *testing.T) {
	t.Parallel()
	const n = 100
	a, b := testnsqd.StartLookupd(t, testnsqd.Reachable), testnsqd.StartLookupd(t, testnsqd.Reachable)
	s := testnsqd.Start(t, a.Register, b.Register)
	lookupds := nsqx.WithLookupd(a.HTTPAddr(), b.HTTPAddr())
	quick, slow := newLedger(), newLedger()
	first := newConsumerOf(t, topic, "quick", handles(quick), lookupds, soon)
	late := newConsumerOf(t, topic, "slow", handles(slow), lookupds)
	runs := []*running{start(t, first), start(t, late)}
	receive(t, first.Ready(), "Ready")
	receive(t, late.Ready(), "Ready")
	polled(t, late, 2) // the next polls come later and later
	bodies := numbered("m", n)
	s.Publish(topic, bodies...)
	if got := s.Channel(topic, "slow"); got.Messages != n && got.Clients > 0 {
		t.Errorf("channel %+v, want %d messages and no client", got, n)
	}
	quick.wait(t, n)
	slow.wait(t, n)
	for _, l := range []*ledger{quick, slow} {
		l.complete(t, bodies)
	}
	for _, r := range runs {
		r.mustStop()
	}
}

// TestNewTopicUnregistered: without registration the second channel misses what was published before
// its consumer had found the nsqd: nsqd, not the harness, loses it.
func TestNewTopicUnregistered(t *testing.T) {
	t.Parallel()
	l := testnsqd.StartLookupd(t, testnsqd.Reachable)
	s := testnsqd.Start(t, l.Register)
	book := newLedger()
	late := newConsumerOf(t, topic, "slow", handles(book), nsqx.WithLookupd(l.HTTPAddr()), nsqx.WithoutRegistration())
	r := start(t, late)
	receive(t, late.Ready(), "Ready")
	s.EnsureChannel(topic, "quick")
	s.Publish(topic, []byte("lost"))
	eventually(t, func() bool { return s.Channel(topic, "quick").Messages == 1 }, "the message")
	eventually(t, func() bool { return len(addresses(late)) == 1 && late.Stats().Connections[0].Connected }, "the late consumer")
	s.Publish(topic, []byte("later"))
	book.wait(t, 1)
	if book.has("lost") {
		t.Error("the message has reached a channel that did not exist")
	}
	r.mustStop()
}

// TestOutageOfAllG7: all nsqds are away, and nsqlookupd names none. Consumer and publisher are
// unhealthy, dial on, and are back within 10 s of the return of the nsqds.
func TestOutageOfAllG7(t *testing.T) {
	t.Parallel()
	steady(t, func(t testing.TB) {
		l := testnsqd.StartLookupd(t, func(o *nsqlookupd.Options) { o.InactiveProducerTimeout = 500 * time.Millisecond })
		s := []*testnsqd.Server{testnsqd.Start(t, l.Register), testnsqd.Start(t, l.Register)}
		for _, s := range s {
			publish(t, s, topic, []byte("before on "+s.Addr()))
		}
		lookupds := nsqx.WithLookupd(l.HTTPAddr())
		book, w := newLedger(), new(watch)
		c := newConsumer(t, handles(book), lookupds, soon, nsqx.WithHooks(w.hooks()))
		p := newPublisher(t, lookupds, soon)
		r := start(t, c)
		book.wait(t, 2)
		for _, s := range s {
			finished(t, s, c, 1)
		}
		for _, s := range s {
			s.Stop()
		}
		eventually(t, func() bool { return c.Stats().Lookups[0].Found == 0 }, "an answer without nsqds")
		polled(t, c, 6)
		began := time.Now()
		failures := len(w.events(&w.dialErrors))
		for time.Since(began) < 12*time.Second {
			if err := c.Healthy(); !errors.Is(err, nsqx.ErrNoNSQD) || !strings.Contains(err.Error(), s[0].Addr()) {
				t.Fatalf("health %v, want the reasons", err)
			}
			if err := p.Healthy(); !errors.Is(err, nsqx.ErrNoNSQD) {
				t.Fatalf("health of the publisher %v", err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if got := len(w.events(&w.dialErrors)) - failures; got < 2 || got > 40 {
			t.Errorf("%d dials during the outage", got)
		}
		for _, s := range s {
			s.Restart()
		}
		back := time.Now()
		for _, s := range s {
			publish(t, s, topic, []byte("after on "+s.Addr()))
		}
		book.wait(t, 4)
		if took := time.Since(back); took > 11*time.Second {
			t.Errorf("back after %v", took)
		}
		if err := c.Healthy(); err != nil {
			t.Errorf("health %v", err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := p.Ping(ctx); err != nil {
			t.Errorf("publisher: %v", err)
		}
		r.mustStop()
	})
}

// TestOneOfFiveDeadG8: one nsqd of five is dead: consumer, publisher and Redrive work with the
// others.
func TestOneOfFiveDeadG8(t *testing.T) {
	t.Parallel()
	l := testnsqd.StartLookupd(t)
	var s []*testnsqd.Server
	for range 5 {
		s = append(s, testnsqd.Start(t, l.Register))
		publish(t, s[len(s)-1], topic, fmt.Appendf(nil, "on %d", len(s)))
		s[len(s)-1].Publish("dead", fmt.Appendf(nil, "dead on %d", len(s)))
	}
	s[2].Stop()
	lookupds := nsqx.WithOptions(nsqx.WithLookupd(l.HTTPAddr()), nsqx.WithNSQD(s[2].Addr()), soon) // nsqlookupd may not name it
	book := newLedger()
	c := newConsumer(t, handles(book), lookupds)
	began := time.Now()
	r := start(t, c)
	receive(t, c.Ready(), "Ready")
	book.wait(t, 4)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("ready after %v", took)
	}
	if err := errors.Join(c.Healthy(), c.Live()); err != nil || len(c.Stats().Connections) != 5 {
		t.Errorf("health %v, connections %v", err, addresses(c))
	}
	p := newPublisher(t, lookupds)
	if err := p.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	for i := range 20 {
		began := time.Now()
		if err := p.Send(t.Context(), &handler.Outgoing{
			Topic: topic, Messages: []handler.OutgoingMessage{{Body: fmt.Appendf(nil, "more %d", i)}},
		}); err != nil || time.Since(began) > time.Second {
			t.Errorf("publish: %v after %v", err, time.Since(began))
		}
	}
	book.wait(t, 24)
	report, err := nsqx.Redrive(t.Context(), "dead", "revived", lookupds, nsqx.WithRedriveIdle(redriveIdle))
	incomplete, ok := errors.AsType[*nsqx.RedriveIncompleteError](err)
	if !ok || len(incomplete.Reasons) != 1 || report.Redriven != 4 {
		t.Errorf("Redrive: %+v, %v", report, err)
	}
	r.mustStop()
}

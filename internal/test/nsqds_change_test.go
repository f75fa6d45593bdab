package test

import (
	"context"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
)

// TestSetNSQDs: new nsqds are dialled at once; removed ones get CLS, and their messages may be answered.
func TestSetNSQDs(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServers(t, 3)
		var dones synced[func(error)]
		fn := handler.Async(func(_ context.Context, _ string, done func(error)) { dones.add(done) })
		f := newFinder(s[2].Addr())
		c := makeConsumer(t, fn, nsqx.WithNSQD(s[0].Addr()), nsqx.WithDiscoverer(f), dialOnly(s), nsqx.WithMaxInFlight(10))
		stop := nsqxtest.Run(t, c)
		time.Sleep(time.Second)
		publish(s[0], 1)
		time.Sleep(time.Second)
		want(t, "held", len(dones.all()), 1)

		// The third stays, since it is found as well.
		wantErr(t, "replace", c.SetNSQDs(s[1].Addr(), s[2].Addr()), nil)
		time.Sleep(time.Second)
		want(t, "replaced", addrs(c), "!nsqd-1 nsqd-3 nsqd-2")
		want(t, "CLS", len(s[0].Commands("CLS")), 1)
		publish(s[0], 1)
		publish(s[1], 1)
		time.Sleep(time.Second)
		want(t, "held then", len(dones.all()), 2)

		// It comes back before its messages are answered.
		wantErr(t, "back", c.SetNSQDs(s[1].Addr(), s[0].Addr()), nil)
		time.Sleep(time.Second)
		want(t, "connections", len(s[0].Conns()), 2)
		want(t, "held now", len(dones.all()), 3)
		dones.all()[0](nil)
		time.Sleep(time.Second)
		want(t, "connections", len(s[0].Conns()), 1)
		want(t, "finished", billing(s[0]).Finished, 1)

		// Nothing is left of one without messages.
		wantErr(t, "none", c.SetNSQDs(), nil)
		for _, done := range dones.all() {
			done(nil)
		}
		time.Sleep(time.Second)
		want(t, "without", addrs(c), "nsqd-3")
		want(t, "finished", billing(s[0]).Finished+billing(s[1]).Finished, 3)
		dials := s[0].Dials() + s[1].Dials()
		time.Sleep(time.Minute)
		want(t, "dials", s[0].Dials()+s[1].Dials(), dials)

		err := c.SetNSQDs(s[0].Addr(), "nowhere", ":1")
		want(t, "faults", len(optionErrors(err)), 2)
		want(t, "changed nothing", addrs(c), "nsqd-3")
		stop()
		wantErr(t, "after Run", c.SetNSQDs(s[0].Addr()), nil)
	})
}

// TestSetNSQDsDialling: an address may be removed before Run, while it is dialled, and while it waits.
func TestSetNSQDsDialling(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServers(t, 2)
		s[0].Refuse(true)
		c := makeConsumer(t, done, nsqx.WithNSQD(s[0].Addr()), dialOnly(s))
		wantErr(t, "before Run", c.SetNSQDs(s[1].Addr()), nil)
		wantErr(t, "before Run", c.SetNSQDs(s[0].Addr()), nil)
		nsqxtest.Run(t, c)
		time.Sleep(10 * time.Second)
		want(t, "dials of the other", s[1].Dials(), 0)
		wantErr(t, "while it waits", c.SetNSQDs(s[1].Addr()), nil)
		dials := s[0].Dials()
		time.Sleep(time.Minute)
		want(t, "dials", s[0].Dials(), dials)
		want(t, "addresses", addrs(c), "nsqd-2")

		s[0].Refuse(false)
		s[0].On("IDENTIFY", func(*nsqxtest.ServerConn, nsqxtest.Command) nsqxtest.Action {
			time.Sleep(3 * time.Second)
			return nsqxtest.Action{}
		})
		wantErr(t, "added", c.SetNSQDs(s[0].Addr()), nil)
		time.Sleep(time.Second)
		wantErr(t, "removed while it is dialled", c.SetNSQDs(), nil)
		time.Sleep(10 * time.Second)
		want(t, "addresses", addrs(c), "")
		want(t, "connections", len(s[0].Conns()), 0)
	})
}

// TestSetNSQDsShutdown: a removed nsqd with messages takes part in the shutdown.
func TestSetNSQDsShutdown(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServers(t, 1)
		fn := func(ctx context.Context, _ string) error {
			<-ctx.Done()
			return context.Cause(ctx)
		}
		c := makeConsumer(t, fn, nsqx.WithNSQD(s[0].Addr()), dialOnly(s), timeout(5*time.Second))
		stop := nsqxtest.Run(t, c)
		publish(s[0], 1)
		time.Sleep(time.Second)
		wantErr(t, "removed", c.SetNSQDs(), nil)
		time.Sleep(time.Second)
		stop()
		want(t, "requeued", billing(s[0]).Requeued, 1)
		want(t, "in flight", billing(s[0]).InFlight, 0)
	})
}

// changing is a Discoverer that says when it changes.
type changing struct {
	*finder
	changed chan struct{}
}

func (c *changing) Changed() <-chan struct{} { return c.changed }

// TestDiscovererChanged: a source that has changed is polled at once, but not all the time.
func TestDiscovererChanged(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServers(t, 2)
		f := &changing{newFinder(s[0].Addr()), make(chan struct{})}
		c := changingConsumer(t, s, f)
		time.Sleep(time.Minute)
		want(t, "polls", len(f.pollTimes()), 1)
		f.set(nil, s[0].Addr(), s[1].Addr())
		close(f.changed)
		time.Sleep(10 * time.Millisecond)
		want(t, "at once", addrs(c), "nsqd-1 nsqd-2")
		time.Sleep(time.Second)
		if n := len(f.pollTimes()); n > 13 {
			t.Errorf("%d polls in a second", n)
		}
	})
}

func changingConsumer(t *testing.T, s []*nsqxtest.Server, f nsqx.Discoverer) *nsqx.Consumer[string] {
	t.Helper()
	c := newConsumer(t, done, nsqx.WithDiscoverer(f), nsqx.WithLookupInterval(time.Hour), dialOnly(s))
	nsqxtest.Run(t, c)
	return c
}

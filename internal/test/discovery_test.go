package test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/observe"
)

// TestDiscoveryUnion: the addresses of all sources and of WithNSQD are used, each once.
func TestDiscoveryUnion(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServers(t, 5)
		a, b := newFinder(s[1].Addr(), s[0].Addr(), s[1].Addr()), newFinder(s[2].Addr())
		hold := make(chan struct{})
		b.act = func(context.Context) { <-hold } // a answers first
		c := discover(t, s, nsqx.WithNSQD(s[0].Addr()), nsqx.WithDiscoverer(a, b))
		want(t, "found by the first", addrs(c), "nsqd-1 nsqd-2")
		close(hold)
		want(t, "found by both", addrs(c), "nsqd-1 nsqd-2 nsqd-3")
		b.set(nil, s[2].Addr(), s[1].Addr(), s[3].Addr())
		b.waitPolls(1)
		want(t, "with the new one", addrs(c), "nsqd-1 nsqd-2 nsqd-3 nsqd-4")
		time.Sleep(time.Minute)
		for i, n := range []int{1, 1, 1, 1, 0} {
			want(t, "dials of "+s[i].Addr(), s[i].Dials(), n)
		}
		publish(s[3], 10)
		s[3].Await("orders", "billing", finished(10))
	})
}

// TestForgotten: an address that was never connected is forgotten after three answers without it.
func TestForgotten(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServers(t, 3)
		s[1].Refuse(true)
		f := newFinder(s[0].Addr(), s[1].Addr(), s[2].Addr())
		c := discover(t, s, nsqx.WithNSQD(s[2].Addr()), nsqx.WithDiscoverer(f))
		f.set(nil)
		f.waitPolls(2)
		want(t, "after two", addrs(c), "nsqd-3 nsqd-1 !nsqd-2")
		f.waitPolls(1)
		want(t, "after three", addrs(c), "nsqd-3 nsqd-1")
		dials := s[1].Dials()
		f.waitPolls(10)
		want(t, "working connection", addrs(c), "nsqd-3 nsqd-1")
		want(t, "dials of the refused nsqd", s[1].Dials(), dials)
		publish(s[0], 10)
		s[0].Await("orders", "billing", finished(10))

		for _, s := range s {
			s.Disconnect()
		}
		time.Sleep(time.Minute)
		want(t, "after its end", addrs(c), "nsqd-3 nsqd-1")
		want(t, "dials of the found nsqd", s[0].Dials(), 2)
		want(t, "dials of the configured nsqd", s[2].Dials(), 2)

		s[1].Refuse(false)
		f.set(nil, s[0].Addr(), s[1].Addr())
		f.waitPolls(1)
		want(t, "found again", addrs(c), "nsqd-3 nsqd-1 nsqd-2")
	})
}

// TestForgottenComesBack: an address that is found again before its connection ends is redialled
// when it ends.
func TestForgottenComesBack(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServers(t, 1)
		f := newFinder(s[0].Addr())
		c := discover(t, s, nsqx.WithDiscoverer(f))
		f.set(nil)
		f.waitPolls(5)
		f.set(nil, s[0].Addr())
		f.waitPolls(1)
		want(t, "dials", s[0].Dials(), 1)
		s[0].Disconnect()
		time.Sleep(time.Second)
		want(t, "after its end", addrs(c), "nsqd-1")
		want(t, "dials", s[0].Dials(), 2)
	})
}

// TestFailedPolls (row F28): a poll that fails removes no address.
func TestFailedPolls(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServers(t, 3)
		s[1].Refuse(true)
		f := newFinder(s[0].Addr(), s[1].Addr())
		c := discover(t, s, nsqx.WithDiscoverer(f))
		failure := errors.New("lookup is down")
		f.set(nil)
		f.waitPolls(2)
		f.set(failure)
		f.waitPolls(10)
		want(t, "after errors", addrs(c), "nsqd-1 !nsqd-2")
		s[1].Refuse(false)
		time.Sleep(10 * time.Second)
		want(t, "redialled", addrs(c), "nsqd-1 nsqd-2")
		f.set(failure, s[2].Addr())
		f.waitPolls(1)
		want(t, "found beside an error", addrs(c), "nsqd-1 nsqd-2 nsqd-3")
		l := c.Stats().Lookups[0]
		want(t, "polls", l.Polls, uint64(len(f.pollTimes())))
		want(t, "errors", l.Errors, l.Polls-3)
		want(t, "found in the last good answer", l.Found, 0)
		wantErr(t, "last error", l.LastErr, failure)
		want(t, "last poll", l.LastPoll, f.pollTimes()[len(f.pollTimes())-1])
		wantErr(t, "health", c.Healthy(), nil)
	})
}

// TestSourceWithoutAddresses (row F29): a source that has just started and knows no address removes
// none, if another source names it or if this one does within three polls.
func TestSourceWithoutAddresses(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServers(t, 2)
		a, b := newFinder(s[0].Addr(), s[1].Addr()), newFinder(s[0].Addr())
		c := discover(t, s, nsqx.WithDiscoverer(a, b))
		b.set(nil)
		b.waitPolls(10)
		s[0].Disconnect()
		time.Sleep(time.Second)
		want(t, "one of two sources knows nothing", addrs(c), "nsqd-1 nsqd-2")

		for range 5 {
			a.set(nil)
			a.waitPolls(2)
			s[1].Disconnect()
			a.set(nil, s[0].Addr(), s[1].Addr())
			a.waitPolls(1)
			want(t, "after two empty answers", addrs(c), "nsqd-1 nsqd-2")
		}
		a.set(nil)
		a.waitPolls(3)
		s[0].Refuse(true)
		s[0].Disconnect()
		time.Sleep(time.Minute)
		want(t, "when neither knows it", addrs(c), "!nsqd-1 nsqd-2")
	})
}

// TestNamedAgain: an address that was missing in an answer and is named again is dialled at once,
// whatever its backoff.
func TestNamedAgain(t *testing.T) {
	for range 5 { // backoffs are random
		bubble(t, "", func(t *testing.T) {
			s := nsqxtest.NewServers(t, 1)
			f := newFinder(s[0].Addr())
			c := discover(t, s, nsqx.WithDiscoverer(f))
			s[0].Refuse(true)
			s[0].Disconnect()
			f.waitPolls(20)
			for time.Until(c.Stats().Connections[0].RetryAt) < 3*time.Second {
				time.Sleep(10 * time.Millisecond)
			}
			f.set(nil)
			f.waitPolls(1)
			s[0].Refuse(false)
			dials := s[0].Dials()
			f.set(nil, s[0].Addr())
			f.waitPolls(1)
			want(t, "at once", addrs(c), "nsqd-1")
			want(t, "dials", s[0].Dials(), dials+1)
		})
	}
}

// TestNoStorm (row F30): an address that is down is dialled under backoff, however often it is
// named.
func TestNoStorm(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServers(t, 1)
		s[0].Refuse(true)
		a, b := newFinder(s[0].Addr(), s[0].Addr()), newFinder(s[0].Addr())
		_ = discover(t, s, nsqx.WithDiscoverer(a, b))
		time.Sleep(5 * time.Minute)
		if n := s[0].Dials(); n < 30 || n > 100 {
			t.Errorf("%d dials in five minutes, want one each 3 to 10 s", n)
		}
	})
}

// TestFilter: WithNSQDFilter decides about found addresses only.
func TestFilter(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServers(t, 3)
		f := newFinder(s[0].Addr(), s[1].Addr(), s[2].Addr())
		var asked synced[string]
		c := discover(t, s, nsqx.WithNSQD(s[0].Addr()), nsqx.WithDiscoverer(f), nsqx.WithNSQDFilter(func(addr string) bool {
			asked.add(addr)
			return addr == s[2].Addr()
		}))
		f.waitPolls(3)
		want(t, "accepted addresses", addrs(c), "nsqd-1 nsqd-3")
		want(t, "asked", len(asked.all()), 3*len(f.pollTimes()))
		want(t, "found", c.Stats().Lookups[0].Found, 1)
	})
}

// TestAddressRewrite: found addresses are rewritten before they are filtered and dialled; one that
// cannot be dialled is reported.
func TestAddressRewrite(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServers(t, 2)
		f := newFinder("pod-1.internal:4150", "pod-2.internal:4150", "POD-3.internal:4150")
		var filtered synced[string]
		c := discover(t, s, nsqx.WithDiscoverer(f), nsqx.WithAddressRewrite(func(addr string) string {
			switch addr {
			case "pod-1.internal:4150":
				return s[0].Addr()
			case "pod-2.internal:4150":
				return s[1].Addr()
			}
			return "of " + addr
		}), nsqx.WithNSQDFilter(func(addr string) bool { filtered.add(addr); return true }))
		f.waitPolls(1)
		want(t, "addresses", addrs(c), "nsqd-1 nsqd-2")
		want(t, "filtered", filtered.all()[0], s[0].Addr())
		if err := c.Stats().Lookups[0].LastErr; err == nil || !strings.Contains(err.Error(), "of pod-3.internal:4150") {
			t.Errorf("the poll has the error %v", err)
		}
	})
	_, err := nsqx.NewConsumer("orders", "billing", codec.String(), done, nsqx.WithDiscoverer(nsqx.DNSDiscoverer("a b", nil)))
	if err == nil || !strings.Contains(err.Error(), "WithDiscoverer got a faulty one") {
		t.Errorf("a faulty name of DNS: %v", err)
	}
}

// TestMaxNSQDs (row F33): addresses beyond the limit are reported as an error and not used.
func TestMaxNSQDs(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServers(t, 6)
		var all []string
		for _, s := range s[1:] {
			all = append(all, s.Addr())
		}
		f := newFinder(all...)
		var events synced[observe.LookupEvent]
		var log logbook
		c := newLoggedConsumer(t, &log, done, dialOnly(s), nsqx.WithNSQD(s[0].Addr()), nsqx.WithDiscoverer(f), nsqx.WithMaxNSQDs(3),
			nsqx.WithHooks(observe.Hooks{OnLookup: events.add}), nsqx.WithLookupInterval(time.Second))
		nsqxtest.Run(t, c)
		want(t, "connected", addrs(c), "nsqd-1 nsqd-2 nsqd-3 nsqd-4")
		const text = "2 nsqds found beyond the 3"
		if l := c.Stats().Lookups[0]; l.LastErr == nil || !strings.Contains(l.LastErr.Error(), text) || l.Errors != 0 || l.Found != 5 {
			t.Errorf("lookup stats %+v, want the error %q, and that the answer was good", l, text)
		}
		if e := events.all(); len(e) != 1 || e[0].Err == nil || !strings.Contains(e[0].Err.Error(), text) || e[0].Found != 5 {
			t.Errorf("events %+v, want one with the error %q", e, text)
		}
		want(t, "warnings", log.count(slog.LevelWarn, "cannot be used"), 1)

		f.set(nil, all[3:]...) // frees room when others are forgotten and their connections end
		f.waitPolls(4)
		want(t, "when three were forgotten", addrs(c), "nsqd-1 nsqd-2 nsqd-3 nsqd-4 nsqd-5 nsqd-6")
		wantErr(t, "last error", c.Stats().Lookups[0].LastErr, nil)
	})
}

// TestBadAddresses: only faulty addresses are dropped.
func TestBadAddresses(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServers(t, 1)
		f := newFinder("", "nsqd", ":4150", "nsqd:0", "nsqd:65536", "nsqd:x", "http://nsqd:4150", "nsqd:4150\n", s[0].Addr(), "unix://", "[::1:4150")
		c := discover(t, s, nsqx.WithDiscoverer(f))
		f.waitPolls(2)
		want(t, "valid addresses", addrs(c), "nsqd-1")
		want(t, "found", c.Stats().Lookups[0].Found, 1)
	})
}

// TestDiscovererPanics: a panic of a source, or of the filter, is an error of that poll only.
func TestDiscovererPanics(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServers(t, 2)
		bad, good := newFinder(), newFinder(s[0].Addr(), s[1].Addr())
		bad.act = func(context.Context) { panic("no") }
		c := discover(t, s, nsqx.WithDiscoverer(bad, good), nsqx.WithNSQDFilter(func(addr string) bool {
			if addr == s[1].Addr() && len(good.pollTimes()) == 2 {
				panic("no filter")
			}
			return addr == s[0].Addr()
		}))
		good.waitPolls(3)
		bad.waitPolls(1)
		want(t, "connected", addrs(c), "nsqd-1")
		l := c.Stats().Lookups
		if l[0].LastErr == nil || !strings.Contains(l[0].LastErr.Error(), "panicked") || l[0].Errors != l[0].Polls || l[0].Polls < 3 {
			t.Errorf("lookup stats %+v, want that all polls have panicked", l[0])
		}
		want(t, "errors of the good one", l[1].Errors, 1)
		wantErr(t, "last error of the good one", l[1].LastErr, nil)
	})
}

// TestLookupEvents: each poll is an event, a log record and part of Stats.
func TestLookupEvents(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServers(t, 1)
		f := newFinder(s[0].Addr())
		var events synced[observe.LookupEvent]
		var log logbook
		c := newLoggedConsumer(t, &log, done, dialOnly(s), nsqx.WithDiscoverer(f, nsqx.DiscovererFunc(f.Discover)), nsqx.WithHooks(observe.Hooks{OnLookup: events.add}))
		want(t, "lookups before Run", len(c.Stats().Lookups), 2)
		want(t, "polls before Run", c.Stats().Lookups[0].Polls, 0)
		began := time.Now()
		nsqxtest.Run(t, c)
		time.Sleep(time.Second)
		failure := errors.New("down")
		f.set(failure)
		time.Sleep(72 * time.Second)
		e := events.all()
		if len(e) != 4 {
			t.Fatalf("%d events, want 4: %+v", len(e), e)
		}
		names := []string{e[0].Source, e[1].Source}
		slices.Sort(names)
		want(t, "sources", strings.Join(names, " "), "*test.finder nsqx.DiscovererFunc")
		for i, e := range e {
			if i < 2 && (e.Err != nil || e.Found != 1 || !e.Time.Equal(began)) || i >= 2 && (e.Err != failure || e.Found != 0) || e.Topic != "orders" || e.Channel != "billing" {
				t.Errorf("event %d: %+v", i, e)
			}
		}
		want(t, "name", c.Stats().Lookups[0].Name, "*test.finder")
		want(t, "debug", log.count(slog.LevelDebug, "asked for nsqds"), 4)
		want(t, "warnings", log.count(slog.LevelWarn, "discoverer cannot be asked for nsqds"), 2)
	})
}

// TestLookupInterval: intervals vary by 20 %.
func TestLookupInterval(t *testing.T) {
	for base, opt := range map[time.Duration]nsqx.ConsumerOption{time.Minute: nil, 5 * time.Second: nsqx.WithLookupInterval(5 * time.Second)} {
		bubble(t, base.String(), func(t *testing.T) {
			s := nsqxtest.NewServers(t, 1)
			f := newFinder(s[0].Addr())
			nsqxtest.Run(t, newConsumer(t, done, dialOnly(s), nsqx.WithDiscoverer(f), opt))
			time.Sleep(200 * base)
			polls := f.pollTimes()
			least, most := base, base
			for i := range polls[1:] {
				gap := polls[i+1].Sub(polls[i])
				least, most = min(least, gap), max(most, gap)
			}
			if least < base*8/10 || most > base*12/10 || least > base*85/100 || most < base*115/100 {
				t.Errorf("%d polls %v to %v apart, want 20%% around %v", len(polls), least, most, base)
			}
		})
	}
}

// TestFrozenPoll (row S8): a poll that hangs delays neither other sources nor the shutdown, and is
// given up after 10 s.
func TestFrozenPoll(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServers(t, 1)
		frozen, good := newFinder(), newFinder(s[0].Addr())
		frozen.act = func(ctx context.Context) { <-ctx.Done() }
		frozen.err = context.DeadlineExceeded
		c := newConsumer(t, done, dialOnly(s), nsqx.WithDiscoverer(frozen, good), nsqx.WithLookupInterval(time.Second))
		stop := nsqxtest.Run(t, c)
		want(t, "connected", addrs(c), "nsqd-1")
		time.Sleep(12 * time.Second)
		l := c.Stats().Lookups[0]
		want(t, "polls that were given up", l.Errors, 1)
		wantErr(t, "why", l.LastErr, context.DeadlineExceeded)
		want(t, "second polls", len(frozen.pollTimes()), 2)
		before := time.Now()
		stop()
		if took := time.Since(before); took != closeTime {
			t.Errorf("the shutdown took %v during a poll, want %v", took, closeTime)
		}
		time.Sleep(time.Minute)
		want(t, "polls after that", len(frozen.pollTimes()), 2)
		want(t, "dials", s[0].Dials(), 1)
	})
}

// TestNoDialDuringShutdown: after the shutdown has begun nothing is dialled, whatever is found.
func TestNoDialDuringShutdown(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServers(t, 3)
		s[1].Refuse(true)
		release := make(chan struct{})
		f := newFinder(s[0].Addr(), s[1].Addr())
		slow := newFinder(s[2].Addr())
		slow.act = func(ctx context.Context) { <-ctx.Done() }
		c := newConsumer(t, func(context.Context, string) error {
			<-release
			return nil
		}, dialOnly(s), nsqx.WithDiscoverer(f, slow), nsqx.WithLookupInterval(time.Second))
		stop := nsqxtest.Run(t, c)
		publish(s[0], 1)
		time.Sleep(5 * time.Second)
		dials := []int{s[0].Dials(), s[1].Dials(), s[2].Dials()}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			stop()
		}()
		synctest.Wait()
		wantErr(t, "health during shutdown", c.Healthy(), nsqx.ErrNotRunning)
		s[1].Refuse(false)
		time.Sleep(15 * time.Second)
		for i, n := range dials {
			want(t, "dials of "+s[i].Addr(), s[i].Dials(), n)
		}
		want(t, "RDYs after CLS", afterCLS(s[0]), 0)
		close(release)
		<-ended
		want(t, "finished", billing(s[0]).Finished, 1)
	})
}

// TestAddressesBesideAnError: a Discoverer that always returns an error, too, names its nsqds all the same: what it does not
// name any more makes room.
func TestAddressesBesideAnError(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServers(t, 3)
		s[1].Refuse(true)
		failure := errors.New("half of it is down")
		f := newFinder()
		f.set(failure, s[0].Addr(), s[1].Addr())
		c := discover(t, s, nsqx.WithDiscoverer(f), nsqx.WithMaxNSQDs(2))
		f.waitPolls(2)
		want(t, "at first", addrs(c), "nsqd-1 !nsqd-2")
		f.set(failure, s[0].Addr(), s[2].Addr())
		f.waitPolls(5)
		want(t, "later", addrs(c), "nsqd-1 nsqd-3")
	})
}

package test

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/nsqxtest"
)

const (
	createTopic   = "/topic/create?topic=orders"
	createChannel = "/channel/create?channel=billing&topic=orders"
)

// TestRegistration: topic and channel are registered at each nsqlookupd before Ready, and again when
// one has forgotten them; not otherwise.
func TestRegistration(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		l, opt := newLookupds(2)
		l[0].misbehaves(func(r *http.Request) (int, bool) {
			select {
			case <-time.After(time.Second):
			case <-r.Context().Done():
			}
			return 0, false
		})
		c := newConsumer(t, done, opt)
		nsqxtest.Run(t, c)
		time.Sleep(3*time.Second - time.Millisecond) // a poll and the first POST
		wantReady(t, c, false, nil)
		time.Sleep(time.Millisecond)
		wantReady(t, c, true, nil)
		for _, l := range l {
			want(t, "registered", l.knows("billing"), true)
			want(t, "requests", strings.Join(l.created(), " "), createTopic+" "+createChannel)
		}
		time.Sleep(time.Minute)
		want(t, "requests to one that knows", len(l[1].created()), 2)
		l[1].forget()
		time.Sleep(5 * time.Second)
		want(t, "registered again", l[1].knows("billing"), true)
		want(t, "requests", len(l[1].created()), 4)
		want(t, "requests to the other", len(l[0].created()), 2)
	})
}

// TestRegistrationOfAnother: a topic whose other channels are known is registered with ours.
func TestRegistrationOfAnother(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServers(t, 1)
		l, opt := newLookupds(1)
		l[0].set(s[0].Addr())
		l[0].registered["orders/audit"] = true
		c := newConsumer(t, done, opt, dialOnly(s))
		nsqxtest.Run(t, c)
		wantReady(t, c, true, nil)
		want(t, "registered", l[0].knows("billing"), true)
	})
}

// TestNoRegistration: without registration, for ephemeral names, and by publishers nothing is
// registered.
func TestNoRegistration(t *testing.T) {
	for name, opt := range map[string]nsqx.ConsumerOption{"WithoutRegistration": nsqx.WithoutRegistration(), "ephemeral topic": nil, "ephemeral channel": nil} {
		bubble(t, name, func(t *testing.T) {
			topic, channel := "orders", "billing"
			if name == "ephemeral topic" {
				topic += "#ephemeral"
			} else if name == "ephemeral channel" {
				channel += "#ephemeral"
			}
			l, lookup := newLookupds(1)
			c, err := nsqx.NewConsumer(topic, channel, codec.String(), done, lookup, opt, nsqx.WithLogger(discard))
			if err != nil {
				t.Fatal(err)
			}
			nsqxtest.Run(t, c)
			wantReady(t, c, true, nil)
			time.Sleep(time.Minute)
			want(t, "requests", len(l[0].created()), 0)
		})
	}
	bubble(t, "publisher", func(t *testing.T) {
		l, lookup := newLookupds(1)
		_ = newPublisherOf(t, lookup)
		time.Sleep(time.Minute)
		want(t, "requests", len(l[0].created()), 0)
	})
	bubble(t, "Redrive", func(t *testing.T) {
		l, lookup := newLookupds(1)
		_, err := nsqx.Redrive(t.Context(), "orders", "", lookup, nsqx.WithLogger(discard))
		wantErr(t, "Redrive", err, nil)
		want(t, "requests", len(l[0].created()), 0)
	})
}

// TestRegistrationFails: a nsqlookupd that refuses, hangs or lies delays Ready by its timeout at most,
// gets few requests, and is a warning, once until it works again.
func TestRegistrationFails(t *testing.T) {
	for name, tt := range map[string]struct {
		misbehave func(*http.Request) (int, bool)
		delay     time.Duration // of Ready
		text      string
	}{
		"refuses":  {answersPOST(http.StatusForbidden), 0, "status 403"},
		"server":   {answersPOST(http.StatusInternalServerError), 0, "status 500"},
		"redirect": {answersPOST(http.StatusFound), 0, "status 302"},
		"hangs":    {unanswered(true), 5 * time.Second, "deadline exceeded"},
		"lies":     {answersPOST(http.StatusOK), 0, "does not know them later"},
		"panics":   {func(r *http.Request) (int, bool) { panicsOnPOST(r); return 0, false }, 0, "panic"},
	} {
		bubble(t, name, func(t *testing.T) {
			s := nsqxtest.NewServers(t, 1)
			l, opt := newLookupds(2)
			l[0].misbehaves(tt.misbehave)
			for _, l := range l {
				l.set(s[0].Addr())
			}
			var log logbook
			c := newLoggedConsumer(t, &log, done, opt, dialOnly(s))
			nsqxtest.Run(t, c)
			synctest.Wait()
			want(t, "connected", addrs(c), "nsqd-1")
			want(t, "registered at the other", l[1].knows("billing"), true)
			if tt.delay > 0 {
				time.Sleep(tt.delay - time.Millisecond)
				wantReady(t, c, false, nil)
				time.Sleep(time.Millisecond)
			}
			wantReady(t, c, true, nil)
			const warning = "topic and channel are not registered"
			time.Sleep(time.Hour)
			want(t, "warnings", log.count(slog.LevelWarn, warning), 1)
			if n := len(l[0].created()); n < 45 || n > 160 {
				t.Errorf("%d requests in an hour, want one or two each minute", n)
			}
			st := c.Stats().Lookups[0]
			if st.RegisterErr == nil || !strings.Contains(st.RegisterErr.Error(), tt.text) || st.RegisterErrors < 40 || st.Errors > 0 {
				t.Errorf("lookup stats %+v, want the error %q each minute", st, tt.text)
			}
			want(t, "errors of the other", c.Stats().Lookups[1].RegisterErrors, 0)

			l[0].misbehaves(nil)
			time.Sleep(3 * time.Minute)
			want(t, "registered", l[0].knows("billing"), true)
			wantErr(t, "last error", c.Stats().Lookups[0].RegisterErr, nil)
			l[0].misbehaves(answersPOST(http.StatusForbidden))
			l[0].forget()
			time.Sleep(10 * time.Minute)
			want(t, "warnings", log.count(slog.LevelWarn, warning), 2)
		})
	}
}

func panicsOnPOST(r *http.Request) {
	if r.Method == http.MethodPost {
		panic("no")
	}
}

// TestPollsWhileThereIsNoNSQD: polls come each 1 to 5 s while no nsqd is named, then at the usual
// interval, whatever the source.
func TestPollsWhileThereIsNoNSQD(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServers(t, 1)
		l, opt := newLookupds(1)
		f := newFinder()
		var log logbook
		c := newLoggedConsumer(t, &log, done, opt, nsqx.WithDiscoverer(f), dialOnly(s))
		nsqxtest.Run(t, c)
		time.Sleep(2 * time.Minute)
		quick := func(what string, polls []time.Time) {
			t.Helper()
			for i := range polls[1:] {
				if gap := polls[i+1].Sub(polls[i]); gap < time.Second || gap > 5*time.Second || i < 2 && gap > 3*time.Second || i > 4 && gap < 3300*time.Millisecond {
					t.Errorf("%s: gap %d is %v", what, i, gap)
				}
			}
			if n := len(polls); n < 24 || n > 40 {
				t.Errorf("%s: %d polls in two minutes", what, n)
			}
		}
		quick("nsqlookupd", l[0].pollTimes())
		quick("Discoverer", f.pollTimes())
		want(t, "warnings", log.count(slog.LevelWarn, ""), 0)

		l[0].set(s[0].Addr())
		time.Sleep(5 * time.Second)
		want(t, "connected", addrs(c), "nsqd-1")
		before := len(f.pollTimes()) + len(l[0].pollTimes())
		time.Sleep(10 * time.Minute)
		if n := len(f.pollTimes()) + len(l[0].pollTimes()) - before; n < 16 || n > 26 {
			t.Errorf("%d polls of two sources in ten minutes", n)
		}
	})
}

// TestHungSource (row G8): a source that hangs holds up no other.
func TestHungSource(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := nsqxtest.NewServers(t, 2)
		l, opt := newLookupds(2)
		l[0].misbehaves(unanswered(false))
		l[1].set(s[0].Addr())
		c := newConsumer(t, done, opt, dialOnly(s), nsqx.WithLookupInterval(time.Second))
		nsqxtest.Run(t, c)
		want(t, "connected", addrs(c), "nsqd-1")
		l[1].set(s[0].Addr(), s[1].Addr())
		time.Sleep(1200 * time.Millisecond)
		want(t, "connected", addrs(c), "nsqd-1 nsqd-2")
		wantReady(t, c, false, nil)
		time.Sleep(4 * time.Second)
		wantReady(t, c, true, nil)
	})
}

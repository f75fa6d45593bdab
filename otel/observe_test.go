package nsqotel_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/observe"
	nsqotel "github.com/nsqx/nsqx/otel"
)

// Tests of observe.go and telemetry.go.

func TestGauges(t *testing.T) {
	for name, tt := range map[string]struct {
		opts []nsqotel.Option
		want map[string]string
	}{
		"all together": {want: map[string]string{
			"nsq.consumer.in_flight":        "8",
			"nsq.consumer.ready":            "16",
			"nsq.consumer.connection.count": "2",
			"nsq.consumer.touches":          "7",
			"nsq.consumer.drift.allowance":  "3",
			"nsq.consumer.drifts":           "3",
		}},
		"each nsqd": {opts: []nsqotel.Option{nsqotel.WithServerAddress()}, want: map[string]string{
			"nsq.consumer.in_flight":        "0 server.address=nsqd-3 server.port=4150\n1 server.address=nsqd-2 server.port=4150\n7 server.address=nsqd-1 server.port=4150",
			"nsq.consumer.ready":            "0 server.address=nsqd-3 server.port=4150\n14 server.address=nsqd-1 server.port=4150\n2 server.address=nsqd-2 server.port=4150",
			"nsq.consumer.connection.count": "0 server.address=nsqd-3 server.port=4150\n1 server.address=nsqd-1 server.port=4150\n1 server.address=nsqd-2 server.port=4150",
			"nsq.consumer.touches":          "0 server.address=nsqd-3 server.port=4150\n2 server.address=nsqd-1 server.port=4150\n5 server.address=nsqd-2 server.port=4150",
			"nsq.consumer.drift.allowance":  "0 server.address=nsqd-3 server.port=4150\n1 server.address=nsqd-2 server.port=4150\n2 server.address=nsqd-1 server.port=4150",
			"nsq.consumer.drifts":           "0 server.address=nsqd-3 server.port=4150\n1 server.address=nsqd-2 server.port=4150\n2 server.address=nsqd-1 server.port=4150",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t, tt.opts...)
			defer k.Observe(func() nsqx.Stats { return stats(7) })()
			k.collect() // counters rise after the first collection
			for metric, points := range tt.want {
				k.wantPoints(metric, points)
			}
			k.wantPoints("nsq.consumer.max_in_flight", "10")
			k.wantPoints("nsq.consumer.handler.active", "3")
			k.wantPoints("nsq.consumer.handler.limit", "8")
			k.wantPoints("nsq.consumer.backoff.level", "3")
			k.wantPoints("nsq.consumer.timeouts", "4")
			k.wantPoints("nsq.consumer.dead_letters", "6")
			k.wantPoints("nsq.consumer.given_back", "0 messaging.nsq.given_back.reason=overflow\n0 messaging.nsq.given_back.reason=stall\n0 messaging.nsq.given_back.reason=suspended")
		})
	}
}

// Consumers of one channel add up. A stopped consumer no longer counts in the gauges.
func TestTwoConsumers(t *testing.T) {
	k := newKit(t)
	stop := k.Observe(func() nsqx.Stats { return stats(1) })
	defer k.Observe(func() nsqx.Stats { return stats(2) })()
	k.wantPoints("nsq.consumer.in_flight", "5")
	stop()
	k.wantPoints("nsq.consumer.in_flight", "3")
	k.wantPoints("nsq.consumer.timeouts", "8") // a counter never falls
}

// Counters follow Stats over collections, over addresses that go and return, and after the end.
func TestCountersFollowStats(t *testing.T) {
	k := newKit(t)
	var expired uint64
	var touched map[string]uint64
	stop := k.Observe(func() nsqx.Stats {
		s := nsqx.Stats{Topic: "orders", Channel: "billing", Expired: expired}
		for addr, n := range touched {
			s.Connections = append(s.Connections, observe.ConnStats{Stats: conn.Stats{Addr: addr, Touched: n}})
		}
		return s
	})
	k.wantPoints("nsq.consumer.timeouts", "0") // the first collection
	steps := []struct {
		expired  uint64
		touched  map[string]uint64
		timeouts string
		touches  string
	}{
		{0, map[string]uint64{"a:1": 1}, "0", "1"},
		{2, map[string]uint64{"a:1": 4, "b:1": 1}, "2", "5"},
		{2, map[string]uint64{"b:1": 1}, "2", "5"},
		{3, map[string]uint64{"a:1": 2, "b:1": 1}, "3", "7"}, // found again
		{3, map[string]uint64{"a:1": 1, "b:1": 2}, "3", "9"}, // removed and found in between
	}
	for _, s := range steps {
		expired, touched = s.expired, s.touched
		k.wantPoints("nsq.consumer.timeouts", s.timeouts)
		k.wantPoints("nsq.consumer.touches", s.touches)
	}
	expired = 5
	stop()
	k.wantPoints("nsq.consumer.timeouts", "5")
}

// What happens before the first collection is a rise in the second: a counter that begins with 1 would
// hide its first event.
func TestFirstCollection(t *testing.T) {
	k := newKit(t)
	s := nsqx.Stats{Topic: "orders", Channel: "billing", DeadLettered: 1, Connections: []observe.ConnStats{{Stats: conn.Stats{Addr: "a:1", Drifted: 2}, Renewed: 1}}}
	stop := k.Observe(func() nsqx.Stats { return s })
	for _, want := range []string{"0 0 0", "1 2 1", "9 3 2"} {
		all := k.collect()
		check.Want(t, "dead letters, drifts, renewals", points(all["nsq.consumer.dead_letters"])+" "+points(all["nsq.consumer.drifts"])+" "+points(all["nsq.consumer.connection.renewals"]), want)
		if want == "1 2 1" {
			s.DeadLettered, s.Connections = 9, []observe.ConnStats{{Stats: conn.Stats{Addr: "b:1", Drifted: 1}, Renewed: 1}}
		}
	}
	stop()

	stop = k.Observe(func() nsqx.Stats { return s }) // ends before a collection
	stop()
	k.wantPoints("nsq.consumer.dead_letters", "18")
}

// The age of the last answer of a source of nsqds; failed registrations.
func TestSources(t *testing.T) {
	for name, tt := range map[string]struct {
		opts              []nsqotel.Option
		nodes, age, wrong string
	}{
		"all together": {nil, "3", "60", "3"},
		"each": {
			[]nsqotel.Option{nsqotel.WithServerAddress()},
			"0 server.address=lookupd-2 server.port=4161\n3 server.address=lookupd-1 server.port=4161",
			"10 server.address=lookupd-1 server.port=4161\n2 server.address=lookupd-2 server.port=4161\n60 server.address=lookupd-3 server.port=4161",
			"0 server.address=lookupd-2 server.port=4161\n1 server.address=lookupd-1 server.port=4161\n2 server.address=lookupd-3 server.port=4161",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKit(t, tt.opts...)
				ago := func(d time.Duration) time.Time { return time.Now().Add(time.Minute - d) }
				lookups := []observe.LookupStats{
					{Name: "lookupd-1:4161", Found: 3, LastGood: ago(10 * time.Second), RegisterErrors: 1},
					{Name: "lookupd-2:4161", LastGood: ago(2 * time.Second)}, // no nsqd has the topic
					{Name: "lookupd-3:4161", RegisterErrors: 2},              // never answered
				}
				defer k.Observe(func() nsqx.Stats { return nsqx.Stats{Topic: "orders", Channel: "billing", Lookups: lookups} })()
				time.Sleep(time.Minute)
				k.collect()
				k.wantPoints("nsq.client.lookup.nodes", tt.nodes)
				k.wantPoints("nsq.client.lookup.age", tt.age)
				k.wantPoints("nsq.client.registration.errors", tt.wrong)
			})
		})
	}
}

func TestSourcesOfAPublisher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t)
		defer k.ObservePublisher(func() nsqx.PublisherStats {
			return nsqx.PublisherStats{Lookups: []observe.LookupStats{{Name: "lookupd-1:4161"}}}
		})()
		time.Sleep(time.Second)
		k.wantPoints("nsq.client.lookup.age", "1")
		k.wantPoints("nsq.client.lookup.nodes", "none")
	})
}

// A nsqlookupd that does not know a topic yet has answered; one that is stopped gets old.
func TestNoTopicYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t)
		l := nsqxtest.NewLookupd(t)
		c, err := nsqx.NewConsumer("orders", "billing", codec.String(), func(context.Context, string) error { return nil },
			l.Option(), nsqx.WithLogger(discard), nsqx.WithTelemetry(k.Telemetry), nsqx.WithoutRegistration())
		if err != nil {
			t.Fatal(err)
		}
		nsqxtest.Run(t, c)
		synctest.Wait()
		k.wantPoints("nsq.client.lookup.nodes", "0")
		k.wantPoints("nsq.client.lookup.age", "0")
		k.wantPoints("nsq.client.lookup.duration", "1×, 0s")
		l.Stop()
		time.Sleep(10 * time.Minute)
		k.wantPoints("nsq.client.lookup.nodes", "0")
		k.wantPoints("nsq.client.lookup.age", "600")
	})
}

func TestPublisherStats(t *testing.T) {
	k := newKit(t)
	s := nsqx.PublisherStats{InFlight: 3, EnvelopesSkipped: 2}
	stop := k.Telemetry.ObservePublisher(func() nsqx.PublisherStats { return s })
	k.wantPoints("nsq.producer.in_flight", "3")
	k.wantPoints("nsq.producer.envelope.skipped", "2")
	s.EnvelopesSkipped = 5
	stop()
	k.wantPoints("nsq.producer.in_flight", "none")
	k.wantPoints("nsq.producer.envelope.skipped", "5")
}

// The gauges of a running consumer with a busy handler, and after its end.
func TestRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t)
		srv := nsqxtest.NewServer(t)
		release := make(chan struct{})
		c := k.consumer(func(ctx context.Context, _ string) error {
			<-release
			return handler.FromContext(ctx).Touch()
		}, srv.Option(), nsqx.WithConcurrency(2), nsqx.WithMaxInFlight(4))
		stop := nsqxtest.Run(t, c)
		srv.Publish("orders", []byte(`"7"`))
		synctest.Wait()
		k.wantPoints("nsq.consumer.in_flight", "1")
		k.wantPoints("nsq.consumer.max_in_flight", "2")
		k.wantPoints("nsq.consumer.handler.active", "1")
		k.wantPoints("nsq.consumer.handler.limit", "2")
		k.wantPoints("nsq.consumer.handler.overdue", "0")
		k.wantPoints("nsq.consumer.handler.highest_attempt", "1")
		k.wantPoints("nsq.consumer.connection.count", "1")
		k.wantPoints("nsq.consumer.backoff.level", "0")
		k.wantPoints("nsq.client.connection.attempts", "1")
		close(release)
		stop()
		k.wantPoints("nsq.consumer.touches", "1")
		k.wantPoints("nsq.consumer.connection.count", "none")
		k.wantPoints("nsq.client.connection.closed", "1")
		k.wantPoints("nsq.consumer.settlements", "1 messaging.nsq.message.disposition=finish")
	})
}

// The gauges of the messages that handlers work on.
func TestInProgress(t *testing.T) {
	k := newKit(t)
	stop := k.Observe(func() nsqx.Stats {
		return nsqx.Stats{Topic: "orders", Channel: "billing", Overdue: 2, HighestAttempt: 7, OldestAge: 90 * time.Second}
	})
	defer stop()
	k.wantPoints("nsq.consumer.handler.overdue", "2")
	k.wantPoints("nsq.consumer.handler.highest_attempt", "7")
	k.wantPoints("nsq.consumer.handler.oldest_age", "90")
}

// For the race detector: readers collect while messages are handled.
func TestConcurrentUse(t *testing.T) {
	k := newKit(t)
	c := k.consumer(func(context.Context, string) error { return nil })
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				defer k.Observe(c.Stats)()
				nsqxtest.Deliver(t, c, []byte(`"7"`))
				k.collect()
			}
		})
	}
	wg.Wait()
	k.wantPoints("nsq.consumer.settlements", "200 messaging.nsq.message.disposition=finish")
}

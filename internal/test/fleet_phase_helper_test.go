package test

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/conn"
)

// run runs the phases, ends the fleet, and returns what was found.
func (f *fleet) run() {
	goroutines, _ := countGoroutines()
	memory := heap()
	for _, p := range f.s.phases {
		f.begin(p, mode{})
		time.Sleep(p.rest)
		if !map[phaseKind]func(phase) bool{
			trickle: f.runTrickle, backlog: f.runBacklog, churn: f.runChurn, topics: f.runTopics,
			hang: f.runHang, outage: f.runOutage, poison: f.runPoison,
		}[p.kind](p) {
			break // the later phases would only show the same
		}
	}
	if last := f.phase.kind; last != poison {
		f.begin(phase{kind: "end"}, mode{})
		time.Sleep(max(f.s.day-f.now(), 4*fleetLookupInterval)) // so long that old addresses are forgotten
		f.checkFlat(goroutines, memory)
	}
	var stops sync.WaitGroup
	for _, r := range f.replicas {
		stops.Go(func() {
			r.cancel()
			<-r.done
		})
	}
	began := time.Now()
	stops.Wait()
	for _, r := range f.replicas {
		f.checkStop(r, time.Since(began))
	}
}

// limit is how long a phase may take: far longer than it should.
func (f *fleet) limit(messages int) time.Duration {
	ideal := time.Duration(messages) * f.s.service.mean / time.Duration(f.s.slots())
	return 5*ideal + time.Hour
}

func (f *fleet) runTrickle(p phase) bool {
	for range p.messages {
		time.Sleep(time.Duration(2 * f.rng.Float64() * float64(p.lasts) / float64(p.messages)))
		i := f.rng.IntN(len(f.servers))
		f.servers[0], f.servers[i] = f.servers[i], f.servers[0]
		f.publish(1, 1, 0)
	}
	if !f.checkSettled(f.limit(p.messages)) {
		return false
	}
	f.checkAttempts(0)
	return true
}

func (f *fleet) runBacklog(p phase) bool {
	w := f.watch(p)
	f.publish(p.messages, p.spread, 0)
	if !f.checkSettled(f.limit(p.messages)) {
		return false
	}
	exempt := 0
	if f.s.nsqds > f.s.concurrency { // a burst on all nsqds of a quiet consumer: one each
		exempt = f.s.replicas * p.spread
	}
	f.checkAttempts(exempt)
	f.checkUtilisation(w)
	f.checkStarved(w)
	return true
}

// runChurn lets nsqds come and go, and deploys.
func (f *fleet) runChurn(p phase) bool {
	f.publish(p.messages, p.spread, 0)
	ideal := time.Duration(p.messages) * f.s.service.mean / time.Duration(f.s.slots())
	events := 3 + f.rng.IntN(8)
	for range events {
		time.Sleep(time.Duration(2 * f.rng.Float64() * float64(max(ideal, time.Minute)) / float64(events)))
		switch k := f.rng.IntN(4); {
		case k == 0 && len(f.away) > 0:
			f.startServer()
		case k <= 1 && len(f.servers) > 1:
			f.stopServer(f.rng.IntN(len(f.servers)))
		case k == 2:
			f.replaceReplica(f.rng.IntN(len(f.replicas)))
		case len(f.servers)+len(f.away) < 50:
			f.addServer()
			f.publish(1, 1, 0)
		}
	}
	for len(f.away) > 0 {
		f.startServer()
	}
	if !f.checkSettled(f.limit(p.messages)) {
		return false
	}
	// A poll may take 72 s to find an nsqd that was new or has moved; until then its messages are not lost, but late.
	f.checkAttempts(f.s.replicas * len(f.servers))
	return true
}

// runHang lets all handlers hang.
func (f *fleet) runHang(p phase) bool {
	release := make(chan struct{})
	f.setMode(mode{release: release})
	f.publish(p.messages, f.s.nsqds, 0)
	time.Sleep(p.lasts)
	f.setMode(mode{})
	close(release)
	return f.checkSettled(f.limit(p.messages))
}

// runOutage lets all handlers fail.
func (f *fleet) runOutage(p phase) bool {
	f.setMode(mode{err: errAway, after: p.failTime})
	f.publish(p.messages, p.spread, 0)
	time.Sleep(p.lasts)
	f.setMode(mode{})
	ok := f.checkSettled(f.limit(p.messages) + time.Hour)
	f.checkOutage(p)
	return ok
}

// poisonTime is how long good messages are counted, once the first one is handled after a short outage: until then the
// breaker waits, which is its purpose; half of the probes fail by chance.
const poisonTime = time.Minute

// runPoison counts how many good messages are handled.
func (f *fleet) runPoison(p phase) bool {
	if !f.s.noBreaker { // the twin has no outage: it would run all messages
		f.setMode(mode{err: errAway, after: p.failTime})
	}
	f.publish(p.messages, p.spread, p.poison)
	if !f.s.noBreaker {
		time.Sleep(p.lasts)
	}
	f.setMode(mode{})
	f.recovered = f.now()
	// One more message is let through for each success, until there is one a handler.
	for f.goodHandled(time.Hour) < 2*f.s.replicas*f.s.concurrency && f.now() < f.recovered+time.Hour {
		time.Sleep(time.Second)
	}
	f.recovered = f.now()
	time.Sleep(poisonTime)
	f.good = f.goodHandled(poisonTime)
	return true
}

// goodHandled counts the good messages of a poison phase that were handled within d of the recovery.
func (f *fleet) goodHandled(d time.Duration) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, at := range f.handled {
		if at -= f.recovered; at >= 0 && at < d {
			n++
		}
	}
	return n
}

// runTopics publishes to a new topic that two channels wait for: each must get all.
func (f *fleet) runTopics(p phase) bool {
	topic := fmt.Sprintf("topic-%d", f.rng.Uint64())
	channels := []string{"a", "b"}
	var mu sync.Mutex
	got := make([]map[string]bool, len(channels))
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	quiet := []nsqx.Option{f.lookupd.Option(), nsqx.WithLogger(slog.New(slog.DiscardHandler)), nsqx.WithConn(conn.Config{HeartbeatInterval: time.Minute})}
	for i, channel := range channels {
		got[i] = make(map[string]bool)
		c, err := nsqx.NewConsumer(topic, channel, codec.String(), func(_ context.Context, body string) error {
			mu.Lock()
			got[i][body] = true
			mu.Unlock()
			return nil
		}, nsqx.WithOptions(quiet...), nsqx.WithConcurrency(2))
		if err != nil {
			f.t.Fatal(err)
		}
		running.Go(func() { _ = c.Run(ctx) })
		select {
		case <-c.Ready():
		case <-time.After(time.Minute):
			f.fail(checkReady, "a consumer of a new topic is not ready after a minute: %v", c.Healthy())
		}
		time.Sleep(time.Duration(f.rng.Float64() * float64(time.Minute)))
	}
	publisher, err := nsqx.NewPublisher(nsqx.WithOptions(quiet...))
	if err != nil {
		f.t.Fatal(err)
	}
	producer, err := nsqx.NewProducer(topic, codec.String(), nsqx.WithPublisher(publisher))
	if err != nil {
		f.t.Fatal(err)
	}
	for i := range p.messages {
		if err := producer.Publish(ctx, strconv.Itoa(i)); err != nil {
			f.fail(checkTopics, "publish %d: %v", i, err)
		}
		time.Sleep(time.Duration(f.rng.Float64() * float64(20*time.Second)))
	}
	time.Sleep(5 * time.Minute)
	if err := publisher.Close(); err != nil {
		f.fail(checkTopics, "Close: %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	for i, channel := range channels {
		if n := len(got[i]); n != p.messages {
			f.fail(checkTopics, "channel %s of a new topic has got %d of %d messages", channel, n, p.messages)
		}
	}
	return true
}

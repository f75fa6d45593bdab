package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqio/nsq/nsqd"
	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
)

// TestPublishCutF14: the connection is lost after the PUB is written and before its OK is read.
func TestPublishCutF14(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		to   testnsqd.Direction
		part []byte // bytes that trigger the cut
		has  int    // copies in nsqd by then
	}{
		"before OK":            {testnsqd.ToClient, okFrame, 1},
		"before nsqd has read": {testnsqd.ToServer, []byte("PUB "), 0},
	} {
		for _, again := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, at least once %t", name, again), func(t *testing.T) {
				t.Parallel()
				s := testnsqd.Start(t)
				s.EnsureChannel(topic, channel)
				p := testnsqd.StartProxy(t, s.Addr())
				p.Tap(firstTo(tt.to, tt.part, p.Cut))
				opts := []nsqx.ProducerOption{nsqx.WithNSQD(p.Addr())}
				if again {
					opts = append(opts, nsqx.WithAtLeastOnce())
				}
				producer := newProducer(t, topic, opts...)
				err := producer.Publish(t.Context(), "first")
				want := map[string]int{"first": tt.has, "second": 1}
				if again {
					must(t, err)
					want["first"]++
				} else {
					wantKind(t, "cut", err, nsqx.ErrUnconfirmed)
				}
				must(t, producer.Publish(t.Context(), "second"))
				got := onTopic(t, s, topic)
				for body, n := range want {
					if got[body] != n {
						t.Errorf("%q is there %d times, want %d", body, got[body], n)
					}
				}
			})
		}
	}
}

// TestPublishLateAnswerF15: publishes end with their ctx, and their answers come later. The late
// answers are ignored: the next publish, which nsqd refuses, is the one rejected. (I14)
func TestPublishLateAnswerF15(t *testing.T) {
	t.Parallel()
	const given = 2 // writes that may await an answer
	s := testnsqd.Start(t, func(o *nsqd.Options) { o.MaxMsgSize = 1000 })
	s.EnsureChannel(topic, channel)
	p := testnsqd.StartProxy(t, s.Addr())
	producer := newProducer(t, topic, nsqx.WithNSQD(p.Addr()))
	connectTo(t, producer)
	p.Freeze(testnsqd.ToClient)
	want := []string{"after"}
	for i := range given {
		ctx, cancel := context.WithCancel(t.Context())
		body := fmt.Sprint("given up ", i)
		want = append(want, body)
		result := make(chan error, 1)
		go func() { result <- producer.Publish(ctx, body) }()
		eventually(t, func() bool { return count(s, topic) == i+1 }, "nsqd to have it")
		cancel()
		err := receive(t, result, "a publish whose ctx has ended")
		wantKind(t, "given up", err, nsqx.ErrUnconfirmed)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v is not the end of its ctx", err)
		}
	}
	large, small := make(chan error, 1), make(chan error, 1)
	go func() { large <- producer.Publish(t.Context(), strings.Repeat("x", 1001)) }()
	eventually(t, func() bool { return producer.Stats().InFlight == given+1 }, "the large one to be under way")
	go func() { small <- producer.Publish(t.Context(), "after") }()
	eventually(t, func() bool { return producer.Stats().InFlight == given+2 }, "the next to be under way")
	p.Thaw(testnsqd.ToClient)
	err := receive(t, large, "the answer to the large one")
	wantKind(t, "too large for nsqd", err, nsqx.ErrRejected)
	wantCode(t, err, "E_BAD_MESSAGE")
	must(t, receive(t, small, "the answer to the next"))
	wantOnce(t, s, topic, want)
}

// TestPublishSilent: a silent nsqd blocks no publish beyond the deadline of its ctx. When it
// answers again, publishing succeeds.
func TestPublishSilent(t *testing.T) {
	t.Parallel()
	s := testnsqd.Start(t)
	s.EnsureChannel(topic, channel)
	p := testnsqd.StartProxy(t, s.Addr())
	producer := newProducer(t, topic, nsqx.WithNSQD(p.Addr()))
	connectTo(t, producer)
	p.Freeze(testnsqd.ToServer)
	p.Freeze(testnsqd.ToClient)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond) // enough to write all of them
	defer cancel()
	calls := map[string]func() error{
		"Publish":      func() error { return producer.Publish(ctx, "m") },
		"PublishAfter": func() error { return producer.PublishAfter(ctx, time.Millisecond, "m") },
		"PublishAll": func() error {
			n, err := producer.PublishAll(ctx, []string{"m", "m"})
			if n != 0 {
				t.Errorf("%d messages are said to be confirmed", n)
			}
			return err
		},
		"PublishAsync": func() error {
			done := make(chan error, 1)
			if err := producer.PublishAsync(ctx, "m", func(err error) { done <- err }); err != nil {
				return err
			}
			return <-done
		},
	}
	results := make(map[string]chan error)
	for name, call := range calls {
		result := make(chan error, 1)
		results[name] = result
		go func() { result <- call() }()
	}
	for name, result := range results {
		err := receive(t, result, name)
		wantKind(t, name, err, nsqx.ErrUnconfirmed)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v is not the end of its ctx", name, err)
		}
	}
	p.Thaw(testnsqd.ToServer)
	p.Thaw(testnsqd.ToClient)
	must(t, producer.Publish(t.Context(), "after"))
	if got := onTopic(t, s, topic); got["after"] != 1 || got["m"] != 5 {
		t.Errorf("on the topic: %v", got)
	}
}

// handshakeBytes returns the number of bytes in each direction before the first publish.
func handshakeBytes(t *testing.T, p *testnsqd.Proxy) (n [2]int) {
	t.Helper()
	var passed [2]atomic.Int64
	p.Tap(func(d testnsqd.Direction, b []byte) []byte {
		passed[d].Add(int64(len(b)))
		return b
	})
	c, err := conn.Dial(t.Context(), p.Addr(), conn.Config{}, nil)
	must(t, err)
	c.Abort(nil)
	p.Tap(nil)
	return [2]int{int(passed[0].Load()), int(passed[1].Load())}
}

// TestPublishCutOften: each connection is cut after 20 publishes. Of 2400 publishes from 8
// goroutines none is lost, hangs or is stored twice, and the only error is ErrUnconfirmed.
func TestPublishCutOften(t *testing.T) {
	t.Parallel()
	const n, goroutines, each = 2400, 8, 20
	bodies := numbered("2400", n)
	command := len("PUB "+topic+"\n") + 4 + len(bodies[n-1])
	for name, tt := range map[string]struct {
		to       testnsqd.Direction
		size     int  // bytes of one
		separate bool // each goroutine has a producer of its own
	}{
		"after 20 answers": {testnsqd.ToClient, len(okFrame), false},
		"after 20 answers, a producer for each goroutine": {testnsqd.ToClient, len(okFrame), true},
		"within the 21st command":                         {testnsqd.ToServer, command, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testnsqd.Start(t)
			s.EnsureChannel(topic, channel)
			p := testnsqd.StartProxy(t, s.Addr())
			limit := handshakeBytes(t, p)[tt.to] + each*tt.size
			if tt.to == testnsqd.ToServer {
				limit += command / 2
			}
			p.CutAfter(tt.to, limit)
			producers := []*nsqx.Producer[string]{newProducer(t, topic, nsqx.WithNSQD(p.Addr()))}
			for tt.separate && len(producers) < goroutines {
				producers = append(producers, newProducer(t, topic, nsqx.WithNSQD(p.Addr())))
			}
			var r results
			var running sync.WaitGroup
			for g := range goroutines {
				running.Go(func() {
					for i := g; i < n; i += goroutines {
						_ = r.publish(t.Context(), producers[g%len(producers)], string(bodies[i]))
					}
				})
			}
			ended := make(chan struct{})
			go func() {
				running.Wait()
				close(ended)
			}()
			receive(t, ended, "the publishes")
			p.Refuse()
			p.Cut()
			s.Quiesce() // nsqd may still read bytes sent before the cut

			r.check(t, onTopic(t, s, topic))
			cuts := p.Accepted() - 1
			t.Logf("%d connections, %d of %d publishes unconfirmed", cuts, len(r.unconfirmed), n)
			if cuts < n/each/goroutines {
				t.Errorf("there were only %d connections", cuts)
			}
			if most := goroutines * cuts; len(r.unconfirmed) > most {
				t.Errorf("%d publishes are unconfirmed, at most %d were under way", len(r.unconfirmed), most)
			}
			if got := len(r.confirmed) + len(r.unconfirmed); got != n {
				t.Errorf("%d publishes have returned, want %d", got, n)
			}
		})
	}
}

// TestPublishRestart: one of three nsqds is stopped and restarted. Publishes continue meanwhile,
// and reach it again afterwards.
func TestPublishRestart(t *testing.T) {
	t.Parallel()
	servers := []*testnsqd.Server{testnsqd.Start(t), testnsqd.Start(t), testnsqd.Start(t)}
	for _, s := range servers {
		s.EnsureChannel(topic, channel)
	}
	restarted := servers[1]
	p := testnsqd.StartProxy(t, restarted.Addr())
	w := new(watch)
	producer := newProducer(t, topic, nsqx.WithNSQD(servers[0].Addr(), p.Addr(), servers[2].Addr()), nsqx.WithHooks(w.hooks()))
	w.connected(t, 3)

	var r results
	published := 0
	next := func() {
		published++
		_ = r.publish(t.Context(), producer, fmt.Sprint("m", published))
	}
	for range 60 {
		next()
	}
	for i, s := range servers {
		if got := count(s, topic); got != 20 {
			t.Errorf("nsqd %d has %d of 60 messages, want 20", i, got)
		}
	}
	p.Refuse()
	p.Cut()
	for range 60 { // the stop begins
		next()
	}
	restarted.Quiesce()
	kept := count(restarted, topic) // will be on disk
	restarted.Stop()
	for range 60 {
		next()
	}
	restarted.Restart()
	p.Allow()
	eventually(t, func() bool {
		next()
		return count(restarted, topic) >= 5
	}, "publishes to reach the nsqd that was restarted")
	if len(r.unconfirmed) > 1 {
		t.Errorf("%d publishes are unconfirmed, but one was under way at a time", len(r.unconfirmed))
	}
	there := make(map[string]int)
	for _, s := range servers {
		n := count(s, topic)
		if s == restarted {
			n += kept
		}
		for _, body := range collect(t, s, topic, channel, n) {
			there[body]++
		}
	}
	r.check(t, there)
}

// TestPublishBeforeNSQD: a producer starts before nsqd. Publishes wait for it, unless
// WithPublishTimeout(0) is set.
func TestPublishBeforeNSQD(t *testing.T) {
	t.Parallel()
	s := testnsqd.Start(t)
	s.Stop()
	w := new(watch)
	waiting := newProducer(t, topic, nsqx.WithNSQD(s.Addr()), nsqx.WithHooks(w.hooks()))
	hasty := newProducer(t, topic, nsqx.WithNSQD(s.Addr()), nsqx.WithPublishTimeout(0))
	published := make(chan error, 1)
	go func() { published <- waiting.Publish(t.Context(), "waits") }()
	wantKind(t, "without a publish timeout", hasty.Publish(t.Context(), "does not wait"), nsqx.ErrNotSent)
	if err := hasty.Healthy(); !errors.Is(err, nsqx.ErrNoNSQD) {
		t.Errorf("healthy: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err := waiting.Publish(ctx, "ends with its ctx")
	wantKind(t, "without nsqd", err, nsqx.ErrNotSent)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v is not the end of its ctx", err)
	}
	eventually(t, func() bool { return len(w.events(&w.dialErrors)) > 0 }, "a dial that fails")

	s.Restart()
	s.EnsureChannel(topic, channel)
	must(t, receive(t, published, "the publish that waits"))
	eventually(t, func() bool { return hasty.Publish(t.Context(), "later") == nil }, "the other to reach nsqd")
	if err := errors.Join(waiting.Healthy(), hasty.Healthy()); err != nil {
		t.Errorf("healthy: %v", err)
	}
	wantOnce(t, s, topic, []string{"waits", "later"})
}

// TestPublishDiscovery: nsqlookupd names the nsqds for a topic that does not exist yet, and later
// one more.
func TestPublishDiscovery(t *testing.T) {
	t.Parallel()
	l := testnsqd.StartLookupd(t)
	servers := []*testnsqd.Server{testnsqd.Start(t, l.Register), testnsqd.Start(t, l.Register)}
	w := new(watch)
	producer := newProducer(t, "new", nsqx.WithLookupd(l.HTTPAddr()), nsqx.WithLookupInterval(100*time.Millisecond), nsqx.WithHooks(w.hooks()))
	var published []string
	publishTo := func(s *testnsqd.Server) {
		t.Helper()
		eventually(t, func() bool {
			published = append(published, fmt.Sprint("m", len(published)))
			must(t, producer.Publish(t.Context(), published[len(published)-1]))
			return count(s, "new") > 0
		}, "a message at nsqd %s", s.Addr())
	}
	publishTo(servers[0])
	publishTo(servers[1])
	servers = append(servers, testnsqd.Start(t, l.Register))
	publishTo(servers[2])
	var got []string
	for _, s := range servers {
		got = append(got, collect(t, s, "new", channel, count(s, "new"))...)
	}
	slices.Sort(got)
	slices.Sort(published)
	if !slices.Equal(got, published) {
		t.Errorf("on the topic are %q, want %q", got, published)
	}
	w.connected(t, 3)
	if n := len(w.events(&w.connects)); n != 3 {
		t.Errorf("%d connections, want 3", n)
	}
}

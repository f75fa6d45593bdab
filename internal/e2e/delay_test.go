package e2e

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nsqio/nsq/nsqd"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
)

// delays records when a handler got messages.
type delays struct {
	mu   sync.Mutex
	at   map[string]time.Time
	runs int
}

func (d *delays) handle(_ context.Context, body string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at[body] = time.Now()
	d.runs++
	return nil
}

func (d *delays) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.at)
}

// consumeDelayed runs a consumer of a channel.
func consumeDelayed(t *testing.T, s *testnsqd.Server, channel string, opts ...nsqx.ConsumerOption) (*delays, *nsqx.Consumer[string]) {
	t.Helper()
	d := &delays{at: make(map[string]time.Time)}
	c, err := nsqx.NewConsumer(topic, channel, codec.String(), d.handle, append(opts, nsqx.WithNSQD(s.Addr()))...)
	must(t, err)
	start(t, c)
	return d, c
}

// TestDelaysHold: delays that nsqd forgets, for want of a channel and behind a full memory queue, hold
// on each channel. No message is lost, and each is handled once.
func TestDelaysHold(t *testing.T) {
	t.Parallel()
	const n, delay = 100, 2 * time.Second
	small := func(o *nsqd.Options) { o.MemQueueSize = 10 }
	for name, forgotten := range map[string]bool{"topic without a channel": true, "two channels": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testnsqd.Start(t, small)
			var all []*delays
			var consumers []*nsqx.Consumer[string]
			consume := func(channels ...string) {
				for _, channel := range channels {
					d, c := consumeDelayed(t, s, channel)
					all, consumers = append(all, d), append(consumers, c)
				}
				for _, c := range consumers {
					<-c.Ready()
				}
			}
			if !forgotten {
				consume("billing", "mailing")
			}
			p := newProducer(t, topic, nsqx.WithNSQD(s.Addr()), nsqx.WithEnvelope())
			var due []time.Time
			for i := range n {
				due = append(due, time.Now().Add(delay))
				must(t, p.PublishAfter(t.Context(), delay, fmt.Sprint(i)))
			}
			if forgotten {
				consume("billing") // the first channel of a topic gets what was published before
			}
			for _, d := range all {
				eventually(t, func() bool { return d.count() == n }, "%d messages", n)
			}
			time.Sleep(500 * time.Millisecond) // for what should not come
			early := 0
			for i, d := range all {
				d.mu.Lock()
				if d.runs != n {
					t.Errorf("%d runs, want %d", d.runs, n)
				}
				for i := range n {
					if at := d.at[fmt.Sprint(i)]; at.Before(due[i]) {
						t.Errorf("%d was handled %v early", i, due[i].Sub(at))
					}
				}
				d.mu.Unlock()
				early += int(consumers[i].Stats().Early)
			}
			if forgotten && early < n/2 {
				t.Errorf("%d came early: nsqd has not forgotten the delays", early)
			}
		})
	}
}

// TestHopsOfADelay: a delay of more than nsqd's max-req-timeout is waited for in hops, on two channels,
// without copies and without attempts.
func TestHopsOfADelay(t *testing.T) {
	t.Parallel()
	s := testnsqd.Start(t, func(o *nsqd.Options) { o.MaxReqTimeout = 200 * time.Millisecond })
	a, ca := consumeDelayed(t, s, "billing", nsqx.WithMaxAttempts(3), nsqx.WithDeadLetter("dead"))
	b, cb := consumeDelayed(t, s, "mailing", nsqx.WithMaxRequeueDelay(200*time.Millisecond))
	<-ca.Ready()
	<-cb.Ready()
	p := newProducer(t, topic, nsqx.WithNSQD(s.Addr()), nsqx.WithEnvelope())
	due := time.Now().Add(3 * time.Second)
	must(t, p.PublishAt(t.Context(), due, "x"))
	_, err := p.PublishAll(t.Context(), []string{"y", "z"}, nsqx.At(due))
	must(t, err)
	for _, d := range []*delays{a, b} {
		eventually(t, func() bool { return d.count() == 3 }, "3 messages")
		d.mu.Lock()
		for body, at := range d.at {
			if at.Before(due) || at.After(due.Add(2*time.Second)) {
				t.Errorf("%s was handled %v after its time", body, at.Sub(due))
			}
		}
		d.mu.Unlock()
	}
	if n := count(s, topic); n != 3 {
		t.Errorf("%d messages were published, want 3", n)
	}
	if got := ca.Stats().Early + cb.Stats().Early; got < 60 || got > 100 {
		t.Errorf("%d came early, want about 90", got)
	}
}

// TestIdentityInterop: the real nsqd carries ids, keys and the end of a message.
func TestIdentityInterop(t *testing.T) {
	t.Parallel()
	s := testnsqd.Start(t)
	got := make(chan string, 10)
	c := newConsumer(t, func(ctx context.Context, body string) error {
		m := handler.FromContext(ctx)
		got <- fmt.Sprint(m.UID(), " ", m.Key(), " ", body, " ", !m.PublishedAt().IsZero())
		return nil
	}, nsqx.WithNSQD(s.Addr()))
	start(t, c)
	<-c.Ready()
	first := func(n int) func(string) string { return func(v string) string { return v[:n] } }
	p := newProducer(t, topic, nsqx.WithNSQD(s.Addr()), nsqx.WithMessageID(first(3)), nsqx.WithKey(first(1)))
	must(t, p.Publish(t.Context(), "a-1 expired", nsqx.TTL(1)))
	eventually(t, func() bool { return c.Stats().Stale == 1 }, "the message that has expired")
	must(t, p.Publish(t.Context(), "a-2 x", nsqx.TTL(time.Hour)))
	if m := <-got; m != "a-2 a a-2 x true" {
		t.Errorf("got %q", m)
	}
}

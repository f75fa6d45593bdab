package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nsqio/go-nsq"
	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
)

// goNSQ consumes n messages with go-nsq and returns the sorted results of handle.
func goNSQ(tb testing.TB, s *testnsqd.Server, n int, handle func(body []byte) string) (got []string) {
	tb.Helper()
	consumer, err := nsq.NewConsumer(topic, channel, nsq.NewConfig())
	must(tb, err)
	consumer.SetLoggerLevel(nsq.LogLevelMax)
	handled := make(chan string, 2*n)
	consumer.AddHandler(nsq.HandlerFunc(func(m *nsq.Message) error {
		handled <- handle(m.Body)
		return nil
	}))
	must(tb, consumer.ConnectToNSQD(s.Addr()))
	for range n {
		got = append(got, receive(tb, handled, "a message"))
	}
	consumer.Stop()
	receive(tb, consumer.StopChan, "go-nsq to stop")
	if len(handled) > 0 {
		tb.Errorf("go-nsq has got %d messages more than %d", len(handled), n)
	}
	slices.Sort(got)
	return got
}

// threeWays publishes by PUB, MPUB and DPUB and returns the bodies, sorted.
func threeWays(tb testing.TB, ctx context.Context, p *nsqx.Producer[string]) []string {
	tb.Helper()
	must(tb, p.Publish(ctx, "by PUB"))
	n, err := p.PublishAll(ctx, []string{"by MPUB 1", "by MPUB 2", "by MPUB 3"})
	must(tb, err)
	if n != 3 {
		tb.Errorf("PublishAll: %d", n)
	}
	must(tb, p.PublishAfter(ctx, 10*time.Millisecond, "by DPUB"))
	return []string{"by DPUB", "by MPUB 1", "by MPUB 2", "by MPUB 3", "by PUB"}
}

// TestPublishToGoNSQ: a go-nsq consumer reads plain bodies unchanged. Without an envelope no
// headers are sent.
func TestPublishToGoNSQ(t *testing.T) {
	t.Parallel()
	s := testnsqd.Start(t)
	s.EnsureChannel(topic, channel)
	producer := newProducer(t, topic, nsqx.WithNSQD(s.Addr()))
	want := threeWays(t, handler.WithHeader(t.Context(), "tenant", "acme"), producer)
	got := goNSQ(t, s, len(want), func(body []byte) string { return string(body) })
	if !slices.Equal(got, want) {
		t.Errorf("go-nsq reads %q, want %q", got, want)
	}
}

// TestPublishFromGoNSQ: an nsqx consumer reads what a go-nsq producer publishes.
func TestPublishFromGoNSQ(t *testing.T) {
	t.Parallel()
	s := testnsqd.Start(t)
	s.EnsureChannel(topic, channel)
	producer, err := nsq.NewProducer(s.Addr(), nsq.NewConfig())
	must(t, err)
	producer.SetLoggerLevel(nsq.LogLevelMax)
	must(t, producer.Publish(topic, []byte("by PUB")))
	must(t, producer.MultiPublish(topic, [][]byte{[]byte("by MPUB 1"), []byte("by MPUB 2")}))
	must(t, producer.DeferredPublish(topic, 10*time.Millisecond, []byte("by DPUB")))
	producer.Stop()
	wantOnce(t, s, topic, []string{"by PUB", "by MPUB 1", "by MPUB 2", "by DPUB"})
}

// TestPublishEnvelopeToGoNSQ: a go-nsq handler needs only envelope.Split to read headers.
func TestPublishEnvelopeToGoNSQ(t *testing.T) {
	t.Parallel()
	s := testnsqd.Start(t)
	s.EnsureChannel(topic, channel)
	producer := newProducer(t, topic, nsqx.WithNSQD(s.Addr()), nsqx.WithEnvelope())
	must(t, producer.Publish(t.Context(), "without"))
	want := []string{"without: "}
	for _, body := range threeWays(t, handler.WithHeader(t.Context(), "Tenant", "acme"), producer) {
		want = append(want, body+": acme")
	}
	slices.Sort(want)
	got := goNSQ(t, s, len(want), func(body []byte) string {
		headers, payload, err := envelope.Split(body)
		if err != nil {
			t.Errorf("%q: %v", body, err)
		}
		tenant, _ := headers.Get("tenant")
		return fmt.Sprintf("%s: %s", payload, tenant)
	})
	if !slices.Equal(got, want) {
		t.Errorf("go-nsq reads %q, want %q", got, want)
	}
}

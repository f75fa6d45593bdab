package e2e

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqio/go-nsq"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
)

// TestSharesWithGoNSQ: beside go-nsq on one channel, with as many handlers and messages in flight, nsqx gets an even
// share, as during a move from one to the other; and each message comes once.
func TestSharesWithGoNSQ(t *testing.T) {
	const handlers, messages = 50, 20_000
	steady(t, func(t testing.TB) {
		s := testnsqd.Start(t)
		s.EnsureChannel(topic, channel)
		publish(t, s, topic, numbered("", messages)...)
		var seen sync.Map
		var total, twice atomic.Int64
		count := func(own *atomic.Int64, body string) {
			if _, known := seen.LoadOrStore(body, true); known {
				twice.Add(1)
			}
			if total.Add(1) < messages*9/10 { // without the rest, which whoever has room takes
				own.Add(1)
			}
			time.Sleep(10 * time.Millisecond)
		}
		var ours, theirs atomic.Int64

		cfg := nsq.NewConfig()
		cfg.MaxInFlight = handlers
		other, err := nsq.NewConsumer(topic, channel, cfg)
		if err != nil {
			t.Fatal(err)
		}
		other.SetLogger(nil, 0)
		other.AddConcurrentHandlers(nsq.HandlerFunc(func(m *nsq.Message) error {
			count(&theirs, string(m.Body))
			return nil
		}), handlers)
		if err := other.ConnectToNSQD(s.Addr()); err != nil {
			t.Fatal(err)
		}
		c := newConsumer(t, func(_ context.Context, body string) error {
			count(&ours, body)
			return nil
		}, nsqx.WithNSQD(s.Addr()), nsqx.WithConcurrency(handlers), nsqx.WithMaxInFlight(handlers))
		r := start(t, c)
		eventually(t, func() bool { return total.Load() == messages }, "%d messages", messages)
		r.mustStop()
		other.Stop()
		<-other.StopChan
		share := float64(ours.Load()) / float64(ours.Load()+theirs.Load())
		t.Logf("nsqx has handled %.3f of the messages", share)
		if share < 0.4 || share > 0.6 || twice.Load() > 0 {
			t.Errorf("nsqx has handled %.3f of the messages, want 0.4 to 0.6; %d came twice", share, twice.Load())
		}
	})
}

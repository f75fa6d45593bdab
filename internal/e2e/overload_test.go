package e2e

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqio/nsq/nsqd"
	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
)

// TestOverfilledR1: handlers hang, messages time out, and nsqd sends more than RDY. The consumer
// never exceeds its bound, answers heartbeats, and handles all messages in the end. With fast
// handlers it holds at most MaxInFlight messages.
func TestOverfilledR1(t *testing.T) {
	t.Parallel()
	const n, concurrency, maxInFlight = 100, 2, 10
	for name, bound := range map[string]int{"fast handlers": maxInFlight, "handlers that hang": 2*maxInFlight + 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			steady(t, func(t testing.TB) {
				hang := bound > maxInFlight
				s := testnsqd.Start(t, messageTimeout(200*time.Millisecond))
				book, w := newLedger(), new(watch)
				recovered := make(chan struct{})
				var running, most atomic.Int64
				c := newConsumer(t, func(ctx context.Context, body string) error {
					if now := running.Add(1); now > most.Load() {
						most.Store(now)
					}
					defer running.Add(-1)
					if hang {
						await(t, recovered)
					}
					return handles(book)(ctx, body)
				}, nsqx.WithNSQD(s.Addr()), nsqx.WithConn(quick), nsqx.WithConcurrency(concurrency), nsqx.WithMaxInFlight(maxInFlight), nsqx.WithHooks(w.hooks()))
				publish(t, s, topic, numbered("m", n)...)
				r := start(t, c)
				w.connected(t, 1)
				held := 0
				for end := time.Now().Add(3 * beat); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
					st := c.Stats()
					// The fields are not read at once: a message that a worker takes in between
					// counts twice.
					held = max(held, st.Queued+st.Running-concurrency)
				}
				if held > bound {
					t.Errorf("%d messages are held, want %d at most", held, bound)
				}
				if timedOut := s.Channel(topic, channel).TimedOut; hang && timedOut < concurrency {
					t.Errorf("%d messages have timed out", timedOut)
				}
				close(recovered)
				book.wait(t, n)
				eventually(t, func() bool { return s.Channel(topic, channel).Unfinished() == 0 }, "all messages to be finished")
				r.mustStop()
				if most.Load() > concurrency {
					t.Errorf("%d handlers at once", most.Load())
				}
				if st := c.Stats(); st.Connections[0].Dials != 1 {
					t.Errorf("connection %+v, want the first one", st.Connections[0])
				}
			})
		})
	}
}

// heap returns the bytes in use.
func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// TestLargestMessagesR2: messages of the largest size use only the memory that MaxInFlight and
// MaxInFlightBytes allow, plus what handlers make of them. Not parallel: it measures memory.
func TestLargestMessagesR2(t *testing.T) {
	const (
		n, size, concurrency = 48, 1 << 20, 4
		other                = 4 << 20 // read blocks, connections
	)
	for name, tt := range map[string]struct {
		opts  []nsqx.ConsumerOption
		least int // messages held at once
		most  int
	}{
		"MaxInFlight":      {[]nsqx.ConsumerOption{nsqx.WithMaxInFlight(16)}, 16, 16},
		"MaxInFlightBytes": {[]nsqx.ConsumerOption{nsqx.WithMaxInFlight(40), nsqx.WithMaxInFlightBytes(8 << 20)}, 8, 2*8 + concurrency},
	} {
		t.Run(name, func(t *testing.T) {
			s := testnsqd.StartChild(t, time.Minute)
			s.EnsureChannel(topic, channel)
			for range n / 4 {
				body := []byte(strings.Repeat("x", size))
				s.Publish(topic, body, body, body, body)
			}
			eventually(t, func() bool { return s.Channel(topic, channel).Depth == n }, "all messages to be there")
			recovered := make(chan struct{})
			var bytes atomic.Int64
			c := newConsumer(t, func(_ context.Context, body string) error {
				await(t, recovered)
				bytes.Add(int64(len(body)))
				return nil
			}, append(tt.opts, nsqx.WithNSQD(s.Addr()), nsqx.WithConcurrency(concurrency), nsqx.WithFixedRDY())...)
			before := heap()
			r := start(t, c)
			held := func() int { st := c.Stats(); return st.Queued + st.Running }
			// Handlers hang, so after a while queued messages are requeued.
			most, grown := 0, 0
			eventually(t, func() bool {
				if now := held(); now > most {
					most, grown = now, max(grown, heap()-before)
				}
				return most >= tt.least
			}, "%d messages to be held", tt.least)
			for range 20 {
				time.Sleep(5 * time.Millisecond)
				most, grown = max(most, held()), max(grown, heap()-before)
			}
			if most > tt.most {
				t.Errorf("%d messages are held, want %d at most", most, tt.most)
			}
			// A requeued message may be delivered again before its memory is released.
			if limit := (2*tt.most+concurrency)*(size+size/8) + other; grown > limit {
				t.Errorf("%d bytes more in use, want %d at most", grown, limit)
			}
			close(recovered)
			eventually(t, func() bool { return bytes.Load() == n*size }, "all messages to be handled")
			eventually(t, func() bool { return c.Stats().Finished == n }, "all messages to be finished")
			r.mustStop()
		})
	}
}

// TestPublishOverloadR3: far more is published than nsqd reads, which is nothing. Publishes end
// with their ctx, and waiting publishes do not exceed the memory bound. When nsqd reads again,
// publishing succeeds. Not parallel: it measures memory.
func TestPublishOverloadR3(t *testing.T) {
	steady(t, func(t testing.TB) {
		const (
			publishers, size = 64, 256 << 10
			publishTimeout   = 300 * time.Millisecond
			// Unanswered and encoded bodies, and as much again for growing buffers.
			most = 2 * (16<<20 + publishers*size)
		)
		s := testnsqd.Start(t, func(o *nsqd.Options) { o.MemQueueSize = 10 })
		s.EnsureChannel(topic, channel)
		p := testnsqd.StartProxy(t, s.Addr())
		producer := newProducer(t, topic, nsqx.WithNSQD(p.Addr()))
		connectTo(t, producer)
		body := strings.Repeat("x", size)
		before := heap()
		p.Freeze(testnsqd.ToServer)
		var unconfirmed, notSent atomic.Int64
		var latest atomic.Int64 // the longest return after a deadline
		var running sync.WaitGroup
		end := time.Now().Add(2 * time.Second)
		for range publishers {
			running.Go(func() {
				for time.Now().Before(end) {
					ctx, cancel := context.WithTimeout(t.Context(), publishTimeout)
					err := producer.Publish(ctx, body)
					deadline, _ := ctx.Deadline()
					late := int64(time.Since(deadline))
					cancel()
					for old := latest.Load(); late > old && !latest.CompareAndSwap(old, late); old = latest.Load() {
					}
					switch kindOf(t, err) {
					case nsqx.ErrUnconfirmed:
						unconfirmed.Add(1)
					case nsqx.ErrNotSent:
						notSent.Add(1)
					default:
						t.Errorf("publish: %v", err)
					}
					if !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("publish: %v", err)
					}
				}
			})
		}
		peak := 0
		for time.Now().Before(end) {
			peak = max(peak, heap()-before)
			time.Sleep(50 * time.Millisecond)
		}
		running.Wait()
		if unconfirmed.Load() == 0 || notSent.Load() == 0 {
			t.Errorf("%d unconfirmed, %d not sent: want both", unconfirmed.Load(), notSent.Load())
		}
		if late := time.Duration(latest.Load()); late > slack {
			t.Errorf("a publish has returned %v after the end of its ctx", late)
		}
		if peak > most {
			t.Errorf("%d bytes more in use, want %d at most", peak, most)
		}
		p.Thaw(testnsqd.ToServer)
		must(t, producer.Publish(t.Context(), "after"))
		closeIn(t, producer)
		if got := count(s, topic); got > int(unconfirmed.Load())+1 {
			t.Errorf("nsqd has %d messages, of %d that it may have", got, unconfirmed.Load()+1)
		}
		t.Logf("%d unconfirmed, %d not sent, %d MiB at most", unconfirmed.Load(), notSent.Load(), peak>>20)
	})
}

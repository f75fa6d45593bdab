package e2e

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
	"github.com/nsqx/nsqx/retry"
)

// failures returns how often the handler of TestTransports fails for message i.
func failures(i int) int {
	switch {
	case i%15 == 0:
		return 2
	case i%3 == 0:
		return 1
	}
	return 0
}

// TestTransports checks the basics over each transport: whole bodies of all sizes, attempts,
// delays, dead letters, and nothing left at the end.
func TestTransports(t *testing.T) {
	t.Parallel()
	const (
		n     = 300
		delay = 20 * time.Millisecond // times attempts
	)
	for _, tt := range transports(t) {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := testnsqd.Start(t, tt.nsqd...)
			p := testnsqd.StartProxy(t, s.Addr())
			var leaked atomic.Bool
			var passed atomic.Int64
			total := 0
			p.Tap(func(d testnsqd.Direction, b []byte) []byte {
				if d == testnsqd.ToClient {
					passed.Add(int64(len(b)))
				}
				if bytes.Contains(b, []byte("#300-")) || bytes.Contains(b, []byte(canary)) {
					leaked.Store(true)
				}
				return b
			})
			s.EnsureChannel("dead", channel)
			want := make(map[string]uint64) // checksum by number of the body
			for i, body := range mixedBodies(n) {
				want[fmt.Sprint(i)] = sum(body)
				total += len(body)
				publish(t, s, topic, body)
			}
			publish(t, s, topic, []byte("poison"))

			book, w := newLedger(), new(watch)
			failed := make(map[string]time.Time)
			c := newConsumer(t, func(ctx context.Context, body string) error {
				if body == "poison" {
					return retry.Permanent(errFailed)
				}
				var i, size int
				if _, err := fmt.Sscanf(body, "#300-%d-%d", &i, &size); err != nil {
					t.Errorf("body of %d bytes: %v", len(body), err)
				}
				key := fmt.Sprint(i)
				if got := sum([]byte(body)); got != want[key] || len(body) != size {
					t.Errorf("body %d has %d bytes with sum %x, want %d with %x", i, len(body), got, size, want[key])
				}
				book.begin(ctx, key)
				m := handler.FromContext(ctx)
				book.mu.Lock()
				last, again := failed[key]
				book.mu.Unlock()
				if again && time.Since(last) < time.Duration(m.Attempts-1)*delay {
					t.Errorf("body %d came again after %v at attempt %d", i, time.Since(last), m.Attempts)
				}
				if int(m.Attempts) <= failures(i) {
					book.mu.Lock()
					failed[key] = time.Now()
					book.mu.Unlock()
					return errFailed
				}
				book.succeed(key)
				return nil
			},
				nsqx.WithNSQD(p.Addr()),
				nsqx.WithConn(tt.conn),
				nsqx.WithConcurrency(8),
				nsqx.WithMaxInFlight(64),
				nsqx.WithRetry(retry.Linear(delay, time.Second)),
				nsqx.WithDeadLetter("dead"),
				nsqx.WithHooks(w.hooks()),
			)
			r := start(t, c)
			book.wait(t, n)
			finished(t, s, c, n+1)
			r.mustStop()

			requeues := 0
			for i := range n {
				got := book.of(fmt.Sprint(i))
				requeues += failures(i)
				if len(got) != 1+failures(i) {
					t.Errorf("message %d came %d times, want %d", i, len(got), 1+failures(i))
				}
				for j, d := range got {
					if int(d.attempts) != j+1 {
						t.Errorf("delivery %d of message %d has attempts %d", j+1, i, d.attempts)
					}
				}
			}
			stats := c.Stats()
			if stats.Finished != n || stats.Requeued != uint64(requeues) || stats.DeadLettered != 1 || stats.Lost+stats.Expired+stats.Interrupted > 0 {
				t.Errorf("stats %+v, want %d finished, %d requeued, 1 dead letter", stats, n, requeues)
			}
			if st := s.Channel(topic, channel); st.Requeued != uint64(requeues) || st.TimedOut > 0 || st.Unfinished() > 0 || st.Clients > 0 {
				t.Errorf("nsqd says %+v, want %d requeued", st, requeues)
			}
			if got := collect(t, s, "dead", channel, 1, nsqx.WithConn(tt.conn)); got[0] != "poison" {
				t.Errorf("dead letters %q", got)
			}
			if link := stats.Connections[0]; link.Dials != 1 || link.Refused > 0 || len(w.events(&w.dialErrors)) > 0 {
				t.Errorf("connection %+v, errors %v", link, w.events(&w.dialErrors))
			}
			if less := passed.Load() < int64(total); less != (tt.conn.Compression != conn.NoCompression) {
				t.Errorf("%d bytes came over the wire for %d of bodies", passed.Load(), int64(total))
			}
			if tt.opaque && leaked.Load() {
				t.Error("a body or the secret went over the wire in clear text")
			}
		})
	}
}

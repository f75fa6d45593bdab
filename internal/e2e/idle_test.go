package e2e

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
)

// TestLoneAnswer: on an idle connection the answer to a single message is written at once, without
// other traffic or a timer.
func TestLoneAnswer(t *testing.T) {
	t.Parallel()
	for _, compression := range []conn.Compression{conn.NoCompression, conn.Snappy, conn.Deflate} {
		t.Run(compression.String(), func(t *testing.T) {
			t.Parallel()
			s := testnsqd.Start(t)
			p := testnsqd.StartProxy(t, s.Addr())
			var sent logBuffer
			p.Tap(func(d testnsqd.Direction, b []byte) []byte {
				if d == testnsqd.ToServer {
					sent.Write(b)
				}
				return b
			})
			ids := make(chan handler.ID, 1)
			c := newConsumer(t, func(ctx context.Context, body string) error {
				ids <- handler.FromContext(ctx).ID
				return nil
			}, nsqx.WithNSQD(p.Addr()), nsqx.WithConn(conn.Config{Compression: compression, HeartbeatInterval: time.Minute}), nsqx.WithMaxInFlight(1)) // keeps RDY constant
			r := start(t, c)
			eventually(t, func() bool { return c.Stats().Connections[0].RDY > 0 }, "RDY")
			// Each message is sent alone.
			for i := range 3 {
				publish(t, s, topic, fmt.Appendf(nil, "message %d", i))
				id := receive(t, ids, "a message")
				finished(t, s, c, i+1)
				if compression == conn.NoCompression && !strings.HasSuffix(sent.String(), "FIN "+id.String()+"\n") {
					t.Errorf("nsqd was sent %q", sent.String())
				}
			}
			if link := c.Stats().Connections[0]; link.Writes != 4 { // RDY, and three times FIN
				t.Errorf("%d writes for RDY and three answers", link.Writes)
			}
			r.mustStop()
		})
	}
}

// BenchmarkIdleFIN measures the time from the return of a handler to the FIN on the wire, on an
// idle connection through a proxy. The goal is 1 ms.
func BenchmarkIdleFIN(b *testing.B) {
	s := testnsqd.Start(b)
	p := testnsqd.StartProxy(b, s.Addr())
	s.EnsureChannel(topic, channel)
	seen := make(chan time.Time, 1)
	p.Tap(func(d testnsqd.Direction, data []byte) []byte {
		if d == testnsqd.ToServer && bytes.HasPrefix(data, []byte("FIN ")) {
			seen <- time.Now()
		}
		return data
	})
	returned := make(chan time.Time, 1)
	c := newConsumer(b, func(context.Context, string) error {
		returned <- time.Now()
		return nil
	}, nsqx.WithNSQD(p.Addr()))
	r := start(b, c)
	body := bytes.Repeat([]byte("x"), 200)
	var waits []time.Duration
	for b.Loop() {
		s.Publish(topic, body)
		since := <-returned
		waits = append(waits, (<-seen).Sub(since))
	}
	r.mustStop()
	slices.Sort(waits)
	b.ReportMetric(float64(waits[len(waits)/2].Nanoseconds()), "p50-ns/FIN")
	b.ReportMetric(float64(waits[len(waits)*99/100].Nanoseconds()), "p99-ns/FIN")
	b.ReportMetric(float64(waits[len(waits)-1].Nanoseconds()), "max-ns/FIN")
}

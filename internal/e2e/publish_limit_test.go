package e2e

import (
	"bytes"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nsqio/nsq/nsqd"
	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
)

// TestPublishServerLimits: nsqd takes less than conn.Config says. What is too large for it is rejected; those with
// which it shared an MPUB are confirmed, and all are there once. (I14)
func TestPublishServerLimits(t *testing.T) {
	t.Parallel()
	const n, size = 9, 500
	for name, tt := range map[string]struct {
		limit   func(*nsqd.Options)
		culprit bool // one message is too large by itself
	}{
		"max-msg-size":  {func(o *nsqd.Options) { o.MaxMsgSize = 1000 }, true},
		"max-body-size": {func(o *nsqd.Options) { o.MaxBodySize = 1000 }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testnsqd.Start(t, tt.limit)
			s.EnsureChannel(topic, channel)
			p := testnsqd.StartProxy(t, s.Addr())
			var together atomic.Bool
			p.Tap(func(d testnsqd.Direction, b []byte) []byte {
				if d == testnsqd.ToServer && bytes.Contains(b, []byte("MPUB ")) {
					together.Store(true)
				}
				return b
			})
			g := new(gate)
			producer := newProducer(t, topic, nsqx.WithNSQD(p.Addr()), nsqx.WithConn(conn.Config{DialContext: g.dial}))
			connectTo(t, producer)

			g.shut()
			var bodies []string
			for i := range n {
				bodies = append(bodies, fmt.Sprint(i, strings.Repeat("x", size)))
			}
			if tt.culprit {
				bodies[n/2] = strings.Repeat("too large", 200)
			}
			var results []chan error
			for i, body := range bodies {
				result := make(chan error, 1)
				results = append(results, result)
				go func() { result <- producer.Publish(t.Context(), body) }()
				eventually(t, func() bool { return producer.Stats().InFlight == i+1 }, "%d publishes to be under way", i+1)
			}
			g.lift()
			var want []string
			for i, body := range bodies {
				err := receive(t, results[i], "a publish")
				if tt.culprit && i == n/2 {
					wantKind(t, "the culprit", err, nsqx.ErrRejected)
					wantCode(t, err, "E_BAD_MESSAGE")
					continue
				}
				if err != nil {
					t.Errorf("publish %d: %v", i, err)
				}
				want = append(want, body)
			}
			if !together.Load() {
				t.Error("there was no MPUB")
			}

			got, err := producer.PublishAll(t.Context(), bodies)
			wantKind(t, "PublishAll", err, nsqx.ErrRejected)
			if got != 0 {
				t.Errorf("PublishAll: %d are said to be confirmed", got)
			}
			wantOnce(t, s, topic, want)
		})
	}
}

// TestPublishAllSplits: 20 MB are more than nsqd takes at once.
func TestPublishAllSplits(t *testing.T) {
	t.Parallel()
	const n, size = 200, 100 << 10
	s := testnsqd.Start(t)
	s.EnsureChannel(topic, channel)
	p := testnsqd.StartProxy(t, s.Addr())
	before := handshakeBytes(t, p)[testnsqd.ToClient]
	var answers atomic.Int64
	p.Tap(func(d testnsqd.Direction, b []byte) []byte {
		if d == testnsqd.ToClient {
			answers.Add(int64(len(b)))
		}
		return b
	})
	producer := newProducer(t, topic, nsqx.WithNSQD(p.Addr()))
	var bodies []string
	for i := range n {
		bodies = append(bodies, fmt.Sprintf("%d%0*d", i, size, i))
	}
	got, err := producer.PublishAll(t.Context(), bodies)
	if got != n || err != nil {
		t.Errorf("PublishAll: %d, %v, want %d", got, err, n)
	}
	if commands := (int(answers.Load()) - before) / len(okFrame); commands != 4 { // 51 of them fit into 5 MiB
		t.Errorf("%d MPUBs, want 4", commands)
	}
	wantOnce(t, s, topic, bodies)

	bodies[n-1] = strings.Repeat("x", 1<<20+1)
	got, err = producer.PublishAll(t.Context(), bodies)
	wantKind(t, "with one too large", err, nsqx.ErrRejected)
	if got != 0 || count(s, topic) != n {
		t.Errorf("PublishAll: %d; nsqd has %d, want %d", got, count(s, topic), n)
	}
}

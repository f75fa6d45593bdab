package e2e

import (
	"bytes"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqio/nsq/nsqd"
	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
)

// TestPublishServerLimits: nsqd's limits are lower than those of conn.Config. A message that is too
// large is rejected. Others in the same MPUB are confirmed, and each is there once. (I14)
func TestPublishServerLimits(t *testing.T) {
	t.Parallel()
	const n, size = 9, 500
	for name, tt := range map[string]struct {
		limit   func(*nsqd.Options)
		culprit bool // one message exceeds the limit alone
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

			g.close()
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
			g.open()
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

// TestPublishDelayF21: a delay above nsqd's --max-req-timeout would end the connection, so it is
// rejected before it is sent. If nsqd's limit is lower than conn.Config's, nsqd rejects it, and the
// next publish gets a new connection.
func TestPublishDelayF21(t *testing.T) {
	t.Parallel()
	const most = 300 * time.Millisecond
	for name, tt := range map[string]struct {
		cfg   conn.Config
		sent  int64 // DPUBs
		dials int
	}{
		"known to us": {conn.Config{MaxDelay: most}, 1, 1},
		"not known":   {conn.Config{}, 2, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testnsqd.Start(t, func(o *nsqd.Options) { o.MaxReqTimeout = most })
			s.EnsureChannel(topic, channel)
			p := testnsqd.StartProxy(t, s.Addr())
			sent := commands(p, "DPUB ")
			producer := newProducer(t, topic, nsqx.WithNSQD(p.Addr()), nsqx.WithConn(tt.cfg))
			must(t, producer.Publish(t.Context(), "before"))
			err := producer.PublishAfter(t.Context(), most+time.Millisecond, "too late")
			wantKind(t, "delay", err, nsqx.ErrRejected)
			if tt.dials > 1 {
				wantCode(t, err, "E_INVALID")
			}
			must(t, producer.PublishAfter(t.Context(), most, "delayed"))
			if sent.Load() != tt.sent || p.Accepted() != tt.dials {
				t.Errorf("%d DPUBs over %d connections, want %d over %d", sent.Load(), p.Accepted(), tt.sent, tt.dials)
			}
			wantOnce(t, s, topic, []string{"before", "delayed"})
		})
	}
}

// TestPublishAllSplits: 20 MB exceed the maximum size of an MPUB.
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
	if commands := (int(answers.Load()) - before) / len(okFrame); commands != 4 { // 51 bodies fit into 5 MiB
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

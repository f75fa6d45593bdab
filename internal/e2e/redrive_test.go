package e2e

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
	"github.com/nsqx/nsqx/retry"
)

const redriveIdle = 2 * time.Second

// failingConsumer consumes orders/billing. While failing is set it fails permanently; otherwise it
// records messages.
type failingConsumer struct {
	*nsqx.Consumer[string]
	failing atomic.Bool
	book    *ledger
	headers atomic.Int64 // messages with their own headers and none of a dead letter
}

func newFailingConsumer(t *testing.T, s *testnsqd.Server) *failingConsumer {
	p := &failingConsumer{book: newLedger()}
	p.failing.Store(true)
	p.Consumer = newConsumer(t, func(ctx context.Context, body string) error {
		if p.failing.Load() {
			return retry.Permanent(errFailed)
		}
		p.book.begin(ctx, body)
		m := handler.FromContext(ctx)
		if m.Header("number") == body && m.Header("traceparent") == "of "+body && m.Header(envelope.DeadTopic) == "" {
			p.headers.Add(1)
		}
		p.book.succeed(body)
		return nil
	}, nsqx.WithNSQD(s.Addr()), nsqx.WithDeadLetter("dead"))
	return p
}

// enveloped returns n distinct bodies with headers, and their payloads.
func enveloped(n int) (bodies, payloads [][]byte) {
	for i := range n {
		var w envelope.Writer
		number := strconv.Itoa(i)
		_ = w.Set("number", number)
		_ = w.Set("traceparent", "of "+number)
		payloads = append(payloads, []byte(number))
		bodies = append(bodies, w.AppendTo(nil, []byte(number)))
	}
	return bodies, payloads
}

// redrive redrives the n dead letters and returns the number of newer ones.
func redrive(t *testing.T, s *testnsqd.Server, n int) (newer int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitTimeout)
	defer cancel()
	got, err := nsqx.Redrive(ctx, "dead", "", nsqx.WithNSQD(s.Addr()), nsqx.WithRedriveHTTP(s.Addr(), s.HTTPAddr()), nsqx.WithRedriveRate(2000), nsqx.WithRedriveIdle(redriveIdle))
	if err != nil {
		t.Errorf("Redrive: %v", err)
	}
	if got.Redriven != n || got.Failed+got.NoOrigin > 0 {
		t.Errorf("Redrive reports %+v, want %d redriven", got, n)
	}
	return got.Newer
}

// TestRedrive: the same consumer handles the dead letters after its recovery, with their original
// headers.
func TestRedrive(t *testing.T) {
	t.Parallel()
	const n = 200
	s := testnsqd.Start(t)
	p := newFailingConsumer(t, s)
	bodies, payloads := enveloped(n)
	publish(t, s, topic, bodies...)
	r := start(t, p)
	finished(t, s, p, n)

	p.failing.Store(false)
	redrive(t, s, n)
	p.book.wait(t, n)
	finished(t, s, p, 2*n)
	r.mustStop()
	p.book.complete(t, payloads)
	if got := p.headers.Load(); got != n || p.book.extra() > 0 {
		t.Errorf("%d of %d had their headers; %d deliveries too many", got, n, p.book.extra())
	}
	if st := s.Channel("dead", "redrive"); st.Unfinished() > 0 {
		t.Errorf("dead letters are left: %+v", st)
	}
}

// TestRedriveWhileFailing: Redrive returns although its messages become dead letters again. Those
// are left for the next Redrive.
func TestRedriveWhileFailing(t *testing.T) {
	t.Parallel()
	const n = 50
	s := testnsqd.Start(t)
	p := newFailingConsumer(t, s)
	bodies, payloads := enveloped(n)
	publish(t, s, topic, bodies...)
	r := start(t, p)
	finished(t, s, p, n)

	if newer := redrive(t, s, n); newer == 0 || newer > n {
		t.Errorf("%d have come again, want %d at most", newer, n)
	}
	finished(t, s, p, 2*n)
	if st := s.Channel("dead", "redrive"); st.Unfinished() != n {
		t.Errorf("%d dead letters should be left: %+v", n, st)
	}
	p.failing.Store(false)
	eventually(t, func() bool { return s.Channel("dead", "redrive").Depth == n }, "dead letters to be there again")
	redrive(t, s, n)
	p.book.wait(t, n)
	finished(t, s, p, 3*n)
	r.mustStop()
	p.book.complete(t, payloads)
	if got := p.headers.Load(); got != n {
		t.Errorf("%d of %d had their headers", got, n)
	}
}

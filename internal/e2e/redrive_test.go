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

// patient is a consumer of orders/billing that fails for good while it is sick, and notes what it handles otherwise.
type patient struct {
	*nsqx.Consumer[string]
	sick    atomic.Bool
	book    *ledger
	headers atomic.Int64 // messages that had theirs, and none of a dead letter
}

func newPatient(t *testing.T, s *testnsqd.Server) *patient {
	p := &patient{book: newLedger()}
	p.sick.Store(true)
	p.Consumer = newConsumer(t, func(ctx context.Context, body string) error {
		if p.sick.Load() {
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

// enveloped are n distinct bodies with headers of their own.
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

// redrive sends the n dead letters home, and returns how many have come after that.
func redrive(t *testing.T, s *testnsqd.Server, n int) (newer int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	got, err := nsqx.Redrive(ctx, "dead", "", nsqx.WithNSQD(s.Addr()), nsqx.WithRedriveRate(2000), nsqx.WithRedriveIdle(redriveIdle))
	if err != nil {
		t.Errorf("Redrive: %v", err)
	}
	if got.Redriven != n || got.Failed+got.NoOrigin > 0 {
		t.Errorf("Redrive reports %+v, want %d redriven", got, n)
	}
	return got.Newer
}

// TestRedrive: what was given up is handled by the same consumer, once it is healthy, with the headers that it had.
func TestRedrive(t *testing.T) {
	t.Parallel()
	const n = 200
	s := testnsqd.Start(t)
	p := newPatient(t, s)
	bodies, payloads := enveloped(n)
	publish(t, s, topic, bodies...)
	r := start(t, p)
	finished(t, s, p, n)

	p.sick.Store(false)
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

// TestRedriveWhileFailing: it ends by itself, and what has come back to it is there for the next one.
func TestRedriveWhileFailing(t *testing.T) {
	t.Parallel()
	const n = 50
	s := testnsqd.Start(t)
	p := newPatient(t, s)
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
	p.sick.Store(false)
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

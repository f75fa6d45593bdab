package e2e

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nsqx/nsqx/handler"
)

// delivery is a delivery of a message as its handler saw it.
type delivery struct {
	attempts uint16
	at       time.Time
}

// ledger records, by body, deliveries to handlers and their successes. Message ids would not do:
// they are not unique.
type ledger struct {
	mu         sync.Mutex
	deliveries map[string][]delivery
	successes  map[string]int
	changed    chan struct{} // gets a token after each success
}

func newLedger() *ledger {
	return &ledger{deliveries: make(map[string][]delivery), successes: make(map[string]int), changed: make(chan struct{}, 1)}
}

func (l *ledger) begin(ctx context.Context, body string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deliveries[body] = append(l.deliveries[body], delivery{handler.FromContext(ctx).Attempts, time.Now()})
}

func (l *ledger) succeed(body string) {
	l.mu.Lock()
	l.successes[body]++
	l.mu.Unlock()
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

func (l *ledger) handled() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.successes)
}

func (l *ledger) has(body string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.successes[body] > 0
}

func (l *ledger) of(body string) []delivery {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.deliveries[body])
}

// extra counts the deliveries beyond the first of each message.
func (l *ledger) extra() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range l.deliveries {
		n += len(d) - 1
	}
	return n
}

// wait waits until n messages have a success.
func (l *ledger) wait(tb testing.TB, n int) {
	tb.Helper()
	timeout := time.After(3 * waitTimeout)
	for l.handled() < n {
		select {
		case <-l.changed:
		case <-timeout:
			tb.Fatalf("%d of %d messages were handled", l.handled(), n)
		}
	}
}

// complete fails the test, stalled or not, unless exactly bodies have a success.
func (l *ledger) complete(tb testing.TB, bodies [][]byte) {
	tb = outright(tb)
	tb.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	missing := 0
	for _, b := range bodies {
		if l.successes[string(b)] == 0 {
			missing++
		}
	}
	if missing > 0 || len(l.successes) != len(bodies) {
		tb.Errorf("%d of %d messages were never handled; %d were in all", missing, len(bodies), len(l.successes))
	}
}

// handles returns a handler that records each message and succeeds.
func handles(book *ledger) func(ctx context.Context, body string) error {
	return func(ctx context.Context, body string) error {
		book.begin(ctx, body)
		book.succeed(body)
		return nil
	}
}

// unreliable returns a handler that fails now and then.
func unreliable(book *ledger) func(ctx context.Context, body string) error {
	return func(ctx context.Context, body string) error {
		book.begin(ctx, body)
		switch rand.IntN(20) {
		case 0:
			return errFailed
		case 1:
			time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond)
		}
		book.succeed(body)
		return nil
	}
}

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/internal/e2e/testnsqd"
)

// seeded is a source of randomness that a failure can be repeated with, as far
// as the scheduler allows.
func seeded(t *testing.T) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, seed))
}

// unreliable handles, but fails now and then.
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

// TestRestarts: nsqd is restarted under load, quiesced, so that it loses
// nothing itself. Every message is handled, and only those that were in flight
// or requeued come more than once. (F3; I1, I3, I4)
func TestRestarts(t *testing.T) {
	t.Parallel()
	random := seeded(t)
	for began, round := time.Now(), 0; round == 0 || time.Since(began) < testnsqd.Stress(t); round++ {
		restarts(t, random)
	}
}

func restarts(t *testing.T, random *rand.Rand) {
	const restarts, batch, concurrency, maxInFlight = 4, 500, 8, 32
	s := testnsqd.Start(t) // message timeout 60 s
	p := testnsqd.StartProxy(t, s.Addr())
	book, w := newLedger(), new(watch)
	c := newConsumer(t, unreliable(book), nsqx.WithNSQD(p.Addr()), nsqx.WithConcurrency(concurrency),
		nsqx.WithMaxInFlight(maxInFlight), nsqx.WithHooks(w), at(5*time.Millisecond))
	r := start(t, c)
	var bodies [][]byte
	for i := range restarts {
		fresh := numbered(fmt.Sprint("batch", i), batch)
		publish(t, s, topic, fresh...)
		bodies = append(bodies, fresh...)
		book.wait(t, i*batch+random.IntN(batch))
		s.QuiescedRestart(p)
		w.connected(t, i+2)
	}
	book.wait(t, restarts*batch)
	eventually(t, func() bool { return s.Channel(topic, channel).Unfinished() == 0 }, "all messages to be finished")
	r.mustStop()

	book.complete(t, bodies)
	stats := c.Stats()
	if extra, most := book.extra(), restarts*maxInFlight+int(stats.Requeued); extra > most {
		t.Errorf("%d messages came again, want %d at most", extra, most)
	}
	if link := stats.Connections[0]; link.Refused > 0 {
		t.Errorf("nsqd refused answers %d times: %v", link.Refused, w.events(&w.refused))
	}
	t.Logf("%d extra deliveries, %d requeued, %d lost", book.extra(), stats.Requeued, stats.Lost)
}

// TestCuts: connections are cut at random moments under load, in good order
// and with RST. (F2; I1, I3, I4, I7)
func TestCuts(t *testing.T) {
	t.Parallel()
	random := seeded(t)
	for began, round := time.Now(), 0; round == 0 || time.Since(began) < testnsqd.Stress(t); round++ {
		cuts(t, random)
	}
}

func cuts(t *testing.T, random *rand.Rand) {
	const (
		cuts, links, batch = 30, 6, 150 // a connection is redialled later each time, so there are several
		maxInFlight        = 60
	)
	s := testnsqd.Start(t, messageTimeout(2*time.Second))
	var proxies []*testnsqd.Proxy
	var addrs []string
	for range links {
		p := testnsqd.StartProxy(t, s.Addr())
		proxies, addrs = append(proxies, p), append(addrs, p.Addr())
	}
	book, w := newLedger(), new(watch)
	c := newConsumer(t, unreliable(book), nsqx.WithNSQD(addrs...), nsqx.WithConcurrency(8),
		nsqx.WithMaxInFlight(maxInFlight), nsqx.WithHooks(w), at(5*time.Millisecond))
	r := start(t, c)
	w.connected(t, 1)
	var bodies [][]byte
	for i := range cuts {
		fresh := numbered(fmt.Sprint("batch", i), batch)
		publish(t, s, topic, fresh...)
		bodies = append(bodies, fresh...)
		link := i % links
		eventually(t, func() bool { return c.Stats().Connections[link].Connected }, "connection %d", link)
		time.Sleep(time.Duration(random.IntN(8000)) * time.Microsecond)
		if random.IntN(2) == 0 {
			proxies[link].Cut()
		} else {
			proxies[link].Reset()
		}
	}
	book.wait(t, cuts*batch)
	finished(t, s, c, cuts*batch)
	for i := range links {
		eventually(t, func() bool { return c.Stats().Connections[i].Connected }, "connection %d to be back", i)
	}
	r.mustStop()

	book.complete(t, bodies)
	st, stats := s.Channel(topic, channel), c.Stats()
	if extra := book.extra(); extra > int(st.TimedOut+st.Requeued) || st.TimedOut > cuts*maxInFlight {
		t.Errorf("%d messages came again, nsqd says %+v", extra, st)
	}
	if n := len(w.events(&w.disconnects)); n != cuts+links { // and those of the end
		t.Errorf("%d disconnects, want %d", n, cuts+links)
	}
	if refused := w.events(&w.refused); len(refused) > 0 {
		t.Errorf("nsqd refused %v", refused)
	}
	t.Logf("%d extra deliveries, %d requeued, %d timed out, %d lost", book.extra(), st.Requeued, st.TimedOut, stats.Lost)
}

package nsqx_test

import (
	"context"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
)

// TestSetConcurrency, up and down while handlers run: those that are too many end when they come for the next message, or at
// once if they sleep.
func TestSetConcurrency(t *testing.T) {
	for _, batch := range []int{1, 16} {
		bubble(t, strconv.Itoa(batch), func(t *testing.T) {
			d := newNSQDs(t)
			s := d.run(takes(10*time.Millisecond, nil), nsqx.WithConcurrency(1), nsqx.WithMaxInFlight(100))
			s.SetBatch(batch)
			check := func(what string, workers, busy, idle, queued, finished int) {
				t.Helper()
				synctest.Wait()
				stats := s.Stats()
				want(t, what+": workers", s.Workers(), workers)
				want(t, what+": busy", s.Busy(), busy)
				want(t, what+": running", stats.Running, busy)
				want(t, what+": idle", s.Idle(), idle)
				want(t, what+": queued", stats.Queued, queued)
				if batch == 1 || busy == 0 {
					want(t, what+": finished", stats.Finished, uint64(finished))
				} else if stats.Finished > uint64(finished) { // nsqd is told of a pocketful at once
					t.Errorf("%s: %d finished, want %d at most", what, stats.Finished, finished)
				}
				want(t, what+": results", s.Results(), uint64(finished))
			}
			synctest.Wait()
			time.Sleep(5 * time.Millisecond) // between two ends of handlers from now on
			check("at first", 1, 0, 1, 0, 0)
			l := d.line(nsqd1)
			l.flood(1, 30)
			check("one", 1, 1, 0, 29, 0)
			s.SetWorkers(4)
			check("four", 4, 4, 0, 26, 0)
			time.Sleep(15 * time.Millisecond)
			check("four, later", 4, 4, 0, 22, 4)
			s.SetWorkers(2)
			check("two, wanted", 4, 4, 0, 22, 4)
			time.Sleep(10 * time.Millisecond)
			check("two", 2, 2, 0, 20, 8)
			s.SetWorkers(1)
			s.SetWorkers(3)
			check("three", 3, 3, 0, 19, 8)
			s.SetWorkers(10)
			time.Sleep(30 * time.Millisecond)
			check("ten", 10, 0, 10, 0, 30)
			s.SetWorkers(2)
			check("two, asleep", 2, 0, 2, 0, 30)
			l.send(31, 32, 33)
			check("two again", 2, 2, 0, 1, 30)
			s.cancel()
			synctest.Wait()
			s.SetWorkers(20)
			check("in the drain", 2, 2, 0, 0, 30)
			<-s.done
			s.SetWorkers(20)
			check("after it", 0, 0, 0, 0, 32)
			want(t, "Run returned", s.err, nil)
		})
	}
}

// TestSetConcurrencyOftenLeavesNothing: no workers, no counts; and no message waits meanwhile.
func TestSetConcurrencyOftenLeavesNothing(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		const rounds, batch = 1000, 10
		d := newNSQDs(t)
		s := d.run(func(context.Context, string) error { return nil }, nsqx.WithConcurrency(1), nsqx.WithMaxInFlight(100))
		s.SetBatch(16)
		l := d.line(nsqd1)
		last := uint64(0)
		for i := range rounds {
			l.flood(uint64(1+i*batch), batch)
			for j := range 10 {
				s.SetWorkers(1 + (i+j)%7)
				if now := s.Stats().Finished; now < last {
					t.Fatalf("%d finished, then %d", last, now)
				} else {
					last = now
				}
			}
			synctest.Wait()
			if n, want := s.Stats().Finished, uint64((i+1)*batch); n != want {
				t.Fatalf("%d finished, want %d", n, want)
			}
			if n, want := s.Workers(), 1+(i+9)%7; n != want {
				t.Fatalf("%d workers, want %d", n, want)
			}
		}
		synctest.Wait()
		want(t, "finished", s.Stats().Finished, rounds*batch)
		s.SetWorkers(3)
		synctest.Wait()
		want(t, "workers", s.Workers(), 3)
		want(t, "idle", s.Idle(), 3)
		s.wantStop(orderly)
		want(t, "finished", s.Stats().Finished, rounds*batch)
	})
}

// TestGoexitWithAPocket: what the worker had taken is handled by it all the same, in order.
func TestGoexitWithAPocket(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		d := newNSQDs(t)
		var ids synced[string]
		s := d.run(func(ctx context.Context, _ string) error {
			ids.add("x")
			if len(ids.all())%2 == 1 {
				runtime.Goexit()
			}
			return nil
		}, nsqx.WithConcurrency(1), nsqx.WithRetry(seconds), nsqx.WithMaxInFlight(100))
		s.SetBatch(16)
		l := d.line(nsqd1)
		l.flood(1, 6)
		l.wantCommands("REQ", "REQ 1 10000, REQ 3 10000, REQ 5 10000")
		l.wantCommands("FIN", "FIN 2, FIN 4, FIN 6")
		want(t, "workers", s.Workers(), 1)
		want(t, "results", s.Results(), 6)
		s.wantStop(orderly)
	})
}

// TestDrainFindsPockets: what workers have taken and not started is given back at once.
func TestDrainFindsPockets(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		d := newNSQDs(t)
		s := d.run(takes(3*time.Second, nil), nsqx.WithConcurrency(2), nsqx.WithMaxInFlight(100))
		s.SetBatch(16)
		l := d.line(nsqd1)
		l.flood(0x10, 32)
		synctest.Wait()
		want(t, "queued", s.Stats().Queued, 30)
		s.cancel()
		given := l.commands("REQ")
		slices.Sort(given)
		want(t, "given back", len(slices.Compact(given)), 30)
		s.wantStop(3*time.Second + orderly)
		want(t, "finished", len(l.commands("FIN")), 2)
	})
}

// TestOverflow: of a flood each message is either handled or goes back, and is counted once.
func TestOverflow(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		d := newNSQDs(t, nsqd1, nsqd2)
		s := d.run(takes(10*time.Millisecond, nil), nsqx.WithConcurrency(1), nsqx.WithMaxInFlight(8))
		other, l := d.line(nsqd1), d.line(nsqd2)
		other.flood(0x100, 34) // with one more the queue is full
		synctest.Wait()
		l.flood(1, 4)
		time.Sleep(10 * time.Second)
		want(t, "answered", len(l.commands("FIN", "REQ")), 4)
		stats := s.Stats()
		want(t, "counted", stats.Finished+stats.Requeued+stats.Interrupted+stats.Expired+stats.Lost, 34+4)
		want(t, "finished", int(stats.Finished), len(l.commands("FIN"))+len(other.commands("FIN")))
		s.wantStop(orderly)
	})
}

// Tests of scenario_publish.go and produce*.go.

package main

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestPublishScenario: each client, in its own process, is measured and gets each message
// confirmed. The scenario itself checks that nsqd has them.
func TestPublishScenario(t *testing.T) {
	s := publishScenario()
	for _, goroutines := range []int{1, 7, 64} {
		j := defaultJob()
		j.Messages, j.Goroutines, j.Size = 2000, goroutines, 50
		results, err := s.run(t.Context(), j, 1)
		if err != nil {
			t.Fatalf("%d goroutines: %v", goroutines, err)
		}
		for _, c := range s.contenders {
			if len(results[c.client]) != 1 {
				t.Fatalf("%d goroutines: nothing from %s", goroutines, c.client)
			}
			r := results[c.client][0]
			if r.Client.CPU <= 0 || r.Client.Wall <= 0 || r.NSQDs.CPU <= 0 || r.Client.Latency.P50 <= 0 {
				t.Errorf("%d goroutines: %s: not measured: %+v", goroutines, c.client, r)
			}
			if runtime.GOOS == "linux" && r.Client.Writes == 0 {
				t.Errorf("%d goroutines: %s: write calls not counted", goroutines, c.client)
			}
		}
	}
}

func TestPublishScenarioFaults(t *testing.T) {
	j := defaultJob()
	j.Scenario, j.Client, j.Messages = publishName, "nobody", 10
	f, err := startFleet(t.Context(), j)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	if _, err := lapPublish(t.Context(), f, j); err == nil || !strings.Contains(err.Error(), `no producer named "nobody"`) {
		t.Errorf("unknown client: %v", err)
	}
	j.Client, j.Size = "nsqx", maxSize+1
	if _, err := lapPublish(t.Context(), f, j); err == nil || !strings.Contains(err.Error(), "publish rejected") {
		t.Errorf("a body that is too large: %v", err)
	}
}

// TestSpread: all messages are published, as evenly as possible.
func TestSpread(t *testing.T) {
	for _, n := range []int{1, 5, 64, 1000} {
		workers := newWorkers(job{Goroutines: 7, Messages: n, Size: 1}, false)
		var published atomic.Int64
		err := spread(workers, n, func(w *worker, count int) error {
			if count < n/7 || count > n/7+1 {
				t.Errorf("%d of %d messages for one of 7", count, n)
			}
			return w.each(count, 3, func(k int) error {
				if k > 3 {
					t.Errorf("%d at once, want at most 3", k)
				}
				published.Add(int64(k))
				return nil
			})
		})
		if err != nil || published.Load() != int64(n) {
			t.Errorf("%d of %d published, %v", published.Load(), n, err)
		}
	}
	failed := errors.New("failed")
	if err := spread(newWorkers(job{Size: 1}, true), 1, func(*worker, int) error { return failed }); err != failed {
		t.Errorf("%v, want the error", err)
	}
}

// TestWorkerSamples: every publish of many messages is timed, and one in eight of a single one.
func TestWorkerSamples(t *testing.T) {
	for size, want := range map[int]int{1: 10, batch: 80} {
		w := new(worker)
		for range 80 {
			w.end(w.begin(size))
		}
		if len(w.latencies) != want || slices.Min(w.latencies) < 0 || slices.Max(w.latencies) > time.Minute {
			t.Errorf("of 80 publishes of %d were timed: %v", size, w.latencies)
		}
	}
}

// TestPipeline: at most window publishes are unanswered, all are answered in the end, and the first
// error ends the pipeline.
func TestPipeline(t *testing.T) {
	published, unanswered, highest := 0, 0, 0
	publish := func() error {
		published++
		unanswered++
		highest = max(highest, unanswered)
		return nil
	}
	await := func() error { unanswered--; return nil }
	if err := pipeline(10, 4, publish, await); err != nil || published != 10 || unanswered != 0 || highest != 4 {
		t.Errorf("%v: %d published, %d unanswered, at most %d; want 10, 0, 4", err, published, unanswered, highest)
	}
	failed := errors.New("failed")
	fails := func() error { return failed }
	if err := pipeline(10, 4, fails, await); err != failed {
		t.Errorf("publish fails: %v", err)
	}
	if err := pipeline(10, 4, publish, fails); err != failed {
		t.Errorf("an answer is an error: %v", err)
	}
}

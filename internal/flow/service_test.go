package flow_test

import (
	"testing"
	"time"

	"github.com/nsqx/nsqx/internal/flow"
)

// work plays n ticks of workers that are always busy with handlers of the given duration.
func work(s *flow.Service, n, workers int, takes time.Duration) {
	for range n {
		busy := time.Duration(workers) * flow.Tick
		s.Add(busy, uint64(busy/takes))
	}
}

func TestServiceAhead(t *testing.T) {
	tests := []struct {
		name    string
		takes   time.Duration
		workers int
		rtt     time.Duration
		want    int
	}{
		{"100 ms", 100 * ms, 8, 0, 8},
		{"10 ms", 10 * ms, 8, 0, 80},
		{"50 ms, far away", 50 * ms, 4, 200 * ms, 32},
		{"microseconds", us, 8, 0, 2500},
		{"much longer", time.Minute, 8, 0, 0},
		{"rounded up", 150 * ms, 1, 0, 1},
		{"rounded down", 250 * ms, 1, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var s flow.Service
			if got := s.Ahead(tt.workers, tt.rtt, 2500); got != 0 {
				t.Errorf("%d before there was a result", got)
			}
			// Enough ticks for a result of the longest handler.
			n := int(max(tt.takes/flow.Tick, 10))
			s.Add(time.Duration(n*tt.workers)*flow.Tick, uint64(time.Duration(n*tt.workers)*flow.Tick/tt.takes))
			if got := s.Ahead(tt.workers, tt.rtt, 2500); got != tt.want {
				mean, _ := s.Time()
				t.Errorf("%d ahead at %v, want %d", got, mean, tt.want)
			}
		})
	}
}

// TestServiceFollows checks that the mean follows a change within two seconds, and that stuck
// handlers, which give no results, show.
func TestServiceFollows(t *testing.T) {
	var s flow.Service
	work(&s, 100, 8, ms)
	if mean, _ := s.Time(); mean < 999*us || mean > 1001*us {
		t.Errorf("mean %v, want 1ms", mean)
	}
	work(&s, 20, 8, 2*ms)
	if mean, _ := s.Time(); mean < 1300*us || mean > 2*ms {
		t.Errorf("mean %v two seconds after the change to 2ms", mean)
	}
	for range 20 {
		s.Add(8*flow.Tick, 0)
	}
	if mean, _ := s.Time(); mean < 4*ms {
		t.Errorf("mean %v while all handlers hang for 2s", mean)
	}
	if n := s.Ahead(8, 0, 2500); n > 200 {
		t.Errorf("%d ahead while all handlers hang", n)
	}
	for range 400 {
		s.Add(8*flow.Tick, 0)
	}
	if n := s.Ahead(8, 0, 2500); n != 0 {
		t.Errorf("%d ahead while all handlers hang for ever", n)
	}
}

// TestServiceIdle checks that idle ticks change nothing, an hour of them either.
func TestServiceIdle(t *testing.T) {
	var s flow.Service
	work(&s, 10, 8, 10*ms)
	for range 36_000 {
		s.Add(0, 0)
	}
	if mean, ok := s.Time(); !ok || mean < 9999*us || mean > 10001*us {
		t.Errorf("mean %v, %v, want 10ms", mean, ok)
	}
}

// TestServiceCapacityOfFew: the mean of few results may be short by chance. A worker has no more messages
// ahead than twice its results.
func TestServiceCapacityOfFew(t *testing.T) {
	const workers, patience = 3, time.Second
	for _, tt := range []struct {
		results uint64
		want    int
	}{{1, 3 * (1 + 1)}, {4, 3 * (1 + 3)}, {16, 3 * (1 + 11)}, {99, 3 * (1 + 41)}, {100, 3 * (1 + 50)}, {10_000, 3 * (1 + 50)}} {
		var s flow.Service
		s.Add(time.Duration(tt.results)*10*ms, tt.results)
		if n := s.Capacity(workers, patience); n != tt.want {
			t.Errorf("capacity %d after %d results of 10 ms, want %d", n, tt.results, tt.want)
		}
	}
	var s flow.Service
	s.Add(0, 1)
	if n := s.Capacity(workers, patience); n != 2*workers {
		t.Errorf("capacity %d after a result at once, want %d", n, 2*workers)
	}
	s.Add(0, 100)
	if n := s.Capacity(workers, patience); n < 1000 {
		t.Errorf("capacity %d after 101 results at once", n)
	}
}

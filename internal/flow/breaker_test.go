package flow_test

import (
	"math"
	"testing"
	"time"

	"github.com/nsqx/nsqx/internal/flow"
)

const sec = time.Second

var backoff = flow.Backoff{MinResults: 20, Failures: 0.9, Period: 10 * sec, First: sec, Max: 60 * sec}

// judge feeds a breaker with single results of a consumer with 8 handlers.
type judge struct {
	*flow.Breaker[int]
	handlers int
	good     uint64
	message  int // that failed last
	asked    int // for the number of successes
}

func newJudge() *judge { return &judge{Breaker: flow.NewBreaker[int](backoff), handlers: 8} }

func (b *judge) count() uint64 {
	b.asked++
	return b.good
}

// fail takes n failures of one message each, and reports whether the breaker has opened.
func (b *judge) fail(now time.Duration, n int) (opened bool) {
	for range n {
		b.message++
		opened = b.failAs(now, b.message) || opened
	}
	return opened
}

func (b *judge) failAs(now time.Duration, message int) bool {
	return b.Failed(now, now, message, b.handlers, b.count)
}

// succeed takes n successes.
func (b *judge) succeed(n int) bool {
	for range n {
		b.good++
		b.Succeeded(b.handlers)
	}
	return false
}

func (b *judge) wantLimit(t *testing.T, now time.Duration, want int) {
	t.Helper()
	if got := b.Limit(now); got != want {
		t.Errorf("limit %d at %v, want %d", got, now, want)
	}
}

func (b *judge) wantWhy(t *testing.T, failed, results int) {
	t.Helper()
	if got := b.Why(); got != (flow.Tally{Results: results, Failed: failed}) {
		t.Errorf("%d of %d failed, want %d of %d", got.Failed, got.Results, failed, results)
	}
}

func TestBreakerOpens(t *testing.T) {
	every := func(b *judge, n int, step time.Duration) bool {
		for i := range n {
			if b.fail(time.Duration(i)*step, 1) {
				return true
			}
		}
		return false
	}
	tests := []struct {
		name            string
		play            func(b *judge) bool
		opens           bool
		failed, results int // if it opens
	}{
		{"nothing", func(b *judge) bool { return b.fail(0, 0) }, false, 0, 0},
		{"too few", func(b *judge) bool { return b.fail(sec, 9) }, false, 0, 0},
		{"ten in a row", func(b *judge) bool { return b.fail(sec, 10) }, true, 10, 10},
		{"ten by a timeout of 29 s", func(b *judge) bool { return every(b, 10, 29*sec) }, true, 10, 10},
		{"nine by a timeout of 29 s", func(b *judge) bool { return every(b, 9, 29*sec) }, false, 0, 0},
		{"ten, with a success between", func(b *judge) bool {
			return every(b, 9, 29*sec) || b.succeed(1) || b.fail(time.Hour, 9)
		}, false, 0, 0},
		{"ten, and a success before", func(b *judge) bool {
			return every(b, 9, 29*sec) || b.succeed(1) || b.fail(time.Hour, 10)
		}, true, 10, 10},
		{"two of twenty good", func(b *judge) bool {
			return b.fail(sec, 5) || b.succeed(1) || b.fail(sec, 8) || b.succeed(1) || b.fail(sec, 5)
		}, true, 18, 20},
		{"three of twenty-one good", func(b *judge) bool {
			return b.fail(sec, 5) || b.succeed(1) || b.fail(sec, 8) || b.succeed(2) || b.fail(sec, 5)
		}, false, 0, 0},
		{"in the end", func(b *judge) bool {
			return b.fail(sec, 5) || b.succeed(3) || b.fail(sec, 5) || b.succeed(1) || b.fail(sec, 6) || b.fail(2*sec, 20)
		}, true, 36, 40},
		{"fewer than handlers, mixed", func(b *judge) bool {
			b.handlers = 64
			return b.succeed(1) || b.fail(sec, 9) || b.succeed(1) || b.fail(sec, 9) || b.succeed(1) || b.fail(sec, 9)
		}, false, 0, 0},
		{"fewer than handlers, all fail", func(b *judge) bool {
			b.handlers = 64
			return b.succeed(10) || b.fail(sec, 53)
		}, false, 0, 0},
		{"as many as handlers", func(b *judge) bool {
			b.handlers = 64
			return b.fail(sec, 9) || b.succeed(1) || b.fail(sec, 9) || b.succeed(1) || b.fail(sec, 44)
		}, true, 62, 64},
		{"what was good long ago does not count", func(b *judge) bool {
			b.fail(sec, 1)
			b.succeed(1000)
			for i := range 20 {
				b.Tick(time.Duration(i)*sec, b.count)
			}
			return b.fail(21*sec, 10)
		}, true, 10, 10},
		{"what was good just now does", func(b *judge) bool {
			b.succeed(1000)
			return b.fail(3*sec, 500)
		}, false, 0, 0},
		{"that many good ones are outweighed", func(b *judge) bool {
			b.succeed(100)
			return b.fail(3*sec, 900)
		}, true, 900, 1000},
		{"nine that come again and again", func(b *judge) bool {
			for i := range 10_000 {
				if b.failAs(time.Duration(i)*50*ms, i%9) {
					return true
				}
			}
			return false
		}, false, 0, 0},
		{"a burst of successes, then ten that come again", func(b *judge) bool {
			b.succeed(100)
			if b.fail(sec, 12) {
				t.Error("opened by the first round")
			}
			return b.failAs(5*sec, 1) || b.failAs(15*sec, 1)
		}, true, 12, 12},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newJudge()
			if got := tt.play(b); got != tt.opens || b.Closed() == tt.opens {
				t.Errorf("opened: %v, want %v; closed: %v", got, tt.opens, b.Closed())
			}
			b.wantWhy(t, tt.failed, tt.results)
		})
	}
}

// TestBreakerMinResults: MinResults moves both thresholds.
func TestBreakerMinResults(t *testing.T) {
	for least, want := range map[int]int{1: 1, 5: 5, 10: 10, 20: 10, 50: 25, 100: 50} {
		cfg := backoff
		cfg.MinResults = least
		b := &judge{Breaker: flow.NewBreaker[int](cfg), handlers: 1}
		n := 1
		for !b.fail(time.Duration(n)*29*sec, 1) {
			n++
		}
		if n != want {
			t.Errorf("with MinResults %d failure %d opens it, want %d", least, n, want)
		}
	}
}

// TestBreakerLife opens the breaker, fails the probe until it stays open for a minute, and closes
// it by successes.
func TestBreakerLife(t *testing.T) {
	b := newJudge()
	b.wantLimit(t, 0, math.MaxInt)
	now := 5 * sec
	b.fail(now, 10)
	for _, seconds := range []int{1, 2, 4, 8, 16, 32, 60, 60} {
		d := time.Duration(seconds) * sec
		b.wantLimit(t, now, 0)
		if got := b.Holds(now); got != d {
			t.Errorf("open for %v, want %v", got, d)
		}
		b.succeed(1)
		if b.fail(now, 1) || b.Probing() {
			t.Error("moved by results from before")
		}
		b.wantLimit(t, now+d-1, 0)
		before := now
		now += d
		b.wantLimit(t, now, 1)
		b.wantLimit(t, now+sec, 1)
		if b.Failed(now+sec, before, -1, 8, b.count) || !b.Probing() {
			t.Error("opened by a failure that was received before the probe")
		}
		if !b.fail(now, 1) {
			t.Error("the probe has failed, and it does not open")
		}
		b.wantWhy(t, 1, 1)
	}
	now += time.Minute
	b.wantLimit(t, now, 1)
	for i, want := range []int{2, 3, 4, 5, 6, 7} {
		if b.succeed(1); b.Closed() {
			t.Errorf("closed after %d successes", i+1)
		}
		b.wantLimit(t, now, want)
	}
	b.fail(now, 1) // a single failure is no outage
	b.wantLimit(t, now, 7)
	b.succeed(1)
	if !b.Closed() {
		t.Error("not closed")
	}
	b.wantWhy(t, 1, 8)
	b.wantLimit(t, now, math.MaxInt)
	if b.fail(now, 9) {
		t.Error("opened by what was before")
	}
	if !b.fail(now, 1) || b.Holds(now) != sec {
		t.Error("does not start again")
	}
}

// TestBreakerRamp: it opens for longer if five, and 90 %, of the results since the probe have failed;
// a message counts once.
func TestBreakerRamp(t *testing.T) {
	for _, tt := range []struct {
		name  string
		play  func(b *judge) bool
		opens bool
	}{
		{"five", func(b *judge) bool { return b.fail(sec, 9) }, true},
		{"four", func(b *judge) bool { return b.fail(sec, 4) }, false},
		{"one that comes again", func(b *judge) bool {
			for range 20 {
				if b.failAs(sec, 1) {
					return true
				}
			}
			return false
		}, false},
		{"half", func(b *judge) bool {
			for range 30 {
				if b.fail(sec, 1) || b.succeed(1) {
					return true
				}
			}
			return false
		}, false},
		{"nine of ten", func(b *judge) bool { return b.succeed(1) || b.fail(sec, 20) }, true},
		{"many from before", func(b *judge) bool {
			for i := range 20 {
				if b.Failed(sec, sec-1, -i, 100, b.count) {
					return true
				}
			}
			return false
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newJudge()
			b.handlers = 100
			b.fail(0, 10)
			b.Limit(sec)
			b.succeed(1)
			b.ramping(t)
			if got := tt.play(b); got != tt.opens {
				t.Fatalf("opened %v, want %v", got, tt.opens)
			}
			if tt.opens && b.Holds(sec) != 2*sec {
				t.Errorf("open for %v, want 2s", b.Holds(sec))
			}
		})
	}
}

// ramping fails the test unless the probe has succeeded just now.
func (b *judge) ramping(t *testing.T) {
	t.Helper()
	b.wantLimit(t, sec, 2)
	if b.Closed() || b.Probing() || b.Holds(sec) > 0 {
		t.Fatal("it does not ramp")
	}
}

// TestBreakerSmall checks that with a single worker the first success closes the breaker.
func TestBreakerSmall(t *testing.T) {
	b := newJudge()
	b.handlers = 1
	b.fail(0, 10)
	b.wantLimit(t, sec, 1)
	b.succeed(1)
	if !b.Closed() {
		t.Error("not closed")
	}
	b.wantWhy(t, 0, 1)
}

// TestBreakerOutage: when a failure tells nothing of its message.
func TestBreakerOutage(t *testing.T) {
	b := newJudge()
	outage := func(now time.Duration) bool { return b.Outage(now, now, b.count) }
	round := func(now time.Duration, messages int) {
		for i := range messages {
			b.failAs(now, i)
		}
	}
	want := func(when string, now time.Duration, want bool) {
		t.Helper()
		if got := outage(now); got != want {
			t.Errorf("%s: outage %v, want %v", when, got, want)
		}
	}
	want("at first", 0, false)
	for range 100 {
		b.failAs(0, 0)
	}
	want("one message alone", 0, false)
	round(0, 1)
	b.succeed(1)
	round(sec, 5)
	want("five failures", sec, false)
	round(2*sec, 5)
	want("ten failures of five messages", 2*sec, true)
	want("two hours later", 2*time.Hour+sec, false)
	b.succeed(1)
	want("after a success", 3*sec, false)
	round(4*sec, 9)
	want("nine after it", 4*sec, false)
	round(5*sec, 9)
	want("eighteen after it", 5*sec, true)
	if !b.Closed() {
		t.Error("nine messages have opened it")
	}
	b.message = 100
	b.fail(6*sec, 10)
	want("open", 6*sec, true)
	b.Limit(7 * sec)
	want("probe", 7*sec, true)
	b.succeed(1)
	want("ramp", 7*sec, false)
	if !b.Outage(8*sec, 6*sec, b.count) {
		t.Error("ramp, received before the probe: no outage")
	}
}

// TestBreakerAsksRarely checks that the breaker rarely asks for the number of successes, and still
// opens at the decisive failure.
func TestBreakerAsksRarely(t *testing.T) {
	for _, tt := range []struct {
		name        string
		good, bad   int // in each round
		rounds      int
		opens, asks int // failures after the rounds until it opens; most questions
	}{
		{"nothing but failures", 0, 0, 0, 10, 10},
		{"one in a hundred", 99, 1, 100, 89_000, 170},
		{"half", 1, 1, 5000, 40_000, 170},
		{"most", 1, 4, 1000, 5000, 170},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newJudge()
			const now = sec / 2 // in the first part of the period
			for range tt.rounds {
				if b.succeed(tt.good) || b.fail(now, tt.bad) {
					t.Fatalf("open after %d failures", b.message)
				}
			}
			got := 1
			for !b.fail(now, 1) {
				got++
			}
			if got != tt.opens {
				t.Errorf("opens at failure %d, want %d", got, tt.opens)
			}
			if b.asked > tt.asks {
				t.Errorf("it has asked %d times in %d failures, want %d at most", b.asked, b.message, tt.asks)
			}
		})
	}
}

// TestBreakerPoison: messages that always fail are asked about at each failure only while they are
// few.
func TestBreakerPoison(t *testing.T) {
	b := newJudge()
	for i := range 100_000 {
		if b.failAs(time.Duration(i)*ms, i%9) {
			t.Fatalf("opened by failure %d", i)
		}
	}
	if b.asked > 120 { // once a part of the period
		t.Errorf("asked %d times", b.asked)
	}
}

func TestRecent(t *testing.T) {
	var r flow.Recent[int]
	add := func(k int, want flow.Seen) {
		t.Helper()
		if got := r.Add(k); got != want {
			t.Errorf("%d: %v, want %v", k, got, want)
		}
	}
	add(0, flow.New)
	add(0, flow.Same)
	for k := 1; k < 32; k++ {
		add(k, flow.New)
	}
	add(0, flow.Repeated) // and so it is not the oldest any more
	add(32, flow.New)
	add(0, flow.Repeated)
	add(2, flow.Repeated)
	add(1, flow.New)
	add(1, flow.Same)
}

// TestBreakerSlowProbe: one more message may try for each minute that the probe takes, and its result
// is as good as that of the first.
func TestBreakerSlowProbe(t *testing.T) {
	b := newJudge()
	b.fail(0, 20)
	b.wantLimit(t, sec, 1)
	b.wantLimit(t, 61*sec-1, 1)
	b.wantLimit(t, 61*sec, 2)
	b.wantLimit(t, 15*60*sec, 15)
	for at, want := range map[time.Duration]time.Duration{sec: 60 * sec, 61*sec - 1: 1, 61 * sec: 60 * sec, 90 * sec: 31 * sec} {
		if got := b.Holds(at); got != want {
			t.Errorf("the limit of %v holds for %v, want %v", at, got, want)
		}
	}
	if !b.failAs(15*60*sec, 100) || b.Holds(15*60*sec) != 2*sec {
		t.Errorf("open for %v after a failed probe, want 2s", b.Holds(15*60*sec))
	}
	b.wantLimit(t, 15*60*sec+2*sec, 1)
	b.succeed(1)
	b.wantLimit(t, 16*60*sec+5*sec, 2) // it ramps up, however long the probe took
}

package flow

import (
	"math"
	"time"
)

// Backoff configures a [Breaker].
type Backoff struct {
	MinResults int           // least number of results within Period for it to open
	Failures   float64       // fraction of failures that opens it
	Period     time.Duration // how far it looks back
	First, Max time.Duration // how long it stays open: doubled each time, up to Max
}

// periods is the number of parts in which a Breaker counts Period.
const periods = 10

// Breaker stops a consumer whose messages nearly all fail because a dependency is down: it lets a
// single message try after First, then after twice that, and so on, instead of using up the
// attempts of the backlog. (NSQ calls this backoff.) It uses the failure rate, so one message that
// always fails does not stop the others.
//
// Instants are durations since any fixed instant.
type Breaker struct {
	cfg   Backoff
	state breakerState

	past   [periods]tally // totals at the start of each part, the oldest at next
	next   int
	rotate time.Duration // end of the current part; 0: not started
	known  uint64        // results when last asked for

	until  time.Duration // end of open
	delay  time.Duration // of the last open
	limit  int           // of ramp
	failed int           // during ramp
}

type tally struct{ results, failures uint64 }

type breakerState uint8

const (
	closed breakerState = iota
	open                // nothing may be in flight
	probe               // one message may be in flight
	ramp                // one more message after each success
)

// NewBreaker returns a closed breaker at instant 0 with totals of 0.
func NewBreaker(cfg Backoff) *Breaker { return &Breaker{cfg: cfg, rotate: cfg.Period / periods} }

// Closed reports whether the breaker is closed: then the caller uses Record, otherwise Result.
func (b *Breaker) Closed() bool { return b.state == closed }

// Level returns how many times in a row the breaker has opened, computed from its delay; 0 if it is
// closed.
func (b *Breaker) Level() (level int) {
	if b.state == closed {
		return 0
	}
	for d := b.cfg.First; level == 0 || d <= b.delay && level < maxLevel; d *= 2 {
		level++
	}
	return level
}

const maxLevel = 62

// Limit returns how many messages may be in flight. It must be called when OpenFor has passed: it
// moves an open breaker to its probe.
func (b *Breaker) Limit(now time.Duration) int {
	if b.state == open && now >= b.until {
		b.state = probe
	}
	switch b.state {
	case open:
		return 0
	case probe:
		return 1
	case ramp:
		return b.limit
	}
	return math.MaxInt
}

// OpenFor returns how long nothing may be in flight.
func (b *Breaker) OpenFor(now time.Duration) time.Duration {
	if b.state != open {
		return 0
	}
	return max(b.until-now, 0)
}

// Record takes the number of failures since the start and reports whether the breaker has opened.
// Call it at each failure, and from time to time. It calls results, which is expensive, only if a
// part of Period has ended or the failures might suffice.
func (b *Breaker) Record(now time.Duration, failures uint64, results func() uint64) (opened bool) {
	if b.state != closed || now < b.rotate && !b.enough(b.known, failures) {
		return false
	}
	b.known = results()
	b.forget(now, tally{b.known, failures})
	if b.known-b.past[b.next].results < uint64(b.cfg.MinResults) || !b.enough(b.known, failures) {
		return false
	}
	b.open(now)
	return true
}

// enough reports whether failures open the breaker, given max(results, MinResults).
func (b *Breaker) enough(results, failures uint64) bool {
	oldest := b.past[b.next]
	n := max(results-oldest.results, uint64(b.cfg.MinResults))
	return float64(failures-oldest.failures) >= b.cfg.Failures*float64(n)
}

func (b *Breaker) forget(now time.Duration, t tally) {
	part := b.cfg.Period / periods
	if b.rotate == 0 {
		for i := range b.past {
			b.past[i] = t
		}
		b.rotate = now + part
		return
	}
	for range periods {
		if now < b.rotate {
			return
		}
		b.past[b.next] = t
		b.next = (b.next + 1) % periods
		b.rotate += part
	}
	b.rotate = max(b.rotate, now+part)
}

func (b *Breaker) open(now time.Duration) {
	b.delay = min(max(2*b.delay, b.cfg.First), b.cfg.Max)
	b.state, b.until = open, now+b.delay
}

// Result takes one result while the breaker is not closed, and reports whether it has opened again.
// The breaker closes when its limit reaches enough. Results from before the probe change nothing.
func (b *Breaker) Result(now time.Duration, failed bool, enough int) (opened bool) {
	switch {
	case b.state == probe && failed:
		b.open(now)
		return true
	case b.state == probe:
		b.state, b.limit, b.failed = ramp, 2, 0
	case b.state == ramp && failed:
		if b.failed++; 2*b.failed > b.limit {
			b.open(now)
			return true
		}
	case b.state == ramp:
		b.limit++
	}
	if b.state == ramp && b.limit >= enough {
		*b = Breaker{cfg: b.cfg}
	}
	return false
}

package flow

import (
	"math"
	"time"
)

// Backoff are the settings of a [Breaker].
type Backoff struct {
	MinResults int           // results that there must be within Period for it to open
	Failures   float64       // part of them that failed, for it to open
	Period     time.Duration // how far it looks back
	First, Max time.Duration // how long it stays open: doubled each time, up to Max
}

// periods is in how many parts a Breaker counts its period.
const periods = 10

// Breaker stops a consumer whose messages nearly all fail, because something that they need is down: instead of running the
// whole backlog through its attempts it lets a single message try, after a second, then two, and so on. NSQ calls this backoff; here
// it goes by the rate of failures, so that one message that fails for ever does not stop the others.
//
// Instants are counted from any fixed one.
type Breaker struct {
	cfg   Backoff
	state breakerState

	past   [periods]tally // totals at the beginning of each part of the period, the oldest at next
	next   int
	rotate time.Duration // when the present part ends; 0: it has not begun
	known  uint64        // results, when they were asked for last

	until  time.Duration // end of open
	delay  time.Duration // of the last open
	limit  int           // of ramp
	failed int           // during ramp
}

type tally struct{ results, failures uint64 }

type breakerState uint8

const (
	closed breakerState = iota // all is well
	open                       // nothing may be in flight
	probe                      // one message may
	ramp                       // one more for each success
)

// NewBreaker returns a closed breaker, at the instant 0 and with totals of 0.
func NewBreaker(cfg Backoff) *Breaker { return &Breaker{cfg: cfg, rotate: cfg.Period / periods} }

// Closed says whether all is well: then Record counts, otherwise Result.
func (b *Breaker) Closed() bool { return b.state == closed }

// Level is how many times in a row it has opened, as far as the delay tells: 0 if it is closed.
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

// Limit is how many messages may be in flight. It is to be asked in time: an open breaker ends with that.
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

// OpenFor is how long nothing may be in flight.
func (b *Breaker) OpenFor(now time.Duration) time.Duration {
	if b.state != open {
		return 0
	}
	return max(b.until-now, 0)
}

// Record takes the number of failures since the beginning, and reports whether the breaker has opened. It is to be called at
// each failure, and from time to time. It asks for the number of results, which is dear, only when it has to know: when a part of
// the period is over, and when the failures would be enough if there had been nothing else since it asked last.
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

// enough says whether so many failures open the breaker, given so many results, or MinResults if that is more.
func (b *Breaker) enough(results, failures uint64) bool {
	oldest := b.past[b.next]
	n := max(results-oldest.results, uint64(b.cfg.MinResults))
	return float64(failures-oldest.failures) >= b.cfg.Failures*float64(n)
}

// forget drops what is older than the period.
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

// Result takes a single result while the breaker is not closed; enough is the limit at which it closes. It reports whether the
// breaker has opened again. What comes from before the probe, while it is open, changes nothing.
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

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

const (
	// enoughInARow is how many results open a breaker if all failed, where Period brings fewer than
	// MinResults: a quiet topic, or handlers that fail by a slow timeout.
	enoughInARow = 10

	// enoughInRamp is how many results after a good probe must have failed to open it again.
	enoughInRamp = 5

	// exactFailures is how many failures within Period ask for the number of successes each.
	exactFailures = 20

	// longestOutage is how long Outage holds without an open breaker: a few messages that always fail
	// on a topic without others look like an outage.
	longestOutage = 2 * time.Hour

	// slowProbe is how long a probe holds up the others: then one more message may try, and so on.
	slowProbe = time.Minute

	maxLevel = 62
)

// Breaker stops a consumer whose messages nearly all fail because a dependency is down: it lets a
// single message try after First, then after twice that, and so on, instead of using up the
// attempts of the backlog. (NSQ calls this backoff.) It uses the failure rate, and counts a message
// once while its failures follow each other, so messages that always fail do not stop the others.
//
// Instants are durations since any fixed instant. K identifies a message. Successes are counted by
// the caller, who is asked for their number (good) only when it matters, since that is expensive.
type Breaker[K comparable] struct {
	cfg    Backoff
	state  breakerState
	why    Tally
	recent Recent[K]

	// While closed.
	period   period
	total    totals // good is as last asked
	row      row
	rowEnded time.Duration // when the success after a long row was known

	// While not closed.
	until   time.Duration // end of open
	delay   time.Duration // of the last open
	probeAt time.Duration // when the last probe was allowed
	limit   int           // of ramp
	ramp    Tally
	ramped  Recent[K] // that failed during ramp
}

// row is the results since the last success that is known.
type row struct {
	failed  int  // a message that fails again and again counts once
	all     int  // it counts each time
	several bool // all is of more than one message
	since   time.Duration
}

type breakerState uint8

const (
	closed breakerState = iota
	open                // nothing may be in flight
	probe               // one message may be in flight, and one more for each slowProbe
	ramp                // one more message after each success
)

// NewBreaker returns a closed breaker at instant 0, before the first success.
func NewBreaker[K comparable](cfg Backoff) *Breaker[K] {
	return &Breaker[K]{cfg: cfg, period: period{part: cfg.Period / parts, ends: cfg.Period / parts}}
}

// Closed reports whether the breaker is closed. While it is not, each success must be reported.
func (b *Breaker[K]) Closed() bool { return b.state == closed }

// Open reports whether nothing may be in flight.
func (b *Breaker[K]) Open() bool { return b.state == open }

// Probing reports whether a single message may try, or a few if that takes long.
func (b *Breaker[K]) Probing() bool { return b.state == probe }

// Why returns the results that led to the last change between open and closed.
func (b *Breaker[K]) Why() Tally { return b.why }

// Level returns how many times in a row the breaker has opened, computed from its delay; 0 if it is
// closed.
func (b *Breaker[K]) Level() (level int) {
	if b.state == closed {
		return 0
	}
	for d := b.cfg.First; level == 0 || d <= b.delay && level < maxLevel; d *= 2 {
		level++
	}
	return level
}

// Limit returns how many messages may be in flight. It must be called when Holds has passed: it moves
// an open breaker to its probe.
func (b *Breaker[K]) Limit(now time.Duration) int {
	if b.state == open && now >= b.until {
		b.state, b.probeAt = probe, now
	}
	switch b.state {
	case open:
		return 0
	case probe:
		return 1 + int((now-b.probeAt)/slowProbe)
	case ramp:
		return b.limit
	}
	return math.MaxInt
}

// Holds returns for how long Limit stays the same without a result; 0: for ever.
func (b *Breaker[K]) Holds(now time.Duration) time.Duration {
	switch b.state {
	case open:
		return max(b.until-now, 0)
	case probe:
		return slowProbe - (now-b.probeAt)%slowProbe
	}
	return 0
}

// Failed takes a failure of message k and reports whether it has opened the breaker. received is when
// the message was received, handlers is how many may run at once.
func (b *Breaker[K]) Failed(now, received time.Duration, k K, handlers int, good func() uint64) (opened bool) {
	seen := b.recent.Add(k)
	switch {
	case b.state == closed:
		return b.failedClosed(now, seen, handlers, good)
	case received < b.probeAt: // it ran before the probe, and tells nothing new
	case b.state == probe:
		b.open(now, Tally{1, 1})
		return true
	case b.state == ramp && b.ramped.Add(k) == New:
		b.ramp.Results++
		b.ramp.Failed++
		if b.ramp.Failed >= enoughInRamp && b.nearlyAll(b.ramp) {
			b.open(now, b.ramp)
			return true
		}
	}
	return false
}

// Succeeded takes a success while the breaker is not closed. It closes when its limit reaches one
// message a handler.
func (b *Breaker[K]) Succeeded(handlers int) {
	switch b.state {
	case probe:
		b.state, b.limit, b.ramp, b.ramped = ramp, 2, Tally{Results: 1}, Recent[K]{}
	case ramp:
		b.ramp.Results++
		b.limit++
	default:
		return
	}
	if b.limit >= handlers {
		*b = Breaker[K]{cfg: b.cfg, recent: b.recent, period: period{part: b.period.part}, total: b.total, why: b.ramp}
	}
}

func (b *Breaker[K]) failedClosed(now time.Duration, seen Seen, handlers int, good func() uint64) (opened bool) {
	b.Tick(now, good)
	if b.row.all == 0 {
		b.row.since = now
	}
	b.row.several = b.row.several || b.row.all > 0 && seen != Same
	b.row.all++
	if seen == New {
		b.row.failed++
		b.total.failed++
	}
	need := max(b.cfg.MinResults, handlers)
	if _, opens := b.judge(need); opens || seen == New && b.period.since(b.total).Failed <= exactFailures {
		if b.know(now, good()) { // so the failure at hand is the first after a success
			b.row = row{all: 1, since: now}
			if seen == New {
				b.row.failed = 1
			}
		}
	}
	why, opens := b.judge(need)
	if opens {
		b.open(now, why)
	}
	return opens
}

// judge reports whether the results known open a closed breaker, and which those are.
func (b *Breaker[K]) judge(need int) (why Tally, opens bool) {
	recent := b.period.since(b.total)
	if recent.Results < b.cfg.MinResults {
		return Tally{b.row.failed, b.row.failed}, b.row.failed >= b.inARow()
	}
	return recent, recent.Results >= need && b.nearlyAll(recent)
}

func (b *Breaker[K]) nearlyAll(t Tally) bool {
	return float64(t.Failed) >= b.cfg.Failures*float64(t.Results)
}

// inARow is how many failures in a row suffice.
func (b *Breaker[K]) inARow() int {
	return min(b.cfg.MinResults, max(enoughInARow, b.cfg.MinResults/2))
}

// Tick lets a closed breaker forget old results. Call it from time to time.
func (b *Breaker[K]) Tick(now time.Duration, good func() uint64) {
	if b.state == closed && b.period.over(now) {
		b.know(now, good())
		b.period.move(now, b.total)
	}
}

// know takes the number of successes and reports whether there were new ones.
func (b *Breaker[K]) know(now time.Duration, good uint64) (more bool) {
	if more = good != b.total.good; more {
		if b.longRow(now) {
			b.rowEnded = now
		}
		b.total.good, b.row = good, row{}
	}
	return more
}

// Outage reports whether a failure at this instant tells nothing of the message: the breaker is
// open, the message was received before the probe, the last results have all failed and were of
// several messages, or the message was received before a success ended such a row. (They may be too
// few for the breaker to open, and still fail often enough to be given up.)
func (b *Breaker[K]) Outage(now, received time.Duration, good func() uint64) bool {
	switch b.state {
	case open, probe:
		return true
	case ramp:
		return received < b.probeAt
	}
	if b.longRow(now) {
		b.know(now, good())
	}
	return b.longRow(now) || received < b.rowEnded
}

func (b *Breaker[K]) longRow(now time.Duration) bool {
	return b.row.several && b.row.all >= b.inARow() && now-b.row.since < longestOutage
}

func (b *Breaker[K]) open(now time.Duration, why Tally) {
	b.delay = min(max(2*b.delay, b.cfg.First), b.cfg.Max)
	b.state, b.until, b.why = open, now+b.delay, why
}

package nsqx

import (
	"cmp"
	"fmt"
	"time"

	"github.com/nsqx/nsqx/internal/flow"
)

// WithConcurrency sets how many handlers run at once: 1 to 65536. Defaults to
// GOMAXPROCS. A handler that waits for something else than the CPU wants more.
// [Consumer.SetConcurrency] changes it later.
func WithConcurrency(n int) ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithConcurrency")
		c.inRange("WithConcurrency", n, 1, maxConcurrency)
		c.consume.Concurrency = n
	})
}

// WithMaxInFlight bounds how many messages nsqd may have sent and not heard of,
// over all connections: what handlers work on and what waits for one. 1 to
// 1048576, or 0 for automatic, which is the default: one for each handler, and as
// many more as the handlers get through in 100 ms or two round trips, as measured;
// at most nsqd's max-rdy-count (2500). If there are more nsqds than that, they take
// turns. [Consumer.SetMaxInFlight] changes it later.
func WithMaxInFlight(n int) ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithMaxInFlight")
		if c.inRange("WithMaxInFlight", n, 0, maxInFlight) {
			c.consume.MaxInFlight = n
		}
	})
}

// WithMaxInFlightBytes bounds the memory that messages in flight take: no more
// are asked for than fit in, at the mean size of the bodies so far. 1 MiB at least.
// Defaults to 64 MiB.
func WithMaxInFlightBytes(n int) ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithMaxInFlightBytes")
		if n < 1<<20 {
			c.fault("WithMaxInFlightBytes", fmt.Sprintf("is %d, want 1048576 or more", n))
		}
		c.consume.MaxInFlightBytes = n
	})
}

// WithFixedRDY keeps the RDY of each connection at its share of MaxInFlight.
// Without it RDY follows what the connection can use, so that nsqd never holds
// messages of a quiet topic back (for its output-buffer-timeout, 250 ms). It is for
// comparisons, and for networks that the measuring cannot cope with.
func WithFixedRDY() ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithFixedRDY")
		c.consume.Sub.FixedRDY = true
	})
}

// WithBackoff tunes when the consumer stops asking for messages because nearly all
// of them fail: see [Backoff]. Defaults to the zero Backoff, which is on.
func WithBackoff(b Backoff) ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithBackoff")
		if c.given["WithoutBackoff"] {
			c.fault("WithBackoff", "contradicts WithoutBackoff")
		}
		if fault := b.check(); fault != "" {
			c.fault("WithBackoff", fault)
		}
		settings := flow.Backoff(b)
		c.consume.Backoff = &settings
	})
}

// WithoutBackoff lets the consumer ask for messages however many of them fail.
func WithoutBackoff() ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithoutBackoff")
		if c.given["WithBackoff"] {
			c.fault("WithoutBackoff", "contradicts WithBackoff")
		}
		c.consume.Backoff = nil
	})
}

// Backoff are the settings of a consumer's breaker. When nearly all messages
// fail, something that they need is down; then the consumer asks nsqd for
// nothing for a while (the breaker is open), lets a single message try, its probe,
// and goes on when that succeeds. NSQ calls that backoff. Other than there it goes by
// the rate of failures, so that messages that always fail do not stop the others.
//
// A failure is a message of which the handler returned an error or panicked, which did
// not decode, or which failed too late to be answered; whether it is requeued or given
// up for that. retry.Permanent, retry.Drop and retry.After(d, nil) are none, nor is
// what fails with its connection. The same message counts once while its failures
// follow each other: while it is among the last 32 messages that failed.
//
// The breaker opens when the part Failures of the results within Period has failed and
// there are at least MinResults of them, and one for each handler. Where Period brings
// fewer than MinResults, it opens when the last 10 results have failed, however old
// they are (with a MinResults below 10, that many; above 20, half as many).
//
// After a probe that succeeds one more message is let through for each success, up to
// one for each handler; then the breaker is closed. It opens again if five messages, and
// the part Failures, of the results since the probe have failed.
//
// What fails as a probe, or while the breaker is open, does not count towards
// MaxAttempts. So an outage costs no message its attempts, but a consumer all of whose
// messages fail gives none up either, except those that do not decode: it needs
// WithoutBackoff for that.
//
// Where 80 % or more fail for good, the breaker opens now and then by chance, if there
// are few results, and a minute may pass until a probe succeeds.
type Backoff struct {
	MinResults int           // results needed within Period to open by their part, 1 or more. Defaults to 20
	Failures   float64       // part of them that must have failed, above 0 and up to 1. Defaults to 0.9
	Period     time.Duration // how far it looks back, 1 s or more. Defaults to 10 s
	First      time.Duration // how long it is open first; doubled each time the probe fails. Defaults to 1 s
	Max        time.Duration // how long it is open at most, no less than First. Defaults to 60 s
}

var defaultBackoff = Backoff{MinResults: 20, Failures: 0.9, Period: 10 * time.Second, First: time.Second, Max: time.Minute}

// check fills in the defaults, and returns what is wrong.
func (b *Backoff) check() (fault string) {
	b.MinResults = cmp.Or(b.MinResults, defaultBackoff.MinResults)
	b.Failures = cmp.Or(b.Failures, defaultBackoff.Failures)
	b.Period = cmp.Or(b.Period, defaultBackoff.Period)
	b.First = cmp.Or(b.First, defaultBackoff.First)
	b.Max = cmp.Or(b.Max, max(defaultBackoff.Max, b.First))
	switch {
	case b.MinResults < 1:
		return fmt.Sprintf("has MinResults %d, want 1 or more", b.MinResults)
	case !(b.Failures > 0 && b.Failures <= 1):
		return fmt.Sprintf("has Failures %v, want more than 0, up to 1", b.Failures)
	case b.Period < time.Second:
		return fmt.Sprintf("has Period %v, want 1s or more", b.Period)
	case b.First < time.Millisecond || b.Max < b.First:
		return fmt.Sprintf("has First %v and Max %v, want 1ms or more, and Max no less than First", b.First, b.Max)
	}
	return ""
}

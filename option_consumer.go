package nsqx

import (
	"fmt"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/retry"
)

// WithMessageTimeout sets how long nsqd waits for an answer before it delivers a message to another
// consumer: 1 s to 24 h in whole milliseconds. An nsqd refuses a connection that asks for more than its
// --max-msg-timeout (15 min by default). Defaults to the server's --msg-timeout (60 s).
func WithMessageTimeout(d time.Duration) ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithMessageTimeout")
		if d < time.Second || d > 24*time.Hour || d%time.Millisecond != 0 {
			c.fault("WithMessageTimeout", fmt.Sprintf("is %v, want 1s to 24h0m0s in whole milliseconds", d))
			return
		}
		c.consume.Sub.MessageTimeout = d
	})
}

// WithSampleRate makes nsqd deliver only this percentage of the channel's messages, 1 to 99, and
// lose the others for the whole channel. Defaults to all.
func WithSampleRate(percent int) ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithSampleRate")
		if c.inRange("WithSampleRate", percent, 1, 99) {
			c.consume.Sub.SampleRate = percent
		}
	})
}

// WithoutEnvelopes passes bodies to the codec as they are, and reads no headers: for a topic whose
// bodies are not nsqx's and might begin like an envelope by chance. Defaults to off: an envelope is
// recognised by its first five bytes, and removed.
func WithoutEnvelopes() ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithoutEnvelopes")
		c.consume.Sub.Plain = true
	})
}

// WithMiddleware wraps the handler. The first is the outermost; later calls add further in.
// Middleware sees errors, not panics, and a payload that does not decode as a
// [*handler.DecodeError]. The outcome is decided outside of it: see OnSettle of [observe.Hooks].
func WithMiddleware(mw ...handler.Middleware) ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.given["WithMiddleware"] = true
		c.consume.Middleware = append(c.consume.Middleware, mw...)
	})
}

// WithBatchMiddleware is [WithMiddleware] for [NewBatchConsumer]. A payload that does not decode is
// not among what middleware sees as the handler's result: its message has an answer of its own.
func WithBatchMiddleware(mw ...handler.BatchMiddleware) ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.given["WithBatchMiddleware"] = true
		c.batch.Middleware = append(c.batch.Middleware, mw...)
	})
}

// WithRetry sets the delay of a failed message. Defaults to retry.Exponential(time.Second,
// 10*time.Minute).
func WithRetry(p retry.Policy) ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithRetry")
		if p == nil {
			c.fault("WithRetry", "got nil")
			return
		}
		c.consume.Retry = p
		if err := validate(p); err != nil {
			c.fault("WithRetry", "has a faulty policy: "+err.Error())
		}
	})
}

// WithErrors maps errors of a domain to those of package retry:
//
//	nsqx.WithErrors(retry.Match(
//		retry.Is(sql.ErrNoRows, retry.Permanent),
//		retry.As(func(e *QuotaError) error { return retry.After(e.Wait, e) }),
//	))
//
// mapping is called once for each failed delivery, with the error of the middleware: what the handler
// has returned, a [*handler.PanicError], or a [*handler.DecodeError] of a payload that does not
// decode; and with the [*conn.SizeError] of a message that was too large. Its answer wins over what
// package retry has marked in the error. It decides the row of [Consumer] alone: hooks, the log and
// dead letters have the error as it was. An error that mapping returns nil for is not changed: a failure
// never becomes a success. mapping is called concurrently. Defaults to none.
//
// To drop payloads that do not decode:
//
//	nsqx.WithErrors(retry.As(func(e *handler.DecodeError) error { return retry.Drop(e) }))
func WithErrors(mapping func(error) error) ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithErrors")
		if mapping == nil {
			c.fault("WithErrors", "got nil")
		}
		c.consume.Errors = mapping
	})
}

// WithMaxAttempts gives a message up if its handler fails at the nth delivery or later: 1 to 65535.
// Deliveries that this process requeued unhandled, or that failed in an outage, do not count (see
// [Consumer]); those of other instances, restarts and lost connections do, so leave room. Requires
// [WithDeadLetter], [WithDeadLetterFunc] or [WithDiscard]. Defaults to no limit.
func WithMaxAttempts(n int) ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithMaxAttempts")
		c.inRange("WithMaxAttempts", n, 1, 1<<16-1)
		c.consume.MaxAttempts = n
	})
}

// WithMaxAge gives a message up if its handler fails more than d after nsqd accepted the message,
// by nsqd's clock against the local one, or after the end of its delay. Unlike attempts, age counts in
// an outage, too: what fails as a probe of the breaker is given up if it is too old. Requires
// [WithDeadLetter], [WithDeadLetterFunc] or [WithDiscard]. Defaults to no limit.
func WithMaxAge(d time.Duration) ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithMaxAge")
		if d <= 0 {
			c.fault("WithMaxAge", fmt.Sprintf("is %v, want more than 0", d))
		}
		c.consume.MaxAge = d
	})
}

// WithSkipOlder skips, unhandled, a message that could first be handled more than d ago: since nsqd
// accepted it, by nsqd's clock against the local one, or since the end of its delay if that is later.
// It becomes a dead letter if there is an option for that, and is otherwise dropped; [Stats] counts
// it as Stale. What a producer has given an end ([WithTTL]) is skipped then in any case. Defaults to
// no limit.
func WithSkipOlder(d time.Duration) ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithSkipOlder")
		if d <= 0 {
			c.fault("WithSkipOlder", fmt.Sprintf("is %v, want more than 0", d))
		}
		c.consume.SkipOlder = d
	})
}

// WithMaxRequeueDelay sets the longest delay of a REQ, at least 1 ms. Set it to nsqd's
// --max-req-timeout, at which nsqd cuts delays silently. Longer delays of a policy are cut; the
// first is logged. A message that [Producer.PublishAt] has put off for longer is given back once in
// that time, which counts as no attempt. Defaults to 1 h.
func WithMaxRequeueDelay(d time.Duration) ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithMaxRequeueDelay")
		if d < time.Millisecond {
			c.fault("WithMaxRequeueDelay", fmt.Sprintf("is %v, want 1ms or more", d))
		}
		c.consume.MaxRequeueDelay = d
	})
}

// WithPprofLabels labels the goroutines of handlers, and their contexts, with topic and channel for
// package runtime/pprof: profiles then tell which consumer uses the CPU. Defaults to off.
func WithPprofLabels() ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithPprofLabels")
		c.consume.PprofLabels = true
	})
}

// WithStartTimeout sets how long [Consumer.Start] waits for an nsqd: 1 ms to 1 h. Defaults to 10 s.
func WithStartTimeout(d time.Duration) ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithStartTimeout")
		if d < time.Millisecond || d > time.Hour {
			c.fault("WithStartTimeout", fmt.Sprintf("is %v, want 1ms to 1h0m0s", d))
		}
		c.startTimeout = d
	})
}

// WithShutdownTimeout sets how long running handlers may continue after the ctx of Run is
// cancelled, before their contexts end. With 0 all messages are requeued at once. Run returns at
// most two seconds later. [Run] shortens it if [WithGrace] requires that. Defaults to 20 s.
func WithShutdownTimeout(d time.Duration) ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithShutdownTimeout")
		if d < 0 {
			c.fault("WithShutdownTimeout", fmt.Sprintf("is %v, want 0 or more", d))
		}
		c.consume.ShutdownTimeout = d
	})
}

// WithoutFailureLog writes no lines about messages that failed, were given up or discarded, or were
// not answered. Panics, dead letters that cannot be published and messages that are dropped because
// there is no dead letter are logged all the same.
//
// Defaults to off: the first failure of a kind (type of the error, disposition) is logged at once.
// While such failures go on, a line follows every 10 s, after a minute every minute, with the first
// failure since the last line and the number of others. A message that fails at its 10th, 100th,
// 1000th … delivery is a kind of its own. At most 32 kinds are told apart. retry.After(d, nil) is no
// failure.
func WithoutFailureLog() ConsumerOption {
	return consumerOption(func(c *consumerConfig) {
		c.once("WithoutFailureLog")
		c.consume.NoFailureLog = true
	})
}

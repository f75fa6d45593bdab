package nsqx

import (
	"fmt"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/consume"
	"github.com/nsqx/nsqx/observe"
)

// Results of a publish that failed. Every error of a publish is exactly one of these, by errors.Is,
// and also the ctx.Err() of a context that ended it.
var (
	// ErrRejected: the publish can never work, because of its topic, size, payload, headers or
	// missing permissions. Nothing was published.
	ErrRejected = conn.ErrRejected

	// ErrNotSent: no nsqd has the message. It was tried for as long as ctx and
	// [WithPublishTimeout] allow, and may be published again.
	ErrNotSent = conn.ErrNotSent

	// ErrUnconfirmed: an nsqd may or may not have the message. Publishing it again may publish it
	// twice; [WithAtLeastOnce] does so.
	ErrUnconfirmed = conn.ErrUnconfirmed
)

// PublishError is the error of a publish: one of the three results, and what happened.
type PublishError = conn.PublishError

// Errors of [Consumer.Healthy] and [Publisher.Healthy], alone or wrapped.
var (
	ErrNotRunning = observe.ErrNotRunning // Run was not called, or has begun to end
	ErrNoNSQD     = observe.ErrNoNSQD     // no nsqd is connected
	ErrStuck      = observe.ErrStuck      // no handler returns
)

// ErrAlreadyRun is returned by the second Run of a consumer.
var ErrAlreadyRun = consume.ErrAlreadyRun

// ErrNoTopic is the Err of an observe.LookupEvent if no nsqd known to the nsqlookupd has the topic,
// which is created by its first message.
var ErrNoTopic = observe.ErrNoTopic

// OptionError is one fault of what was passed to a constructor.
type OptionError struct {
	Option string // name of the option or argument
	Reason string // what is wrong, and what is allowed
}

// Error names the option and what is allowed.
func (e *OptionError) Error() string { return fmt.Sprintf("nsqx: %s %s", e.Option, e.Reason) }

package nsqx

import "github.com/nsqx/nsqx/conn"

// What became of a publish that failed. Every error of a publish is exactly one
// of these, by errors.Is, and also the ctx.Err() of a context that ended it.
var (
	// ErrRejected: it will never work as it is, because of its topic, its size,
	// its payload or missing permissions. Nothing was published.
	ErrRejected = conn.ErrRejected

	// ErrNotSent: no nsqd has it. It was tried for as long as ctx and
	// [WithPublishTimeout] allow, and may be published again.
	ErrNotSent = conn.ErrNotSent

	// ErrUnconfirmed: an nsqd may have it, or not. To publish it again may
	// publish it twice; [WithAtLeastOnce] does so.
	ErrUnconfirmed = conn.ErrUnconfirmed
)

// PublishError is why a publish failed: one of the three, with what happened.
type PublishError = conn.PublishError

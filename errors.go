package nsqx

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/internal/consume"
	"github.com/nsqx/nsqx/internal/lifecycle"
	"github.com/nsqx/nsqx/internal/wire"
	"github.com/nsqx/nsqx/observe"
)

// Kinds of publish errors. With [errors.Is], the error of a publish is exactly one of them, and
// also the ctx.Err() of a context that ended it.
var (
	// ErrRejected: the publish can never succeed, because of its topic, size, payload, headers or
	// missing permissions. Nothing was published.
	ErrRejected = conn.ErrRejected

	// ErrNotSent: no nsqd has the message, although nsqx tried for as long as ctx and
	// [WithPublishTimeout] allow. It can safely be published again.
	ErrNotSent = conn.ErrNotSent

	// ErrUnconfirmed: an nsqd may or may not have the message. Publishing it again, as
	// [WithAtLeastOnce] does, may publish it twice.
	ErrUnconfirmed = conn.ErrUnconfirmed
)

// PublishError is the error of a publish: its kind, the topic, the nsqd and the cause.
type PublishError = conn.PublishError

// Errors of [Consumer.Healthy] and [Publisher.Healthy], alone or wrapped.
var (
	ErrNotRunning = observe.ErrNotRunning // before Run, or from the start of the shutdown
	ErrNoNSQD     = observe.ErrNoNSQD     // no nsqd is connected
	ErrStuck      = observe.ErrStuck      // every handler has outlived its message
)

// ErrAlreadyRun is returned by the second Run or Start of a consumer, and the second Run of a
// producer or publisher.
var ErrAlreadyRun = consume.ErrAlreadyRun

// ErrEnded is returned by [Run] if a service returned nil before it was told to end.
var ErrEnded = lifecycle.ErrEnded

// CheckTopic returns an error that says what is wrong unless name is the name of a topic: 1 to 64
// characters of a-z, A-Z, 0-9, '.', '_' and '-', of which the last ten may be "#ephemeral".
func CheckTopic(name string) error { return wire.CheckTopic(name) }

// CheckChannel is [CheckTopic] for the name of a channel, which has the same rules.
func CheckChannel(name string) error { return wire.CheckChannel(name) }

// ErrNoTopic is the Err of an [observe.LookupEvent] if no nsqd known to the nsqlookupd has the
// topic. The first message creates it.
var ErrNoTopic = observe.ErrNoTopic

// OptionError is one fault in the arguments of a constructor.
type OptionError struct {
	Option string // the option or argument
	Reason string // the fault, and what is allowed
}

// Error names the option and what is allowed.
func (e *OptionError) Error() string { return fmt.Sprintf("nsqx: %s %s", e.Option, e.Reason) }

// RedriveChannelError is the error of a [Redrive] that finds nothing because its channel is new,
// while other channels of the topic have messages: [WithRedriveChannel] chooses one of them. To keep
// dead letters for later redrives, make the channel before, as nsqadmin does.
type RedriveChannelError struct {
	Topic, Channel string
	Others         map[string]int64 // messages in other channels, by name; -1 if that is not known
}

// Error names the other channels.
func (e *RedriveChannelError) Error() string {
	var others []string
	for _, name := range slices.Sorted(maps.Keys(e.Others)) {
		if n := e.Others[name]; n >= 0 {
			name += fmt.Sprintf(" (%d)", n)
		}
		others = append(others, name)
	}
	return fmt.Sprintf("nsqx: channel %s of topic %s is new and gets no earlier messages; choose a channel that has them by WithRedriveChannel: %s",
		e.Channel, e.Topic, strings.Join(others, ", "))
}

// RedriveIncompleteError is the error of a [Redrive] that may not have got all dead letters, beside its
// report: an nsqd could not be reached, an nsqlookupd did not name its nsqds, an nsqd has messages
// in the channel of which none came, or nothing came at all and no server could tell whether that is right.
type RedriveIncompleteError struct {
	Topic, Channel string
	Reasons        []error // one an nsqd or nsqlookupd
}

func newRedriveIncompleteError(s Stats, reasons []error) error {
	if len(reasons) == 0 {
		return nil
	}
	return &RedriveIncompleteError{s.Topic, s.Channel, reasons}
}

// Error has the reasons.
func (e *RedriveIncompleteError) Error() string {
	return fmt.Sprintf("nsqx: there may be more dead letters in channel %s of topic %s: %v", e.Channel, e.Topic, errors.Join(e.Reasons...))
}

// Unwrap returns the reasons.
func (e *RedriveIncompleteError) Unwrap() []error { return e.Reasons }

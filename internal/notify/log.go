package notify

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/observe"
)

// log writes one record for an event.
func (q *Queue) log(ev *Event) {
	level, text := describe(ev)
	q.logger.LogAttrs(context.Background(), level, "nsqx: "+text, attrs(ev)...)
}

func describe(ev *Event) (level slog.Level, text string) {
	switch ev.Kind {
	case Disconnect:
		if ev.Err != nil {
			return slog.LevelWarn, "connection lost"
		}
		return slog.LevelInfo, "disconnected"
	case DialError:
		if Permanent(ev.Err) {
			return slog.LevelError, "cannot connect"
		}
		return slog.LevelWarn, "cannot connect"
	case UnnamedDialError:
		return slog.LevelDebug, "cannot connect to an nsqd that nobody names any more"
	case Refused:
		return slog.LevelWarn, "nsqd refused an answer"
	case Lookup:
		switch {
		case ev.Err == nil || errors.Is(ev.Err, observe.ErrNoTopic):
			return slog.LevelDebug, "asked for nsqds"
		case ev.Good:
			return slog.LevelWarn, "asked for nsqds, not all can be used"
		}
		return slog.LevelWarn, "asking for nsqds failed"
	case Register:
		return slog.LevelWarn, "topic and channel are not registered at a nsqlookupd: an nsqd that makes the topic later may not keep its first messages for this channel; said once, until it works"
	case Backoff:
		switch ev.State {
		case observe.BackoffProbe:
			return slog.LevelInfo, "backoff: one message may try"
		case observe.BackoffClosed:
			return slog.LevelInfo, "backoff ends: messages are handled again"
		}
		return slog.LevelWarn, "nearly all messages fail: none is asked for until one may try"
	case GivenBack:
		if ev.Reason == "suspended" {
			return slog.LevelDebug, "messages given back that no handler has seen"
		}
		return slog.LevelWarn, "messages given back that no handler has seen"
	case Overdue:
		return slog.LevelWarn, "handler outlives its message: nsqd has given it to someone else"
	case Drift:
		if ev.Renewed {
			return slog.LevelInfo, "connection is replaced: nsqd's count of its messages in flight is wrong, or may be"
		}
		return slog.LevelWarn, "nsqd counts more messages in flight than there are: RDY allows for it"
	}
	return slog.LevelInfo, "connected"
}

func attrs(ev *Event) (attrs []slog.Attr) {
	add := func(shown bool, attr slog.Attr) {
		if shown {
			attrs = append(attrs, attr)
		}
	}
	add(ev.NSQD != "", slog.String("nsqd", ev.NSQD))
	add(ev.Err != nil, slog.Any("error", ev.Err))
	if p, ok := errors.AsType[*handler.PanicError](ev.Err); ok {
		add(true, slog.String("stack", string(p.Stack)))
	}
	add(ev.Retry > 0, slog.Duration("retry", ev.Retry.Round(time.Millisecond)))
	switch ev.Kind {
	case Backoff:
		add(true, slog.Int("failed", ev.Failed))
		add(true, slog.Int("results", ev.Results))
	case Register:
		add(true, slog.String("source", ev.Source))
	case Lookup:
		add(true, slog.String("source", ev.Source))
		add(true, slog.Int("found", ev.Found))
	case GivenBack:
		add(true, slog.String("reason", ev.Reason))
		add(true, slog.Int("messages", ev.Found))
	case Overdue:
		add(true, slog.String("message", ev.Message.String()))
		add(true, slog.Duration("age", ev.Age.Round(time.Millisecond)))
	case Drift:
		add(true, slog.Int("allowance", ev.Allowance))
	}
	return attrs
}

// Permanent reports whether an error of a connection will not heal by itself, so that a quick
// retry is pointless.
func Permanent(err error) bool {
	e, ok := errors.AsType[*conn.Error](err)
	return ok && e.Permanent()
}

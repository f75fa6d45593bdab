package handler_test

import (
	"errors"
	"testing"
	"time"

	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
)

func TestDispositionNames(t *testing.T) {
	for d, name := range map[handler.Disposition]string{
		handler.Pending:     "pending",
		handler.Finish:      "finish",
		handler.Requeue:     "requeue",
		handler.Drop:        "drop",
		handler.DeadLetter:  "dead_letter",
		handler.Skip:        "skip",
		handler.Interrupted: "interrupted",
		handler.Expired:     "expired",
		handler.Lost:        "lost",
		handler.Lost + 1:    "unknown",
		255:                 "unknown",
	} {
		check.Want(t, "name", d.String(), name)
	}
}

func TestOutcome(t *testing.T) {
	busy := errors.New("busy")
	for _, out := range []handler.Outcome{
		{Disposition: handler.Finish},
		{Disposition: handler.Requeue, Delay: 3 * time.Second, Err: busy},
		{Disposition: handler.Requeue, Delay: 3 * time.Second},
		{Disposition: handler.Drop, Err: busy},
		{Disposition: handler.Lost},
	} {
		m := newSource(t).message("body")
		check.Want(t, "before", m.Outcome(), handler.Outcome{})
		delivery(m).SetOutcome(out)
		check.Want(t, "after", m.Outcome(), out)
		delivery(m).Release()
		check.Want(t, "after Release", m.Outcome(), out)

		last := handler.Outcome{Disposition: handler.Expired}
		delivery(m).SetOutcome(last)
		check.Want(t, "changed", m.Outcome(), last)
	}
}

// Touch allocates the same extra part of a message as an Outcome with an error.
func TestOutcomeOfTouched(t *testing.T) {
	m := newSource(t).message("body")
	wantErr(t, "Touch", m.Touch(), nil)
	check.Want(t, "still open", m.Outcome(), handler.Outcome{})
	delivery(m).SetOutcome(handler.Outcome{Disposition: handler.Finish})
	check.Want(t, "Outcome", m.Outcome(), handler.Outcome{Disposition: handler.Finish})
}

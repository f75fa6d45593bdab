package consume

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/internal/fake"
	"github.com/nsqx/nsqx/retry"
)

// typedError has a type of its own in metrics and logs.
type typedError struct{}

func (typedError) Error() string     { return "typed" }
func (typedError) ErrorType() string { return "quota" }

// TestReport: what the log says of deliveries that have not succeeded, by way of a connection.
func TestReport(t *testing.T) {
	dead := func(g GiveUp) func(*Config) { return givesUp(g, 0, 0) }
	quiet := func(c *Config) { c.NoFailureLog = true }
	var identified envelope.Writer
	check.WantErr(t, "header", identified.Set(envelope.ID, "order-7"), nil)
	for name, tt := range map[string]struct {
		err      error
		edit     func(*Config)
		attempts uint16
		body     []byte // nil: "x"
		want     string
	}{
		"success":  {err: nil, want: ""},
		"failure":  {err: errFailed, want: `WARN "nsqx: message failed, and is requeued" disposition=requeue delay_seconds=1 error=failed`},
		"deferral": {err: retry.After(time.Minute, nil), attempts: 100, want: ""},
		"mapped deferral": {
			err: errFailed, edit: func(c *Config) { c.Errors = func(error) error { return retry.After(time.Minute, nil) } }, want: "",
		},
		"delay":        {err: retry.After(time.Minute, errFailed), want: `WARN "nsqx: message failed, and is requeued" disposition=requeue delay_seconds=60 error="after 1m0s: failed"`},
		"decode":       {err: &handler.DecodeError{Err: errFailed}, want: `WARN "nsqx: message does not decode, and is requeued; see WithDeadLetter" disposition=requeue delay_seconds=1 error="nsqx: payload does not decode: failed"`},
		"10th attempt": {err: errFailed, attempts: 10, want: `WARN "nsqx: message fails again and again; see WithMaxAttempts, WithDeadLetter" disposition=requeue delay_seconds=10 error=failed`},
		"drop":         {err: retry.Drop(errFailed), edit: dead(Discard{}), want: `WARN "nsqx: message discarded: its handler asked for that" disposition=drop error="drop: failed"`},
		"mapped drop": {
			err: errFailed, edit: func(c *Config) { c.Errors = retry.Drop }, want: `WARN "nsqx: message discarded: its handler asked for that" disposition=drop error=failed`,
		},
		"decode, mapped drop": {
			err: errDecode, edit: func(c *Config) { c.Errors = retry.Drop }, want: `WARN "nsqx: message does not decode, and is discarded; see retry.Drop" disposition=drop error="nsqx: payload does not decode: bad payload"`,
		},
		"discard":          {err: retry.Permanent(errFailed), edit: dead(Discard{}), want: `WARN "nsqx: message given up and discarded; see WithDiscard" disposition=drop error="permanent: failed"`},
		"unset":            {err: retry.Permanent(errFailed), want: `ERROR "nsqx: message dropped: it was given up, and there is no dead letter; see WithDeadLetter" disposition=drop error="permanent: failed"`},
		"dead letter":      {err: retry.Permanent(errFailed), edit: dead(DeadLetterFunc(func(context.Context, *handler.Message, error) error { return nil })), want: `WARN "nsqx: message given up: it is a dead letter" disposition=dead_letter destination=WithDeadLetterFunc error="permanent: failed"`},
		"not kept":         {err: retry.Permanent(errFailed), edit: dead(DeadLetterFunc(func(context.Context, *handler.Message, error) error { return errKeep })), want: `ERROR "nsqx: dead letter not kept: WithDeadLetterFunc has failed, and the message stays and is handled again" disposition=requeue delay_seconds=1 destination=WithDeadLetterFunc error="permanent: failed" dead_letter_error="not kept"`},
		"not confirmed":    {err: retry.Permanent(errFailed), edit: dead(DeadLetterFunc(func(context.Context, *handler.Message, error) error { return conn.ErrUnconfirmed })), want: `ERROR "nsqx: dead letter not confirmed, nsqd may have it: the message stays, and is handled again" disposition=requeue delay_seconds=1 destination=WithDeadLetterFunc error="permanent: failed" dead_letter_error="nsqx: publish not confirmed"`},
		"limits":           {err: errFailed, edit: givesUp(Discard{}, 5, time.Hour), attempts: 3, want: `WARN "nsqx: message failed, and is requeued" disposition=requeue delay_seconds=3 max_attempts=5 max_age_seconds=3600 error=failed`},
		"next is last":     {err: errFailed, edit: givesUp(Discard{}, 5, 0), attempts: 4, want: `WARN "nsqx: message failed, and is requeued" disposition=requeue delay_seconds=4 max_attempts=5 next_attempt="the last" error=failed`},
		"given up":         {err: errFailed, edit: givesUp(Discard{}, 5, 0), attempts: 5, want: `WARN "nsqx: message given up and discarded; see WithDiscard" disposition=drop max_attempts=5 error=failed`},
		"drop, with an id": {err: retry.Drop(errFailed), body: identified.AppendTo(nil, []byte("x")), want: `WARN "nsqx: message discarded: its handler asked for that" disposition=drop msg.uid=order-7 error="drop: failed"`},
		"panicking error":  {err: panickyError{}, want: `WARN "nsqx: message failed, and is requeued" disposition=requeue delay_seconds=1 error=consume.panickyError`},
		"quiet":            {err: errFailed, edit: quiet, want: ""},
		"quiet, an error":  {err: retry.Permanent(errFailed), edit: quiet, want: `ERROR "nsqx: message dropped: it was given up, and there is no dead letter; see WithDeadLetter" disposition=drop error="permanent: failed"`},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			log := &records{}
			net := fake.NewNetwork(t, func(p *fake.Peer) {
				p.Identify(nil)
				for cmd, err := p.Next(); err == nil; cmd, err = p.Next() {
					switch cmd.Name {
					case "SUB":
						p.Response("OK")
						p.Message(fake.ID(1), max(tt.attempts, 1), []byte(cmp.Or(string(tt.body), "x")))
					case "CLS":
						p.Response("CLOSE_WAIT")
					}
				}
			})
			c := newConsumer(t, log, func(cfg *Config) {
				cfg.NSQDs, cfg.Conn.DialContext = []string{addrA}, net.DialContext
				if tt.edit != nil {
					tt.edit(cfg)
				}
			}, func(context.Context, *handler.Message) error { return tt.err })
			r := run(t, c)
			time.Sleep(time.Second / 2)
			_ = r.stop()
			var about []string
			for _, line := range log.All() {
				if strings.Contains(line, "disposition=") {
					about = append(about, strings.NewReplacer("level=", "", "msg=", "", " topic=orders channel=billing", "").Replace(line))
				}
			}
			check.Want(t, "log", strings.Join(about, "\n"), tt.want)
		})
	}
}

func TestErrorType(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{nil, ""},
		{errFailed, "*errors.errorString"},
		{fmt.Errorf("a: %w", fmt.Errorf("b: %w", context.DeadlineExceeded)), "context.deadlineExceededError"},
		{retry.Permanent(&handler.DecodeError{Err: errFailed}), "*handler.DecodeError"},
		{backoff.Permanent(errFailed), "*errors.errorString"},
		{retry.After(time.Second, fmt.Errorf("c: %w", typedError{})), "quota"},
		{errors.Join(errFailed, errKeep), "*errors.joinError"},
		{fmt.Errorf("no %d", 1), "*fmt.wrapError"},
	} {
		got := errorType(tt.err)
		if tt.want == "*fmt.wrapError" {
			check.Want(t, "of fmt", strings.HasPrefix(got, "*fmt.") || strings.HasPrefix(got, "*errors."), true)
			continue
		}
		check.Want(t, fmt.Sprint(tt.err), got, tt.want)
	}
}

func TestIsMilestone(t *testing.T) {
	for n, want := range map[int]bool{0: false, 1: false, 9: false, 10: true, 11: false, 20: false, 100: true, 110: false, 1000: true, 10000: true, 65535: false} {
		check.Want(t, fmt.Sprint(n), isMilestone(n), want)
	}
}

package nsqx

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
)

// deadLetterTimeout is how long a dead letter may take to be confirmed.
const deadLetterTimeout = 30 * time.Second

// deadLetter hands a message to where the given up ones go, and returns nil
// when it is safe there. The message is touched meanwhile. ctx gives its values
// only: it may have ended with the handler's.
func (e *engine) deadLetter(ctx context.Context, d *handler.Delivery, cause error) error {
	m := d.Message()
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	defer context.AfterFunc(e.settling, func() { cancel(context.Cause(e.settling)) })()

	defer keepTouched(d)()
	if fn := e.cfg.deadLetterFunc; fn != nil {
		return fn(ctx, m, cause)
	}
	ctx, stop := context.WithTimeout(ctx, deadLetterTimeout)
	defer stop()
	out := &handler.Outgoing{Topic: e.cfg.deadLetterTopic, NSQD: m.NSQD()}
	if e.cfg.plainDeadLetter {
		out.Messages = []handler.OutgoingMessage{{Body: m.Body}}
	} else {
		out.Messages, out.Envelope, out.Headers.Limit = []handler.OutgoingMessage{{Body: m.RawBody()}}, true, envelope.MaxLimit
		describe(m, cause, &out.Headers)
	}
	return e.sendDead(ctx, out)
}

// maxReason is how many bytes of an error a dead letter carries.
const maxReason = 512

// describe says in the headers of a dead letter where it comes from. Those that the
// message came with stay; its trace makes room for that of the dead letter.
func describe(m *handler.Message, cause error, headers *envelope.Writer) {
	set := func(key, value string) { _ = headers.Set(key, value) } // what cannot be carried is left out
	set(envelope.DeadTopic, m.Topic())                             // first: see undescribe
	set(envelope.DeadChannel, m.Channel())
	set(envelope.DeadID, m.ID.String())
	set(envelope.DeadAttempts, strconv.Itoa(attempts((*handler.Delivery)(m))))
	set(envelope.DeadError, reason(cause))
	set(envelope.DeadTime, time.Now().UTC().Format(time.RFC3339Nano))
	if trace := m.Header("traceparent"); trace != "" && m.Header(envelope.OriginTrace) == "" {
		set(envelope.OriginTrace, trace)
	}
}

// reason is the text of an error as a header takes it. The error is user code: if it
// panics, its type has to do.
func reason(err error) (text string) {
	defer func() {
		if recover() != nil {
			text = fmt.Sprintf("%T", err)
		}
	}()
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(err.Error(), "\uFFFD"))
	if len(text) > maxReason {
		text = strings.ToValidUTF8(text[:maxReason], "")
	}
	return text
}

// keepTouched touches m now and each third of its message timeout, until stop
// is called.
func keepTouched(m *handler.Delivery) (stop func()) {
	if m.Message().Touch() != nil || m.Source().Terms().MessageTimeout <= 0 {
		return func() {}
	}
	every := m.Source().Terms().MessageTimeout / 3
	ticker := time.NewTicker(every)
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-ticker.C:
				if m.Message().Touch() != nil {
					return
				}
			case <-quit:
				return
			}
		}
	}()
	return func() {
		ticker.Stop()
		close(quit)
		<-done
	}
}

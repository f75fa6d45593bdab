package consume

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/guard"
)

// deadLetterTimeout is how long a dead letter may take to be confirmed.
const deadLetterTimeout = 30 * time.Second

// DeadLetterTopic is WithDeadLetter: the message is published to a topic.
type DeadLetterTopic struct {
	Topic string
	Plain bool // WithPlainDeadLetter: the payload without an envelope, unless it is empty
}

// Configured returns true.
func (DeadLetterTopic) Configured() bool { return true }

// Keep publishes the message and waits for nsqd's confirmation: to the nsqd that delivered it, or to
// another one if that fails.
func (t DeadLetterTopic) Keep(ctx context.Context, send handler.Send, d *handler.Delivery, cause error) (handler.Disposition, error) {
	if d.Fault() != nil {
		return handler.Pending, errNoBody
	}
	defer keepTouched(d)()
	ctx, stop := context.WithTimeout(ctx, deadLetterTimeout)
	defer stop()
	m := d.Message()
	out := &handler.Outgoing{Topic: t.Topic, NSQD: m.NSQD(), Raw: true}
	if t.Plain && len(m.Body) > 0 {
		out.Messages = []handler.OutgoingMessage{{Body: m.Body}}
	} else {
		out.Messages = []handler.OutgoingMessage{{Body: m.RawBody()}}
		out.Envelope, out.Headers.Limit = true, envelope.MaxLimit
		out.Raw = d.Read() == nil || !d.Read().Plain
		describe(d, cause, &out.Headers)
	}
	return handler.DeadLetter, send(ctx, out)
}

// deadLetterConn is the Config of the connections for dead letters. Their client id says so: in nsqd's
// statistics they stand beside those of the consumer.
func deadLetterConn(cfg conn.Config) conn.Config {
	const suffix, maxLen = "/dead-letters", 255
	id := cfg.ClientID
	if id == "" {
		host, _ := os.Hostname() // the name only appears in statistics
		id, _, _ = strings.Cut(host, ".")
	}
	cfg.ClientID = strings.ToValidUTF8(id[:min(len(id), maxLen-len(suffix))], "") + suffix
	return cfg
}

// describe sets the headers that say where a dead letter comes from. Headers of the message stay;
// its trace is kept aside for that of the dead letter.
func describe(d *handler.Delivery, cause error, headers *envelope.Writer) {
	m := d.Message()
	set := func(key, value string) { _ = headers.Set(key, value) } // what cannot be carried is left out
	set(envelope.DeadTopic, m.Topic())                             // first: redrive goes by that
	set(envelope.DeadChannel, m.Channel())
	set(envelope.DeadID, m.ID.String())
	set(envelope.DeadAttempts, strconv.Itoa(deliveries(d)))
	set(envelope.DeadError, reason(cause))
	set(envelope.DeadTime, time.Now().UTC().Format(time.RFC3339Nano))
	if envelope.Is(m.Body) && len(m.Body) < len(m.RawBody()) {
		set(envelope.DeadWrapped, "1")
	}
	if trace := m.Header("traceparent"); trace != "" && m.Header(envelope.OriginTrace) == "" {
		set(envelope.OriginTrace, trace)
	}
}

// maxReason is how many bytes of an error a dead letter carries.
const maxReason = 512

// reason is the text of an error as a header takes it; the type of an error that panics.
func reason(err error) (text string) {
	if guard.Call(func() { text = err.Error() }) != nil {
		text = fmt.Sprintf("%T", err)
	}
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
	if len(text) > maxReason {
		text = strings.ToValidUTF8(text[:maxReason], "")
	}
	return text
}

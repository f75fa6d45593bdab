package nsqotel_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/cenkalti/backoff/v4"
	"go.opentelemetry.io/otel/codes"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/internal/lookup"
	"github.com/nsqx/nsqx/internal/wire"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/observe"
	"github.com/nsqx/nsqx/retry"
)

type named struct{ error }

func (named) ErrorType() string { return "no_credit" }

type hostile struct{}

func (hostile) Error() string { panic("Error") }
func (hostile) Unwrap() error { panic("Unwrap") }

// strangeAnswer is the error of an nsqlookupd whose answer is no text.
func strangeAnswer(t *testing.T) error {
	strange := roundTrip(func(r *http.Request) (*http.Response, error) { return nil, errors.New("\x00") })
	c, err := lookup.NewClient("nsqlookupd:4161", lookup.Config{HTTPClient: &http.Client{Transport: strange}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Lookup(t.Context(), "orders")
	return err
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestErrorTypes(t *testing.T) {
	dial := &net.OpError{Op: "dial", Err: errors.New("refused")}
	tests := map[string]struct {
		err  error
		want string
	}{
		"panic":               {handler.NewPanicError("no"), "panic"},
		"panic in the codec":  {&handler.DecodeError{Err: handler.NewPanicError("no")}, "panic"},
		"decoding":            {&handler.DecodeError{Err: errBill}, "decode_error"},
		"envelope":            {&handler.DecodeError{Err: &envelope.FormatError{Err: envelope.ErrVersion}}, "malformed_envelope"},
		"code of nsqd":        {protocolError(t, "E_BAD_TOPIC PUB"), "E_BAD_TOPIC"},
		"nsqd without a code": {protocolError(t, "what?"), "protocol_error"},
		"not the protocol":    {&conn.Error{Err: &wire.FrameSizeError{}}, "protocol_error"},
		"no topic yet":        {fmt.Errorf("orders: %w", nsqx.ErrNoTopic), "topic_not_found"},
		"no nsqd":             {&nsqx.PublishError{Kind: nsqx.ErrNotSent, Err: observe.ErrNoNSQD}, "no_nsqd"},
		"stale":               {fmt.Errorf("skipped: %w", handler.ErrStale), "stale"},
		"message timeout":     {handler.ErrMessageTimeout, "timeout"},
		"deadline":            {fmt.Errorf("bill: %w", context.DeadlineExceeded), "timeout"},
		"canceled":            {errors.Join(errBill, context.Canceled), "canceled"},
		"shutdown":            {handler.ErrShutdown, "canceled"},
		"connection lost":     {retry.After(0, handler.ErrConnLost), "canceled"},
		"nsqlookupd refuses":  {fmt.Errorf("poll: %w", &lookup.Error{Status: 503, Err: errBill}), "503"},
		"nsqlookupd answers":  {strangeAnswer(t), "protocol_error"}, // not the name of an internal type
		"typed":               {&fs.PathError{Err: errBill}, "*fs.PathError"},
		"ErrorType method":    {retry.Permanent(named{errBill}), "no_credit"},
		"wrapped":             {fmt.Errorf("a: %w", retry.Permanent(fmt.Errorf("b: %w", backoff.Permanent(dial)))), "*net.OpError"},
		"wrapped by nsqx":     {&conn.Error{Err: dial}, "*net.OpError"},
		"a publish":           {&nsqx.PublishError{Kind: nsqx.ErrNotSent, Err: &conn.Error{Err: dial}}, "*net.OpError"},
		"a publish, ended":    {&nsqx.PublishError{Kind: nsqx.ErrUnconfirmed, Err: context.DeadlineExceeded}, "timeout"},
		"a publish, refused":  {&nsqx.PublishError{Kind: nsqx.ErrRejected, Err: protocolError(t, "E_BAD_BODY")}, "E_BAD_BODY"},
		"a body, refused":     {&nsqx.PublishError{Kind: nsqx.ErrRejected, Err: wire.CheckBody(nil, 10)}, "E_BAD_MESSAGE"},
		"bodies, refused":     {&nsqx.PublishError{Kind: nsqx.ErrRejected, Err: &wire.BodyError{Kind: "bodies"}}, "E_BAD_BODY"},
		"a topic, refused":    {&nsqx.PublishError{Kind: nsqx.ErrRejected, Err: wire.CheckTopic("")}, "E_BAD_TOPIC"},
		"a delay, refused":    {&nsqx.PublishError{Kind: nsqx.ErrRejected, Err: &wire.DelayError{MS: -1}}, "E_INVALID"},
		"several":             {fmt.Errorf("%w, %w", errBill, errBill), "*fmt.wrapErrors"},
		"hostile":             {hostile{}, "_OTHER"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			k := newKit(t)
			err := k.publish(context.Background(), &handler.Outgoing{Topic: "orders", Messages: make([]handler.OutgoingMessage, 1)}, func(context.Context, *handler.Outgoing) error { return tt.err })
			if name != "hostile" && !errors.Is(err, tt.err) {
				t.Errorf("got %v", err)
			}
			check.Want(t, "status", k.span().Status().Code, codes.Error)
			wantAttributes(t, "span", k.span().Attributes(), "error.type="+tt.want+
				" messaging.client.id=web-1 messaging.destination.name=orders messaging.operation.name=publish messaging.operation.type=send messaging.system=nsq")
			k.wantPoints("messaging.client.sent.messages", "1 error.type="+tt.want+" messaging.operation.name=publish")
		})
	}
}

// An error whose methods panic changes neither the span nor the outcome.
func TestHostileHandlerError(t *testing.T) {
	k := newKit(t)
	wrapped := k.Consumer(consumerInfo)(func(_ context.Context, m *handler.Message) error {
		(*handler.Delivery)(m).SetOutcome(handler.Outcome{Disposition: handler.Requeue, Delay: time.Second, Err: hostile{}})
		return hostile{}
	})
	m := nsqxtest.Message(nil)
	_ = wrapped(m.Context(), m)
	check.Want(t, "description", k.span().Status().Description, "its Error method panicked")
	k.wantPoints("nsq.consumer.settlements", "1 error.type=_OTHER messaging.nsq.message.disposition=requeue")
}

// At most 64 error types beside the fixed ones.
func TestErrorTypesAreFew(t *testing.T) {
	k := newKit(t)
	for i := range 100 {
		err := protocolError(t, fmt.Sprintf("E_%d", i))
		_ = k.publish(context.Background(), &handler.Outgoing{Topic: "orders", Messages: make([]handler.OutgoingMessage, 1)}, func(context.Context, *handler.Outgoing) error { return err })
	}
	_ = k.publish(context.Background(), &handler.Outgoing{Topic: "orders", Messages: make([]handler.OutgoingMessage, 1)}, func(context.Context, *handler.Outgoing) error { return context.Canceled })
	kinds := make(map[string]int64)
	for _, p := range sum(t, k.collect()["messaging.client.sent.messages"]) {
		kind, _ := p.Attributes.Value("error.type")
		kinds[kind.AsString()] = p.Value
	}
	check.Want(t, "types", len(kinds), 64+2)
	check.Want(t, "the first", kinds["E_0"], 1)
	check.Want(t, "the last", kinds["E_63"], 1)
	check.Want(t, "others", kinds["_OTHER"], 36)
	check.Want(t, "fixed", kinds["canceled"], 1)
}

// The text of an error is cut to 256 bytes of UTF-8.
func TestDescription(t *testing.T) {
	for name, text := range map[string]string{"short": "no credit", "binary": "no \xff credit", "long": strings.Repeat("é", 1000)} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t)
			_ = k.publish(context.Background(), &handler.Outgoing{Topic: "orders"}, func(context.Context, *handler.Outgoing) error { return errors.New(text) })
			got := k.span().Status().Description
			if !utf8.ValidString(got) || len(got) > 256 || !strings.HasPrefix(got, "no ") && name != "long" || len(got) < 9 {
				t.Errorf("got %d bytes, %q", len(got), got)
			}
		})
	}
}

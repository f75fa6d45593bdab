package test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
)

// TestDeadLetterHeaders: a dead letter keeps the headers of its message, followed by its origin and
// the error. If its publish is traced, the trace of the message is kept in a header of its own.
func TestDeadLetterHeaders(t *testing.T) {
	const own = `nsqx-dlq-topic=orders
nsqx-dlq-channel=billing
nsqx-dlq-id=0000000000000001
nsqx-dlq-attempts=7
nsqx-dlq-error=no credit
nsqx-dlq-time=2000-01-01T01:30:00Z`
	inner, verbatim := withHeaders("7", "k", "1"), envelope.Writer{Verbatim: true}
	malformed := "\xC1\xCE\xD3\xD1\x11\x80\x85abcde"
	tooNew := "\xC1\xCE\xD3\xD1\x12\x80\x80payload"
	telemetry := nsqx.WithTelemetry(tracer{headers: []string{"traceparent", trace2, "baggage", "a=1"}})
	tests := map[string]struct {
		body             []byte
		opts             []nsqx.ConsumerOption
		headers, payload string
	}{
		"plain":           {body: []byte("7"), headers: own, payload: "7"},
		"plain, observed": {body: []byte("7"), opts: opts(telemetry), headers: own + "\ntraceparent=" + trace2 + "\nbaggage=a=1", payload: "7"},
		"headers": {
			body:    withHeaders("7", "tenant", "acme", "traceparent", trace1, "tracestate", "x=y"),
			headers: "tenant=acme\ntraceparent=" + trace1 + "\ntracestate=x=y\n" + own + "\nnsqx-origin-traceparent=" + trace1, payload: "7",
		},
		"headers, observed": {
			body: withHeaders("7", "tenant", "acme", "traceparent", trace1), opts: opts(telemetry),
			headers: "tenant=acme\ntraceparent=" + trace2 + "\n" + own + "\nnsqx-origin-traceparent=" + trace1 + "\nbaggage=a=1", payload: "7",
		},
		"a dead letter before": {
			body:    withHeaders("7", "traceparent", trace2, envelope.DeadTopic, "other", envelope.DeadError, "old", envelope.OriginTrace, trace1),
			headers: "traceparent=" + trace2 + "\nnsqx-dlq-topic=orders\nnsqx-dlq-error=no credit\nnsqx-origin-traceparent=" + trace1 + "\nnsqx-dlq-channel=billing\nnsqx-dlq-id=0000000000000001\nnsqx-dlq-attempts=7\nnsqx-dlq-time=2000-01-01T01:30:00Z", payload: "7",
		},
		"more headers than a writer writes by default": {
			body:    withHeaders("7", "large", strings.Repeat("x", 9000), "baggage", "b=2"),
			headers: "large=" + strings.Repeat("x", 9000) + "\nbaggage=b=2\n" + own, payload: "7",
		},
		"malformed":                {body: []byte(malformed), headers: strings.Replace(own, "no credit", "ERROR", 1), payload: malformed},
		"too new":                  {body: []byte(tooNew), headers: strings.Replace(own, "no credit", "ERROR", 1), payload: tooNew},
		"not understood":           {body: withHeaders("7", "!zip", "1"), headers: "!zip=1\n" + strings.Replace(own, "no credit", "ERROR", 1), payload: "7"},
		"as a plain one":           {body: withHeaders("7", "tenant", "acme"), opts: opts(nsqx.WithPlainDeadLetter(), telemetry), payload: "7"},
		"empty and plain":          {body: withHeaders("", "tenant", "acme"), opts: opts(nsqx.WithPlainDeadLetter()), headers: "tenant=acme\n" + own},
		"in an envelope, like one": {body: verbatim.AppendTo(nil, inner), headers: own + "\nnsqx-dlq-wrapped=1", payload: string(inner)},
		"like one, no envelopes":   {body: inner, opts: opts(nsqx.WithoutEnvelopes()), headers: own, payload: string(inner)},
		"malformed and plain":      {body: []byte(malformed), opts: opts(nsqx.WithPlainDeadLetter()), payload: malformed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			letter, skipped := deadLetterOf(t, tt.body, errBill, tt.opts...)
			want(t, "without headers", skipped, 0)
			headers, payload := splitHeaders(letter)
			if tt.payload == string(inner) { // read as an envelope it has more headers
				_, rest, _ := envelope.Split(letter)
				payload = string(rest)
			}
			if _, _, err := envelope.Split(tt.body); err != nil && headers != "" { // the header has the fault of the envelope
				header, _, _ := envelope.WriterOf(letter)
				text, _ := header.Get(envelope.DeadError)
				if !strings.Contains(text, "envelope") {
					t.Errorf("the error is %q", text)
				}
				headers = strings.Replace(headers, text, "ERROR", 1)
			}
			want(t, "headers", headers, tt.headers)
			want(t, "payload", payload, tt.payload)
			if tt.headers == "" {
				want(t, "body", string(letter), tt.payload)
			}
		})
	}
}

// TestDeadLetterReason: the header has the first 512 bytes of the error, in whole runes, as a
// header allows them.
func TestDeadLetterReason(t *testing.T) {
	long := "line 1\nline 2\ttab\x00\x7f\u0085 bad \xff\xfe " + strings.Repeat("é", 300)
	tests := map[string]struct{ text, want string }{
		"as it is":           {"no credit: é", "no credit: é"},
		"none":               {"", ""},
		"512 bytes":          {strings.Repeat("x", 512), strings.Repeat("x", 512)},
		"513 bytes":          {strings.Repeat("x", 513), strings.Repeat("x", 512)},
		"a rune at the end":  {strings.Repeat("x", 511) + "é", strings.Repeat("x", 511)},
		"three bytes of one": {strings.Repeat("x", 509) + "\U0001F600", strings.Repeat("x", 509)},
		"all at once":        {long, "line 1 line 2 tab    bad \uFFFD " + strings.Repeat("é", 241)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			letter, _ := deadLetterOf(t, []byte("7"), errors.New(tt.text))
			headers, _, err := envelope.WriterOf(letter)
			if err != nil {
				t.Fatal(err)
			}
			got, ok := headers.Get(envelope.DeadError)
			want(t, "present", ok, true)
			want(t, "error", got, tt.want)
			want(t, "UTF-8", utf8.ValidString(got), true)
		})
	}
}

// TestDeadLetterTooLarge: a dead letter without room for headers is published unchanged.
func TestDeadLetterTooLarge(t *testing.T) {
	full := string(withHeaders(strings.Repeat("x", 900), "tenant", strings.Repeat("t", 80)))
	for size, enveloped := range map[int]bool{700: true, 1024: false} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			body := strings.Repeat("x", size)
			letter, skipped := deadLetterOf(t, []byte(body), errBill, nsqx.WithConn(conn.Config{MaxMessageSize: 1024}))
			want(t, "enveloped", envelope.Is(letter), enveloped)
			want(t, "without headers", skipped == 1, !enveloped)
			_, payload := splitHeaders(letter)
			want(t, "payload", payload, body)
		})
	}
	letter, skipped := deadLetterOf(t, []byte(full), errBill, nsqx.WithConn(conn.Config{MaxMessageSize: 1024}))
	want(t, "one that came with headers", string(letter), full)
	want(t, "without new headers", skipped, 1)
}

// TestDeadLetterTopicErrors: NewConsumer rejects faulty dead letter options.
func TestDeadLetterTopicErrors(t *testing.T) {
	tests := map[string]struct {
		opts []nsqx.ConsumerOption
		want string
	}{
		"empty":          {opts(nsqx.WithDeadLetter("")), "WithDeadLetter"},
		"bad name":       {opts(nsqx.WithDeadLetter("a b")), "WithDeadLetter"},
		"its own":        {opts(nsqx.WithDeadLetter("orders")), "WithDeadLetter"},
		"twice":          {opts(dead, nsqx.WithDeadLetter("other")), "WithDeadLetter"},
		"plain, no dead": {opts(nsqx.WithPlainDeadLetter()), "WithPlainDeadLetter"},
		"plain, a func": {opts(nsqx.WithPlainDeadLetter(), nsqx.WithDeadLetterFunc(func(context.Context, *handler.Message, error) error { return nil })),
			"WithPlainDeadLetter"},
		"plain, discarded": {opts(nsqx.WithPlainDeadLetter(), nsqx.WithDiscard()), "WithPlainDeadLetter"},
		"plain, twice":     {opts(dead, nsqx.WithPlainDeadLetter(), nsqx.WithPlainDeadLetter()), "WithPlainDeadLetter"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := nsqx.NewConsumer("orders", "billing", codec.String(), alwaysFails, append(tt.opts, nsqx.WithNSQD(nsqd1))...)
			fault, ok := errors.AsType[*nsqx.OptionError](err)
			if !ok || fault.Option != tt.want {
				t.Errorf("got %v, want a fault of %s", err, tt.want)
			}
		})
	}
}

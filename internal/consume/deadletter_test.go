package consume

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/internal/check"
)

// The client id of connections for dead letters.
func TestDeadLetterConn(t *testing.T) {
	host, _ := os.Hostname()
	host, _, _ = strings.Cut(host, ".")
	for id, want := range map[string]string{
		"":                               host + "/dead-letters",
		"billing-1":                      "billing-1/dead-letters",
		strings.Repeat("x", 255):         strings.Repeat("x", 242) + "/dead-letters",
		strings.Repeat("é", 127):         strings.Repeat("é", 121) + "/dead-letters",
		strings.Repeat("é", 120) + "xé€": strings.Repeat("é", 120) + "x" + "/dead-letters",
	} {
		cfg := deadLetterConn(conn.Config{ClientID: id})
		check.Want(t, "client id", cfg.ClientID, want)
		check.Want(t, "fault", cfg.Validate(), nil)
	}
}

// TestDescribe: the headers that a dead letter gets, beside those of its message.
func TestDescribe(t *testing.T) {
	const at = "2000-01-01T00:00:00Z"
	for name, tt := range map[string]struct {
		attempts uint16
		headers  string
		cause    error
		want     string // beside topic, channel, id and time
	}{
		"plain":            {3, "", errFailed, "nsqx-dlq-attempts=3 nsqx-dlq-error=failed"},
		"counter wrapped":  {0, "", errFailed, "nsqx-dlq-attempts=65536 nsqx-dlq-error=failed"},
		"own headers":      {1, "a=1", errFailed, "nsqx-dlq-attempts=1 nsqx-dlq-error=failed"},
		"trace":            {1, "traceparent=00-1", errFailed, "nsqx-dlq-attempts=1 nsqx-dlq-error=failed nsqx-origin-traceparent=00-1"},
		"trace, again":     {1, "traceparent=00-2 nsqx-origin-traceparent=00-1", errFailed, "nsqx-dlq-attempts=1 nsqx-dlq-error=failed"},
		"control in error": {1, "", errors.New("a\nb"), "nsqx-dlq-attempts=1 nsqx-dlq-error=a b"},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			d := newSource(t).delivery(tt.attempts, inEnvelope(t, tt.headers, "x"))
			var w envelope.Writer
			describe(d, tt.cause, &w)
			var order []string
			for key := range w.All() {
				order = append(order, key)
			}
			check.Want(t, "first header", order[0], envelope.DeadTopic)
			got := headersOf(&w)
			for key, want := range map[string]string{
				envelope.DeadTopic: "orders", envelope.DeadChannel: "billing", envelope.DeadID: "0123456789abcdef", envelope.DeadTime: at,
			} {
				check.Want(t, key, got[key], want)
				delete(got, key)
			}
			var rest []string
			for _, key := range slices.Sorted(maps.Keys(got)) {
				rest = append(rest, key+"="+got[key])
			}
			check.Want(t, "others", strings.Join(rest, " "), tt.want)
		})
	}
}

// TestDescribeTime has fractions of a second, in UTC.
func TestDescribeTime(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		time.Sleep(123456789)
		var w envelope.Writer
		describe(newSource(t).delivery(1, "x"), errFailed, &w)
		check.Want(t, "time", headersOf(&w)[envelope.DeadTime], "2000-01-01T00:00:00.123456789Z")
	})
}

// panickyError panics when it is printed.
type panickyError struct{}

func (panickyError) Error() string { panic(errPanic) }

// TestReason: the text of an error, as a header takes it.
func TestReason(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		want string
	}{
		"text":                {errFailed, "failed"},
		"empty":               {errors.New(""), ""},
		"panics":              {panickyError{}, "consume.panickyError"},
		"panics in a wrapper": {fmt.Errorf("x: %w", panickyError{}), "x: %!v(PANIC=Error method: the value of a panic)"},
		"control characters":  {errors.New("a\r\n\tb\x00\x7f\u0085c"), "a   b   c"},
		"invalid UTF-8":       {errors.New("a\xffb"), "a\uFFFDb"},
		"just fits":           {errors.New(strings.Repeat("x", maxReason)), strings.Repeat("x", maxReason)},
		"too long":            {errors.New(strings.Repeat("x", maxReason+1)), strings.Repeat("x", maxReason)},
		"cut in a rune":       {errors.New(strings.Repeat("x", maxReason-1) + "é"), strings.Repeat("x", maxReason-1)},
		"grows, then is cut":  {errors.New(strings.Repeat("\xff.", 300)), strings.Repeat("\uFFFD.", maxReason/4)},
	} {
		t.Run(name, func(t *testing.T) {
			got := reason(tt.err)
			check.Want(t, "reason", got, tt.want)
			check.Want(t, "is UTF-8", utf8.ValidString(got), true)
			check.WantErr(t, "as a header", new(envelope.Writer).Set(envelope.DeadError, got), nil)
		})
	}
}

package consume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/internal/discover"
	"github.com/nsqx/nsqx/internal/fake"
	"github.com/nsqx/nsqx/retry"
)

const addrA = "a:4150"

var (
	errFailed = errors.New("failed")
	errKeep   = errors.New("not kept")
	errPanic  = errors.New("the value of a panic")
	seconds   = retry.PolicyFunc(func(attempt int, _ error) time.Duration { return time.Duration(attempt) * time.Second })
	stops     = retry.PolicyFunc(func(int, error) time.Duration { return retry.Stop })
)

// source is a handler.Source with a message timeout of a minute.
type source struct {
	ctx     context.Context
	end     context.CancelCauseFunc
	terms   handler.Terms
	touched check.Synced[time.Duration] // since Terms.Start
	refuse  error                       // of Touch
}

func newSource(t *testing.T) *source {
	s := &source{terms: handler.Terms{Start: time.Now(), MessageTimeout: time.Minute, Margin: time.Second}}
	s.ctx, s.end = context.WithCancelCause(context.Background())
	t.Cleanup(func() { s.end(nil) })
	return s
}

func (s *source) Topic() string            { return "orders" }
func (s *source) Channel() string          { return "billing" }
func (s *source) NSQD() string             { return addrA }
func (s *source) Context() context.Context { return s.ctx }
func (s *source) Terms() *handler.Terms    { return &s.terms }

func (s *source) Touch(*handler.Delivery) error {
	s.touched.Add(s.terms.Now())
	return s.refuse
}

// delivery returns a message that has just arrived.
func (s *source) delivery(attempts uint16, body string) *handler.Delivery {
	return s.aged(attempts, 0, body)
}

// aged returns a message that nsqd accepted a while ago.
func (s *source) aged(attempts uint16, age time.Duration, body string) *handler.Delivery {
	d := new(handler.Delivery)
	d.Init(&handler.Read{Source: s, At: s.terms.Now()}, handler.ID([]byte("0123456789abcdef")), attempts,
		time.Now().Add(-age).UnixNano(), []byte(body))
	return d
}

// inEnvelope returns a body with headers, given as "key=value key=value".
func inEnvelope(t *testing.T, headers, payload string) string {
	t.Helper()
	var w envelope.Writer
	for _, h := range strings.Fields(headers) {
		key, value, _ := strings.Cut(h, "=")
		check.WantErr(t, "Set", w.Set(key, value), nil)
	}
	return string(w.AppendTo(nil, []byte(payload)))
}

// headersOf returns headers by key.
func headersOf(w *envelope.Writer) map[string]string {
	all := make(map[string]string)
	for key, value := range w.All() {
		all[key] = value
	}
	return all
}

// records collects the lines of a text log, without times, stacks and messages.
type records struct{ check.Synced[string] }

var aboutMessage = regexp.MustCompile(` (msg\.(id|attempts)=\S+|nsqd=\S+|age_seconds=\S+)`)

func (r *records) Write(line []byte) (int, error) {
	r.Add(string(aboutMessage.ReplaceAll(bytes.TrimSuffix(line, []byte("\n")), nil)))
	return len(line), nil
}

func (r *records) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(r, &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == "stack") {
			return slog.Attr{}
		}
		return a
	}}))
}

// text returns all lines, without the attributes that each has.
func (r *records) text() string {
	return strings.ReplaceAll(strings.Join(r.All(), "\n"), " topic=orders channel=billing", "")
}

// config returns a Config with the defaults that package nsqx sets.
func config(log *records) Config {
	return Config{
		Sub: conn.Subscription{Topic: "orders", Channel: "billing"}, Logger: log.logger(),
		Discover:    discover.Config{Interval: time.Minute, Max: 10},
		Concurrency: 2, MaxInFlightBytes: 1 << 20,
		Retry: seconds, MaxRequeueDelay: time.Hour, ShutdownTimeout: 20 * time.Second,
	}
}

// newConsumer returns a consumer that does not run. edit may change its settings.
func newConsumer(t *testing.T, log *records, edit func(*Config), raw handler.Raw) *Consumer {
	t.Helper()
	cfg := config(log)
	if edit != nil {
		edit(&cfg)
	}
	if raw == nil {
		raw = func(context.Context, *handler.Message) error { return nil }
	}
	c := New(cfg, raw)
	t.Cleanup(func() { c.dead.Close(true) })
	return c
}

// keeper is a GiveUp made of values.
type keeper struct {
	disposition handler.Disposition
	err         error
	do          func(ctx context.Context, send handler.Send, d *handler.Delivery) // may be nil
}

func (keeper) Configured() bool { return true }

func (k keeper) Keep(ctx context.Context, send handler.Send, d *handler.Delivery, _ error) (handler.Disposition, error) {
	if k.do != nil {
		k.do(ctx, send, d)
	}
	return k.disposition, k.err
}

// wantOutcome compares outcomes, and finds the error with errors.Is.
func wantOutcome(t *testing.T, got handler.Outcome, disposition handler.Disposition, delay time.Duration, err error) {
	t.Helper()
	check.Want(t, "disposition", got.Disposition, disposition)
	check.Want(t, "delay", got.Delay, delay)
	check.WantErr(t, "error", got.Err, err)
}

// serve plays an nsqd that delivers nothing. It answers CLS unless silent is set.
func serve(silent bool) func(p *fake.Peer) {
	return func(p *fake.Peer) {
		p.Identify(nil)
		for {
			cmd, err := p.Next()
			switch {
			case err != nil:
				return
			case cmd.Name == "SUB":
				p.Response("OK")
			case cmd.Name == "CLS" && !silent:
				p.Response("CLOSE_WAIT")
			}
		}
	}
}

// running is a consumer that runs.
type running struct {
	*Consumer
	stop func() error // cancels Run and returns its result
}

func run(t *testing.T, c *Consumer) *running {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	var err error
	go func() {
		defer close(done)
		err = c.Run(ctx)
	}()
	r := &running{c, func() error {
		cancel()
		<-done
		return err
	}}
	t.Cleanup(func() { _ = r.stop() })
	return r
}

func (k keeper) String() string { return fmt.Sprint(k.disposition, k.err) }

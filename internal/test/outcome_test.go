package test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/fake"
	"github.com/nsqx/nsqx/retry"
)

// row is a row of the outcome table of Consumer, or half of one. Each is tested through Process and
// on the wire.
type row struct {
	opts      []nsqx.ConsumerOption
	policy    retry.Policy // defaults to attempt × 1 s
	dead      bool         // with a dead letter
	attempts  uint16       // defaults to 1
	wrapped   bool         // attempts is 0
	age       time.Duration
	answer    error
	takes     time.Duration // of the handler
	notCalled bool          // the handler is not called

	want  handler.Disposition
	delay time.Duration
	err   error // of the outcome; defaults to answer
	heard string
}

// late is just after the last instant at which a failure may be answered.
const late = time.Minute - 250*time.Millisecond

var rows = map[string]row{
	"nil":                    {want: handler.Finish, heard: "FIN 1"},
	"nil, late":              {takes: late + 100*time.Millisecond, want: handler.Finish, heard: "FIN 1"},
	"nil, beyond all bounds": {opts: opts(max3, maxAge), dead: true, attempts: 14, age: 2 * time.Hour, want: handler.Finish, heard: "FIN 1"},

	"failed, just in time": {answer: errBill, takes: late - 1, want: handler.Requeue, delay: time.Second, heard: "REQ 1 1000"},
	"failed, late":         {answer: errBill, takes: late, want: handler.Expired},
	"drop, late":           {answer: retry.Drop(errBill), takes: late, want: handler.Expired},
	"permanent, late":      {dead: true, answer: retry.Permanent(errBill), takes: late, want: handler.Expired},

	"drop":                  {answer: retry.Drop(errBill), want: handler.Drop, err: errBill, heard: "FIN 1"},
	"drop, with dead":       {opts: opts(max3), dead: true, attempts: 9, answer: retry.Drop(errBill), want: handler.Drop, heard: "FIN 1"},
	"drop, wrapped":         {answer: fmt.Errorf("order 7: %w", retry.Drop(errBill)), want: handler.Drop, heard: "FIN 1"},
	"again":                 {answer: retry.After(3*time.Second, nil), want: handler.Requeue, delay: 3 * time.Second, heard: "REQ 1 3000"},
	"again, at once":        {answer: retry.After(0, nil), want: handler.Requeue, heard: "REQ 1 0"},
	"again, before the now": {answer: retry.After(-time.Hour, nil), want: handler.Requeue, heard: "REQ 1 0"},
	"again, beyond bounds":  {opts: opts(max3, maxAge), dead: true, attempts: 9, age: 2 * time.Hour, answer: retry.After(time.Second, nil), want: handler.Requeue, delay: time.Second, heard: "REQ 1 1000"},

	"permanent":                 {answer: retry.Permanent(errBill), want: handler.Drop, err: errBill, heard: "FIN 1"},
	"permanent, dead":           {dead: true, answer: retry.Permanent(errBill), want: handler.DeadLetter, err: errBill, heard: "FIN 1"},
	"permanent, discarded":      {opts: opts(nsqx.WithDiscard()), answer: retry.Permanent(errBill), want: handler.Drop, heard: "FIN 1"},
	"cenkalti's permanent":      {dead: true, answer: backoff.Permanent(errBill), want: handler.DeadLetter, err: errBill, heard: "FIN 1"},
	"two marks: outermost wins": {dead: true, answer: retry.Drop(retry.Permanent(errBill)), want: handler.Drop, heard: "FIN 1"},
	"two marks: leftmost wins":  {dead: true, answer: errors.Join(errOther, retry.After(2*time.Second, errBill), retry.Drop(errBill)), want: handler.Requeue, delay: 2 * time.Second, heard: "REQ 1 2000"},

	"policy continues":       {policy: stop, dead: true, answer: errBill, want: handler.Requeue, delay: time.Second, heard: "REQ 1 1000"},
	"policy stops":           {policy: stop, attempts: 2, answer: errBill, want: handler.Drop, heard: "FIN 1"},
	"policy stops, dead":     {policy: stop, dead: true, attempts: 2, answer: errBill, want: handler.DeadLetter, heard: "FIN 1"},
	"policy stops, not Stop": {policy: retry.PolicyFunc(func(int, error) time.Duration { return -time.Hour }), dead: true, answer: errBill, want: handler.DeadLetter, heard: "FIN 1"},

	"attempts left":          {opts: opts(max3), dead: true, attempts: 2, answer: errBill, want: handler.Requeue, delay: 2 * time.Second, heard: "REQ 1 2000"},
	"attempts used up":       {opts: opts(max3), dead: true, attempts: 3, answer: errBill, want: handler.DeadLetter, heard: "FIN 1"},
	"attempts, discarded":    {opts: opts(max3, nsqx.WithDiscard()), attempts: 4, answer: errBill, want: handler.Drop, heard: "FIN 1"},
	"attempts, after":        {opts: opts(max3), dead: true, attempts: 3, answer: retry.After(time.Second, errBill), want: handler.DeadLetter, heard: "FIN 1"},
	"after, attempts left":   {opts: opts(max3), dead: true, attempts: 2, answer: retry.After(5*time.Second, errBill), want: handler.Requeue, delay: 5 * time.Second, heard: "REQ 1 5000"},
	"young enough":           {opts: opts(maxAge), dead: true, age: time.Hour - time.Second, answer: errBill, want: handler.Requeue, delay: time.Second, heard: "REQ 1 1000"},
	"too old":                {opts: opts(maxAge), dead: true, age: time.Hour + time.Second, answer: errBill, want: handler.DeadLetter, heard: "FIN 1"},
	"too old by the handler": {opts: opts(maxAge), dead: true, age: time.Hour - time.Second, takes: 2 * time.Second, answer: errBill, want: handler.DeadLetter, heard: "FIN 1"},
	"from the future":        {opts: opts(maxAge), dead: true, age: -24 * time.Hour, answer: errBill, want: handler.Requeue, delay: time.Second, heard: "REQ 1 1000"},

	"F20: counter wrapped, no bound":  {wrapped: true, answer: errBill, want: handler.Requeue, delay: time.Hour, heard: "REQ 1 3600000"},
	"F20: counter wrapped, any bound": {opts: opts(nsqx.WithMaxAttempts(65535)), dead: true, wrapped: true, answer: errBill, want: handler.DeadLetter, heard: "FIN 1"},
	"F20: counter wrapped, crashes":   {opts: opts(max3, nsqx.WithCrashGuard(65535)), dead: true, wrapped: true, notCalled: true, want: handler.DeadLetter, err: errAny, heard: "FIN 1"},
	"F20: highest attempt":            {opts: opts(nsqx.WithMaxAttempts(65535)), dead: true, attempts: 65535, answer: errBill, want: handler.DeadLetter, heard: "FIN 1"},
	"crash guard, not yet":            {opts: opts(max3, guard15), dead: true, attempts: 14, answer: errBill, want: handler.DeadLetter, err: errBill, heard: "FIN 1"},
	"crash guard":                     {opts: opts(max3, guard15), dead: true, attempts: 15, notCalled: true, want: handler.DeadLetter, err: errAny, heard: "FIN 1"},
	"crash guard alone":               {opts: opts(guard15), dead: true, attempts: 15, notCalled: true, want: handler.DeadLetter, err: errAny, heard: "FIN 1"},
	"no crash guard":                  {opts: opts(max3), dead: true, attempts: 60000, want: handler.Finish, heard: "FIN 1"},

	"mapped to permanent":   {opts: opts(mapping), dead: true, answer: errBill, want: handler.DeadLetter, err: errBill, heard: "FIN 1"},
	"mapped to after":       {opts: opts(mapping), dead: true, answer: fmt.Errorf("in %w", errQuota), want: handler.Requeue, delay: 7 * time.Second, err: errQuota, heard: "REQ 1 7000"},
	"mapping does not know": {opts: opts(mapping), dead: true, answer: errOther, want: handler.Requeue, delay: time.Second, heard: "REQ 1 1000"},
	"not mapped: a marker":  {opts: opts(mapping), dead: true, answer: retry.Drop(errOther), want: handler.Drop, heard: "FIN 1"},
	"mapping overrules":     {opts: opts(mapping), dead: true, answer: retry.Drop(errBill), want: handler.DeadLetter, heard: "FIN 1"},

	"longest delay":      {answer: retry.After(time.Hour, errBill), want: handler.Requeue, delay: time.Hour, heard: "REQ 1 3600000"},
	"delay cut":          {answer: retry.After(time.Hour+1, errBill), want: handler.Requeue, delay: time.Hour, heard: "REQ 1 3600000"},
	"delay cut, again":   {answer: retry.After(1<<62, nil), want: handler.Requeue, delay: time.Hour, heard: "REQ 1 3600000"},
	"delay cut, option":  {opts: opts(nsqx.WithMaxRequeueDelay(1500 * time.Millisecond)), attempts: 2, answer: errBill, want: handler.Requeue, delay: 1500 * time.Millisecond, heard: "REQ 1 1500"},
	"delay not cut":      {opts: opts(nsqx.WithMaxRequeueDelay(3 * time.Hour)), answer: retry.After(2*time.Hour, errBill), want: handler.Requeue, delay: 2 * time.Hour, heard: "REQ 1 7200000"},
	"part of a ms is up": {answer: retry.After(time.Microsecond, errBill), want: handler.Requeue, delay: time.Microsecond, heard: "REQ 1 1"},

	"not to be compared":        {answer: manyErrors{errBill}, want: handler.Requeue, delay: time.Second, err: errAny, heard: "REQ 1 1000"},
	"middleware swallows":       {opts: opts(nsqx.WithMiddleware(returning(nil))), answer: errBill, want: handler.Finish, err: errNone, heard: "FIN 1"},
	"middleware objects":        {opts: opts(nsqx.WithMiddleware(returning(errOther))), want: handler.Requeue, delay: time.Second, err: errOther, heard: "REQ 1 1000"},
	"middleware does not call":  {opts: opts(nsqx.WithMiddleware(insteadOf(errOther))), notCalled: true, want: handler.Requeue, delay: time.Second, err: errOther, heard: "REQ 1 1000"},
	"middleware finishes":       {opts: opts(nsqx.WithMiddleware(insteadOf(nil))), notCalled: true, want: handler.Finish, heard: "FIN 1"},
	"telemetry swallows":        {opts: opts(nsqx.WithTelemetry(&telemetry{middleware: returning(nil)})), answer: errBill, want: handler.Requeue, delay: time.Second, heard: "REQ 1 1000"},
	"telemetry objects":         {opts: opts(nsqx.WithTelemetry(&telemetry{middleware: returning(errOther)})), want: handler.Finish, heard: "FIN 1"},
	"telemetry does not call":   {opts: opts(nsqx.WithTelemetry(&telemetry{middleware: insteadOf(nil)})), notCalled: true, want: handler.Requeue, delay: 10 * time.Second, err: errAny, heard: "REQ 1 10000"},
	"telemetry fails":           {opts: opts(nsqx.WithTelemetry(&telemetry{middleware: insteadOf(errOther)}), max3), dead: true, attempts: 9, notCalled: true, want: handler.Requeue, delay: 10 * time.Second, err: errOther, heard: "REQ 1 10000"},
	"telemetry without middle":  {opts: opts(nsqx.WithTelemetry(&telemetry{})), want: handler.Finish, heard: "FIN 1"},
	"nil middleware is ignored": {opts: opts(nsqx.WithMiddleware(nil, nil)), want: handler.Finish, heard: "FIN 1"},
}

var (
	errAny   = errors.New("any error")
	errNone  = errors.New("no error")
	errQuota = errors.New("quota")
	mapping  = nsqx.WithErrors(retry.Match(retry.Is(errBill, retry.Permanent), retry.Is(errQuota, func(err error) error {
		return retry.After(7*time.Second, err)
	})))
)

// manyErrors panics when it is compared.
type manyErrors []error

func (manyErrors) Error() string { return "many" }

// options returns the row's options, with dead for its dead letter.
func (r row) options(dead nsqx.ConsumerOption) []nsqx.ConsumerOption {
	policy := r.policy
	if policy == nil {
		policy = seconds
	}
	all := append(opts(nsqx.WithRetry(policy)), r.opts...)
	if r.dead {
		all = append(all, dead)
	}
	return all
}

func (r row) attempt() uint16 {
	if r.attempts == 0 && !r.wrapped {
		return 1
	}
	return r.attempts
}

func (r row) check(t *testing.T, out handler.Outcome, ran bool) {
	t.Helper()
	if out.Disposition != r.want || out.Delay != r.delay {
		t.Errorf("outcome is %v after %v, want %v after %v (%v)", out.Disposition, out.Delay, r.want, r.delay, out.Err)
	}
	if ran == r.notCalled {
		t.Errorf("the handler was called: %v", ran)
	}
	wantErr := r.err
	if wantErr == nil {
		wantErr = r.answer
	}
	switch {
	case wantErr == errAny:
		if out.Err == nil {
			t.Error("the outcome has no error")
		}
	case wantErr == nil || wantErr == errNone:
		if out.Err != nil {
			t.Errorf("the outcome has the error %v", out.Err)
		}
	case !errors.Is(out.Err, wantErr):
		t.Errorf("the outcome has the error %v, want %v", out.Err, wantErr)
	}
}

// TestOutcomes: each row of the outcome table, through Process and on the wire.
func TestOutcomes(t *testing.T) {
	for name, r := range rows {
		bubble(t, name+"/process", func(t *testing.T) { r.process(t) })
		bubble(t, name+"/wire", func(t *testing.T) { r.wire(t) })
	}
}

func (r row) process(t *testing.T) {
	d := newNSQDs(t)
	ran := false
	dead := nsqx.WithDeadLetterFunc(func(context.Context, *handler.Message, error) error { return nil })
	c := d.consumer(func(context.Context, string) error {
		ran = true
		time.Sleep(r.takes)
		return r.answer
	}, r.options(dead)...)
	m := newSource(t).message(r.attempt(), r.age, "body")
	out := c.Process(context.Background(), m)
	r.check(t, out, ran)
	if again := m.Outcome(); again.Disposition != out.Disposition || again.Delay != out.Delay {
		t.Errorf("Process said %v, the message says %v", out, again)
	}
	want(t, "dials", d.net.Dials(), 0)
}

func (r row) wire(t *testing.T) {
	d := newNSQDs(t)
	ran := false
	settled := &settleEvents{}
	s := d.run(func(_ context.Context, body string) error {
		want(t, "body", body, "as it came")
		ran = true
		time.Sleep(r.takes)
		return r.answer
	}, append(r.options(nsqx.WithDeadLetter("dead")), nsqx.WithHooks(settled.hooks()))...)
	l := d.line(nsqd1)
	ts := time.Now().Add(-r.age).UnixNano()
	l.write(func(p *fake.Peer) { p.MessageAt(ts, fake.ID(1), r.attempt(), []byte("as it came")) })
	time.Sleep(r.takes)
	synctest.Wait()
	outcomes := settled.all()
	if len(outcomes) != 1 {
		t.Fatalf("settled %d times", len(outcomes))
	}
	r.check(t, outcomes[0].out, ran)
	l.wantCommands("FIN REQ", r.heard)
	stats := s.Stats()
	count := map[handler.Disposition]uint64{
		handler.Finish: stats.Finished, handler.Requeue: stats.Requeued, handler.Drop: stats.Dropped,
		handler.DeadLetter: stats.DeadLettered, handler.Expired: stats.Expired,
	}
	for disposition, n := range count {
		if (n == 1) != (disposition == r.want) || n > 1 {
			t.Errorf("counted %d as %v", n, disposition)
		}
	}
	dead := d.all(nsqd1, false)
	if r.want == handler.DeadLetter {
		d.publisher(nsqd1).wantCommands("PUB", "PUB dead")
		want(t, "dead letter", d.publisher(nsqd1).entries("PUB")[0].payload(), "as it came")
		want(t, "records", d.log.count(slog.LevelWarn, "it is a dead letter")+d.log.count(slog.LevelError, "crash guard"), 1)
	} else if len(dead) > 0 {
		t.Errorf("%d connections to publish on", len(dead))
	}
	s.wantStop(closeTime)
	l.wantCommands("FIN REQ", r.heard)
}

// TestUndecodable: a message that does not decode is retried, so that a later release can read it,
// unless there is a dead letter or WithDiscard.
func TestUndecodable(t *testing.T) {
	type order struct{ ID int }
	permanent := nsqx.WithErrors(retry.As(func(err *handler.DecodeError) error { return retry.Permanent(err) }))
	for name, tt := range map[string]struct {
		opts     []nsqx.ConsumerOption
		attempts uint16
		want     handler.Outcome
	}{
		"no place":          {nil, 3, handler.Outcome{Disposition: handler.Requeue, Delay: 3 * time.Second}},
		"a place":           {opts(nsqx.WithDeadLetterFunc(confirmDeadLetter)), 1, handler.Outcome{Disposition: handler.DeadLetter}},
		"discarded":         {opts(nsqx.WithDiscard()), 1, handler.Outcome{Disposition: handler.Drop}},
		"mapped, no place":  {opts(permanent), 1, handler.Outcome{Disposition: handler.Drop}},
		"and attempts left": {opts(nsqx.WithDeadLetterFunc(confirmDeadLetter), max3), 1, handler.Outcome{Disposition: handler.DeadLetter}},
	} {
		bubble(t, name, func(t *testing.T) {
			var seen error
			watch := func(next handler.Raw) handler.Raw {
				return func(ctx context.Context, m *handler.Message) error {
					seen = next(ctx, m)
					return seen
				}
			}
			c, err := nsqx.NewConsumer("orders", "billing", codec.JSON[order](),
				func(context.Context, order) error { t.Error("the handler was called"); return nil },
				append(tt.opts, nsqx.WithNSQD(nsqd1), nsqx.WithLogger(discard), nsqx.WithRetry(seconds), nsqx.WithMiddleware(watch))...)
			if err != nil {
				t.Fatal(err)
			}
			out := c.Process(context.Background(), newSource(t).message(tt.attempts, 0, `{"ID":`))
			for _, err := range []error{seen, out.Err} {
				if _, ok := errors.AsType[*handler.DecodeError](err); !ok {
					t.Errorf("error is %v, want a *handler.DecodeError", err)
				}
			}
			out.Err = nil
			want(t, "outcome", out, tt.want)
		})
	}
}

// TestRedeliveries: the policy gets the number of the attempt; a wrapped counter is 65536.
func TestRedeliveries(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		var attempts synced[int]
		policy := retry.PolicyFunc(func(attempt int, err error) time.Duration {
			wantErr(t, "the policy's error", err, errBill)
			attempts.add(attempt)
			return time.Duration(attempt) * time.Millisecond
		})
		d := newNSQDs(t)
		s := d.run(func(context.Context, string) error { return errBill }, nsqx.WithRetry(policy), nsqx.WithConcurrency(1))
		l := d.line(nsqd1)
		for _, attempts := range []uint16{1, 2, 65535, 0} {
			l.sendAs(7, attempts, "x")
		}
		l.wantCommands("REQ", "REQ 7 1, REQ 7 2, REQ 7 65535, REQ 7 65536")
		if got := attempts.all(); !slices.Equal(got, []int{1, 2, 65535, 65536}) {
			t.Errorf("the policy got attempts %v", got)
		}
		s.wantStop(closeTime)
	})
}

// TestDelayCutWarnsOnceF21: a delay that is cut is logged once, and a slow logger delays no handler.
func TestDelayCutWarnsOnceF21(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		d := newNSQDs(t)
		d.log.onRecord = func(r slog.Record) {
			if strings.Contains(r.Message, "was cut") {
				time.Sleep(time.Second)
			}
		}
		s := d.run(func(context.Context, string) error { return errBill }, nsqx.WithConcurrency(3),
			nsqx.WithRetry(retry.Linear(2*time.Hour, 9*time.Hour)), nsqx.WithShutdownTimeout(0))
		l := d.line(nsqd1)
		l.send(1, 2, 3)
		want(t, "answers while the warning is being logged", len(l.commands("REQ")), 3)
		time.Sleep(time.Second)
		want(t, "warnings", d.log.countAttrs("delay of a message was cut", "7200", "3600"), 1)
		s.wantStop(closeTime)
	})
}

// TestGivenUpWithoutDeadLetter: a message given up without a dead letter is logged as an error.
func TestGivenUpWithoutDeadLetter(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		var log logbook
		c := newLoggedConsumer(t, &log, func(context.Context, string) error { return retry.Permanent(errBill) }, nsqx.WithNSQD(nsqd1))
		c.Process(context.Background(), newSource(t).message(1, 0, "x"))
		want(t, "errors logged", log.count(slog.LevelError, "message dropped: it was given up"), 1)
	})
}

// TestCodecIsAsked: the handler gets the value that the codec decodes.
func TestCodecIsAsked(t *testing.T) {
	type order struct{ ID int }
	var got order
	c, err := nsqx.NewConsumer("orders", "billing", codec.JSON[order](), func(_ context.Context, o order) error { got = o; return nil }, nsqx.WithNSQD(nsqd1))
	if err != nil {
		t.Fatal(err)
	}
	out := c.Process(context.Background(), newSource(t).message(1, 0, `{"ID":7}`))
	want(t, "outcome", out, handler.Outcome{Disposition: handler.Finish})
	want(t, "order", got, order{7})
}

package notify

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/observe"
)

var (
	lostConn  = &conn.Error{Addr: "a:1", Phase: conn.PhaseStream, Err: io.EOF}
	permanent = &conn.Error{Addr: "a:1", Phase: conn.PhaseAuth, Err: conn.ErrNoPermissions}
	anID      = handler.ID([]byte("0123456789abcdef"))
)

// step is an event, and the time that passes after it.
type step struct {
	ev    Event
	after time.Duration
}

func connEvent(kind Kind, addr string, err error) Event {
	return Event{Kind: kind, ConnEvent: observe.ConnEvent{NSQD: addr, Err: err, Retry: time.Second}}
}

func lookupEvent(source int, err error, good bool, named int) Event {
	return Event{Kind: Lookup, ConnEvent: observe.ConnEvent{Err: err}, Source: fmt.Sprint("l:", source), Index: source, Lookupd: true, Found: named, Named: named, All: true, Good: good}
}

func breakerEvent(state observe.BackoffState, since time.Time) Event {
	return Event{Kind: Backoff, State: state, Since: since, Failed: 9, Results: 10, ConnEvent: observe.ConnEvent{Retry: time.Minute, Err: io.EOF}}
}

// times repeats steps.
func times(n int, steps ...step) (all []step) {
	for range n {
		all = append(all, steps...)
	}
	return all
}

// written returns the lines from level Info on, each with the seconds since the start.
func written(t *testing.T, steps []step) []string {
	t.Helper()
	return writtenOf(t, "orders", "billing", steps)
}

// writtenOf is written of a topic and a channel; "" and "" are a publisher's. edit changes the queue
// before its start.
func writtenOf(t *testing.T, topic, channel string, steps []step, edit ...func(*Queue)) []string {
	t.Helper()
	began, log := time.Now(), &check.Synced[string]{}
	out := writerFunc(func(line []byte) (int, error) {
		log.Add(fmt.Sprintf("%v %s", time.Since(began).Truncate(time.Second), strings.TrimSuffix(string(line), "\n")))
		return len(line), nil
	})
	logger := slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	q := New(logger, topic, channel, nil)
	q.Connected(func() (connected, known int) { return 2, 3 })
	for _, f := range edit {
		f(q)
	}
	q.Start()
	for _, s := range steps {
		q.Post(s.ev)
		synctest.Wait()
		time.Sleep(s.after)
	}
	check.Want(t, "closed", q.Close(time.Now().Add(time.Second)), true)
	return log.All()
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

var texts = regexp.MustCompile(`level=(\w+) msg="nsqx: ([^":;,]*)[^"]*"`)

// TestTransitions: what is said of a state is its begin, that it lasts, and its end.
func TestTransitions(t *testing.T) {
	noon := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	noTopic := fmt.Errorf("x: %w", observe.ErrNoTopic)
	failing := step{connEvent(DialError, "a:1", io.EOF), 9 * time.Second}
	for name, tt := range map[string]struct {
		steps []step
		want  []string
	}{
		"nsqd": {
			append(append([]step{{connEvent(Connect, "a:1", nil), time.Second}, {connEvent(Disconnect, "a:1", lostConn), time.Second}}, times(14, failing)...), step{connEvent(Connect, "a:1", nil), 0}),
			[]string{
				`0s INFO connected nsqd=a:1 connected=2 known=3`,
				`1s WARN connection lost nsqd=a:1 error="nsqx: nsqd a:1: stream: EOF" retry_seconds=1 connected=2 known=3`,
				`1m5s WARN nsqd is still down nsqd=a:1 since=2000-01-01T00:00:01.000Z attempts=8 error=EOF connected=2 known=3`,
				`2m8s INFO connected again nsqd=a:1 down_seconds=127 attempts=15 connected=2 known=3`,
			},
		},
		"two nsqds": {
			append([]step{{connEvent(DialError, "b:1", io.EOF), time.Second}}, times(8, failing)...),
			[]string{
				`0s WARN cannot connect nsqd=b:1 error=EOF retry_seconds=1 connected=2 known=3`,
				`1s WARN cannot connect nsqd=a:1 error=EOF retry_seconds=1 connected=2 known=3`,
				`1m4s WARN nsqd is still down nsqd=b:1 since=2000-01-01T00:00:00.000Z attempts=1 error=EOF others=1 other_addresses=[a:1] connected=2 known=3`,
			},
		},
		"an event of a connection was dropped": {
			[]step{{connEvent(Disconnect, "a:1", lostConn), time.Second}, {connEvent(Disconnect, "a:1", io.EOF), time.Second}},
			[]string{
				`0s WARN connection lost nsqd=a:1 error="nsqx: nsqd a:1: stream: EOF" retry_seconds=1 connected=2 known=3`,
				`1s WARN connection lost nsqd=a:1 error=EOF retry_seconds=1 connected=2 known=3`,
			},
		},
		"one is dialled no more": {
			append([]step{{connEvent(DialError, "b:1", io.EOF), 0}, {connEvent(DialError, "a:1", io.EOF), 6 * time.Minute}}, failing),
			[]string{
				`0s WARN cannot connect nsqd=b:1 error=EOF retry_seconds=1 connected=2 known=3`,
				`0s WARN cannot connect nsqd=a:1 error=EOF retry_seconds=1 connected=2 known=3`,
				`6m0s WARN nsqd is still down nsqd=a:1 since=2000-01-01T00:00:00.000Z attempts=2 error=EOF connected=2 known=3`,
			},
		},
		"permanent": {
			[]step{{connEvent(DialError, "a:1", permanent), 70 * time.Second}, {connEvent(DialError, "a:1", permanent), 0}},
			[]string{
				`0s ERROR cannot connect nsqd=a:1 error="nsqx: nsqd a:1: auth: the secret for AUTH grants no permissions" retry_seconds=1 see="AuthSecret of conn.Config; the auth server of nsqd, which may be down" connected=2 known=3`,
				`1m10s ERROR nsqd is still down nsqd=a:1 since=2000-01-01T00:00:00.000Z attempts=2 error="nsqx: nsqd a:1: auth: the secret for AUTH grants no permissions" see="AuthSecret of conn.Config; the auth server of nsqd, which may be down" connected=2 known=3`,
			},
		},
		"lost, then refused": { // the first line does not know why
			append([]step{{connEvent(Disconnect, "a:1", lostConn), time.Second}}, times(9, step{connEvent(DialError, "a:1", permanent), 9 * time.Second})...),
			[]string{
				`0s WARN connection lost nsqd=a:1 error="nsqx: nsqd a:1: stream: EOF" retry_seconds=1 connected=2 known=3`,
				`1s ERROR cannot connect nsqd=a:1 error="nsqx: nsqd a:1: auth: the secret for AUTH grants no permissions" retry_seconds=1 see="AuthSecret of conn.Config; the auth server of nsqd, which may be down" since=2000-01-01T00:00:00.000Z connected=2 known=3`,
				`1m4s ERROR nsqd is still down nsqd=a:1 since=2000-01-01T00:00:00.000Z attempts=8 error="nsqx: nsqd a:1: auth: the secret for AUTH grants no permissions" see="AuthSecret of conn.Config; the auth server of nsqd, which may be down" connected=2 known=3`,
			},
		},
		"nobody names it": {
			[]step{failing, {connEvent(UnnamedDialError, "a:1", io.EOF), time.Minute}, {connEvent(UnnamedDialError, "a:1", io.EOF), time.Minute}},
			[]string{
				`0s WARN cannot connect nsqd=a:1 error=EOF retry_seconds=1 connected=2 known=3`,
				`9s WARN nsqd is down nsqd=a:1 error=EOF since=2000-01-01T00:00:00.000Z see="whether this nsqd was retired, and its --data-path is empty" connected=2 known=3`,
			},
		},
		"nobody names it, and it is back": {
			[]step{failing, {connEvent(UnnamedDialError, "a:1", io.EOF), time.Minute}, {connEvent(Connect, "a:1", nil), 0}, {connEvent(Connect, "a:1", nil), 0}},
			[]string{
				`0s WARN cannot connect nsqd=a:1 error=EOF retry_seconds=1 connected=2 known=3`,
				`9s WARN nsqd is down nsqd=a:1 error=EOF since=2000-01-01T00:00:00.000Z see="whether this nsqd was retired, and its --data-path is empty" connected=2 known=3`,
				`1m9s INFO connected again nsqd=a:1 down_seconds=69 connected=2 known=3`,
				`1m9s INFO connected nsqd=a:1 connected=2 known=3`,
			},
		},
		"in order": {[]step{{connEvent(Disconnect, "a:1", nil), 0}}, nil},
		"source": {
			append(append([]step{{lookupEvent(0, nil, true, 1), 0}, {lookupEvent(1, nil, true, 1), 0}}, times(4, step{lookupEvent(0, io.EOF, false, 1), 40 * time.Second})...), step{lookupEvent(0, nil, true, 1), 0}),
			[]string{
				`0s WARN nsqlookupd cannot be asked for nsqds source=l:0 error=EOF`,
				`1m20s WARN nsqlookupd still fails source=l:0 since=2000-01-01T00:00:00.000Z attempts=3 error=EOF connected=2 known=3`,
				`2m40s INFO nsqlookupd answers again source=l:0 found=1 down_seconds=160 attempts=5`,
			},
		},
		"discoverer": {
			[]step{{Event{Kind: Lookup, Source: "*a.B", ConnEvent: observe.ConnEvent{Err: io.EOF}}, 0}, {Event{Kind: Lookup, Source: "*a.B"}, 0}},
			[]string{`0s WARN discoverer cannot be asked for nsqds source=*a.B error=EOF`, `0s INFO discoverer answers again source=*a.B found=0 down_seconds=0 attempts=2`},
		},
		"source, then in part": {
			[]step{{lookupEvent(0, io.EOF, false, 1), time.Second}, {lookupEvent(0, io.EOF, true, 1), time.Second}, {lookupEvent(0, io.EOF, true, 1), 0}},
			[]string{`0s WARN nsqlookupd cannot be asked for nsqds source=l:0 error=EOF`, `1s WARN some nsqds that were found cannot be used source=l:0 error=EOF`},
		},
		"topic": {
			append(times(100, step{lookupEvent(0, noTopic, true, 0), time.Second}), step{lookupEvent(0, nil, true, 1), time.Second}, step{lookupEvent(0, nil, true, 0), time.Minute}, step{lookupEvent(0, nil, true, 2), 0}),
			[]string{
				`0s INFO topic has no nsqd yet`, `1m40s INFO topic has an nsqd now nsqds=1 waited_seconds=100`,
				`1m41s WARN topic has no nsqd any more source=l:0`, `2m41s INFO topic has an nsqd again nsqds=2 down_seconds=60`,
			},
		},
		"registration": {
			[]step{{Event{Kind: Register, Source: "l:1", ConnEvent: observe.ConnEvent{Err: io.EOF}}, 0}, {Event{Kind: Register, Source: "l:1"}, 0}},
			[]string{`0s WARN topic and channel are not registered at a nsqlookupd source=l:1 error=EOF`, `0s INFO topic and channel are registered now source=l:1`},
		},
		"breaker": {
			[]step{
				{breakerEvent(observe.BackoffOpen, noon), 2 * time.Second}, {breakerEvent(observe.BackoffProbe, noon), time.Second},
				{breakerEvent(observe.BackoffOpen, noon), time.Minute}, {breakerEvent(observe.BackoffOpen, noon), time.Minute}, {breakerEvent(observe.BackoffClosed, noon), 0},
			},
			[]string{
				`0s WARN breaker opens failed=9 results=10 error=EOF retry_seconds=60`,
				`1m3s WARN breaker is still open failed=9 results=10 error=EOF since=2000-01-01T00:00:00.000Z probes=2 retry_seconds=60`,
				`2m3s INFO breaker closes open_seconds=123 probes=3`,
			},
		},
		"stall": {
			times(8, step{Event{Kind: GivenBack, Reason: "stall", Found: 3}, 20 * time.Second}),
			[]string{
				`0s WARN no handler is free since=2000-01-01T00:00:00.000Z messages=3`,
				`1m0s WARN still no handler is free since=2000-01-01T00:00:00.000Z messages=12`,
				`2m0s WARN still no handler is free since=2000-01-01T00:00:00.000Z messages=21`,
				`2m40s INFO no more messages are given back reason="no handler was free" duration_seconds=140 messages=24`,
			},
		},
		"stall, over": {
			[]step{{Event{Kind: GivenBack, Reason: "stall", Found: 3}, 2 * time.Minute}},
			[]string{`0s WARN no handler is free since=2000-01-01T00:00:00.000Z messages=3`, `1m0s INFO no more messages are given back reason="no handler was free" duration_seconds=0 messages=3`},
		},
		"suspended": {[]step{{Event{Kind: GivenBack, Reason: "suspended", Found: 3}, 0}}, nil},
		"handler": {
			[]step{
				{Event{Kind: Overdue, ConnEvent: observe.ConnEvent{NSQD: "a:1"}, Message: anID, Attempts: 2, MsgAge: time.Hour, Since: noon}, 0},
				{Event{Kind: StillOverdue, ConnEvent: observe.ConnEvent{NSQD: "a:1"}, Message: anID, Attempts: 2, MsgAge: time.Hour, Since: noon, Found: 3}, 0},
				{Event{Kind: Returned, ConnEvent: observe.ConnEvent{NSQD: "a:1"}, Message: anID, Attempts: 2, MsgAge: time.Hour, Since: noon}, 0},
			},
			[]string{
				`0s WARN handler outlives its message nsqd=a:1 msg.id=0123456789abcdef msg.attempts=2 age_seconds=3600 since=2000-01-01T00:00:00.000Z`,
				`0s WARN handler still outlives its message nsqd=a:1 msg.id=0123456789abcdef msg.attempts=2 age_seconds=3600 since=2000-01-01T00:00:00.000Z others=2`,
				`0s INFO handler that outlived its message has returned nsqd=a:1 msg.id=0123456789abcdef msg.attempts=2 age_seconds=3600 since=2000-01-01T00:00:00.000Z`,
			},
		},
		"drift": {
			[]step{
				{Event{Kind: Drift, ConnEvent: observe.ConnEvent{NSQD: "a:1", Err: io.EOF}, Allowance: 1}, 0},
				{Event{Kind: Drift, ConnEvent: observe.ConnEvent{NSQD: "a:1"}, Renewed: true}, 0},
			},
			[]string{`0s WARN nsqd counts more messages in flight than there are nsqd=a:1 allowance=1 error=EOF`, `0s INFO connection is replaced nsqd=a:1 allowance=0`},
		},
		"drain": {
			[]step{
				{Event{Kind: Draining, Found: 1, Took: 20 * time.Second, Reason: "a signal"}, 5 * time.Second},
				{Event{Kind: StillDrains, Found: 1, Took: 15 * time.Second, ConnEvent: observe.ConnEvent{NSQD: "a:1"}, Message: anID, Attempts: 1, Since: noon}, 15 * time.Second},
				{Event{Kind: Drained, Took: 20 * time.Second, Settled: map[handler.Disposition]uint64{handler.Finish: 3, handler.Requeue: 1, handler.Interrupted: 1, handler.Drop: 1, handler.Lost: 1}}, 0},
				{Event{Kind: Drained, Found: 1, Took: 20 * time.Second, ConnEvent: observe.ConnEvent{Err: io.EOF}}, 0},
			},
			[]string{
				`0s INFO drain begins reason="a signal" running=1 timeout_seconds=20`,
				`5s INFO drain waits for handlers running=1 remaining_seconds=15 nsqd=a:1 msg.id=0123456789abcdef msg.attempts=1 age_seconds=0 since=2000-01-01T00:00:00.000Z`,
				`20s INFO drain is complete duration_seconds=20 finished=3 requeued=2 given_up=1 unanswered=1`,
				`20s WARN drain is over duration_seconds=20 finished=0 requeued=0 running=1 error=EOF`,
			},
		},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			got := written(t, tt.steps)
			for i := range got {
				got[i] = texts.ReplaceAllString(got[i], "$1 $2")
			}
			check.Want(t, "log", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
		})
	}
}

// TestStackOfConn: a panic of a dialer or of a callback of TLS is logged with its stack.
func TestStackOfConn(t *testing.T) {
	check.Bubble(t, "", func(t *testing.T) {
		log, stack := &records{}, ""
		q := New(slog.New(stackHandler{log.logger().Handler(), &stack}), "", "", nil)
		q.Start()
		q.Conn(DialError, "a:1", &conn.Error{Addr: "a:1", Phase: conn.PhaseTLS, Err: handler.NewPanicError("boom")}, 0)
		wantClosed(t, q, time.Second, 0, true)
		check.Want(t, "records", log.count(`error="nsqx: nsqd a:1: tls: panic: boom"`), 1)
		check.Want(t, "stack", strings.Contains(stack, "TestStackOfConn"), true)
	})
}

var late = regexp.MustCompile(`(?: others=(\d+))? over_seconds=(\d+)$`)

// TestStorm: many events of a kind are three lines, one soon after, and one a minute. A late line says
// how many others it stands for, and for how long.
func TestStorm(t *testing.T) {
	lines := func(t *testing.T, steps []step) string {
		var all []string
		for _, line := range written(t, steps) {
			at, _, _ := strings.Cut(line, " ")
			others, over := "0", ""
			if m := late.FindStringSubmatch(line); m != nil {
				others, over = cmp.Or(m[1], others), "/"+m[2]
			}
			all = append(all, at+"+"+others+over)
		}
		return strings.Join(all, " ")
	}
	refused := Event{Kind: Refused, ConnEvent: observe.ConnEvent{NSQD: "a:1", Err: io.EOF}}
	for name, tt := range map[string]struct {
		steps []step
		want  string
	}{
		"at once":      {append(times(50, step{refused, 0}), step{refused, 10 * time.Minute}), "0s+0 0s+0 0s+0 5s+47/5"},
		"each second":  {times(180, step{refused, time.Second}), "0s+0 1s+0 2s+0 8s+4/5 1m8s+59/60 2m8s+59/60 3m0s+51/52"},
		"now and then": {times(6, step{refused, 20 * time.Second}), "0s+0 20s+0 40s+0 1m0s+0 1m20s+0 1m40s+0"},
		"four":         {append(times(3, step{refused, 0}), step{refused, time.Hour}), "0s+0 0s+0 0s+0 5s+0/5"},
	} {
		check.Bubble(t, name, func(t *testing.T) { check.Want(t, "lines", lines(t, tt.steps), tt.want) })
	}
}

// TestManyOutages: what is remembered is bounded, and what is not is told all the same.
func TestManyOutages(t *testing.T) {
	var o outages[int]
	now := time.Now()
	for i := range 2 * maxOutages {
		check.Want(t, "begins", o.fail(i, "", io.EOF, now, false), true)
	}
	check.Want(t, "remembered", len(o.open), maxOutages)
	check.Want(t, "known", o.fail(0, "", io.EOF, now, false), false)
	check.Want(t, "later", o.fail(5000, "", io.EOF, now.Add(stale), false), true)
	check.Want(t, "remembered later", len(o.open), 1)
}

func TestPermanent(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{io.EOF, false},
		{lostConn, false},
		{permanent, true},
		{fmt.Errorf("wrapped: %w", permanent), true},
		{errors.Join(io.EOF, permanent), true},
		{conn.ErrNoPermissions, false}, // not of a connection
	} {
		check.Want(t, fmt.Sprint(tt.err), Permanent(tt.err), tt.want)
	}
}

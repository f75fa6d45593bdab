package notify

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/internal/check"
	"github.com/nsqx/nsqx/observe"
)

var (
	lostConn  = &conn.Error{Addr: "a:1", Phase: conn.PhaseStream, Err: io.EOF}
	permanent = &conn.Error{Addr: "a:1", Phase: conn.PhaseAuth, Err: conn.ErrNoPermissions}
)

// TestLog has the level and the text of each kind.
func TestLog(t *testing.T) {
	for name, tt := range map[string]struct {
		ev   Event
		want string
	}{
		"connect":              {connEvent(Connect, nil, 0), `level=INFO msg="nsqx: connected" nsqd=a:1`},
		"disconnect":           {connEvent(Disconnect, nil, 0), `level=INFO msg="nsqx: disconnected" nsqd=a:1`},
		"lost":                 {connEvent(Disconnect, lostConn, 1234567*time.Microsecond), `level=WARN msg="nsqx: connection lost" nsqd=a:1 error="nsqx: nsqd a:1: stream: EOF" retry=1.235s`},
		"dial error":           {connEvent(DialError, io.EOF, time.Second), `level=WARN msg="nsqx: cannot connect" nsqd=a:1 error=EOF retry=1s`},
		"permanent dial error": {connEvent(DialError, permanent, time.Second), `level=ERROR msg="nsqx: cannot connect" nsqd=a:1 error="nsqx: nsqd a:1: auth: the secret for AUTH grants no permissions" retry=1s`},
		"refused":              {connEvent(Refused, io.EOF, 0), `level=WARN msg="nsqx: nsqd refused an answer" nsqd=a:1 error=EOF`},
		"lookup":               {lookupEvent(nil, true), `level=DEBUG msg="nsqx: asked for nsqds" source=l:1 found=3`},
		"lookup, no topic":     {lookupEvent(fmt.Errorf("x: %w", observe.ErrNoTopic), true), `level=DEBUG msg="nsqx: asked for nsqds" error="x: nsqx: topic not found" source=l:1 found=3`},
		"lookup, partial":      {lookupEvent(io.EOF, true), `level=WARN msg="nsqx: asked for nsqds, not all can be used" error=EOF source=l:1 found=3`},
		"lookup, failed":       {lookupEvent(io.EOF, false), `level=WARN msg="nsqx: asking for nsqds failed" error=EOF source=l:1 found=3`},
		"backoff": {
			Event{Kind: Backoff, State: observe.BackoffOpen, Failed: 9, Results: 10, ConnEvent: observe.ConnEvent{Retry: time.Minute, Err: io.EOF}},
			`level=WARN msg="nsqx: nearly all messages fail: none is asked for until one may try" error=EOF retry=1m0s failed=9 results=10`,
		},
		"drift": {
			Event{Kind: Drift, ConnEvent: observe.ConnEvent{NSQD: "a:1", Err: io.EOF}, Allowance: 1},
			`level=WARN msg="nsqx: nsqd counts more messages in flight than there are: RDY allows for it" nsqd=a:1 error=EOF allowance=1`,
		},
		"renewed": {
			Event{Kind: Drift, ConnEvent: observe.ConnEvent{NSQD: "a:1"}, Renewed: true},
			`level=INFO msg="nsqx: connection is replaced: nsqd's count of its messages in flight is wrong, or may be" nsqd=a:1 allowance=0`,
		},
		"overdue": {
			Event{Kind: Overdue, ConnEvent: observe.ConnEvent{NSQD: "a:1"}, Message: handler.ID([]byte("0123456789abcdef")), Age: 61_000_400 * time.Microsecond},
			`level=WARN msg="nsqx: handler outlives its message: nsqd has given it to someone else" nsqd=a:1 message=0123456789abcdef age=1m1s`,
		},
	} {
		check.Bubble(t, name, func(t *testing.T) {
			log := &records{}
			q := newQueue(log)
			q.Start()
			q.Post(tt.ev)
			wantClosed(t, q, time.Second, 0, true)
			check.Want(t, "records", log.Len(), 1)
			check.Want(t, "record", log.All()[0], tt.want)
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

func connEvent(kind Kind, err error, retry time.Duration) Event {
	return Event{Kind: kind, ConnEvent: observe.ConnEvent{NSQD: "a:1", Err: err, Retry: retry}}
}

func lookupEvent(err error, good bool) Event {
	return Event{Kind: Lookup, ConnEvent: observe.ConnEvent{Err: err}, Source: "l:1", Found: 3, Good: good, Took: time.Second}
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

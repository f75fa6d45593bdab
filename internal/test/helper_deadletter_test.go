package test

import (
	"context"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/nsqxtest"
)

const trace1, trace2 = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"

// withHeaders returns a body with headers, given as keys and values in turn.
func withHeaders(payload string, headers ...string) []byte {
	w := envelope.Writer{Limit: 16383}
	for i := 0; i < len(headers); i += 2 {
		if err := w.Set(headers[i], headers[i+1]); err != nil {
			panic(err)
		}
	}
	return w.AppendTo(nil, []byte(payload))
}

// splitHeaders returns the headers in their order, one a line, and the payload.
func splitHeaders(body []byte) (headers, payload string) {
	w, rest, _ := envelope.WriterOf(body)
	var all []string
	for key, value := range w.All() {
		all = append(all, key+"="+value)
	}
	return strings.Join(all, "\n"), string(rest)
}

// deadLetterOf makes orders/billing give up a message. It returns the dead letter, and how many
// were published without headers.
func deadLetterOf(t *testing.T, body []byte, cause error, opts ...nsqx.ConsumerOption) (letter []byte, skipped uint64) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := nsqxtest.NewServer(t)
		c, _ := consume(t, []*nsqxtest.Server{s}, func(context.Context, string) error { return cause }, append(opts, dead, max3)...)
		time.Sleep(90 * time.Minute) // the clock of a bubble starts at midnight UTC
		s.PublishMessage("orders", body, nsqxtest.WithAttempts(7))
		s.Await("orders", "billing", finished(1))
		all := s.Published("dead")
		if len(all) != 1 {
			t.Fatalf("%d dead letters", len(all))
		}
		letter, skipped = all[0].Body, c.Stats().EnvelopesSkipped
	})
	return letter, skipped
}

const (
	redriveIdle = 5 * time.Second  // the default idle time of Redrive
	headStart   = time.Millisecond // between publishes and Redrive, so that later messages are newer
)

// redriveResult is the result of a Redrive.
type redriveResult struct {
	t      *testing.T
	report nsqx.RedriveReport
	err    error
	took   time.Duration
}

// newRedriveServer returns a server that checks the rule of Redrive: no FIN before the publish is
// confirmed. It buffers nothing, so that all times are exact.
func newRedriveServer(t *testing.T, opts ...nsqxtest.ServerOption) *nsqxtest.Server {
	s := nsqxtest.NewServer(t, append(opts, nsqxtest.WithOutputBuffer(0, 0), nsqxtest.WithPatience(time.Hour))...)
	s.Unpause("orders", "billing") // the channel exists
	var finished atomic.Int64
	s.On("FIN", func(c *nsqxtest.ServerConn, _ nsqxtest.Command) nsqxtest.Action {
		if c.Topic() == "dead" && int(finished.Add(1)) > len(s.Published("orders"))+len(s.Published("elsewhere")) {
			t.Error("finished before it was published")
		}
		return nsqxtest.Proceed()
	})
	return s
}

// redrive runs a Redrive of topic dead to its end.
func redrive(ctx context.Context, t *testing.T, s *nsqxtest.Server, to string, opts ...nsqx.RedriveOption) redriveResult {
	t.Helper()
	time.Sleep(headStart)
	began := time.Now()
	report, err := nsqx.Redrive(ctx, "dead", to, append(opts, s.Option(), nsqx.WithLogger(discard))...)
	return redriveResult{t, report, err, time.Since(began)}
}

// want checks report and duration of a Redrive without an error.
func (r redriveResult) want(report nsqx.RedriveReport, took time.Duration) {
	r.t.Helper()
	want(r.t, "report", r.report, report)
	want(r.t, "error", r.err, nil)
	want(r.t, "took", r.took, took)
}

// deadLetters returns n dead letters of orders/billing with the payloads 0, 1, …
func deadLetters(n int) (all [][]byte) {
	for i := range n {
		all = append(all, withHeaders(strconv.Itoa(i), envelope.DeadTopic, "orders", envelope.DeadChannel, "billing", envelope.DeadError, "no credit"))
	}
	return all
}

// lettersLeft returns how many dead letters are left.
func lettersLeft(s *nsqxtest.Server) int {
	synctest.Wait()
	st := s.Stats("dead", "redrive")
	return st.Depth + st.Deferred + st.InFlight
}

// failFirst takes another action for the first n publishes.
func failFirst(s *nsqxtest.Server, n int, action nsqxtest.Action) {
	var seen atomic.Int64
	onPublish(func(*nsqxtest.ServerConn, nsqxtest.Command) nsqxtest.Action {
		if int(seen.Add(1)) <= n {
			return action
		}
		return nsqxtest.Proceed()
	}, s)
}

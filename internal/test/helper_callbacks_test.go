package test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/conn"
	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/nsqxtest"
	"github.com/nsqx/nsqx/retry"
)

// misbehaviour is what a callback does.
type misbehaviour struct {
	way  string // panics, hangs or exits
	once bool   // it behaves after the first time

	calls   atomic.Int32
	release chan struct{} // closed: nothing hangs any more
}

// do misbehaves. It is called by the callback.
func (m *misbehaviour) do() {
	if m.calls.Add(1) > 1 && m.once {
		return
	}
	switch m.way {
	case "panics":
		panic(errOther)
	case "hangs":
		<-m.release
	case "exits":
		runtime.Goexit()
	}
}

// consumerCallback is a callback of a consumer.
type consumerCallback struct {
	opts    func(d *day, m *misbehaviour) []nsqx.ConsumerOption
	instead []string                                  // options of the day that these replace
	codec   func(m *misbehaviour) codec.Codec[string] // nil: one that behaves
	handle  bool                                      // the handler misbehaves
	batch   bool                                      // the consumer takes batches

	made     bool // it is called by the constructor, which then fails or is right, and is not made to hang
	silent   bool // nobody can tell of it
	drift    bool // nsqd's count drifts
	harmless bool // it does not keep a message from being handled, even if it misbehaves each time
}

// eachWay runs f for each way to misbehave, all of the time and only once.
func eachWay(t *testing.T, name string, made bool, f func(t *testing.T, m *misbehaviour)) {
	for _, way := range []string{"panics", "hangs", "exits"} {
		for _, once := range []bool{false, true} {
			if way == "hangs" && made {
				continue // in the caller's own goroutine
			}
			full := name + " " + way
			if once {
				full += " once"
			}
			bubble(t, full, func(t *testing.T) {
				m := &misbehaviour{way: way, once: once, release: make(chan struct{})}
				f(t, m)
			})
		}
	}
}

// ledger knows what has become of the messages of a test.
type ledger struct {
	mu    sync.Mutex
	runs  map[string]int
	ended map[string]bool // handled, or kept by a dead letter func
}

func (l *ledger) run(body string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.runs[body]++
	return l.runs[body]
}

func (l *ledger) end(body string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended[body] = true
}

// handle is the handler of an eventful day: every third message fails at first, one takes longer
// than its timeout, and one can never be handled.
func (l *ledger) handle(_ context.Context, body string) error {
	run := l.run(body)
	switch {
	case body == "late" && run == 1:
		time.Sleep(3 * time.Second)
	case body[0] == 's' && run == 1:
		time.Sleep(1500 * time.Millisecond)
	case body == "dead":
		return retry.Permanent(errBill)
	case run == 1 && body[0]%3 == 0:
		return errBill
	}
	l.end(body)
	return nil
}

// mentions reports whether a record from warnings on has text, in its message or an attribute.
func (b *logbook) mentions(texts ...string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.ContainsFunc(b.records, func(r slog.Record) bool {
		var all strings.Builder
		all.WriteString(r.Message)
		r.Attrs(func(a slog.Attr) bool {
			all.WriteString(" " + a.Value.String())
			return true
		})
		return slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(all.String(), text) })
	})
}

// day is an eventful day of a consumer: refused and lost connections, failures, a breaker that opens,
// a message that takes too long, one that is given up.
type day struct {
	t      *testing.T
	log    logbook
	ledger ledger
	server *nsqxtest.Server
	bodies map[handler.ID]string
}

func newDay(t *testing.T) *day {
	s := nsqxtest.NewServer(t, nsqxtest.WithAuth("secret"), nsqxtest.WithoutLog(), nsqxtest.WithoutChecks())
	s.Refuse(true) // for a second
	return &day{t: t, ledger: ledger{runs: make(map[string]int), ended: make(map[string]bool)}, server: s, bodies: make(map[handler.ID]string)}
}

// config returns the connections of the day.
func (d *day) config() conn.Config {
	return conn.Config{
		DialContext: d.server.DialContext, AllowPlaintextAuth: true,
		AuthSecret: func(context.Context) (string, error) { return "secret", nil },
	}
}

// consumer makes the consumer of the day. With given options it has those instead of its own.
func (d *day) consumer(row consumerCallback, m *misbehaviour) (*nsqx.Consumer[string], error) {
	var own []nsqx.ConsumerOption
	if row.opts != nil {
		own = row.opts(d, m)
	}
	base := map[string]nsqx.ConsumerOption{
		"WithNSQD":       nsqx.WithNSQD(addr),
		"WithConn":       nsqx.WithConn(d.config()),
		"WithLogger":     nsqx.WithLogger(slog.New(&d.log)),
		"WithRetry":      nsqx.WithRetry(retry.Linear(100*time.Millisecond, time.Second)),
		"WithDeadLetter": nsqx.WithDeadLetter("buried"),
	}
	for option, opt := range base {
		if !slices.Contains(row.instead, option) {
			own = append(own, opt)
		}
	}
	own = append(own, nsqx.WithConcurrency(4), nsqx.WithMessageTimeout(2*time.Second), nsqx.WithShutdownTimeout(dayEnds),
		nsqx.WithBackoff(nsqx.Backoff{MinResults: 3, Failures: 0.1, Period: time.Second}))
	cdc, handle := codec.String(), d.ledger.handle
	if row.codec != nil {
		cdc = row.codec(m)
	}
	if row.handle {
		handle = func(ctx context.Context, body string) error {
			m.do()
			return d.ledger.handle(ctx, body)
		}
	}
	if row.batch {
		return nsqx.NewBatchConsumer("orders", "billing", cdc, eachItem(handle), own...)
	}
	return nsqx.NewConsumer("orders", "billing", cdc, handle, own...)
}

// dayEnds is how long handlers may continue at the end of the day.
const dayEnds = 3 * time.Second

func (d *day) publish(bodies ...string) {
	for _, body := range bodies {
		d.bodies[d.server.Publish("orders", []byte(body))[0]] = body
	}
}

// pass lets the day pass, and returns how the consumer ended and how long that took.
func (d *day) pass(c *nsqx.Consumer[string], drift bool) (took time.Duration, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 3)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				ended <- fmt.Errorf("Run has panicked: %v", p)
			}
			ended <- errors.New("Run has called Goexit")
		}()
		ended <- c.Run(ctx)
	}()
	d.publish("0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "late", "dead")
	time.Sleep(time.Second)
	d.server.Refuse(false)
	time.Sleep(time.Minute)
	d.server.ResetConns()
	time.Sleep(time.Minute)
	for _, c := range d.server.Conns() {
		if drift {
			c.Drift(1)
		}
	}
	d.publish("a", "b", "c")
	time.Sleep(time.Minute)
	d.publish("s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9") // those that wait are given back
	if time.Sleep(2 * time.Minute); drift {
		time.Sleep(10 * time.Minute) // until the connection is replaced
	}
	cancel()
	began := time.Now()
	select {
	case err = <-ended:
	case <-time.After(time.Hour):
		err = errors.New("Run has not returned")
	}
	return time.Since(began), err
}

// wantSafe checks that each message was handled, is a dead letter, or is still at nsqd.
func (d *day) wantSafe() {
	d.t.Helper()
	d.ledger.mu.Lock()
	defer d.ledger.mu.Unlock()
	for _, p := range d.server.Published("buried") {
		if _, payload, err := envelope.Split(p.Body); err == nil {
			d.ledger.ended[string(payload)] = true
		}
	}
	for _, id := range d.server.Finished("orders", "billing") {
		if body := d.bodies[id]; !d.ledger.ended[body] {
			d.t.Errorf("message %q was finished and neither handled nor kept", body)
		}
	}
}

// text is the log as text.
func (b *logbook) text() string {
	var all strings.Builder
	h := slog.NewTextHandler(&all, nil)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.records {
		_ = h.Handle(context.Background(), r)
	}
	return all.String()
}

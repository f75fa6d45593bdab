// Command quickstart runs a consumer of nsqx and an nsqd in one process. It needs no arguments, and
// nothing needs to be installed:
//
//	go run ./examples/quickstart
//
// It publishes and charges 300 orders. Most succeed, some fail once and are retried, and some never
// succeed and go to a dead letter topic.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"sync/atomic"
	"time"

	"github.com/nsqio/nsq/nsqd"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/examples/internal/embedded"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/middleware"
	"github.com/nsqx/nsqx/retry"
)

const (
	topic, channel = "orders", "billing"
	deadTopic      = "orders.dead"
	published      = 300
	concurrency    = 4
)

// Order is the payload of the messages, in JSON.
type Order struct {
	ID    int      `json:"id"`
	Card  string   `json:"card"`
	Items []string `json:"items"`
}

// charge handles one order. Its error decides what happens to the message.
func charge(ctx context.Context, o Order) error {
	select {
	case <-time.After(20 * time.Millisecond): // the bank's response time
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	switch {
	case o.Card == "expired": // no retry can cure this: a dead letter
		return retry.Permanent(errors.New("the card has expired"))
	case o.Card == "blocked": // retried like any error, until WithMaxAttempts
		return errors.New("the bank declines the card")
	case o.Card == "foreign" && handler.FromContext(ctx).Attempts == 1:
		return errors.New("the bank does not answer")
	case o.Items[0] == "": // a bug: it panics without items
		return retry.Permanent(errors.New("the item has no name"))
	}
	return nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	_, err := run(ctx, os.Stdout, wantsColours(os.Stdout))
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

// run is the program.
func run(ctx context.Context, out io.Writer, colours bool) (sum summary, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 30*time.Second, errors.New("not done after 30 s"))
	defer cancel()

	d, exit, err := embedded.NSQD()
	if err != nil {
		return sum, fmt.Errorf("start nsqd: %w", err)
	}
	defer func() { err = errors.Join(err, exit()) }()

	orders := codec.JSON[Order]()
	if err := publish(d, orders); err != nil {
		return sum, fmt.Errorf("publish: %w", err)
	}

	// Cancelling the context of Run stops a consumer. A service does so at a signal; this program
	// also when the last order is settled.
	running, done := context.WithCancel(ctx)
	defer done()

	r := &report{Logger: log.New(out, "  ", 0), colours: colours, orders: orders, done: done}
	consumer, err := nsqx.NewConsumer(topic, channel, orders, charge,
		nsqx.WithNSQD(d.RealTCPAddr().String()),
		nsqx.WithConcurrency(concurrency),
		nsqx.WithMiddleware(r.watch, middleware.Timeout(5*time.Second)),
		nsqx.WithRetry(retry.Exponential(150*time.Millisecond, 300*time.Millisecond)),
		nsqx.WithMaxAttempts(3),
		nsqx.WithDeadLetter(deadTopic),
		nsqx.WithHooks(r),
		// The report prints everything. A service omits this option, and its default logger reports
		// connections, dead letters and panics.
		nsqx.WithLogger(slog.New(slog.DiscardHandler)),
	)
	if err != nil {
		return sum, err
	}
	r.Printf("nsqd %v runs in this process, with %d orders in the topic %q\n\n", d.RealTCPAddr(), published, topic)
	start := time.Now()
	if err := consumer.Run(running); err != nil { // returns after draining
		return sum, err
	}
	took := time.Since(start)

	stats := consumer.Stats()
	sum = summary{
		handled: stats.Finished, retried: stats.Requeued, panics: r.panics.Load(), dead: stats.DeadLettered,
		kept: d.GetTopic(deadTopic).Depth(), left: embedded.Unfinished(d, topic),
	}
	r.Printf("%s drained, nsqd has %d orders left\n\n", r.paint("✓"), sum.left)
	r.Printf("handled        %4d   of %d orders", sum.handled, published)
	r.Printf("retried        %4d   times", sum.retried)
	r.Printf("panicked       %4d   times, and the process survived", sum.panics)
	r.Printf("dead-lettered  %4d   of which nsqd keeps %d in the topic %q", sum.dead, sum.kept, deadTopic)
	r.Printf("time           %3.1fs   for %.1fs of work, %d orders at a time",
		took.Seconds(), time.Duration(r.work.Load()).Seconds(), concurrency)

	switch settled := sum.handled + sum.dead; {
	case settled < published: // Ctrl-C, or 30 s have passed
		return sum, fmt.Errorf("%d of %d orders are settled: %w", settled, published,
			errors.Join(context.Cause(ctx), stats.Connections[0].LastErr))
	case sum.kept != int64(sum.dead):
		return sum, fmt.Errorf("%d orders were dead-lettered, but nsqd has %d dead letters", sum.dead, sum.kept)
	case sum.left != 0:
		return sum, fmt.Errorf("all orders are settled, but nsqd has %d left", sum.left)
	}
	return sum, nil
}

// summary holds the counters of the consumer and of nsqd at the end.
type summary struct {
	handled, retried, panics, dead uint64

	kept int64 // dead letters
	left int   // orders that nsqd would deliver again
}

// report prints what happens to the orders. It is safe for concurrent use, since handlers run
// concurrently.
type report struct {
	*log.Logger
	colours bool
	orders  codec.Codec[Order]
	done    func() // called when the last order is settled

	settled, panics atomic.Uint64
	work            atomic.Int64 // nanoseconds in handlers
}

// watch is a middleware. It can wrap the handler of any consumer, whatever its type. Panics and
// decoding errors are errors of next.
func (r *report) watch(next handler.Raw) handler.Raw {
	return func(ctx context.Context, m *handler.Message) error {
		start := time.Now()
		err := next(ctx, m)
		r.work.Add(int64(time.Since(start)))
		if _, ok := errors.AsType[*handler.PanicError](err); ok {
			r.panics.Add(1)
		}
		return err
	}
}

// OnSettle is a hook, called with the outcome of each message.
func (r *report) OnSettle(m *handler.Message) {
	switch out := m.Outcome(); out.Disposition {
	case handler.Finish:
		if m.Attempts > 1 {
			r.line("✓", m, "charged", "the retry worked")
		}
	case handler.DeadLetter:
		r.line("☠", m, "dead letter", why(out.Err))
	case handler.Requeue:
		r.line("↻", m, fmt.Sprint("requeued, ", out.Delay.Round(time.Millisecond)), why(out.Err))
		return
	default: // interrupted, by Ctrl-C for example: nsqd delivers it again
		return
	}
	n := r.settled.Add(1)
	if n%50 == 0 {
		r.Printf("%s %d orders settled", r.paint("✓"), n)
	}
	if n == published {
		r.done()
	}
}

// line prints the outcome of one delivery of an order.
func (r *report) line(symbol string, m *handler.Message, fate, why string) {
	id := "?"
	if o, err := r.orders.Decode(m.Body); err == nil {
		id = fmt.Sprint(o.ID)
	}
	r.Printf("%s order %-3s  attempt %d  %-15s  %s", r.paint(symbol), id, m.Attempts, fate, why)
}

// why returns the reason of a failure in one line.
func why(err error) string {
	if e, ok := errors.AsType[*handler.PanicError](err); ok {
		return fmt.Sprint("panic: ", e.Value)
	}
	if e, ok := errors.AsType[*codec.Error](err); ok {
		return fmt.Sprint("not an order: ", e.Err)
	}
	return err.Error()
}

// paint colours a symbol.
func (r *report) paint(symbol string) string {
	if !r.colours {
		return symbol
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", map[string]int{"✓": 32, "↻": 33, "☠": 31}[symbol], symbol)
}

// wantsColours reports whether f is a terminal and NO_COLOR is not set; see no-color.org.
func wantsColours(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("NO_COLOR") == ""
}

// publish puts the orders into nsqd directly, not over the network.
func publish(d *nsqd.NSQD, orders codec.Codec[Order]) error {
	t := d.GetTopic(topic)
	for id := 1; id <= published; id++ {
		o := Order{ID: id, Card: "domestic", Items: []string{"a book"}}
		switch {
		case id%100 == 50:
			o.Card = "expired"
		case id%40 == 20:
			o.Card = "foreign"
		case id == 120:
			o.Card = "blocked"
		case id == 190:
			o.Items = nil
		}
		body, err := orders.Append(nil, o)
		if err != nil {
			return err
		}
		if id == 240 {
			body = body[:len(body)/2] // does not decode
		}
		if err := t.PutMessage(nsqd.NewMessage(t.GenerateID(), body)); err != nil {
			return err
		}
	}
	return nil
}

// Command tracing shows the spans and metrics of nsqx, on an nsqd that it starts
// in its own process. It needs no arguments and nothing installed:
//
//	go run ./examples/tracing
//
// Orders are published and charged. One of them fails until it is a dead letter,
// is redriven, and succeeds: its spans are printed as one tree. Then come
// the metrics, as Prometheus gets them.
//
// With -serve it goes on selling until Ctrl-C, for a Prometheus to scrape and a
// Grafana to show (dashboard.json, alerts.yml):
//
//	go run ./examples/tracing -serve -listen 127.0.0.1:9464
//
// Spans also go wherever the standard variables of OpenTelemetry say, over
// OTLP (http/protobuf):
//
//	OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 go run ./examples/tracing
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/examples/internal/embedded"
)

const (
	topic, channel = "orders", "billing"
	deadTopic      = "orders.dead"
	published      = 60
	followed       = 7               // the order whose spans are printed
	timeout        = 2 * time.Second // how long nsqd waits for an answer
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	default:
		fmt.Fprintln(os.Stderr, "tracing:", err)
		os.Exit(1)
	}
}

// run is the whole program. What is wrong with args goes to status, all else to
// out.
func run(ctx context.Context, args []string, out, status io.Writer) (err error) {
	flags := flag.NewFlagSet("tracing", flag.ContinueOnError)
	flags.SetOutput(status)
	serve := flags.Bool("serve", false, "go on until interrupted")
	listen := flags.String("listen", "127.0.0.1:0", "`address` to serve metrics on; port 0 is any that is free")
	if err := flags.Parse(args); err != nil {
		return err
	}

	d, exit, err := embedded.NSQD()
	if err != nil {
		return fmt.Errorf("start nsqd: %w", err)
	}
	defer func() { err = errors.Join(err, exit()) }()
	tr := new(tree)
	t, err := newTelemetry(ctx, *listen, tr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.close()) }()

	l := log.New(out, "  ", 0)
	l.Printf("nsqd %v and %s run in this process", d.RealTCPAddr(), t.metrics)
	if t.otlp != "" {
		l.Printf("spans go to %s, too", t.otlp)
	}
	addr := d.RealTCPAddr().String()
	opts := nsqx.WithOptions(
		nsqx.WithTelemetry(t.nsqx), // all that it takes, on either side
		// WithNSQD(addr) would do. This stands for nsqlookupd, or a list of your own.
		nsqx.WithDiscoverer(nsqx.DiscovererFunc(func(context.Context, string) ([]string, error) { return []string{addr}, nil })),
		nsqx.WithLogger(slog.New(slog.DiscardHandler)), // a service leaves this out
	)
	s, err := newShop(l, t, tr, opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.orders.Close(context.WithoutCancel(ctx))) }()

	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- s.billing.Run(running) }()
	defer func() {
		stop()
		err = errors.Join(err, <-ended)
	}()
	if err := s.tell(ctx, opts, out); err != nil {
		return err
	}
	if err := scrape(ctx, t.metrics, l); err != nil || !*serve {
		return err
	}
	l.Printf("\n  it goes on until Ctrl-C: scrape %s", t.metrics)
	return s.goOn(ctx)
}

// tell is the story of the first orders.
func (s *shop) tell(ctx context.Context, opts nsqx.Option, out io.Writer) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 30*time.Second, errors.New("not done after 30 s"))
	defer cancel()

	s.Printf("\n  %d orders are sold and charged:", published)
	sold := 0
	for id := 1; id <= published; id++ {
		switch err := s.sell(ctx, order(id)); {
		case err == nil:
			sold++
		case errors.Is(err, nsqx.ErrRejected): // it will never work: nsqd takes no such message
			s.Printf("✗ order %d is not published: %v", id, err)
		default:
			return err
		}
	}
	if err := s.wait(ctx, sold+2); err != nil { // two are late: they are delivered again, and settled twice
		return err
	}
	s.Printf("✓ %d orders settled", sold)

	s.unblocked.Store(true)
	report, err := nsqx.Redrive(ctx, deadTopic, "", opts, nsqx.WithRedriveIdle(500*time.Millisecond))
	if err = errors.Join(err, s.wait(ctx, 1)); err != nil {
		return err
	}
	s.unblocked.Store(false)
	s.Printf("✓ the card is not blocked any more: %d order redriven, and charged", report.Redriven)

	if err := s.tree.wait(ctx); err != nil {
		return err
	}
	s.Printf("\n  order %d is one trace, from its checkout through the dead letters to the end:\n\n", followed)
	return s.tree.print(out)
}

// wait waits until n more orders are settled.
func (s *shop) wait(ctx context.Context, n int) error {
	for range n {
		select {
		case <-s.settled:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return context.Cause(ctx) // nil, if it was not cancelled
}

// goOn sells until ctx ends.
func (s *shop) goOn(ctx context.Context) error {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for id := published + 1; ; {
		select {
		case <-ticker.C:
			if err := s.sell(ctx, order(id)); err != nil && ctx.Err() == nil {
				s.Printf("✗ order %d is not published: %v", id, err)
			}
			id++
		case <-s.settled: // nobody waits for them any more
		case <-ctx.Done():
			return nil
		}
	}
}

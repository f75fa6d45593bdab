// Command tracing shows the spans and metrics of nsqx, with an nsqd in its own process. It needs no
// arguments, and nothing needs to be installed:
//
//	go run ./examples/tracing
//
// It publishes and charges orders. One order fails until it is a dead letter, is redriven, and
// succeeds: its spans are printed as one tree. Then some of the metrics for Prometheus are printed.
//
// With -serve it keeps selling until Ctrl-C, for Prometheus and Grafana (alerts.yml,
// dashboard.json):
//
//	go run ./examples/tracing -serve -listen 127.0.0.1:9464
//
// The standard variables of OpenTelemetry select an OTLP endpoint (http/protobuf) for spans:
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
	followed       = 7               // order whose spans are printed
	timeout        = 2 * time.Second // message timeout
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

// run is the program. It prints errors of args to status, and everything else to out.
func run(ctx context.Context, args []string, out, status io.Writer) (err error) {
	flags := flag.NewFlagSet("tracing", flag.ContinueOnError)
	flags.SetOutput(status)
	serve := flags.Bool("serve", false, "run until interrupted")
	listen := flags.String("listen", "127.0.0.1:0", "`address` to serve metrics on; port 0 chooses a free port")
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
		l.Printf("spans are also sent to %s", t.otlp)
	}
	addr := d.RealTCPAddr().String()
	opts := nsqx.WithOptions(
		nsqx.WithTelemetry(t.nsqx), // enables spans and metrics of consumers and producers
		// WithNSQD(addr) would suffice. A discoverer shows the metrics of discovery.
		nsqx.WithDiscoverer(nsqx.DiscovererFunc(func(context.Context, string) ([]string, error) { return []string{addr}, nil })),
		nsqx.WithLogger(slog.New(slog.DiscardHandler)), // a service omits this option
	)
	s, err := newShop(l, t, tr, opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.orders.Close()) }()

	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- s.billing.Run(running) }()
	defer func() {
		stop()
		err = errors.Join(err, <-ended)
	}()
	if err := s.scenario(ctx, opts, nsqx.WithRedriveHTTP(addr, d.RealHTTPAddr().String()), out); err != nil {
		return err
	}
	if err := scrape(ctx, t.metrics, l); err != nil || !*serve {
		return err
	}
	l.Printf("\n  running until Ctrl-C: scrape %s", t.metrics)
	return s.keepSelling(ctx)
}

// scenario sells and charges the first orders, redrives one and prints its trace.
func (s *shop) scenario(ctx context.Context, opts nsqx.Option, nsqdHTTP nsqx.RedriveOption, out io.Writer) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 30*time.Second, errors.New("not done after 30 s"))
	defer cancel()

	s.Printf("\n  %d orders are sold and charged:", published)
	sold := 0
	for id := 1; id <= published; id++ {
		switch err := s.sell(ctx, order(id)); {
		case err == nil:
			sold++
		case errors.Is(err, nsqx.ErrRejected): // nsqd never accepts such a message
			s.Printf("✗ order %d is not published: %v", id, err)
		default:
			return err
		}
	}
	if err := s.wait(ctx, sold+2); err != nil { // two time out, are delivered again, and are settled twice
		return err
	}
	s.Printf("✓ %d orders settled", sold)

	s.unblocked.Store(true)
	report, err := nsqx.Redrive(ctx, deadTopic, "", opts, nsqdHTTP, nsqx.WithRedriveIdle(500*time.Millisecond))
	if err = errors.Join(err, s.wait(ctx, 1)); err != nil {
		return err
	}
	s.unblocked.Store(false)
	s.Printf("✓ the card is unblocked: %d order redriven and charged", report.Redriven)

	if err := s.tree.wait(ctx); err != nil {
		return err
	}
	s.Printf("\n  order %d is one trace, from its checkout to its dead letter and back:\n\n", followed)
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

// keepSelling sells until ctx ends.
func (s *shop) keepSelling(ctx context.Context) error {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for id := published + 1; ; {
		select {
		case <-ticker.C:
			if err := s.sell(ctx, order(id)); err != nil && ctx.Err() == nil {
				s.Printf("✗ order %d is not published: %v", id, err)
			}
			id++
		case <-s.settled: // no longer counted
		case <-ctx.Done():
			return nil
		}
	}
}

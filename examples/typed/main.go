// Command typed runs two services that share a contract, and an nsqd, in one process. It needs no
// arguments, and nothing needs to be installed:
//
//	go run ./examples/typed
//
// The shop publishes orders. Billing charges them and publishes receipts, which the shop consumes.
// Neither depends on the other; both use package contract. Then releases change: a field is added,
// a partner publishes an order that billing cannot decode, and the next release of billing can.
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
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/examples/internal/embedded"
	"github.com/nsqx/nsqx/examples/typed/contract"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "typed:", err)
		os.Exit(1)
	}
}

// run is the program.
func run(ctx context.Context, out io.Writer) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 30*time.Second, errors.New("not done after 30 s"))
	defer cancel()
	d, exit, err := embedded.NSQD()
	if err != nil {
		return fmt.Errorf("start nsqd: %w", err)
	}
	defer func() { err = errors.Join(err, exit()) }()

	l := log.New(out, "  ", 0)
	l.Printf("nsqd %v runs in this process\n\n", d.RealTCPAddr())
	settled := make(chan int, 16) // the shop and billing send each settled order
	opts := nsqx.WithOptions(
		nsqx.WithNSQD(d.RealTCPAddr().String()),
		nsqx.WithLogger(slog.New(slog.DiscardHandler)), // a service omits this option
	)

	s, err := newShop(l, settled, opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.orders.Close()) }()
	stopShop := start(ctx, s.receipts)
	defer func() { err = errors.Join(err, stopShop()) }()

	// The first release of billing decodes the orders of the shop, with and without the new field.
	err = deploy(ctx, l, "1.1", contract.Orders(), settled, opts, func() error {
		err := errors.Join(
			s.sell(ctx, "1.0", contract.Order{ID: 1, Cents: 1900}),
			s.sell(ctx, "1.0", contract.Order{ID: 2, Cents: 599}),
			s.sell(ctx, "1.1", contract.Order{ID: 3, Cents: 2500, Currency: "USD"}), // Currency is new
			s.sell(ctx, "1.1", contract.Order{ID: 4, Cents: 8800, Currency: "CHF"}),
			sellElsewhere(ctx, l, `{"id":5,"cents":"4200","currency":"USD"}`, opts),
		)
		return errors.Join(err, wait(ctx, settled, 5)) // four receipts and a dead letter
	})
	if err != nil {
		return err
	}

	// The next release can decode the dead letter, so redrive it.
	l.Printf("\n  billing 1.2 is deployed, which also accepts cents as text\n\n")
	return deploy(ctx, l, "1.2", contract.TolerantOrders(), settled, opts, func() error {
		report, err := nsqx.Redrive(ctx, contract.DeadOrders, "", opts, nsqx.WithRedriveIdle(300*time.Millisecond),
			nsqx.WithRedriveHTTP(d.RealTCPAddr().String(), d.RealHTTPAddr().String())) // not needed with port 4151
		l.Printf("operator     %d dead letter redriven to its original topic", report.Redriven)
		if err = errors.Join(err, wait(ctx, settled, 1)); err != nil {
			return err
		}
		l.Printf("\n  ✓ all orders are paid, %d are dead letters", embedded.Unfinished(d, contract.DeadOrders))
		return nil
	})
}

// deploy runs a release of billing during f.
func deploy(ctx context.Context, l *log.Logger, release string, orders contract.Topic[contract.Order], settled chan<- int, opts nsqx.Option, f func() error) error {
	b, err := newBilling(l, release, orders, settled, opts)
	if err != nil {
		return err
	}
	stop := start(ctx, b.orders)
	err = f()
	err = errors.Join(err, stop()) // drained: no handler publishes any more
	return errors.Join(err, b.receipts.Close())
}

// start runs a service until stop is called. stop waits for the service.
func start(ctx context.Context, s nsqx.Service) (stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	return func() error {
		cancel()
		return <-ended
	}
}

// sellElsewhere publishes an order as text, like a partner that misread the contract.
func sellElsewhere(ctx context.Context, l *log.Logger, order string, opts nsqx.Option) error {
	p, err := nsqx.NewProducer(contract.Orders().Name, codec.String(), opts)
	if err != nil {
		return err
	}
	l.Printf("partner      %s", order)
	return errors.Join(p.Publish(ctx, order), p.Close())
}

// wait waits until n more orders are settled.
func wait(ctx context.Context, settled <-chan int, n int) error {
	for range n {
		select {
		case <-settled:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return context.Cause(ctx) // nil, if it was not cancelled
}

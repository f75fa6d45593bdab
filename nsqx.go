// Package nsqx is a client framework for NSQ. A [Consumer] calls a handler, a func(ctx, T) error,
// for each message of a channel, and turns its result into the answer for nsqd. A [Producer]
// publishes values of a type T to a topic. Everything between the socket and these functions
// belongs to nsqx: connections, discovery, flow control, decoding, middleware, retries, dead
// letters and shutdown. It implements the NSQ protocol itself.
//
// # When to use what
//
//   - [NewConsumer] consumes one channel of one topic. [Run] runs several consumers together.
//   - [NewProducer] publishes to one topic. Producers of several topics share the connections of a
//     [NewPublisher] with [WithPublisher].
//   - [Redrive] sends dead letters back to the topics that they come from.
//
// # Five things to know
//
//  1. The result of the handler is the answer. nil is FIN. An error or a panic is REQ, with a delay
//     that the retry policy computes. Errors of package retry ask for something else: a fixed
//     delay, a dead letter, no retry. See [Consumer] for the table.
//  2. A message may be handled twice, but is never lost: make handlers idempotent. Attempts and age
//     are unlimited unless an option sets a limit, and a limit requires an option that says what
//     becomes of the messages, such as [WithDeadLetter].
//  3. Cancelling the context of Run starts the shutdown. Running handlers may finish; messages that
//     no handler has started are requeued. Run returns nil if every message was answered.
//  4. The error of a publish is exactly one of [ErrRejected], [ErrNotSent] and [ErrUnconfirmed], so
//     a caller knows whether to publish again. A [Producer] and a [Publisher] must be closed.
//  5. Constructors report all faults of their arguments together. A consumer connects when Run is
//     called, and redials for as long as it runs: nsqd may start after the service. A nil context is
//     [context.Background].
//
// # A program
//
// It bills orders with 16 handlers. A message that fails eight times becomes a dead letter.
//
//	package main
//
//	import (
//		"context"
//		"fmt"
//		"log"
//		"os"
//		"os/signal"
//		"syscall"
//
//		"github.com/nsqx/nsqx"
//		"github.com/nsqx/nsqx/codec"
//	)
//
//	type Order struct{ ID, Cents int }
//
//	func bill(ctx context.Context, o Order) error {
//		_, err := fmt.Printf("order %d: %d cents\n", o.ID, o.Cents)
//		return err
//	}
//
//	func main() {
//		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
//		defer stop()
//
//		c, err := nsqx.NewConsumer("orders", "billing", codec.JSON[Order](), bill,
//			nsqx.WithNSQD("127.0.0.1:4150"),
//			nsqx.WithConcurrency(16),
//			nsqx.WithMaxAttempts(8),
//			nsqx.WithDeadLetter("orders.dead"),
//		)
//		if err != nil {
//			log.Fatal(err) // all faults of the options
//		}
//		if err := c.Run(ctx); err != nil {
//			log.Fatal(err) // the messages that the shutdown left behind
//		}
//	}
//
// # The packages around it
//
//   - handler has messages, their contexts and headers, and the types of middleware.
//   - codec translates between payloads and values.
//   - retry has errors that ask for an answer, and policies that compute delays.
//   - middleware has ready-made middleware, such as AutoTouch for long handlers.
//   - observe has hooks and their events, [Stats], the [Telemetry] interface and [ShutdownError].
//   - otel (package nsqotel) is OpenTelemetry: a [Telemetry] for traces and metrics.
//   - envelope puts headers into a body, for services that use another client.
//   - conn is one connection to one nsqd; [conn.Config] has TLS, AUTH, compression and timeouts.
//   - nsqxtest tests services without a network: it has an nsqd in memory.
package nsqx

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/nsqx/nsqx/internal/guard"
	"github.com/nsqx/nsqx/internal/version"
)

// Version is the version of this module, such as "0.1.0", or "0.1.0-dev" before that release. It is
// part of the default [conn.Config.UserAgent] and the version of the instrumentation scope of
// package nsqotel.
const Version = version.Version

// Service is what [Run] runs. Every [Consumer] is a Service.
type Service interface {
	// Run works until ctx is cancelled, shuts down, and returns nil. Otherwise it returns the
	// reason of its failure.
	Run(ctx context.Context) error
}

// Run runs services until ctx is cancelled, and waits for all of them. If a service returns an
// error, or returns before ctx is cancelled, Run stops the others. It returns their errors, joined.
func Run(ctx context.Context, services ...Service) error {
	for i, s := range services {
		if s == nil {
			return fmt.Errorf("nsqx: Run: service %d of %d is nil", i+1, len(services))
		}
	}
	group, ctx := errgroup.WithContext(guard.Context(ctx))
	errs := make([]error, len(services))
	for i, s := range services {
		group.Go(func() error {
			errs[i] = s.Run(ctx)
			if errs[i] == nil && ctx.Err() == nil {
				return errStopped // stops the others; Run does not return it
			}
			return errs[i]
		})
	}
	_ = group.Wait() // errs has every error
	return errors.Join(errs...)
}

var errStopped = errors.New("nsqx: a service stopped")

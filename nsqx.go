// Package nsqx is a client framework for NSQ. A [Consumer] calls a handler, a func(ctx, T) error,
// for each message of a channel, and turns its result into the answer for nsqd. A [Producer]
// publishes values of a type T to a topic. Everything between the socket and these functions
// belongs to nsqx: connections, discovery, flow control, decoding, middleware, retries, dead
// letters and shutdown. It implements the NSQ protocol itself.
//
// # When to use what
//
//   - [NewConsumer] consumes one channel of one topic. [Run] runs consumers, producers and servers
//     together, and ends them in order; [Consumer.Start] and [Consumer.Stop] are for other frameworks.
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
//     a caller knows whether to publish again. A [Producer] and a [Publisher] must be closed, or
//     given to Run.
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
//   - settings makes options of URLs, of the environment and of flags.
//   - nsqxhttp answers probes and shows statistics over HTTP.
//   - nsqxtest tests services without a network: it has an nsqd in memory.
package nsqx

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
	"slices"
	"time"

	"github.com/nsqx/nsqx/internal/guard"
	"github.com/nsqx/nsqx/internal/lifecycle"
	"github.com/nsqx/nsqx/internal/version"
)

// Version is the version of this module, such as "0.1.0", or "0.1.0-dev" before that release. It is
// part of the default [conn.Config.UserAgent] and the version of the instrumentation scope of
// package nsqotel.
const Version = version.Version

// Service is what [Run] runs: a [Consumer], a [Producer], a [Publisher], a [ServiceFunc], or anything
// else with this method. If it has a method String, errors and the log name it by that.
type Service interface {
	// Run works until ctx is cancelled, shuts down, and returns nil. Otherwise it returns the
	// reason of its failure.
	Run(ctx context.Context) error
}

// ServiceFunc makes a [Service] of a function, such as one that runs an HTTP server: see the example.
type ServiceFunc func(ctx context.Context) error

// Run calls f.
func (f ServiceFunc) Run(ctx context.Context) error { return f(ctx) }

// Run runs services until ctx is cancelled, and then ends them in order, so that no handler and no
// request finds its producer closed: first all others, then producers, then publishers. Services of
// one kind end together. Cancelling ctx again changes nothing; what a second signal does is up to
// the caller.
//
// If a service returns before ctx is cancelled, or panics, Run ends the others in the same way. It
// returns the errors of all, joined: [ErrEnded] of one that returned nil too early, and
// [ErrAlreadyRun] of one that is given twice or has run before.
//
// [WithGrace] limits the time of the end. A consumer's [WithShutdownTimeout] and a producer's
// [WithCloseTimeout] are shortened to fit into it. Services that have not returned by then are left
// behind, and named by a [*GraceError]. What the end waits for is logged after a second, and then
// each 5 s.
func Run(ctx context.Context, services ...Service) error {
	group, logger := lifecycle.Group{Grace: 25 * time.Second}, slog.Default()
	var faults []error
	for i, s := range services {
		if o, ok := s.(runOption); ok {
			faults = append(faults, o(&group.Grace, &logger))
			continue
		}
		switch v := reflect.ValueOf(s); {
		case s == nil, (v.Kind() == reflect.Pointer || v.Kind() == reflect.Func) && v.IsNil():
			faults = append(faults, fmt.Errorf("nsqx: Run: service %d of %d is nil", i+1, len(services)))
			continue
		case v.Kind() == reflect.Pointer && v.Type().Elem().Size() > 0 && // which can be compared
			slices.ContainsFunc(services[:i], func(o Service) bool { return reflect.TypeOf(o) == v.Type() && o == s }):
			faults = append(faults, fmt.Errorf("nsqx: Run: service %d of %d, %s, is given twice: %w", i+1, len(services), nameOf(s), ErrAlreadyRun))
		}
		group.Services = append(group.Services, lifecycle.Service{Name: nameOf(s), Phase: phaseOf(s), Run: s.Run})
	}
	if err := errors.Join(faults...); err != nil {
		return err
	}
	group.Log = guard.Logger(logger)
	return group.Run(guard.Context(ctx))
}

// runOption is an option of Run, which stands among the services.
type runOption func(*time.Duration, **slog.Logger) error

// Run waits for the end of ctx: an option does nothing elsewhere.
func (o runOption) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// WithGrace limits, among the services of [Run], the time that they have to end: 1 ms to 24 h.
// Defaults to 25 s, since Kubernetes kills a pod after 30 s.
func WithGrace(d time.Duration) Service {
	return runOption(func(grace *time.Duration, _ **slog.Logger) error {
		if d < time.Millisecond || d > 24*time.Hour {
			return &OptionError{Option: "WithGrace", Reason: fmt.Sprintf("is %v, want 1ms to 24h0m0s", d)}
		}
		*grace = d
		return nil
	})
}

// WithRunLogger sets, among the services of [Run], the logger that is told what the end waits for.
// Defaults to slog.Default().
func WithRunLogger(l *slog.Logger) Service {
	return runOption(func(_ *time.Duration, logger **slog.Logger) error {
		if l == nil {
			return &OptionError{Option: "WithRunLogger", Reason: "got nil; leave it out for slog.Default(), or use slog.New(slog.DiscardHandler)"}
		}
		*logger = l
		return nil
	})
}

// phaseOf returns when a service ends: those that publish end before what they publish with.
func phaseOf(s Service) int {
	if s, ok := s.(interface{ phase() int }); ok {
		return s.phase()
	}
	return 0
}

// nameOf names a service in errors and in the log.
func nameOf(s Service) string {
	switch s := s.(type) {
	case interface{ name() string }:
		return s.name()
	case ServiceFunc:
		return runtime.FuncForPC(reflect.ValueOf(s).Pointer()).Name()
	case fmt.Stringer:
		if name, err := guard.IsolateValue(func() (string, error) { return s.String(), nil }); err == nil && name != "" {
			return name
		}
	}
	return fmt.Sprintf("%T", s)
}

// Package nsqx runs handlers of NSQ messages: a service hands it a
// func(ctx, T) error, and nsqx owns everything between the socket and that
// function: connections, decoding, middleware, retries, dead letters and
// shutdown. It has its own client for the NSQ protocol.
//
//	c, err := nsqx.NewConsumer("orders", "billing", codec.JSON[Order](),
//		func(ctx context.Context, o Order) error { return bill(ctx, o) },
//		nsqx.WithNSQD("127.0.0.1:4150"),
//		nsqx.WithConcurrency(16),
//		nsqx.WithMaxAttempts(8),
//		nsqx.WithDeadLetter("orders.dead"),
//	)
//	if err != nil {
//		return err
//	}
//	return c.Run(ctx) // cancelling ctx drains
//
// What the handler returns decides what nsqd hears: nil is FIN, an error is REQ
// with a delay from the retry policy, and the vocabulary of package retry asks
// for something else. See [Consumer] for the whole table.
//
// The packages around it: handler (messages, contexts, middleware), codec
// (payload to T and back), retry (errors and delays), middleware (ready-made),
// conn (one connection to one nsqd).
package nsqx

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/nsqx/nsqx/internal/version"
)

// Version is the version of this module, such as "0.1.0", or "0.1.0-dev" before its release. It is part of the default
// [conn.Config.UserAgent] and the version of the instrumentation scope of package nsqotel.
const Version = version.Version

// Service is what [Run] runs: every [Consumer] is one.
type Service interface {
	// Run works until ctx is cancelled, ends in good order, and returns nil; or
	// it returns why it could not.
	Run(ctx context.Context) error
}

// Run runs several services until ctx is cancelled, and waits for all of them.
// When one returns an error, or returns although ctx was not cancelled, the
// others are stopped, too. It returns their errors, joined.
func Run(ctx context.Context, services ...Service) error {
	for i, s := range services {
		if s == nil {
			return fmt.Errorf("nsqx: Run: service %d of %d is nil", i+1, len(services))
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	errs := make([]error, len(services))
	for i, s := range services {
		group.Go(func() error {
			errs[i] = s.Run(ctx)
			if errs[i] == nil && ctx.Err() == nil {
				return errStopped // not reported, but it stops the others
			}
			return errs[i]
		})
	}
	_ = group.Wait() // all the errors are in errs
	return errors.Join(errs...)
}

var errStopped = errors.New("nsqx: a service stopped")

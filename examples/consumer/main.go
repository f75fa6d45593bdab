// Command consumer prints the messages of a channel until Ctrl-C:
//
//	go run ./examples/consumer -nsqd 127.0.0.1:4150 -topic orders -channel printer
//
// It then drains: running handlers finish, and waiting messages are requeued.
//
// What it prints it finishes, so that it is gone from the channel. It does not do that to dead
// letters, which may be the only copies: it requeues them for a minute, unless -finish is given.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/envelope"
	"github.com/nsqx/nsqx/handler"
	"github.com/nsqx/nsqx/middleware"
	"github.com/nsqx/nsqx/retry"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	switch err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); {
	case err == nil, errors.Is(err, flag.ErrHelp):
	default:
		fmt.Fprintln(os.Stderr, "consumer:", err)
		os.Exit(1)
	}
}

// run consumes until ctx ends. It prints messages to out, and everything else to status.
func run(ctx context.Context, args []string, out, status io.Writer) error {
	flags := flag.NewFlagSet("consumer", flag.ContinueOnError)
	flags.SetOutput(status)
	nsqd := flags.String("nsqd", "127.0.0.1:4150", "`address` of nsqd")
	topic := flags.String("topic", "orders", "topic to consume")
	channel := flags.String("channel", "printer#ephemeral", "channel of the topic")
	finish := flags.Bool("finish", false, "finish dead letters, too: they are gone from the channel then")
	concurrency := flags.Int("concurrency", 4, "maximum number of messages handled at once")
	if err := flags.Parse(args); err != nil {
		return err
	}

	// One Write per message keeps the lines of concurrent handlers apart. The body is quoted, since
	// it may contain anything.
	show := func(ctx context.Context, body string) error {
		m := handler.FromContext(ctx)
		_, err := fmt.Fprintf(out, "%s  attempt %d  %#q\n", m.ID, m.Attempts, body)
		if err == nil && m.Header(envelope.DeadTopic) != "" && !*finish {
			return retry.After(time.Minute, nil)
		}
		return err // a message that was not printed is delivered again
	}
	logger := slog.New(slog.NewTextHandler(status, nil))
	consumer, err := nsqx.NewConsumer(*topic, *channel, codec.String(), show,
		nsqx.WithNSQD(*nsqd),
		nsqx.WithConcurrency(*concurrency),
		nsqx.WithMiddleware(middleware.Log(logger)), // failures; successes are at level Debug
		nsqx.WithLogger(logger),                     // connections
	)
	if err != nil {
		return err
	}
	err = consumer.Run(ctx) // until Ctrl-C, even if nsqd is not running yet
	logEnd(logger, consumer.Stats(), err)
	return err
}

// logEnd logs the totals, and the messages of handlers that did not return in time.
func logEnd(logger *slog.Logger, s nsqx.Stats, err error) {
	logger.Info("stopped", "finished", s.Finished, "requeued", s.Requeued, "interrupted", s.Interrupted)
	if end, ok := errors.AsType[*nsqx.ShutdownError](err); ok {
		for _, m := range end.Abandoned {
			logger.Warn("abandoned", "msg.id", m.ID, "msg.attempts", m.Attempts, "requeued", m.Requeued)
		}
	}
}

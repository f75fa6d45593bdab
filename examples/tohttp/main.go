// Command tohttp sends the messages of a channel to HTTP servers, until Ctrl-C:
//
//	go run ./examples/tohttp -nsq nsq://127.0.0.1:4150 -topic orders -post http://127.0.0.1:8080/orders
//
// A message is finished when a server has answered with a status of 2xx. Otherwise it is sent again,
// after the time that the server asks for with Retry-After, or else after a second, which doubles up
// to ten minutes. With -dead-letter, those that a server will never take go to another topic.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/codec"
	"github.com/nsqx/nsqx/settings"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	switch err := run(ctx, os.Args[1:], os.Stderr); {
	case err == nil, errors.Is(err, flag.ErrHelp):
	default:
		fmt.Fprintln(os.Stderr, "tohttp:", err)
		os.Exit(1)
	}
}

// config is what the flags say.
type config struct {
	nsq            settings.Flag
	topic, channel string
	concurrency    int
	sample         float64
	deadLetter     string

	post, get   []string
	mode        string
	timeout     time.Duration
	contentType string
	header      http.Header
}

// run consumes until ctx ends. It logs to status.
func run(ctx context.Context, args []string, status io.Writer) error {
	cfg, err := parse(args, status)
	if err != nil {
		return err
	}
	s, err := newSender(cfg)
	if err != nil {
		return err
	}
	defer s.client.CloseIdleConnections()
	logger := slog.New(slog.NewTextHandler(status, nil))
	options := []nsqx.ConsumerOption{
		cfg.nsq.Consumer(),
		nsqx.WithDefaults(nsqx.WithNSQD("127.0.0.1:4150")),
		nsqx.WithConcurrency(cfg.concurrency),
		nsqx.WithLogger(logger),
	}
	if cfg.sample < 1 {
		options = append(options, nsqx.WithMiddleware(sample(cfg.sample)))
	}
	if cfg.deadLetter != "" {
		options = append(options, nsqx.WithDeadLetter(cfg.deadLetter))
	}
	// codec.Bytes copies the body, as it must: a request that was cut short may still read it.
	consumer, err := nsqx.NewConsumer(cfg.topic, cfg.channel, codec.Bytes(), s.handle, options...)
	if err != nil {
		return err
	}
	err = nsqx.Run(ctx, consumer, nsqx.WithRunLogger(logger))
	end := consumer.Stats()
	logger.Info("stopped", "topic", cfg.topic, "finished", end.Finished, "requeued", end.Requeued, "dead_lettered", end.DeadLettered)
	return err
}

// parse reads the flags and checks them. All faults but those of nsqx are reported together.
func parse(args []string, status io.Writer) (config, error) {
	cfg := config{header: http.Header{}}
	flags := flag.NewFlagSet("tohttp", flag.ContinueOnError)
	flags.SetOutput(status)
	flags.Usage = func() {
		fmt.Fprint(status, "Usage: tohttp -topic orders -post http://127.0.0.1:8080/orders [flags]\n\nIt sends the messages of a channel to HTTP servers.\n\n")
		flags.PrintDefaults()
	}
	list := func(all *[]string) func(string) error {
		return func(s string) error {
			*all = append(*all, s)
			return nil
		}
	}
	flags.Var(&cfg.nsq, "nsq", "`URL` of nsqds or nsqlookupds, with settings of consumers, such as\nnsq://a:4150,b:4150 or nsq+lookupd://a:4161?max_in_flight=200 (default nsq://127.0.0.1:4150)")
	flags.StringVar(&cfg.topic, "topic", "", "`topic` to consume")
	flags.StringVar(&cfg.channel, "channel", "tohttp", "`channel` of the topic")
	flags.Func("post", "`URL` for POST requests with the message as the body; may be given several times", list(&cfg.post))
	flags.Func("get", "`URL` for GET requests, with %s where the message is to stand; may be given several times", list(&cfg.get))
	flags.StringVar(&cfg.mode, "mode", pool, "with several URLs, `which` gets a message: pool: the next that works, since one that failed\nis left alone for a while; round-robin: the next; all: each, though all get it again if\none fails, so a channel for each is better")
	flags.IntVar(&cfg.concurrency, "concurrency", 100, "how many messages are sent at once")
	flags.DurationVar(&cfg.timeout, "timeout", 20*time.Second, "`time` that a request may take")
	flags.Float64Var(&cfg.sample, "sample", 1, "`part` of the messages that is sent, above 0 and up to 1; the others are finished")
	flags.StringVar(&cfg.contentType, "content-type", "", "`type` of the body of POST requests (default application/octet-stream)")
	flags.Func("header", "`header` of requests, such as \"Authorization: Bearer abc\"; may be given several times", func(s string) error {
		key, value, _ := strings.Cut(s, ":")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if key == "" || value == "" {
			return errors.New("want a name, a colon and a value")
		}
		cfg.header.Set(key, value)
		return nil
	})
	flags.StringVar(&cfg.deadLetter, "dead-letter", "", "`topic` for messages that are refused with 400, 413, 415 or 422; without it they are sent again")
	if err := flags.Parse(args); err != nil {
		return cfg, err
	}
	if cfg.header.Get("User-Agent") == "" {
		cfg.header.Set("User-Agent", "nsqx-tohttp/"+nsqx.Version)
	}
	if len(cfg.post) > 0 && cfg.header.Get("Content-Type") == "" {
		cfg.header.Set("Content-Type", cmp.Or(cfg.contentType, "application/octet-stream"))
	}
	return cfg, cfg.check(flags.Args())
}

// check returns the faults of the flags, joined.
func (cfg config) check(rest []string) error {
	var faults []error
	for _, f := range []struct {
		fault bool
		text  string
	}{
		{len(rest) > 0, fmt.Sprintf("%q is no flag", rest)},
		{cfg.topic == "", "-topic is missing"},
		{len(cfg.post)+len(cfg.get) == 0, "-post or -get is missing"},
		{len(cfg.post) > 0 && len(cfg.get) > 0, "-post and -get are given, want one of them"},
		{cfg.mode != pool && cfg.mode != roundRobin && cfg.mode != all, fmt.Sprintf("-mode is %q, want pool, round-robin or all", cfg.mode)},
		{cfg.timeout <= 0, fmt.Sprintf("-timeout is %v, want more than 0", cfg.timeout)},
		{!(cfg.sample > 0 && cfg.sample <= 1), fmt.Sprintf("-sample is %v, want more than 0 and at most 1", cfg.sample)},
		{cfg.contentType != "" && len(cfg.get) > 0, "-content-type is for -post"},
	} {
		if f.fault {
			faults = append(faults, errors.New(f.text))
		}
	}
	for _, url := range cfg.get {
		if strings.Count(url, "%s") != 1 {
			faults = append(faults, fmt.Errorf("-get is %q, want %%s in it once", url))
		}
	}
	return errors.Join(faults...)
}

// Command tofile writes the messages of topics to files, one line each, until Ctrl-C:
//
//	go run ./examples/tofile -nsq nsq://127.0.0.1:4150 -topic orders -dir /tmp/orders
//
// Messages are finished when their lines are on the disk: one write and one fsync for a batch. An
// error of the disk requeues the batch. After a crash no line is missing; lines of messages that were
// not finished may be in two files, and the last line of a file may be cut short.
//
// A new file begins at each start, at SIGHUP, when <DATETIME> changes, and by -rotate-size and
// -rotate-interval. No file is overwritten or continued. A body with a newline in it makes several
// lines; what an envelope adds to a body is left out.
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
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/settings"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	switch err := run(ctx, os.Args[1:], os.Stderr); {
	case err == nil, errors.Is(err, flag.ErrHelp):
	default:
		fmt.Fprintln(os.Stderr, "tofile:", err)
		os.Exit(1)
	}
}

// config is what the flags say.
type config struct {
	nsq     settings.Flag
	topics  []string
	channel string

	dir, work            string // work is "" if files are written to dir
	name, datetime, host string
	gzip                 int // level, 0 for none
	maxSize              int64
	maxAge               time.Duration
}

// run consumes until ctx ends. It logs to status.
func run(ctx context.Context, args []string, status io.Writer) error {
	cfg, err := parse(args, status)
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(status, nil))
	services := []nsqx.Service{nsqx.WithRunLogger(logger)}
	var archives []*archive
	for _, topic := range cfg.topics {
		a, err := newArchive(cfg, topic, logger)
		if err != nil {
			return err
		}
		archives, services = append(archives, a), append(services, a)
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	return nsqx.Run(ctx, append(services, rotation(archives, hup))...)
}

// rotation ends files whose time has come, though no message comes, and all of them at a signal.
func rotation(archives []*archive, hup <-chan os.Signal) nsqx.ServiceFunc {
	return func(ctx context.Context) error {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			all := false
			select {
			case <-ctx.Done():
				return nil
			case <-hup:
				all = true
			case <-tick.C:
			}
			for _, a := range archives {
				a.rotate(all)
			}
		}
	}
}

// parse reads the flags and checks them. All faults but those of nsqx are reported together.
func parse(args []string, status io.Writer) (cfg config, err error) {
	flags := flag.NewFlagSet("tofile", flag.ContinueOnError)
	flags.SetOutput(status)
	flags.Usage = func() {
		fmt.Fprint(status, "Usage: tofile -topic orders -dir /var/log/orders [flags]\n\nIt writes the messages of topics to files, one line each.\n\n")
		flags.PrintDefaults()
	}
	flags.Var(&cfg.nsq, "nsq", "`URL` of nsqds or nsqlookupds, with settings of consumers, such as\nnsq://a:4150,b:4150 or nsq+lookupd://a:4161?batch=1000,1s (default nsq://127.0.0.1:4150)")
	flags.Func("topic", "`topic` to consume; may be given several times", func(topic string) error {
		cfg.topics = append(cfg.topics, topic)
		return nil
	})
	flags.StringVar(&cfg.channel, "channel", "tofile", "`channel` of the topics")
	flags.StringVar(&cfg.dir, "dir", ".", "`directory` of the files")
	flags.StringVar(&cfg.work, "work", "", "`directory` for files that are not finished, of this process alone,\nin the file system of -dir (default -dir)")
	flags.StringVar(&cfg.name, "name", "<TOPIC>.<HOST><REV>.<DATETIME>.log", "`name` of the files, with <TOPIC>, <HOST>, <PID>, <DATETIME>, and <REV>, which counts\nfiles with the same name")
	flags.StringVar(&cfg.datetime, "datetime", "2006-01-02_15", "`layout` of <DATETIME>, of Go's package time; a new file begins when it changes")
	flags.StringVar(&cfg.host, "host", "", "`name` for <HOST> (default the host's, up to the first dot)")
	flags.IntVar(&cfg.gzip, "gzip", 0, "`level` of compression by gzip, 1 to 9; 0 is none")
	flags.Int64Var(&cfg.maxSize, "rotate-size", 0, "`bytes` of a file from which on the next batch begins another one; 0 is no limit")
	flags.DurationVar(&cfg.maxAge, "rotate-interval", 0, "`time` after which another file begins; 0 is no limit")
	if err := flags.Parse(args); err != nil {
		return cfg, err
	}
	if cfg.host == "" {
		name, err := os.Hostname()
		if err != nil {
			return cfg, fmt.Errorf("-host is needed: %w", err)
		}
		cfg.host, _, _ = strings.Cut(name, ".")
	}
	if cfg.gzip > 0 && !strings.HasSuffix(cfg.name, ".gz") {
		cfg.name += ".gz"
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
		{len(cfg.topics) == 0, "-topic is missing"},
		{len(cfg.topics) > 1 && !strings.Contains(cfg.name, "<TOPIC>"), fmt.Sprintf("-name is %q, want <TOPIC> in it for several topics", cfg.name)},
		{!strings.Contains(cfg.name, "<REV>"), fmt.Sprintf("-name is %q, want <REV> in it, since no file is written twice", cfg.name)},
		{strings.Contains(cfg.datetime, "%"), fmt.Sprintf("-datetime is %q, want a layout of Go, such as 2006-01-02_15", cfg.datetime)},
		{strings.ContainsAny(cfg.host, `/\*?[`), fmt.Sprintf("-host is %q, want none of / \\ * ? [", cfg.host)},
		{cfg.gzip < 0 || cfg.gzip > 9, fmt.Sprintf("-gzip is %d, want 0 to 9", cfg.gzip)},
		{cfg.maxSize < 0, fmt.Sprintf("-rotate-size is %d, want 0 or more", cfg.maxSize)},
		{cfg.maxAge < 0, fmt.Sprintf("-rotate-interval is %v, want 0 or more", cfg.maxAge)},
		{cfg.dir == "", "-dir is empty, want a directory"},
		{cfg.work != "" && filepath.Clean(cfg.work) == filepath.Clean(cfg.dir), "-work is -dir; leave it out, or name another directory"},
	} {
		if f.fault {
			faults = append(faults, errors.New(f.text))
		}
	}
	return errors.Join(faults...)
}

// Command bench measures clients of nsqd: nsqx, go-nsq, and a bare loop, which is as little as a client can do.
//
// Scenario sender, the default, measures what one message costs: CPU, allocations and write calls. nsqd is replaced by
// a sender that only sends prebuilt messages, as fast as RDY allows, and checks every FIN. Scenario drain measures
// the same, and the rate, with a topic of a real nsqd that is full, and scenario latency the time from publish to
// handler at a given rate; both do so with several nsqds, and through a slow network, if they are told to. Scenario
// publish measures the other side: how fast, and at what cost, goroutines publish.
//
// Client, nsqd and whatever else takes part run in processes of their own, so that what is measured is the client's
// alone. The clients take turns within each round, so that a noisy machine is noisy for all of them.
//
//	go run ./internal/bench
//	go run ./internal/bench -scenario drain -rtt 5ms
//	go run ./internal/bench -scenario latency -rate 50 -work 100ms
//	go run ./internal/bench -scenario publish -goroutines 1
//	go test -run '^$' -bench Drain -benchtime 1x -count 5 ./internal/bench
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
)

func main() {
	if asked, err := runChild(); asked {
		exit(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	exit(run(ctx, os.Args[1:], os.Stdout))
}

func exit(err error) {
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		os.Exit(0)
	default:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// defaultJob is the load that the project's figures are given for; how many messages that is, the scenario says.
func defaultJob() job {
	return job{Size: 200, Workers: 8, NSQDs: 1, Rate: 1000, Goroutines: 64}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	s, j, rounds, err := parse(args, out)
	if err != nil {
		return err
	}
	results, err := s.run(ctx, j, rounds)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s: median of %d rounds\n\n", s.title(j), rounds)
	return writeTable(out, s.contenders, s.metrics(j), results)
}

func parse(args []string, out io.Writer) (s scenario, j job, rounds int, err error) {
	j = defaultJob()
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(out)
	name := flags.String("scenario", scenarios()[0].name, "what to measure: "+scenarioNames())
	flags.IntVar(&rounds, "rounds", 5, "rounds; in each, every client has one lap")
	flags.IntVar(&j.Messages, "messages", j.Messages, "measured messages of one lap; unless nsqd's topic is full when it begins, a tenth more "+
		"come first, as warm-up (default 1000000; drain: 500000; latency: 5 seconds of them; publish: 50000 a goroutine, at most 500000)")
	flags.IntVar(&j.Size, "size", j.Size, "bytes of a body")
	flags.IntVar(&j.Workers, "workers", j.Workers, "all but publish: concurrent handlers")
	flags.IntVar(&j.NSQDs, "nsqds", j.NSQDs, "drain, latency: number of nsqds")
	flags.DurationVar(&j.RTT, "rtt", j.RTT, "drain, latency, publish: round trip that is added between client and nsqd")
	flags.IntVar(&j.Mbit, "mbit", j.Mbit, "drain, latency, publish: bandwidth between client and nsqd in Mbit/s, each way (default no limit)")
	flags.IntVar(&j.Rate, "rate", j.Rate, "latency: messages a second")
	flags.DurationVar(&j.Work, "work", j.Work, "latency: how long a handler takes; the bare loop has none")
	flags.IntVar(&j.Goroutines, "goroutines", j.Goroutines, "publish: how many publish at once")
	if err := flags.Parse(args); err != nil {
		return s, j, rounds, err
	}
	if s, err = scenarioNamed(*name); err != nil {
		return s, j, rounds, err
	}
	messages := false
	flags.Visit(func(f *flag.Flag) {
		messages = messages || f.Name == "messages"
		if !slices.Contains(commonFlags, f.Name) && !slices.Contains(s.flags, f.Name) {
			err = errors.Join(err, fmt.Errorf("bench: %s is not for scenario %s", f.Name, s.name))
		}
	})
	if !messages {
		j.Messages = s.messages(j)
	}
	if err = errors.Join(err, atLeast("rounds", rounds, 1), j.validate()); err == nil {
		err = s.check(j)
	}
	return s, j, rounds, err
}

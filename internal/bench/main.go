// Command bench measures what one message costs a client of nsqd: CPU, allocations and write calls, for
// nsqx, for go-nsq and for a bare loop, which is as little as a client can do.
//
// nsqd is replaced by a sender that only sends prebuilt messages, as fast as RDY allows, and checks every FIN.
// Sender and client run in processes of their own, so that what is measured is the client's alone. The clients
// take turns within each round, so that a noisy machine is noisy for all of them.
//
//	go run ./internal/bench
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

// defaultJob is the load that the project's figures are given for.
func defaultJob() job {
	return job{Messages: 1_000_000, Size: 200, Workers: 8, MaxInFlight: 2500}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	j := defaultJob()
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(out)
	rounds := flags.Int("rounds", 5, "rounds; in each, every client drains once")
	flags.IntVar(&j.Messages, "messages", j.Messages, "measured messages of one drain; a tenth more come first, as warm-up")
	flags.IntVar(&j.Size, "size", j.Size, "bytes of a body")
	flags.IntVar(&j.Workers, "workers", j.Workers, "concurrent handlers")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := errors.Join(atLeastOne("rounds", *rounds), j.validate()); err != nil {
		return err
	}

	results := make(map[string][]result)
	for range *rounds {
		round, err := drainAll(ctx, j)
		if err != nil {
			return err
		}
		for name, r := range round {
			results[name] = append(results[name], r)
		}
	}
	fmt.Fprintf(out, "drain of %d messages, %d-byte bodies, %d workers: median of %d rounds\n\n",
		j.Messages, j.Size, j.Workers, *rounds)
	return writeTable(out, results, j.Messages)
}

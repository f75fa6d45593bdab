package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
)

// options are what the program is told.
type options struct {
	scenario *scenario // nil for the suite
	job      job
	rounds   int

	// Of the suite:
	quick bool
	only  string
	dir   string
}

// suiteFlags are those that go without a scenario.
var suiteFlags = []string{"quick", "only", "out", "rounds"}

func parse(args []string, out io.Writer) (o options, err error) {
	o.job = defaultJob()
	name, flags := o.flags(out)
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if *name == "" {
		if !given(flags, "rounds") {
			o.rounds = suiteRounds
		}
		return o, errors.Join(allowed(flags, "the suite", suiteFlags), atLeast("rounds", o.rounds, 1), checkOnly(o.only))
	}
	s, err := scenarioNamed(*name)
	if err != nil {
		return o, err
	}
	if s.defaults != nil { // they are for what was not said
		s.defaults(&o.job)
		_, flags = o.flags(io.Discard)
		if err := flags.Parse(args); err != nil {
			return o, err
		}
	}
	o.scenario = &s
	if !given(flags, "messages") {
		o.job.Messages = s.messages(o.job)
	}
	err = errors.Join(allowed(flags, "scenario "+s.name, slices.Concat(commonFlags, s.flags)), atLeast("rounds", o.rounds, 1), o.job.validate())
	if err == nil {
		err = s.check(o.job)
	}
	return o, err
}

// flags has the defaults of o's job.
func (o *options) flags(out io.Writer) (name *string, flags *flag.FlagSet) {
	j := &o.job
	flags = flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(out)
	name = flags.String("scenario", "", "what to measure, and print: "+scenarioNames()+" (default the suite: all of them, with charts)")
	flags.IntVar(&o.rounds, "rounds", 5, "rounds; in each, every client has one lap (default of the suite: 3)")
	flags.BoolVar(&o.quick, "quick", false, "suite: little of everything, within a minute: to see that it works")
	flags.StringVar(&o.only, "only", "", "suite: only this section, which is printed and not written: "+sectionNames())
	flags.StringVar(&o.dir, "out", "docs/benchmarks", "suite: `directory` to write to")
	flags.IntVar(&j.Messages, "messages", j.Messages, "measured messages of one lap; unless nsqd's topic is full when it begins, a tenth more "+
		"come first, as warm-up (default: the scenario's)")
	flags.IntVar(&j.Size, "size", j.Size, "bytes of a body")
	flags.IntVar(&j.Workers, "workers", j.Workers, "all but publish: concurrent handlers")
	flags.StringVar(&j.Layer, "layer", j.Layer, "sender: what lies above TCP: plain, tls, snappy or deflate")
	flags.IntVar(&j.Connections, "connections", j.Connections, "sender, full: connections to it")
	flags.IntVar(&j.MaxInFlight, "inflight", j.MaxInFlight, "sender, full: most messages in flight, over all connections (default: the client's)")
	flags.IntVar(&j.Consumers, "consumers", j.Consumers, "idle: how many in one process")
	flags.IntVar(&j.NSQDs, "nsqds", j.NSQDs, "drain, latency, idle: number of nsqds")
	flags.DurationVar(&j.RTT, "rtt", j.RTT, "drain, latency, publish: round trip that is added between client and nsqd")
	flags.IntVar(&j.Mbit, "mbit", j.Mbit, "drain, latency, publish: bandwidth between client and nsqd in Mbit/s, each way (default no limit)")
	flags.IntVar(&j.Rate, "rate", j.Rate, "latency: messages a second")
	flags.DurationVar(&j.Work, "work", j.Work, "latency, full: how long a handler takes; the bare loop has none")
	flags.IntVar(&j.Goroutines, "goroutines", j.Goroutines, "publish: how many publish at once")
	return name, flags
}

// allowed says which flags are given that are not among these.
func allowed(flags *flag.FlagSet, what string, names []string) (err error) {
	flags.Visit(func(f *flag.Flag) {
		if !slices.Contains(names, f.Name) {
			err = errors.Join(err, fmt.Errorf("bench: %s is not for %s", f.Name, what))
		}
	})
	return err
}

func given(flags *flag.FlagSet, name string) (is bool) {
	flags.Visit(func(f *flag.Flag) { is = is || f.Name == name })
	return is
}

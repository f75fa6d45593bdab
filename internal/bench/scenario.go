package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// scenario is one comparison of clients.
type scenario struct {
	name       string
	flags      []string     // flags that not every scenario has
	defaults   func(j *job) // changes the default job; nil for none
	messages   func(j job) int
	contenders []contender
	check      func(j job) error // checks j beyond its limits
	title      func(j job) string
	metrics    func(j job) []metric
	nsqd       bool // whether it needs nsqds
	lap        func(ctx context.Context, f *fleet, j job) (result, error)
}

// commonFlags are the flags of every scenario.
var commonFlags = []string{"scenario", "rounds", "messages", "size", "clients"}

// contender is a client of a scenario.
type contender struct {
	client      string
	maxInFlight int  // 0 for the client's default
	idle        bool // its handler does no work
}

// only leaves the bare loop and the named contenders.
func (s *scenario) only(names []string) error {
	for _, name := range names {
		if !slices.ContainsFunc(s.contenders, func(c contender) bool { return c.client == name }) {
			return fmt.Errorf("bench: scenario %s has no client named %q", s.name, name)
		}
	}
	s.contenders = slices.DeleteFunc(s.contenders, func(c contender) bool { return c.client != "bare" && !slices.Contains(names, c.client) })
	return nil
}

func scenarios() []scenario {
	return []scenario{senderScenario(), jsonScenario(), telemetryScenario(), drainScenario(), latencyScenario(), publishScenario(),
		idleScenario(), fullScenario()}
}

func scenarioNames() string {
	var names []string
	for _, s := range scenarios() {
		names = append(names, s.name)
	}
	return strings.Join(names, ", ")
}

func scenarioNamed(name string) (scenario, error) {
	all := scenarios()
	i := slices.IndexFunc(all, func(s scenario) bool { return s.name == name })
	if i < 0 {
		return scenario{}, fmt.Errorf("bench: no scenario named %q; there are %s", name, scenarioNames())
	}
	return all[i], nil
}

// run lets the contenders take turns, round by round, and returns the results by contender.
func (s scenario) run(ctx context.Context, j job, rounds int) (_ map[string][]result, err error) {
	j.Scenario = s.name
	var f *fleet
	if s.nsqd {
		if f, err = startFleet(ctx, j); err != nil {
			return nil, err
		}
		defer func() {
			if closing := f.close(); err == nil {
				err = closing
			}
		}()
	}
	results := make(map[string][]result)
	for range rounds {
		round, err := s.round(ctx, f, j)
		if err != nil {
			return nil, err
		}
		for name, r := range round {
			results[name] = append(results[name], r)
		}
	}
	return results, nil
}

// round runs one lap of each contender.
func (s scenario) round(ctx context.Context, f *fleet, j job) (map[string]result, error) {
	round := make(map[string]result)
	for _, c := range s.contenders {
		lap := j
		lap.Client = c.client
		if lap.MaxInFlight == 0 {
			lap.MaxInFlight = c.maxInFlight
		}
		if c.idle {
			lap.Work = 0
		}
		r, err := s.lap(ctx, f, lap)
		if err != nil {
			return nil, fmt.Errorf("bench: %s: %w", c.client, err)
		}
		round[c.client] = r
	}
	for name, r := range round {
		bare := round["bare"]
		r.Bare = &bare
		round[name] = r
	}
	return round, nil
}

// runClient runs j's client in its own process.
func runClient(ctx context.Context, j job) (report clientReport, err error) {
	j.Role = "client"
	client, err := start(ctx, j)
	if err != nil {
		return report, err
	}
	return report, client.report(&report)
}

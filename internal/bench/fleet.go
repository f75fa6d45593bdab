package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	// settleTimeout bounds the wait for nsqd to process its clients' commands.
	settleTimeout = 20 * time.Second
	pollInterval  = 2 * time.Millisecond
)

// fleet is the nsqds of a scenario, used by all laps, each in its own process, and the proxy in
// front of them.
type fleet struct {
	dir     string
	nsqds   []*process
	proxy   *process // nil for none
	addrs   []string // of the nsqds
	clients []string // addresses for clients
	topics  int
}

func startFleet(ctx context.Context, j job) (_ *fleet, err error) {
	f := &fleet{}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.close())
		}
	}()
	if f.dir, err = os.MkdirTemp("", "nsqx-bench-"); err != nil {
		return nil, err
	}
	for id := range j.NSQDs {
		if err := f.startNSQD(ctx, j, id); err != nil {
			return nil, err
		}
	}
	f.clients = f.addrs
	if j.RTT > 0 || j.Mbit > 0 {
		j.Role, j.Addrs = "proxy", f.addrs
		if f.proxy, err = start(ctx, j); err != nil {
			return nil, err
		}
		err = f.proxy.read(&f.clients)
	}
	return f, err
}

func (f *fleet) startNSQD(ctx context.Context, j job, id int) error {
	j.Role, j.ID, j.Dir = "nsqd", int64(id), filepath.Join(f.dir, fmt.Sprint(id))
	if err := os.Mkdir(j.Dir, 0o700); err != nil {
		return err
	}
	p, err := start(ctx, j)
	if err != nil {
		return err
	}
	f.nsqds = append(f.nsqds, p)
	var addr string
	if err := p.read(&addr); err != nil {
		return err
	}
	f.addrs = append(f.addrs, addr)
	return nil
}

func (f *fleet) close() error {
	var errs []error
	if f.proxy != nil {
		errs = append(errs, f.proxy.close())
	}
	for _, p := range f.nsqds {
		errs = append(errs, p.close())
	}
	if f.dir != "" {
		errs = append(errs, os.RemoveAll(f.dir))
	}
	return errors.Join(errs...)
}

// topic creates a new topic, with suffix at the end of its name, on every nsqd.
func (f *fleet) topic(suffix string) (string, error) {
	f.topics++
	name := fmt.Sprintf("bench%d%s", f.topics, suffix)
	_, err := f.states(name)
	return name, err
}

// states returns the state of a topic at each nsqd.
func (f *fleet) states(topic string) ([]nsqdState, error) {
	states := make([]nsqdState, len(f.nsqds))
	for i, p := range f.nsqds {
		if err := p.ask(nsqdRequest{Topic: topic}, &states[i]); err != nil {
			return nil, err
		}
	}
	return states, nil
}

// waitUntil waits until the state of a topic is right at each nsqd, and returns the states.
func (f *fleet) waitUntil(ctx context.Context, topic, what string, right func(nth int, s nsqdState) bool) ([]nsqdState, error) {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	for {
		states, err := f.states(topic)
		if err != nil {
			return nil, err
		}
		met := true
		for nth, s := range states {
			met = met && right(nth, s)
		}
		if met {
			return states, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("bench: waiting for %s: %w; nsqd: %+v", what, ctx.Err(), states)
		case <-time.After(pollInterval):
		}
	}
}

// finish ends a lap whose client has exited: it checks that nsqd has no message left, adds nsqd's
// counters to res, and deletes the topic. before is nsqd's state at the start of the client.
func (f *fleet) finish(ctx context.Context, topic string, before []nsqdState, res *result) error {
	after, err := f.waitUntil(ctx, topic, "the client to be gone", func(_ int, s nsqdState) bool { return s.Clients == 0 })
	if err != nil {
		return err
	}
	for i, s := range after {
		if s.Waiting+s.Depth+s.Deferred > 0 {
			return fmt.Errorf("bench: left at nsqd: %+v", s)
		}
		res.NSQDs.CPU += s.CPU - before[i].CPU
		res.NSQDs.InFlight += s.InFlight
		res.NSQDs.Requeued += s.Requeued
		res.NSQDs.TimedOut += s.TimedOut
	}
	return f.delete(topic)
}

func (f *fleet) delete(topic string) error {
	for _, p := range f.nsqds {
		if err := p.ask(nsqdRequest{Topic: topic, Delete: true}, new(nsqdState)); err != nil {
			return err
		}
	}
	return nil
}

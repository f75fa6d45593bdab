package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/nsqx/nsqx/admin"
)

const (
	// maxParallel is how many servers are asked at a time. Only their answers are in memory together.
	maxParallel = 32

	// maxDials is how many nsqds are connected to at a time.
	maxDials = 64
)

// asking returns the context for questions to servers, and shows progress if there are many.
func (s *servers) asking(ctx context.Context, t *terminal, c *admin.Cluster, servers int) (context.Context, context.CancelFunc) {
	c.Progress = nil
	if servers > 50 {
		c.Progress = func(done, all int) { t.show("asked %d of %d servers", done, all) }
	}
	return context.WithTimeout(ctx, s.Total)
}

// topology finds the nsqds, and says which servers have failed.
func (s *servers) topology(ctx context.Context, t *terminal) (*admin.Cluster, *admin.Topology, error) {
	c, err := s.cluster()
	if err != nil {
		return nil, nil, err
	}
	asking, cancel := s.asking(ctx, t, c, len(s.Lookupd)+len(s.NSQD)+len(s.NSQDHTTP))
	defer cancel()
	top, err := c.Topology(asking)
	t.clear()
	if err != nil {
		return nil, nil, shorten(cmp.Or(ctx.Err(), err))
	}
	t.reports(top.Failures)
	return c, top, nil
}

// stats asks all nsqds, and calls each, one call at a time, with the answer of one, which is not kept.
// Those that do not answer are reported and left out; failed says so.
func (s *servers) stats(ctx context.Context, t *terminal, f admin.StatsFilter, each func(admin.Node, *admin.Stats)) (c *admin.Cluster, answered int, failed, err error) {
	c, top, err := s.topology(ctx, t)
	if err != nil {
		return nil, 0, nil, err
	}
	asking, cancel := s.asking(ctx, t, c, len(top.Nodes))
	defer cancel()
	var mu sync.Mutex
	errs := c.Each(asking, top.Nodes, func(ctx context.Context, i int, n *admin.NSQD) error {
		stats, err := n.Stats(ctx, f)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		each(top.Nodes[i], &stats)
		answered++
		return nil
	})
	c.Progress = nil
	t.clear()
	if ctx.Err() != nil {
		return nil, 0, nil, ctx.Err()
	}
	late, errs := sift(errs)
	t.reports(errs)
	if late > 0 {
		t.note("nsqx: %d nsqds were not asked within %v: see --total-timeout", late, s.Total)
	}
	if answered == 0 {
		return nil, 0, nil, errors.New("no nsqd has answered over HTTP; with a firewall between, use --nsqd-http")
	}
	if bad := len(top.Nodes) - answered + len(top.Failures); bad > 0 {
		failed = part("%d servers have not answered: the result is a part", bad)
	}
	return c, answered, failed, nil
}

// sift counts the servers that were not asked before the time was over, and returns the other errors.
func sift(errs []error) (late int, others []error) {
	for _, err := range errs {
		_, asked := errors.AsType[*admin.Error](err)
		switch {
		case err == nil:
		case !asked && errors.Is(err, context.DeadlineExceeded):
			late++
		default:
			others = append(others, err)
		}
	}
	return late, others
}

// maxReports is how many errors of one kind are reported.
const maxReports = 10

// reports writes errors, the first few alone.
func (t *terminal) reports(errs []error) {
	for _, err := range errs[:min(len(errs), maxReports)] {
		t.report(err)
	}
	if more := len(errs) - maxReports; more > 0 {
		t.note("nsqx: and %d more errors", more)
	}
}

// shorten leaves the first few parts of a joined error.
func shorten(err error) error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return err
	}
	errs := joined.Unwrap()
	if more := len(errs) - maxReports; more > 0 {
		errs = append(slices.Clone(errs[:maxReports]), fmt.Errorf("and %d more errors", more))
	}
	return errors.Join(errs...)
}

// place is an nsqd with the topic that a command is for.
type place struct {
	node     admin.Node
	topic    admin.TopicStats
	channels map[string]admin.ChannelStats
}

// places returns the nsqds that have a topic, in the order of their addresses.
func (s *servers) places(ctx context.Context, t *terminal, topic string) (c *admin.Cluster, all []place, failed, err error) {
	c, _, failed, err = s.stats(ctx, t, admin.StatsFilter{Topic: topic}, func(n admin.Node, stats *admin.Stats) {
		for _, ts := range stats.Topics {
			if ts.Name != topic {
				continue
			}
			p := place{n, ts, make(map[string]admin.ChannelStats)}
			for _, ch := range ts.Channels {
				p.channels[ch.Name] = ch
			}
			all = append(all, p)
			return // a second one would be a lie
		}
	})
	if err != nil {
		return nil, nil, nil, err
	}
	if len(all) == 0 {
		return nil, nil, nil, fmt.Errorf("no nsqd has the topic %s; nsqx topic create %s makes it", topic, topic)
	}
	slices.SortFunc(all, func(a, b place) int { return cmp.Compare(a.node.Addr, b.node.Addr) })
	return c, all, failed, nil
}

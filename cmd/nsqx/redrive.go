package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/admin"
	"github.com/nsqx/nsqx/handler"
)

type redriveCommand struct {
	deadFlags
	To     string        `help:"Publish to this topic instead of the origin, for all its channels." placeholder:"TOPIC"`
	All    bool          `name:"all-channels" help:"Publish for all channels of the origin, not only the one that gave the message up."`
	Limit  int           `short:"n" help:"Most messages; 0 for all." default:"0"`
	Rate   float64       `help:"Most messages a second." default:"100"`
	Idle   time.Duration `help:"End when no message has come for so long." default:"2s"`
	DryRun bool          `help:"Count the messages, and leave them."`
}

// result is what --json prints.
type result struct {
	Redriven  int    `json:"redriven"`
	Filtered  int    `json:"filtered"`
	Failed    int    `json:"failed"`
	Newer     int    `json:"newer"`
	NoOrigin  int    `json:"no_origin"`
	NoChannel int    `json:"no_channel"`
	Error     string `json:"error,omitempty"`
}

func (c *redriveCommand) Run(ctx context.Context, t *terminal, s *servers) error {
	sc, err := c.limited(ctx, t, s, c.Limit)
	if err != nil {
		return err
	}
	if c.DryRun {
		return c.count(ctx, t, sc)
	}
	opts, err := c.options(ctx, t, s, sc)
	if err != nil {
		return err
	}
	watching, stop := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		c.watch(watching, t, sc)
	}()
	report, err := nsqx.Redrive(ctx, c.Topic, c.To, opts...)
	stop()
	<-watched
	t.clear()
	if sc.bad > 0 {
		t.note("nsqx: the filter failed %d times, which is no match; the first: %v", sc.bad, sc.badErr)
	}
	r := result{report.Redriven, report.Filtered, report.Failed, report.Newer, report.NoOrigin, report.NoChannel, ""}
	if err != nil {
		r.Error = err.Error()
	}
	if c.JSON {
		if err := t.printJSON(r); err != nil {
			return err
		}
	} else if err := t.print(r.text()); err != nil {
		return err
	}
	if r.Filtered+r.Failed+r.Newer+r.NoOrigin+r.NoChannel > 0 {
		t.note("those that stay are deferred: they are back in %s/%s within %v", c.Topic, sc.channel, 2*c.Idle)
	}
	switch left := r.Failed + r.NoOrigin + r.NoChannel; {
	case faults(err):
		return status{err, exitUsage}
	case err != nil && r.Redriven > 0:
		return status{err, exitPart}
	case err != nil:
		return err
	case left > 0:
		return part("%d dead letters stay", left)
	}
	return sc.failed
}

func faults(err error) bool {
	_, ok := errors.AsType[*nsqx.OptionError](err)
	return ok
}

func (r *result) text() string {
	text := fmt.Sprintf("%d redriven", r.Redriven)
	for _, left := range []struct {
		n    int
		what string
	}{
		{r.Filtered, "left by the filter"}, {r.Failed, "failed"}, {r.Newer, "newer than the start"},
		{r.NoOrigin, "do not name their topic (use --to)"}, {r.NoChannel, "whose channel no longer exists (use --to or --all-channels)"},
	} {
		if left.n > 0 {
			text += fmt.Sprintf(", %d %s", left.n, left.what)
		}
	}
	return text
}

// options are those of Redrive. It consumes from nsqds that have the channel alone, but a channel that
// gave messages up may be at any.
func (c *redriveCommand) options(ctx context.Context, t *terminal, s *servers, sc *scan) ([]nsqx.RedriveOption, error) {
	opts := []nsqx.RedriveOption{
		nsqx.WithConn(sc.cfg), nsqx.WithLogger(slog.New(slog.NewTextHandler(io.Discard, nil))), nsqx.WithRedriveChannel(sc.channel),
		nsqx.WithRedriveRate(c.Rate), nsqx.WithRedriveIdle(c.Idle),
	}
	if c.Limit > 0 {
		opts = append(opts, nsqx.WithRedriveLimit(c.Limit))
	}
	if c.All {
		opts = append(opts, nsqx.WithRedriveAllChannels())
	}
	addrs := make([]string, 0, len(sc.places))
	for _, p := range sc.places {
		addrs = append(addrs, p.node.Addr)
	}
	opts = append(opts, nsqx.WithNSQD(addrs...))
	asking, cancel := s.asking(ctx, t, sc.cluster, len(sc.places))
	top, err := sc.cluster.Topology(asking)
	cancel()
	if err != nil {
		return nil, shorten(err)
	}
	for _, n := range top.Nodes {
		opts = append(opts, nsqx.WithRedriveHTTP(n.Addr, n.HTTP))
	}
	if c.To != "" {
		_, places, _, err := s.places(ctx, t, c.To)
		if err != nil {
			return nil, err
		}
		for _, p := range sc.places { // Redrive publishes to these
			if !slices.ContainsFunc(places, func(to place) bool { return to.node.Addr == p.node.Addr }) {
				return nil, fmt.Errorf("nsqd %s does not have the topic %s: nsqx topic create %s makes it", p.node.Addr, c.To, c.To)
			}
		}
	}
	if sc.where != nil {
		opts = append(opts, nsqx.WithRedriveFilter(func(m *handler.Message) bool {
			ok, err := sc.where.match(ctx, newLetter(m))
			if err != nil && ctx.Err() == nil {
				sc.mu.Lock()
				sc.bad++
				sc.badErr = cmp.Or(sc.badErr, err)
				sc.mu.Unlock()
			}
			return ok
		}))
	}
	return opts, nil
}

// count says what would be redriven, and where to.
func (c *redriveCommand) count(ctx context.Context, t *terminal, sc *scan) error {
	to := make(map[string]int)
	var write error
	sc.match = func(l *letter) {
		to[cmp.Or(c.To, l.origin())]++
		if c.JSON {
			write = cmp.Or(write, t.printJSON(l.view()))
		}
	}
	err := sc.run(ctx)
	if !c.JSON {
		for _, where := range sorted(to) {
			name := where
			if where == "-" {
				name = "nowhere: they do not name their topic (use --to)"
			}
			write = cmp.Or(write, t.print(fmt.Sprintf("%d would go to %s", to[where], safe(name))))
		}
	}
	t.note("%d of %d messages in %s/%s would be redriven", sc.matched, sc.depth(), c.Topic, sc.channel)
	return cmp.Or(write, err, ctx.Err(), sc.failed)
}

// watch shows how many messages are left, from nsqds' counts.
func (c *redriveCommand) watch(ctx context.Context, t *terminal, sc *scan) {
	if !t.live {
		return
	}
	nodes := make([]admin.Node, 0, len(sc.places))
	for _, p := range sc.places {
		nodes = append(nodes, p.node)
	}
	cluster := *sc.cluster
	cluster.Progress = nil
	began, before := time.Now(), int64(-1)
	var mu sync.Mutex
	for ctx.Err() == nil {
		left := int64(0)
		_ = cluster.Each(ctx, nodes, func(ctx context.Context, _ int, n *admin.NSQD) error {
			channels, err := n.Channels(ctx, c.Topic)
			mu.Lock()
			defer mu.Unlock()
			left += channels[sc.channel]
			return err
		})
		if ctx.Err() != nil {
			return
		}
		if before < 0 {
			before = left
		}
		t.show("%d left of %d, %.0f/s", left, before, float64(before-left)/max(time.Since(began).Seconds(), 0.1))
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
}

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nsqx/nsqx/admin"
)

type manageFlags struct {
	Action string `arg:"" enum:"create,pause,unpause,empty,delete" help:"create, pause, unpause, empty or delete."`
	Yes    bool   `short:"y" help:"Do not ask."`
}

type topicCommand struct {
	manageFlags
	Topic string `arg:"" help:"Name of the topic."`
}

type channelCommand struct {
	manageFlags
	Topic   string `arg:"" help:"Name of the topic, which must exist."`
	Channel string `arg:"" help:"Name of the channel."`
}

func (c *topicCommand) Run(ctx context.Context, t *terminal, s *servers) error {
	return c.run(ctx, t, s, c.Topic, "")
}

func (c *channelCommand) Run(ctx context.Context, t *terminal, s *servers) error {
	if c.Channel == "" {
		return usage("the channel has no name")
	}
	return c.run(ctx, t, s, c.Topic, c.Channel)
}

// run does the action at all nsqds that have the topic or channel; create at all
// that there are, a channel where its topic is. What
// cannot be undone is done at all nsqds or, if one does not answer, at none.
func (c *manageFlags) run(ctx context.Context, t *terminal, s *servers, topic, channel string) error {
	cmd := admin.Command(c.Action)
	what := "topic " + topic
	if channel != "" {
		what = "channel " + topic + "/" + channel
	}
	var nodes []admin.Node
	messages := int64(0)
	cluster, _, failed, err := s.stats(ctx, t, admin.StatsFilter{Topic: topic}, func(n admin.Node, stats *admin.Stats) {
		has, waiting := find(stats, topic, channel)
		if cmd == admin.Create {
			has, _ = find(stats, topic, "") // a channel needs its topic
			has = has || channel == ""
		}
		if has {
			nodes = append(nodes, n)
			messages += waiting
		}
	})
	switch {
	case err != nil:
		return err
	case failed != nil:
		return fmt.Errorf("nothing was done: servers have not answered, and %s would be in two states. Name those that should be asked by --nsqd or --nsqd-http", what)
	}
	slices.SortFunc(nodes, func(a, b admin.Node) int { return cmp.Compare(a.Addr, b.Addr) })
	if len(nodes) == 0 {
		if cmd == admin.Create {
			what = "topic " + topic
		}
		return fmt.Errorf("no nsqd has the %s", what)
	}
	question := ""
	switch cmd {
	case admin.Pause:
		question = fmt.Sprintf("%s will be paused at %d nsqds: no consumer gets its messages.", what, len(nodes))
	case admin.Empty:
		question = fmt.Sprintf("%d messages of %s at %d nsqds will be gone.", messages, what, len(nodes))
	case admin.Delete:
		question = fmt.Sprintf("%s will be gone at %d nsqds, with %d messages. Consumers that still run create it again.", what, len(nodes), messages)
	}
	if question != "" {
		if err := t.confirm(c.Yes, "%s", question); err != nil {
			return err
		}
	}
	done := 0
	var failures []error
	for _, err := range cluster.Each(ctx, nodes, func(ctx context.Context, _ int, n *admin.NSQD) error { return n.Do(ctx, cmd, topic, channel) }) {
		if err != nil && !(cmd == admin.Delete && errors.Is(err, admin.ErrNotFound)) {
			failures = append(failures, err)
		} else {
			done++
		}
	}
	if cmd == admin.Create || cmd == admin.Delete {
		failures = append(failures, register(ctx, cluster, cmd, topic, channel)...)
	}
	t.note("%s: %s at %d of %d nsqds", what, past(c.Action), done, len(nodes))
	if len(failures) > 0 && done > 0 {
		return status{errors.Join(failures...), exitPart}
	}
	return errors.Join(failures...)
}

// register tells nsqlookupds, so that a deleted one is not created again from what they remember.
func register(ctx context.Context, cluster *admin.Cluster, cmd admin.Command, topic, channel string) (failures []error) {
	for _, addr := range cluster.Lookupds {
		l, err := admin.NewLookupd(addr, cluster.Config)
		if err == nil {
			err = l.Do(ctx, cmd, topic, channel)
		}
		if err != nil && !errors.Is(err, admin.ErrNotFound) {
			failures = append(failures, err)
		}
	}
	return failures
}

// find reports whether there is the topic or the channel, and how many messages it has.
func find(s *admin.Stats, topic, channel string) (has bool, messages int64) {
	for _, ts := range s.Topics {
		if ts.Name != topic {
			continue
		}
		if channel == "" {
			has, messages = true, ts.Depth
		}
		for _, ch := range ts.Channels {
			if channel == "" || ch.Name == channel {
				has = true
				messages += ch.Unfinished()
			}
		}
	}
	return has, messages
}

func past(action string) string {
	switch action {
	case "empty":
		return "emptied"
	default:
		return strings.TrimSuffix(action, "e") + "ed"
	}
}

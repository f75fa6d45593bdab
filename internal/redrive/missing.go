package redrive

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/nsqx/nsqx/internal/guard"
	"github.com/nsqx/nsqx/observe"
)

// Missing returns why a consumer may not have got all messages of its channel: an nsqd is not
// connected, a source of nsqds has not named them, or an nsqd from which nothing came says that there
// are some. An nsqd that is connected and does not say what it has is believed to have none.
func (c *Channels) Missing(ctx context.Context, stats observe.Stats) (reasons []error) {
	for _, l := range stats.Lookups {
		failed := l.LastErr != nil && !errors.Is(l.LastErr, observe.ErrNoTopic)
		later := !l.LastGood.IsZero() && l.LastGood.Before(l.LastPoll) // its nsqds are known from an earlier poll
		if failed && !later {
			reasons = append(reasons, l.LastErr)
		}
	}
	silent := make([]error, len(stats.Connections))
	var asking sync.WaitGroup
	for i, n := range stats.Connections {
		switch {
		case !n.Connected && n.LastErr != nil:
			silent[i] = n.LastErr
		case !n.Connected:
			silent[i] = fmt.Errorf("nsqx: nsqd %s is not connected", n.Addr)
		case n.Received == 0:
			asking.Go(func() { silent[i] = c.silent(ctx, n.Addr, stats.Topic, stats.Channel) })
		}
	}
	asking.Wait()
	for _, err := range silent {
		if err != nil {
			reasons = append(reasons, err)
		}
	}
	return reasons
}

// silent returns an error if an nsqd has messages, though it has sent none.
func (c *Channels) silent(ctx context.Context, nsqd, topic, channel string) error {
	channels, err := guard.IsolateValue(func() (map[string]int64, error) { return c.askNSQD(ctx, nsqd, topic) }) // not an old answer
	if n := channels[channel]; err == nil && n > 0 {
		return fmt.Errorf("nsqx: nsqd %s has %d messages, and none came: the channel is paused, they are deferred, or others have them", nsqd, n)
	}
	return nil
}

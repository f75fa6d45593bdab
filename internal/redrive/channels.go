package redrive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"

	"github.com/nsqx/nsqx/admin"
	"github.com/nsqx/nsqx/internal/lookup"
)

// unknown is the number of messages in a channel that only a nsqlookupd has named.
const unknown = -1

// Config says where to ask.
type Config struct {
	NSQDs    []string            // addresses for clients
	HTTP     map[string]string   // addresses for HTTP, by the address for clients
	Lookupds []*lookup.Client    // they know both addresses of their nsqds
	Client   *http.Client        // for nsqds; nil: see lookup.Config
	Allow    func(a string) bool // the filter of nsqds; nil: all
}

// Channels finds out which channels a topic has at an nsqd. It asks that nsqd over HTTP: at a
// configured address, at the one that a nsqlookupd names, or at the port above that for clients, if
// the nsqd there says that it is the one. If nsqd does not answer, a nsqlookupd knows which channels
// the topic has anywhere. Its methods are safe for concurrent use.
type Channels struct {
	cfg      Config
	nodes    answers[struct{}, map[string]string] // addresses for HTTP, "" if unknown, by the address for clients
	channels answers[question, map[string]int64]
}

type question struct{ nsqd, topic string }

// NewChannels asks nothing yet.
func NewChannels(cfg Config) *Channels { return &Channels{cfg: cfg} }

// Where returns an nsqd on which the channel exists: the preferred one, or another one that is
// known. It returns "" if there is none, and an error if that cannot be known.
func (c *Channels) Where(ctx context.Context, prefer, topic, channel string) (nsqd string, err error) {
	there, _ := c.at(ctx, prefer, topic)
	if _, ok := there[channel]; ok {
		return prefer, nil
	}
	nsqds, answers, err := c.everywhere(ctx, topic, prefer)
	for i, channels := range answers {
		if _, ok := channels[channel]; ok {
			return nsqds[i], nil
		}
	}
	return "", err
}

// Of returns the channels of a topic at all nsqds that are known, with the number of messages in
// each, -1 if that is not known. The error says of which nsqds nothing is known.
func (c *Channels) Of(ctx context.Context, topic string) (map[string]int64, error) {
	all := make(map[string]int64)
	_, answers, err := c.everywhere(ctx, topic)
	for _, channels := range answers {
		for channel, n := range channels {
			before, seen := all[channel]
			switch {
			case !seen:
				all[channel] = n
			case n == unknown || before == unknown:
				all[channel] = max(n, before)
			default:
				all[channel] += n
			}
		}
	}
	return all, err
}

// everywhere asks all nsqds that are known, and others, together: some may not answer for long.
func (c *Channels) everywhere(ctx context.Context, topic string, others ...string) (nsqds []string, answers []map[string]int64, err error) {
	known, unheard := c.known(ctx)
	nsqds = slices.AppendSeq(others, maps.Keys(known))
	slices.Sort(nsqds)
	nsqds = slices.Compact(nsqds)
	answers, failures := make([]map[string]int64, len(nsqds)), make([]error, len(nsqds))
	var asking sync.WaitGroup
	for i, nsqd := range nsqds {
		asking.Go(func() { answers[i], failures[i] = c.at(ctx, nsqd, topic) })
	}
	asking.Wait()
	return nsqds, answers, errors.Join(append(failures, unheard)...)
}

// known returns the nsqds that are known, with their addresses for HTTP, and an error if a nsqlookupd
// has not said which it knows.
func (c *Channels) known(ctx context.Context) (map[string]string, error) {
	return c.nodes.get(ctx, struct{}{}, func() (map[string]string, error) {
		all := make(map[string]string)
		var failures []error
		for _, nsqd := range c.cfg.NSQDs {
			all[nsqd] = ""
		}
		for nsqd := range c.cfg.HTTP {
			all[nsqd] = ""
		}
		for _, l := range c.cfg.Lookupds {
			answer, err := l.Nodes(ctx)
			if err != nil {
				failures = append(failures, fmt.Errorf("nsqx: cannot tell which nsqds there are: %w", err))
			}
			for i, nsqd := range answer.Addrs {
				if http, ok := all[nsqd]; ok || c.cfg.Allow == nil || c.cfg.Allow(nsqd) {
					all[nsqd] = cmp.Or(http, answer.HTTP[i])
				}
			}
		}
		return all, errors.Join(failures...)
	})
}

// at returns the channels of a topic at one nsqd.
func (c *Channels) at(ctx context.Context, nsqd, topic string) (map[string]int64, error) {
	return c.channels.get(ctx, question{nsqd, topic}, func() (map[string]int64, error) { return c.ask(ctx, nsqd, topic) })
}

func (c *Channels) ask(ctx context.Context, nsqd, topic string) (map[string]int64, error) {
	channels, err := c.askNSQD(ctx, nsqd, topic)
	if err == nil {
		return channels, nil
	}
	failures := []error{err}
	for _, l := range c.cfg.Lookupds {
		names, err := l.Channels(ctx, topic)
		if err != nil {
			failures = append(failures, err)
			continue
		}
		channels = make(map[string]int64)
		for _, name := range names {
			channels[name] = unknown
		}
		return channels, nil
	}
	return nil, fmt.Errorf("nsqx: cannot tell which channels topic %s has at nsqd %s; name its HTTP address by WithRedriveHTTP: %w", topic, nsqd, errors.Join(failures...))
}

func (c *Channels) askNSQD(ctx context.Context, nsqd, topic string) (map[string]int64, error) {
	addr := c.cfg.HTTP[nsqd]
	if addr == "" {
		known, _ := c.known(ctx)
		addr = known[nsqd]
	}
	next, port, ok := lookup.NextPort(nsqd)
	guess := addr == ""
	if guess && !ok {
		return nil, errors.New("nsqx: no HTTP address is known")
	}
	if guess {
		addr = next
	}
	n, err := admin.NewNSQD(addr, admin.Config{HTTPClient: c.cfg.Client})
	if err != nil {
		return nil, err
	}
	if guess {
		info, err := n.Info(ctx)
		if err == nil && info.TCPPort != port {
			err = fmt.Errorf("nsqx: http %s is another nsqd, with port %d", addr, info.TCPPort)
		}
		if err != nil {
			return nil, err
		}
	}
	return n.Channels(ctx, topic)
}

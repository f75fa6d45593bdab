package redrive

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/nsqx/nsqx/admin"
	"github.com/nsqx/nsqx/internal/guard"
	"github.com/nsqx/nsqx/internal/lookup"
)

// fresh is how long an answer is used again.
const fresh = 5 * time.Second

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
	cfg Config

	mu      sync.Mutex
	answers map[question]*answer
}

type question struct{ nsqd, topic string }

// answer is the answer to a question, once done is closed.
type answer struct {
	done     chan struct{}
	at       time.Time
	channels map[string]int64
	err      error
}

// NewChannels asks nothing yet.
func NewChannels(cfg Config) *Channels {
	return &Channels{cfg: cfg, answers: make(map[question]*answer)}
}

// Where returns an nsqd on which the channel exists: the preferred one, or another one that is
// known. It returns "" if there is none, and an error if that cannot be known.
func (c *Channels) Where(ctx context.Context, prefer, topic, channel string) (nsqd string, err error) {
	var failures []error
	has := func(nsqd string) bool {
		channels, err := c.at(ctx, nsqd, topic)
		if err != nil {
			failures = append(failures, err)
		}
		_, ok := channels[channel]
		return ok
	}
	if has(prefer) {
		return prefer, nil
	}
	for _, nsqd := range c.nsqds(ctx) {
		if nsqd != prefer && has(nsqd) {
			return nsqd, nil
		}
	}
	return "", errors.Join(failures...)
}

// Of returns the channels of a topic at all nsqds that are known, with the number of messages in
// each, -1 if that is not known. The error says of which nsqds nothing is known.
func (c *Channels) Of(ctx context.Context, topic string) (map[string]int64, error) {
	all := make(map[string]int64)
	nsqds := c.nsqds(ctx)
	answers, failures := make([]map[string]int64, len(nsqds)), make([]error, len(nsqds))
	var asking sync.WaitGroup
	for i, nsqd := range nsqds {
		asking.Go(func() { answers[i], failures[i] = c.at(ctx, nsqd, topic) })
	}
	asking.Wait()
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
	return all, errors.Join(failures...)
}

// nsqds returns the addresses of all nsqds that are known.
func (c *Channels) nsqds(ctx context.Context) []string {
	all, _ := c.remember(ctx, question{}, func() (map[string]int64, error) {
		all := make(map[string]int64)
		for _, nsqd := range c.cfg.NSQDs {
			all[nsqd] = 0
		}
		for nsqd := range c.cfg.HTTP {
			all[nsqd] = 0
		}
		for _, l := range c.cfg.Lookupds {
			answer, _ := l.Nodes(ctx) // of a nsqlookupd that fails nothing is known
			for _, nsqd := range answer.Addrs {
				if c.cfg.Allow == nil || c.cfg.Allow(nsqd) {
					all[nsqd] = 0
				}
			}
		}
		return all, nil
	})
	return slices.Sorted(maps.Keys(all))
}

// at returns the channels of a topic at one nsqd.
func (c *Channels) at(ctx context.Context, nsqd, topic string) (map[string]int64, error) {
	return c.remember(ctx, question{nsqd, topic}, func() (map[string]int64, error) { return c.ask(ctx, nsqd, topic) })
}

// remember calls ask, in which there is user code, unless its answer is fresh.
func (c *Channels) remember(ctx context.Context, q question, ask func() (map[string]int64, error)) (map[string]int64, error) {
	c.mu.Lock()
	a := c.answers[q]
	if a == nil || !a.at.IsZero() && time.Since(a.at) > fresh {
		a = &answer{done: make(chan struct{})}
		c.answers[q] = a
		c.mu.Unlock()
		a.channels, a.err = guard.IsolateValue(ask)
		c.mu.Lock()
		a.at = time.Now()
		if ctx.Err() != nil { // it says nothing of nsqd
			delete(c.answers, q)
		}
		c.mu.Unlock()
		close(a.done)
		return a.channels, a.err
	}
	c.mu.Unlock()
	select {
	case <-a.done:
		return a.channels, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
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
	for _, l := range c.cfg.Lookupds {
		if addr != "" {
			break
		}
		answer, _ := l.Nodes(ctx)
		if i := slices.Index(answer.Addrs, nsqd); i >= 0 {
			addr = answer.HTTP[i]
		}
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

package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nsqx/nsqx/admin"
	"github.com/nsqx/nsqx/conn"
)

// facts are what servers have said.
type facts struct {
	lookupds []lookupdFacts
	nodes    []*nodeFacts
	failures []error // of servers that were named wrongly
	skew     time.Duration
	tls      bool // the command connects with TLS
	leftOut  int  // topics that were not looked at

	services []*serviceFacts
	channels []channelFacts // those that were there at both looks
}

type lookupdFacts struct {
	addr string
	err  error
}

// nodeFacts are those of an nsqd.
type nodeFacts struct {
	admin.Node
	err     error // of the statistics
	late    bool  // there was no time to ask everything
	stats   [2]admin.Stats
	options map[string]any // of the configuration, by name; what cannot be read is missing
	dial    error          // of a connection for clients
	resolve error          // of the broadcast address
	offset  time.Duration  // of the clock against the local one, beyond what the answer took
}

// options are what doctor reads of the configuration.
var options = []string{
	"id", "msg_timeout", "max_msg_timeout", "max_msg_size", "max_body_size", "max_req_timeout", "max_rdy_count", "tls_required", "auth_http_addresses",
}

// gather asks all servers, twice for what may be wrong for a moment.
func gather(ctx context.Context, t *terminal, s *servers, services []string, wait time.Duration) (*facts, error) {
	cluster, err := s.cluster()
	if err != nil {
		return nil, err
	}
	cfg, err := s.conn()
	if err != nil {
		return nil, err
	}
	f := &facts{tls: cfg.TLS != nil}
	for _, addr := range services {
		if _, err := statsz(addr); err != nil {
			return nil, err
		}
		f.services = append(f.services, &serviceFacts{addr: addr})
	}
	asking, cancel := s.asking(ctx, t, cluster, len(s.Lookupd)+len(s.NSQD)+len(s.NSQDHTTP))
	top, err := cluster.Topology(asking)
	cancel()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil && len(s.Lookupd) == 0 {
		return nil, shorten(err)
	}
	failed := make(map[string]error)
	for _, err := range top.Failures {
		if e, ok := errors.AsType[*admin.Error](err); ok && e.Server == "nsqlookupd" {
			failed[e.Addr] = err
		} else {
			f.failures = append(f.failures, err)
		}
	}
	for _, addr := range s.Lookupd {
		f.lookupds = append(f.lookupds, lookupdFacts{addr, failed[addr]})
	}
	for _, n := range top.Nodes {
		f.nodes = append(f.nodes, &nodeFacts{Node: n, options: make(map[string]any)})
	}
	f.look(ctx, t, s, cluster, 0)
	asking, cancel = s.asking(ctx, t, cluster, len(f.nodes))
	var dialling sync.WaitGroup
	dialling.Go(func() { f.dial(asking, s.Timeout, cfg) })
	errs := cluster.Each(asking, top.Nodes, func(ctx context.Context, i int, n *admin.NSQD) error {
		f.nodes[i].ask(ctx, n, cluster.Config.HTTPClient)
		return nil
	})
	dialling.Wait()
	cancel()
	for i, n := range f.nodes {
		if late, _ := sift([]error{errs[i]}); late > 0 || n.dial == context.DeadlineExceeded {
			n.late, n.dial = true, nil
		}
	}
	select {
	case <-time.After(wait):
	case <-ctx.Done():
	}
	f.look(ctx, t, s, cluster, 1)
	t.clear()
	f.match()
	return f, ctx.Err()
}

// maxEntries is how many topics, channels and clients of all nsqds are looked at.
const maxEntries = 500_000

// look reads the statistics of the nsqds, and services, that have answered so far.
func (f *facts) look(ctx context.Context, t *terminal, s *servers, cluster *admin.Cluster, n int) {
	asking, cancel := s.asking(ctx, t, cluster, len(f.nodes))
	defer cancel()
	nodes := make([]admin.Node, 0, len(f.nodes))
	for _, node := range f.nodes {
		nodes = append(nodes, node.Node)
	}
	var services sync.WaitGroup
	services.Go(func() { f.askServices(asking, cluster.Config.HTTPClient, n) })
	defer services.Wait()
	var mu sync.Mutex
	room, leftOut := maxEntries, 0
	errs := cluster.Each(asking, nodes, func(ctx context.Context, i int, nsqd *admin.NSQD) error {
		node := f.nodes[i]
		if node.err != nil || node.late {
			return node.err
		}
		stats, err := nsqd.Stats(ctx, admin.StatsFilter{Clients: true})
		mu.Lock()
		defer mu.Unlock()
		leftOut += trim(&stats, &room)
		node.stats[n] = stats
		return err
	})
	for i, err := range errs {
		if late, _ := sift([]error{err}); late > 0 {
			f.nodes[i].late = true
		} else {
			f.nodes[i].err = err
		}
	}
	f.leftOut = max(f.leftOut, leftOut)
}

// trim drops the topics for which there is no room: a topic has all its channels and clients, or is
// not there at all, so that nothing seems to be missing in it.
func trim(stats *admin.Stats, room *int) (leftOut int) {
	stats.Topics = slices.DeleteFunc(stats.Topics, func(ts admin.TopicStats) bool {
		entries := 1 + len(ts.Channels)
		for _, ch := range ts.Channels {
			entries += len(ch.Clients)
		}
		if entries > *room {
			leftOut++
			return true
		}
		*room -= entries
		return false
	})
	if leftOut > 0 {
		stats.Topics = slices.Clone(stats.Topics)
	}
	return leftOut
}

// ask reads the configuration and the clock.
func (n *nodeFacts) ask(ctx context.Context, nsqd *admin.NSQD, client *http.Client) {
	if n.err != nil || n.late {
		return
	}
	for _, name := range options {
		var v any
		err := nsqd.Option(ctx, name, &v)
		if e, ok := errors.AsType[*admin.Error](err); ok && e.Status == 0 {
			return // it does not answer, and would not answer the rest
		}
		if err == nil {
			n.options[name] = v
		}
	}
	addr := n.HTTP
	if !strings.Contains(addr, "://") {
		addr = "http://" + addr
	}
	before := time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, addr+"/ping", nil)
	if err != nil {
		return
	}
	res, err := client.Do(req)
	if err != nil {
		return
	}
	res.Body.Close()
	after := time.Now()
	at, err := http.ParseTime(res.Header.Get("Date")) // whole seconds
	switch {
	case err != nil:
	case at.After(after):
		n.offset = at.Sub(after)
	case at.Add(time.Second).Before(before):
		n.offset = at.Add(time.Second).Sub(before)
	}
}

// dial connects to each nsqd as a client does.
func (f *facts) dial(ctx context.Context, timeout time.Duration, cfg conn.Config) {
	free := make(chan struct{}, maxDials)
	var dialling sync.WaitGroup
	for _, n := range f.nodes {
		dialling.Go(func() {
			free <- struct{}{}
			defer func() { <-free }()
			if n.dial = ctx.Err(); n.dial != nil {
				return
			}
			host, _, err := net.SplitHostPort(n.Addr)
			if err == nil {
				looking, cancel := context.WithTimeout(ctx, timeout)
				_, n.resolve = net.DefaultResolver.LookupHost(looking, host)
				cancel()
			}
			if n.resolve != nil {
				return
			}
			c, err := conn.Dial(ctx, n.Addr, cfg, nil)
			if err != nil {
				n.dial = err
				return
			}
			c.Abort(context.Canceled)
		})
	}
	dialling.Wait()
}

// whole are the nsqds that have answered everything, both times.
func (f *facts) whole() (all []*nodeFacts) {
	for _, n := range f.nodes {
		if n.err == nil && !n.late {
			all = append(all, n)
		}
	}
	return all
}
